"""What some tests want of the machine beside Python: programs, and packages of npm and PyPI in a cache.

It is looked for before the first test, outside of any test's time limit. Where it cannot be had, the tests that want it
are skipped, which the summary says loudly; with ``CI`` set they fail.

The cache is ``$XDG_CACHE_HOME/acp-gateway-tests`` (``~/.cache`` without that variable), or where
``ACP_GATEWAY_TEST_CACHE`` says.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

INSTALL_SECONDS = 900
_FOUND = pytest.StashKey[dict[str, Any]]()
_MISSING = pytest.StashKey[dict[str, str]]()


class Missing(Exception):
    """Something that cannot be had on this machine; ``str()`` says why."""


def program(name: str, hint: str) -> Path:
    """Where a program is. Debian keeps those of servers where only root looks for them."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"there is no {name} on this machine ({hint})")
    return Path(found)


def cache_directory(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("ACP_GATEWAY_TEST_CACHE"):
        return Path(chosen)
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acp-gateway-tests"


def installed(cache: Path, name: str, prepare: Callable[[Path], str]) -> str:
    """What ``prepare`` says of the folder ``name`` in the cache, asked once; others wait for the one that prepares."""
    home = cache / name
    home.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{name}.lock"):
        stamp = home / "installed.txt"
        if stamp.exists() and Path(said := stamp.read_text()).exists():
            return said
        said = prepare(home)
        stamp.write_text(said)
        return said


def npm_install(home: Path, *packages: str) -> None:
    """Install these packages into ``home``. None of their scripts is run."""
    npm = program("npm", "install Node.js to run these tests")
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    _install(packages, npm, "install", "--prefix", home, *options, *packages)


def npm_packages(name: str, *packages: str) -> Path:
    """A folder of the cache with these packages in its ``node_modules``."""

    def install(home: Path) -> str:
        npm_install(home, *packages)
        return str(home / "node_modules")

    return Path(installed(cache_directory(os.environ), name, install)).parent


def pip_packages(name: str, minors: tuple[int, ...], *packages: str) -> Path:
    """A folder of the cache with these packages' programs in its ``bin``, and a Python 3 of one of these versions."""

    def install(home: Path) -> str:
        its_python = home / "bin" / "python"
        _install(packages, python(*minors), "-m", "venv", "--clear", home)
        _install(packages, its_python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        return str(its_python)

    return Path(installed(cache_directory(os.environ), name, install)).parent.parent


def python(*minors: int) -> Path:
    """A Python 3 of one of these minor versions, the preferred one first: this one, or one in PATH or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for minor in minors:
        name = f"python3.{minor}"
        for found in (sys.executable, shutil.which(name), *pyenv.glob(f"versions/3.{minor}.*/bin/{name}")):
            if found and _makes_environments(found, minor):
                return Path(found)
    raise Missing(f"there is no Python {' or '.join(f'3.{minor}' for minor in minors)} with venv on this machine")


def _makes_environments(python: str | Path, minor: int) -> bool:
    # What is found in PATH may be pyenv's, which fails where another version is chosen.
    check = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"
    return subprocess.run([python, "-c", check], capture_output=True).returncode == 0


def _install(packages: tuple[str, ...], installer: Path, *arguments: str | Path) -> None:
    # Tests trust no certificate authority, installers must.
    environ = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    command = [installer, *arguments]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environ)
    except subprocess.CalledProcessError as exc:
        reason = exc.stderr.strip()[-500:]
        raise Missing(f"{installer.name} could not install {' '.join(packages)}: {reason}") from exc
    except subprocess.TimeoutExpired as exc:
        raise Missing(f"{installer.name} did not install {' '.join(packages)} within {INSTALL_SECONDS} s") from exc


def look_for(config: pytest.Config, what: str, find: Callable[[], Any]) -> None:
    """Find ``what``, for the tests that ask ``found`` for it."""
    try:
        config.stash.setdefault(_FOUND, {})[what] = find()
    except Missing as exc:
        config.stash.setdefault(_MISSING, {})[what] = str(exc)


def found(request: pytest.FixtureRequest, what: str) -> Any:
    """What ``look_for`` found; without it the test that asks is skipped, or fails where CI runs."""
    reason = request.config.stash.get(_MISSING, {}).get(what)
    if reason is None:
        return request.config.stash[_FOUND][what]
    if os.environ.get("CI"):
        pytest.fail(f"CI must test with {what}: {reason}")
    pytest.skip(f"no {what}: {reason}")


def tell_what_is_missing(terminal: pytest.TerminalReporter, config: pytest.Config) -> None:
    for what, reason in config.stash.get(_MISSING, {}).items():
        terminal.section(f"NOT TESTED: {what}", sep="!", yellow=True, bold=True)
        terminal.line(f"The tests that need it did not run: {reason}.", yellow=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
