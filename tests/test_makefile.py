"""The Makefile, for somebody who has just cloned the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with the Makefile and nothing that has been made yet."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=clone, env={**environ, "LC_ALL": "C"}, capture_output=True, text=True, timeout=60
    )


def write_python(clone: Path, script: str) -> Path:
    """A program that answers in the place of a Python."""
    program = clone / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_make_alone_says_what_can_be_made(clone: Path) -> None:
    said = make(clone).stdout
    source = (clone / "Makefile").read_text()
    for target in re.search(r"^\.PHONY: help (.*)", source)[1].split():  # type: ignore[index]
        assert f"make {target} " in said
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("script", ["exit 1", "echo 'No module named ensurepip' >&2; exit 1", "exit 127"])
def test_a_python_that_does_not_fit_is_one_sentence(clone: Path, script: str) -> None:
    python = write_python(clone, script)
    done = make(clone, "up", f"PYTHON={python}")
    assert done.returncode != 0
    sentence, *rest = done.stderr.splitlines()
    assert sentence.startswith("This needs Python 3.11 to 3.14 with venv and ensurepip")
    assert f"tried: {python}." in sentence
    assert [line for line in rest if not line.startswith("make: ***")] == []


def test_an_environment_that_came_out_half_is_removed(clone: Path) -> None:
    python = write_python(clone, 'if [ "$1" = -m ]; then mkdir .venv; touch .venv/pyvenv.cfg; exit 1; fi')
    assert make(clone, "up", f"PYTHON={python}").returncode != 0
    assert not (clone / ".venv").exists()


def test_arguments_go_to_the_program(clone: Path) -> None:
    done = make(clone, "-n", "up", "ARGS=--port 9000")
    assert done.stdout.splitlines()[-1] == "exec .venv/bin/acp-gateway up --port 9000"


def test_another_python_than_the_environment_has_is_refused_in_a_sentence(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to(sys.executable)
    other = write_python(clone, "echo 2.7")
    done = make(clone, "up", f"PYTHON={other}")
    assert done.returncode != 0
    assert "'make clean' removes it" in done.stderr
    assert "Traceback" not in done.stderr
