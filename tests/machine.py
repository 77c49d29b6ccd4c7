"""What some tests want of the machine beside Python: programs, and packages of npm in a cache.

It is looked for before the first test, outside of any test's time limit. Where it cannot be had, the tests that want it
are skipped, which the summary says loudly; with ``CI`` set they fail.

The cache is ``$XDG_CACHE_HOME/acp-gateway-tests`` (``~/.cache`` without that variable), or where
``ACP_GATEWAY_TEST_CACHE`` says.
"""

import fcntl
import os
import shutil
import subprocess
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
    command = [str(npm), "install", "--prefix", str(home), *options, *packages]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as exc:
        raise Missing(f"npm could not install {' '.join(packages)}: {exc.stderr.strip()[-500:]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise Missing(f"npm did not install {' '.join(packages)} within {INSTALL_SECONDS} s") from exc


def npm_packages(name: str, *packages: str) -> Path:
    """A folder of the cache with these packages in its ``node_modules``."""

    def install(home: Path) -> str:
        npm_install(home, *packages)
        return str(home / "node_modules")

    return Path(installed(cache_directory(os.environ), name, install)).parent


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
