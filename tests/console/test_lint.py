"""The check of the console's sources: what it does where there is no Node, and what its lock file says."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

LINT = Path(__file__).with_name("lint")


def run_with(programs: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The check on a machine that has these programs and no others."""
    for name in ("sh", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    return subprocess.run(
        [programs / "sh", LINT / "run"], env={"PATH": str(programs), **environ}, capture_output=True, text=True
    )


def test_a_machine_without_node_is_told_that_the_console_was_left_out(tmp_path: Path) -> None:
    done = run_with(tmp_path)
    assert done.returncode == 0
    assert done.stderr == "THE CONSOLE WAS NOT CHECKED: there is no Node.js with npm on this machine.\n"


def test_where_ci_runs_the_console_is_not_left_out(tmp_path: Path) -> None:
    done = run_with(tmp_path, CI="1")
    assert done.returncode == 1
    assert "there is no Node.js with npm on this machine" in done.stderr


@pytest.mark.parametrize(("environ", "code"), [({}, 0), ({"CI": "1"}, 1)])
def test_a_node_that_is_too_old_is_named(tmp_path: Path, environ: dict[str, str], code: int) -> None:
    for name in ("node", "npm"):
        program = tmp_path / name
        program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo v18.0.0 || exit 1\n')
        program.chmod(0o755)
    done = run_with(tmp_path, **environ)
    assert done.returncode == code
    assert "this is v18.0.0" in done.stderr


def test_its_packages_are_pinned_and_no_registry_is_named() -> None:
    wanted = json.loads((LINT / "package.json").read_text())["devDependencies"]
    lock = json.loads((LINT / "package-lock.json").read_text())
    root, *packages = lock["packages"].values()
    assert root["devDependencies"] == wanted
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    for package in packages:
        assert "resolved" not in package
        assert package["integrity"].startswith("sha512-")
