"""Loads the configuration from a TOML file and from ``ACP_GATEWAY_<TABLE>_<SETTING>`` variables, which override it.

Lists in variables are separated by commas. Providers have a table each: ``ACP_GATEWAY_PROVIDERS_<NAME>_<SETTING>``.
Only this module reads the environment. Invalid values, and unknown settings in a file, abort startup with their place.
Unknown variables do not, because other programs set some with this prefix (see ``unknown_variables``).
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import attrs

from gateway.config.schema import Config, ProviderConfig
from gateway.errors import ConfigError
from gateway.wire.codec import DecodeError, from_builtins, snake_names

PREFIX = "ACP_GATEWAY_"
#: For commands that call a running gateway; they are no settings of the gateway itself.
CLIENT_VARIABLES = frozenset({"ACP_GATEWAY_URL", "ACP_GATEWAY_TOKEN", "ACP_GATEWAY_TOKEN_FILE"})
TESTS_PREFIX = "ACP_GATEWAY_TEST_"
PROVIDERS_PREFIX = "ACP_GATEWAY_PROVIDERS_"
_PROVIDER_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
#: Kubernetes sets these in every container for a Service whose name begins with acp-gateway.
#: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK = re.compile(
    r"(ACP_GATEWAY(?:_\w+?)?)_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?)"
)
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://.*")


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration from ``path`` (None: defaults), overridden by ``environ``.

    Raises ``ConfigError``, which names the file or variable, the setting, and what would be right.
    """
    environ = os.environ if environ is None else environ
    tables = _read(path) if path else {}
    config = _structure(tables, source=str(path))
    known = variables()
    for name in sorted(environ):
        if name in known and not _is_service_link(name, environ[name]):
            config = _override(config, *known[name], name, environ[name])
        elif place := _provider_setting(name):
            config = _override_provider(config, *place, name, environ[name])
    return config


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[tuple[str, dict[str, str]]]:
    """Warnings about variables with our prefix that are no settings: messages and their fields, without values.

    There is one message for all variables of a Kubernetes Service.
    """
    environ = os.environ if environ is None else environ
    known = variables()
    said, services = [], dict[str, list[str]]()
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(TESTS_PREFIX) or name in CLIENT_VARIABLES:
            continue
        if _provider_setting(name) is not None:
            continue
        if _is_service_link(name, environ[name]):
            services.setdefault(_service_of(name), []).append(name)
        elif name not in known:
            said.append(("variable is no setting and changes nothing", {"variable": name} | _nearest(name, known)))
    for service, names in services.items():
        fields = {"service": service, "variables": ", ".join(names)}
        said.append(("variables of a Kubernetes Service are no settings (enableServiceLinks: false)", fields))
    return said


def environment() -> Mapping[str, str]:
    """A copy of the process's environment."""
    return dict(os.environ)


def tables() -> "list[attrs.Attribute[Any]]":
    """The tables of settings, without those that exist once per name."""
    return [table for table in attrs.fields(Config) if isinstance(table.type, type)]


def variables() -> dict[str, tuple[str, str]]:
    """Each variable's name with the table and the setting that it overrides.

    ``ACP_HOST_TOKEN`` is the name that the container contract gives the agent host's secret.
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


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes has set it. `…_PORT` may also be a setting, but never an address such as tcp://…"""
    if _SERVICE_LINK.fullmatch(name):
        return True
    return name.startswith(PREFIX) and name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value) is not None


def _service_of(name: str) -> str:
    match = _SERVICE_LINK.fullmatch(name)
    return (match[1] if match else name.removesuffix("_PORT")).lower().replace("_", "-")


def _nearest(name: str, known: Iterable[str]) -> dict[str, str]:
    if name.startswith(PROVIDERS_PREFIX):
        return {"nearest": f"{PROVIDERS_PREFIX}<NAME>_ and one of {', '.join(_provider_settings())}"}
    by_rest = {variable.removeprefix(PREFIX): variable for variable in known}
    found = difflib.get_close_matches(name.removeprefix(PREFIX), by_rest, n=1, cutoff=0.5)
    return {"nearest": by_rest[found[0]]} if found else {}


def _structure(tables: dict[str, Any], *, source: str) -> Config:
    try:
        # Validators run below, where the place of each value is known.
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


def _override_provider(
    config: Config, provider_id: str, field: "attrs.Attribute[Any]", variable: str, text: str
) -> Config:
    try:
        value = _parse(get_args(field.type)[0], text)
    except ValueError as exc:
        raise ConfigError(f"{variable}: {exc}") from exc
    changed = attrs.evolve(config.providers.get(provider_id, ProviderConfig()), **{field.name: value})
    return attrs.evolve(config, providers={**config.providers, provider_id: changed})


def _provider_setting(variable: str) -> "tuple[str, attrs.Attribute[Any]] | None":
    """The provider and its setting that a variable overrides; None for any other variable."""
    if not variable.startswith(PROVIDERS_PREFIX):
        return None
    rest = variable.removeprefix(PROVIDERS_PREFIX)
    settings = _provider_settings()
    ending = max((ending for ending in settings if rest.endswith(f"_{ending}")), key=len, default=None)
    if ending is None:
        return None
    provider_id = rest.removesuffix(f"_{ending}").lower().replace("_", "-")
    return (provider_id, settings[ending]) if _PROVIDER_ID.fullmatch(provider_id) else None


def _provider_settings() -> "dict[str, attrs.Attribute[Any]]":
    return {field.name.upper(): field for field in attrs.fields(ProviderConfig) if _fits_a_variable(field)}


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
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"must be a {'whole ' if kind is int else ''}number, not {text!r}") from None
