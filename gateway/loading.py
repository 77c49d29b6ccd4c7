"""The configuration, read: from a TOML file, overridden by ``ACP_GATEWAY_*`` variables.

A variable's name is ``ACP_GATEWAY_<TABLE>_<SETTING>``: ``ACP_GATEWAY_DATABASE_URL``, ``ACP_GATEWAY_SERVER_PORT``.
In a variable the words of a list are separated by commas. Of what has a table for each name, a variable names it too:
``ACP_GATEWAY_PROVIDERS_<NAME>_<SETTING>``.
This is the only room that reads the environment. What is unknown or wrong is named with its place.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import attrs

from gateway.config import Config, ProviderConfig
from gateway.errors import ConfigError
from gateway.wire.codec import DecodeError, from_builtins, snake_names

PREFIX = "ACP_GATEWAY_"
#: Where the commands of people find a running gateway, and who they are there; no settings of a gateway's own.
CLIENT_VARIABLES = frozenset({"ACP_GATEWAY_URL", "ACP_GATEWAY_TOKEN", "ACP_GATEWAY_TOKEN_FILE"})
TESTS_PREFIX = "ACP_GATEWAY_TEST_"
PROVIDERS_PREFIX = "ACP_GATEWAY_PROVIDERS_"
_PROVIDER_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration from ``path`` (TOML; defaults where None), overridden by ``environ``.

    Raises ``ConfigError`` with the file or variable, the setting and what would be right.
    """
    environ = os.environ if environ is None else environ
    tables = _read(path) if path else {}
    config = _structure(tables, source=str(path))
    known = variables()
    for name in sorted(environ):
        if name in known:
            config = _override(config, *known[name], name, environ[name])
        elif name.startswith(PROVIDERS_PREFIX):
            config = _override_provider(config, name, environ[name])
        elif name.startswith(PREFIX) and not name.startswith(TESTS_PREFIX) and name not in CLIENT_VARIABLES:
            raise ConfigError(f"{name}: no such setting{_similar(name, known)}; config.example.toml has them all")
    return config


def environment() -> Mapping[str, str]:
    """The process's environment, for those who hand a scrubbed part of it on."""
    return dict(os.environ)


def tables() -> "list[attrs.Attribute[Any]]":
    """The tables that are there once, each with settings of its own."""
    return [table for table in attrs.fields(Config) if isinstance(table.type, type)]


def variables() -> dict[str, tuple[str, str]]:
    """Each variable's name with the table and the setting that it overrides.

    ``ACP_HOST_TOKEN`` is the container contract's own name for the agent host's secret.
    """
    names = {
        f"{PREFIX}{table.name}_{setting.name}".upper(): (table.name, setting.name)
        for table in tables()
        for setting in attrs.fields(_table_class(table))
    }
    return names | {"ACP_HOST_TOKEN": ("agent_host", "token")}


def _table_class(table: "attrs.Attribute[Any]") -> type:
    assert isinstance(table.type, type)
    return table.type


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc


def _similar(name: str, known: Iterable[str]) -> str:
    by_rest = {variable.removeprefix(PREFIX): variable for variable in known}
    found = difflib.get_close_matches(name.removeprefix(PREFIX), by_rest, n=3, cutoff=0.5)
    return f" (similar: {', '.join(by_rest[rest] for rest in found)})" if found else ""


def _structure(tables: dict[str, Any], *, source: str) -> Config:
    try:
        # They run below, one by one, because there each knows its place.
        with attrs.validators.disabled():
            config = from_builtins(Config, tables, rename=snake_names)
    except DecodeError as exc:
        raise ConfigError(f"{source}: {str(exc).replace('$.', '')}") from exc
    if wrong := [f"{place}: {reason}" for place, reason in _out_of_range(config)]:
        raise ConfigError(f"{source}: {'; '.join(wrong)}")
    return config


def _out_of_range(config: Config) -> Iterator[tuple[str, ValueError]]:
    for name in config.providers:
        if not _PROVIDER_ID.fullmatch(name):
            yield f"providers.{name}", ValueError("a provider's name has 1 to 32 of a-z, 0-9 and -")
    for table in tables():
        values = getattr(config, table.name)
        for setting in attrs.fields(type(values)):
            try:
                if setting.validator:
                    setting.validator(values, setting, getattr(values, setting.name))
            except ValueError as exc:
                yield f"{table.name}.{setting.name}", exc


def _override(config: Config, table: str, setting: str, variable: str, text: str) -> Config:
    current = getattr(config, table)
    kind = next(field.type for field in attrs.fields(type(current)) if field.name == setting)
    try:
        return attrs.evolve(config, **{table: attrs.evolve(current, **{setting: _parse(kind, text)})})
    except ValueError as exc:
        raise ConfigError(f"{variable}: {exc}") from exc


def _override_provider(config: Config, variable: str, text: str) -> Config:
    settings = {f"_{field.name}".upper(): field for field in attrs.fields(ProviderConfig) if _fits_a_variable(field)}
    rest = variable.removeprefix(PROVIDERS_PREFIX)
    ending = max((ending for ending in settings if rest.endswith(ending)), key=len, default="")
    provider_id = rest.removesuffix(ending).lower().replace("_", "-")
    if not ending or not _PROVIDER_ID.fullmatch(provider_id):
        known = ", ".join(ending.removeprefix("_") for ending in settings)
        raise ConfigError(f"{variable}: no such setting; a provider's are {PROVIDERS_PREFIX}<NAME>_ and one of {known}")
    field = settings[ending]
    try:
        value = _parse(get_args(field.type)[0], text)
    except ValueError as exc:
        raise ConfigError(f"{variable}: {exc}") from exc
    changed = attrs.evolve(config.providers.get(provider_id, ProviderConfig()), **{field.name: value})
    return attrs.evolve(config, providers={**config.providers, provider_id: changed})


def _fits_a_variable(field: "attrs.Attribute[Any]") -> bool:
    return get_args(field.type)[:1] in ((str,), (bool,), (tuple[str, ...],))


def _parse(kind: Any, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text == "true"
    if kind == tuple[str, ...]:
        return tuple(word for part in text.split(",") if (word := part.strip()))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"must be true or false, not {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"must be a {'whole ' if kind is int else ''}number, not {text!r}") from None
