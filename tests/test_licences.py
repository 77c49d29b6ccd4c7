"""Under what terms the product stands, and the works of others in it."""

import re
import tomllib
from glob import glob
from pathlib import Path

import pytest

from gateway import __version__

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gateway"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
#: Nobody here writes lines of this length.
MINIFIED = 1000


def vendored() -> list[Path]:
    """What was written elsewhere: scripts and styles that a program has packed."""
    found = (path for suffix in ("js", "mjs", "css") for path in PACKAGE.rglob(f"*.{suffix}"))
    return sorted(
        path
        for path in found
        if "vendor" in path.parts or max(map(len, path.read_text("utf-8").splitlines()), default=0) > MINIFIED
    )


def test_what_is_vendored_is_found() -> None:
    assert [path.name for path in vendored()] == ["swagger-ui-bundle.js", "swagger-ui.css", "markdown-it.esm.min.mjs"]


@pytest.mark.parametrize("path", vendored(), ids=lambda path: path.name)
def test_what_is_vendored_is_named_with_its_version_and_has_its_licence_beside_it(path: Path) -> None:
    notice = (ROOT / "NOTICE").read_text("utf-8")
    [paragraph] = [one for one in notice.split("\n\n") if path.name in one]
    assert f"{path.parent.relative_to(ROOT)}/" in paragraph
    [version] = re.findall(r"^\S.* (\d+\.\d+\.\d+), in ", paragraph)
    assert version in "".join(one.read_text("utf-8") for one in path.parent.glob("*.*js"))
    licences = re.findall(r"\b[\w.-]+\.(?:LICENSE(?:\.txt)?|NOTICE)\b", paragraph)
    assert licences
    assert all((path.parent / name).is_file() for name in licences)


def test_a_licence_of_others_is_part_of_what_is_released() -> None:
    patterns = PROJECT["license-files"]
    # As hatchling does it.
    released = {ROOT / path for pattern in patterns for path in glob(pattern, root_dir=ROOT)}
    assert {ROOT / "LICENSE", ROOT / "NOTICE"} <= released
    beside = {path for path in PACKAGE.rglob("*") if re.search(r"LICENSE|NOTICE|COPYING", path.name)}
    assert beside
    assert beside <= released


def test_the_licence_is_the_whole_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text


def test_a_release_has_one_version_and_a_date() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings[-len(released) :] == released
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", heading) for heading in released)
    assert released[0].split()[0] == PROJECT["version"] == __version__


def test_the_package_is_typed_for_those_who_import_it() -> None:
    assert (PACKAGE / "py.typed").is_file()
