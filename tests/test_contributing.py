"""CONTRIBUTING.md and docs/decisions/: the places that they name are there, and the checks are those of `make lint`."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [ROOT / "CONTRIBUTING.md", *sorted(DECISIONS.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_places_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    named = set(re.findall(r"`((?:gateway|client|tests|docs|migrations|deploy|\.ci)/(?!NNNN)[\w./-]*)`", text))
    assert {path for path in named if not (ROOT / path).exists()} == set()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (DECISIONS / "README.md").read_text("utf-8"))
    assert listed == [path.name for path in PAGES if path.parent == DECISIONS and path.name != "README.md"]


def test_before_a_commit_the_same_programs_check_as_in_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    before = {hook["entry"].removesuffix(" --force-exclude") for repository in hooks for hook in repository["hooks"]}
    lint = subprocess.run(
        ["make", "-n", "lint"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    checks = {
        line.removesuffix(" .").removesuffix(" --check")
        for line in re.findall(r"^\.venv/bin/(?:ruff|mypy)\b.*$", lint, re.MULTILINE)
    }
    assert len(checks) == 3
    assert before == checks
