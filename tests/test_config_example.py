"""``config.example.toml`` against the code: nothing missing, nothing made up, nothing that changes nothing."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs

from gateway.config.load import load, tables
from gateway.config.schema import Config, ProviderConfig
from tests.sources import modules, tree

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


def test_the_example_says_what_each_setting_is_for() -> None:
    assert not [f"{table}.{setting}" for table, setting in SETTINGS if not _is_explained(table, setting)]


def _is_explained(table: str, setting: str) -> bool:
    after_table = EXAMPLE.read_text().split(f"\n[{table}]\n")[1]
    last = after_table[: after_table.index(f"\n{setting} = ")].splitlines()[-1]
    return last.startswith("# ") and last.endswith(".")


def test_each_setting_is_read_by_the_code() -> None:
    read = set(_attributes())
    assert not [f"{table}.{setting}" for table, setting in SETTINGS if not _is_read(table, setting, read)]


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


def _attributes() -> Iterator[tuple[str, str]]:
    """All that is read as ``holder.name``, but for what the configuration and the agent host do for themselves."""
    for path in modules():
        if path.name not in ("schema.py", "load.py") and "agenthost" not in path.parts:
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    yield ast.unparse(node.value).rpartition(".")[2].removeprefix("_"), node.attr


def _is_read(table: str, setting: str, read: set[tuple[str, str]]) -> bool:
    """Whether it is read as ``….table.setting``, or as that setting of something that is called a configuration."""
    return any((holder, setting) in read for holder in (table, "config", "settings"))
