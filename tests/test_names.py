"""No text tells anybody to install what is not ours: ``acp-gateway`` on PyPI is somebody else's package."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: What is made or fetched, and what others wrote: of those texts none is ours.
NOT_OURS = {".git", ".venv", "node_modules", "vendor", "__pycache__", "dist", "build", "workspace"}
#: A command that installs; what it installs follows, up to the end of the command.
INSTALL = re.compile(
    r"\b(?:pip3?|uv|pipx|uvx|npx|npm)\s+(?:install|add|download|wheel|tool\s+install|pip\s+install|run|i)?\b"
    r"(?P<what>[^\n;&|,)]*)"
)
#: A requirement: the name of a distribution with an extra or a version.
REQUIREMENT = re.compile(r"(?P<name>\bacp[-_.]?gateway)\s?(?:\[[a-z]|[=~!<>]=|@\s*(?:https?|git|file))", re.IGNORECASE)
FOREIGN_NAMES = re.compile(r"""(?:^|[\s'"`])acp[-_.]?gateway(?:$|[\s'"`\[=<>~!@])""", re.IGNORECASE)
#: What pip is told to install by name; a place (``.``, ``/src``), an option or a variable is no name.
BY_NAME = re.compile(r"\bpip3?\s+install\s+((?:-\S+\s+)*)['\"`]?(?P<name>[A-Za-z][\w.-]*)")
#: Tools of others that our texts may name.
TOOLS = {"pre-commit"}
PAGE = re.compile(r"(?:pypi\.org/(?:project|simple)|npmjs\.com/package)/acp[-_.]?gateway\b", re.IGNORECASE)


def texts() -> Iterator[tuple[Path, str]]:
    for place, folders, files in os.walk(ROOT):
        folders[:] = [one for one in folders if one not in NOT_OURS and (not one.startswith(".") or one == ".ci")]
        for path in (Path(place, name) for name in files):
            if path == Path(__file__):
                continue
            try:
                yield path, path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def projects() -> list[Path]:
    """What is built here: the distribution at the top, and those beside it."""
    return [ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")]


def flaws(text: str) -> list[str]:
    # A command that goes on in the next line is one command.
    text = re.sub(r"\\\n\s*", " ", text)
    found = [match[0] for match in INSTALL.finditer(text) if FOREIGN_NAMES.search(match["what"])]
    return [*found, *(match[0] for pattern in (REQUIREMENT, PAGE) for match in pattern.finditer(text))]


@pytest.mark.parametrize(
    "text",
    [
        "pip install acp-gateway",
        "python -m pip install --upgrade 'acp-gateway[tracing]'",
        "pip install \\\n    acp_gateway",
        "`uv tool install acp-gateway`",
        "uvx acp-gateway up",
        "pipx run acp-gateway",
        'dependencies = ["acp-gateway==0.1.0"]',
        '"acp-gateway[tracing]",',
        "npx acp-gateway",
        "https://pypi.org/project/acp-gateway/",
    ],
)
def test_a_text_that_names_somebody_elses_package_is_found(text: str) -> None:
    assert flaws(text) != []


@pytest.mark.parametrize(
    "text",
    [
        "/opt/acp-gateway/bin/pip install --no-deps /src",
        "pip install 'acp-session-gateway[tracing]'",
        "pip install . && acp-gateway up",
        "acp-gateway up; acp-gateway token create",
        "image: acp-gateway:0.1.0",
        '[project.scripts]\nacp-gateway = "gateway.cli.main:main"',
    ],
)
def test_the_command_may_be_named(text: str) -> None:
    assert flaws(text) == []


def test_no_text_tells_to_install_a_package_of_somebody_else() -> None:
    read = dict(texts())
    assert {
        ROOT / "README.md",
        ROOT / "Dockerfile",
        ROOT / ".ci" / "run",
        ROOT / "gateway" / "telemetry" / "configured.py",
    } <= set(read)
    assert {str(path.relative_to(ROOT)): found for path, text in read.items() if (found := flaws(text))} == {}


def test_what_texts_tell_to_install_by_name_is_ours_or_a_tool_that_we_know() -> None:
    ours = {tomllib.loads(path.read_text("utf-8"))["project"]["name"] for path in projects()}
    named = {match["name"]: path for path, text in texts() for match in BY_NAME.finditer(text)}
    assert {name: path for name, path in named.items() if name not in ours | TOOLS} == {}
    assert "acp-session-gateway" in named


def test_an_extra_that_a_text_names_is_one_of_ours() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    name, extras = project["name"], set(project["optional-dependencies"])
    named = {extra for _, text in texts() for extra in re.findall(rf"\b{name}\[([a-z,]+)\]", text)}
    assert {one for several in named for one in several.split(",")} <= extras
    assert "tracing" in named
