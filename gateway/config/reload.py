"""The current configuration: which settings may change at run time, and who is notified."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from gateway.config.load import tables
from gateway.config.schema import Config
from gateway.errors import ConfigError

logger = logging.getLogger(__name__)

PROVIDERS: Final = "providers"
#: Tables and single settings that can be reloaded.
LIVE: Final = frozenset(
    {
        PROVIDERS,
        "logging",
        "metrics",
        "limits",
        "containers.allow",
        "identity.allowed_hosts",
        "identity.allowed_origins",
        "identity.project_creators",
    }
)

#: Settings by table and name, with their new values.
Changes = Mapping[tuple[str, str], Any]


class Settings:
    """The configuration of a running gateway, with listeners for its changes."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._listeners: list[Callable[[Config], None]] = []

    def on_change(self, listener: Callable[[Config], None]) -> None:
        self._listeners.append(listener)

    def change(self, changes: Changes) -> None:
        self.config = changed(self.config, changes)
        for listener in self._listeners:
            listener(self.config)


class Reloading:
    """Reads the configuration again on request, and passes on what can be reloaded.

    ``read`` loads and checks it; ``change`` gets what is new. Changes that need a restart are logged each time.
    """

    def __init__(self, config: Config, read: Callable[[], Config], change: Callable[[Changes], None]) -> None:
        self._config = config
        self._read = read
        self._change = change

    def reload(self) -> None:
        try:
            new = self._read()
        except ConfigError as exc:
            logger.error("configuration not reloaded, all stays as it was", extra={"error": str(exc)})
            return
        found = differences(self._config, new)
        live = {place: value for place, value in found.items() if is_live(*place)}
        if live:
            self._config = changed(self._config, live)
            self._change(live)
        logger.info("configuration reloaded", extra={"changed": _names(live) or "nothing"})
        if waiting := _names(found.keys() - live.keys()):
            logger.warning("settings that need a restart were changed", extra={"settings": waiting})


def is_live(table: str, setting: str) -> bool:
    return table in LIVE or f"{table}.{setting}" in LIVE


def differences(old: Config, new: Config) -> dict[tuple[str, str], Any]:
    """What is set otherwise in ``new``."""
    found: dict[tuple[str, str], Any] = {
        (table.name, setting.name): after
        for table in tables()
        for setting in attrs.fields(type(getattr(new, table.name)))
        if (after := getattr(getattr(new, table.name), setting.name)) != getattr(getattr(old, table.name), setting.name)
    }
    # All providers together count as one setting.
    return found | ({(PROVIDERS, ""): new.providers} if new.providers != old.providers else {})


def changed(config: Config, changes: Changes) -> Config:
    for (table, setting), value in changes.items():
        whole = attrs.evolve(getattr(config, table), **{setting: value}) if setting else value
        config = attrs.evolve(config, **{table: whole})
    return config


def _names(places: Any) -> str:
    return ", ".join(sorted(f"{table}.{setting}".rstrip(".") for table, setting in places))
