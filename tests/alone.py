"""A distribution of ours as its users get it: its wheel, alone in an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[1]
IMPORT_ALL = """
import importlib, pkgutil, {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@attrs.frozen(kw_only=True)
class Alone:
    """An environment with one distribution and what that depends on."""

    home: Path

    @classmethod
    def make(cls, project: Path, home: Path) -> "Alone":
        """``project``: the folder of its pyproject.toml."""
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        _run([*build, "--wheel-dir", str(home), str(project)])
        [wheel] = home.glob("*.whl")
        _run([sys.executable, "-m", "venv", "--without-pip", str(home / "env")])
        alone = cls(home=home)
        _run(
            [
                sys.executable,
                "-m",
                "pip",
                "--quiet",
                "--python",
                str(alone.program("python")),
                "install",
                "--no-compile",
                str(wheel),
            ]
        )
        return alone

    def program(self, name: str) -> Path:
        return self.home / "env" / "bin" / name

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program(command[0]), *command[1:]],
            cwd=self.home,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def environ(self) -> dict[str, str]:
        """Without what would lead to the checkout."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACP_", "PYTHON", "XDG_"))}
        return {**kept, "HOME": str(self.home)}

    def import_all(self, package: str) -> str:
        """What was complained of when each module of the package was imported."""
        return self.run("python", "-c", IMPORT_ALL.format(package=package)).stderr


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
