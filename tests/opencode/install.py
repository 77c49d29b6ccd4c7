"""A real OpenCode for the tests: npm's ``opencode-ai``, installed once into a cache.

The cache is ``$XDG_CACHE_HOME/acp-gateway-tests`` (``~/.cache`` without that variable), or where
``ACP_GATEWAY_TEST_CACHE`` says. The program is native; Node is needed to install it and not to run it.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

VERSION = "1.18.33"
INSTALL_SECONDS = 900


class NoOpenCode(Exception):
    """OpenCode cannot be had on this machine; ``str()`` says why."""


def cache_directory(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("ACP_GATEWAY_TEST_CACHE"):
        return Path(chosen)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acp-gateway-tests"


def opencode(cache: Path) -> Path:
    """The program, installed if it is not there yet; tests in other processes wait for the one that installs."""
    home = cache / f"opencode-{VERSION}"
    home.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"opencode-{VERSION}.lock"):
        stamp = home / "program.txt"
        if stamp.exists() and (program := Path(stamp.read_text())).exists():
            return program
        _npm_install(home)
        program = _working_program(home)
        stamp.write_text(str(program))
        return program


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _npm_install(home: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NoOpenCode("there is no npm on this machine (install Node.js to run these tests)")
    # Its install script only puts the platform's binary in another place.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    command = [npm, "install", "--prefix", str(home), *options, f"opencode-ai@{VERSION}"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as exc:
        raise NoOpenCode(f"npm could not install opencode-ai@{VERSION}: {exc.stderr.strip()[-500:]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise NoOpenCode(f"npm did not install opencode-ai@{VERSION} within {INSTALL_SECONDS} s") from exc


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
    raise NoOpenCode(f"opencode-ai@{VERSION} has no program that runs on this machine")


def _bare(home: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "TMPDIR": str(home)}
