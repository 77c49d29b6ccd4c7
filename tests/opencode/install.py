"""A real OpenCode for the tests: npm's ``opencode-ai``, installed once into the tests' cache.

The program is native; Node is needed to install it and not to run it.
"""

import os
import subprocess
from pathlib import Path

from tests.machine import Missing, installed, npm_install

VERSION = "1.18.33"


def opencode(cache: Path) -> Path:
    """The program, installed if it is not there yet."""
    return Path(installed(cache, f"opencode-{VERSION}", _install))


def _install(home: Path) -> str:
    # Its install script only puts the platform's binary in another place.
    npm_install(home, f"opencode-ai@{VERSION}")
    return str(_working_program(home))


def _working_program(home: Path) -> Path:
    # npm installs every variant for this system and processor; the one that runs is the one for this libc and CPU.
    modules = home / "node_modules"
    candidates = [*sorted(modules.glob("opencode-*/bin/opencode")), modules / ".bin" / "opencode"]
    for program in candidates:
        try:
            said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, env=_bare(home))
        except (OSError, subprocess.TimeoutExpired):
            continue
        if said.returncode == 0 and said.stdout.strip() == VERSION:
            return program
    raise Missing(f"opencode-ai@{VERSION} has no program that runs on this machine")


def _bare(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "TMPDIR": str(home)}
