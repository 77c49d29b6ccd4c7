"""``config.example.toml`` against the code: nothing missing, nothing made up, nothing that changes nothing."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from gateway.config import Config, ProviderConfig
from gateway.loading import load, tables

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "config.example.toml"
SETTINGS = [
    (table.name, setting.name) for table in tables() for setting in attrs.fields(type(getattr(Config(), table.name)))
]


def test_the_example_loads_and_is_the_defaults() -> None:
    assert load(EXAMPLE, {}) == Config()


def test_the_example_has_every_setting_in_the_order_of_the_code() -> None:
    tables = tomllib.loads(EXAMPLE.read_text())
    assert [(table, setting) for table, settings in tables.items() for setting in settings] == SETTINGS


@pytest.mark.parametrize(("table", "setting"), SETTINGS)
def test_the_example_says_what_a_setting_is_for(table: str, setting: str) -> None:
    after_table = EXAMPLE.read_text().split(f"\n[{table}]\n")[1]
    lines = after_table[: after_table.index(f"\n{setting} = ")].splitlines()
    assert lines[-1].startswith("# ")
    assert lines[-1].endswith(".")


@pytest.mark.parametrize(("table", "setting"), SETTINGS)
def test_a_setting_is_read_by_the_code(table: str, setting: str) -> None:
    assert any(_reads(node, table, setting) for node in _attributes())


def _commented_out() -> str:
    """The settings that the example shows without setting them, as if they were set."""
    return "\n".join(line[1:] for line in EXAMPLE.read_text().splitlines() if re.match(r"#[a-z\[]", line))


def test_the_example_shows_every_setting_of_a_provider(tmp_path: Path) -> None:
    shown = tomllib.loads(_commented_out())["providers"]["example"]
    assert list(shown) == [setting.name for setting in attrs.fields(ProviderConfig)]
    for table in ("body", "expiry"):
        assert list(shown[table]) == [setting.name for setting in attrs.fields(type(getattr(ProviderConfig(), table)))]
    file = tmp_path / "config.toml"
    file.write_text(_commented_out())
    assert load(file, {}).providers["example"].pkce == "S256"


def _attributes() -> Iterator[ast.Attribute]:
    """All that is read as ``something.name``, but for what the configuration and the agent host do for themselves."""
    for path in (ROOT / "gateway").rglob("*.py"):
        if path.name not in ("config.py", "loading.py") and "agenthost" not in path.parts:
            nodes = ast.walk(ast.parse(path.read_text()))
            yield from (node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load))


def _reads(node: ast.Attribute, table: str, setting: str) -> bool:
    """Whether this is ``….table.setting``, or that setting of something that is called a configuration."""
    holder = ast.unparse(node.value).rpartition(".")[2].removeprefix("_")
    return node.attr == setting and holder in (table, "config", "settings")
