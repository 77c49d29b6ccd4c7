"""``acp-gateway key new | rotate | list | forget``: the vault's keys. None is ever shown."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.cli.database import reach_database, with_keys_beside_data
from gateway.cli.say import Say
from gateway.cli.terminal.table import Column, table
from gateway.config.schema import Config
from gateway.credentials.checking import check_keys, know_keys, used_keys
from gateway.credentials.keyring import KEYS_VARIABLE, Key, KeyRing, Keys, changing, read_file, write_file
from gateway.credentials.resealing import forget, reseal
from gateway.credentials.vault import Vault
from gateway.errors import StartError, UsageError
from gateway.wire.codec import dump_json

_NO_FILE = (
    "No key file is configured: set key_file of [vault] (or ACP_GATEWAY_VAULT_KEY_FILE) for all gateways on this "
    "database"
)


async def new_key(config: Config, say: Say) -> None:
    """Add a key to the file, or create the file with a first key. It seals nothing until ``rotate``."""
    config = _located(config)
    if config.vault.keys:
        raise UsageError(
            f"The keys come from {KEYS_VARIABLE}: add one there yourself, such as ID:$(openssl rand -base64 32), start "
            "all gateways again with it, then put a * before its id, start them again, and run acp-gateway key rotate"
        )
    if not config.vault.key_file:
        raise UsageError(_NO_FILE)
    key, is_first = await asyncio.to_thread(_add, config.vault.key_file)
    say(f"key {key.id} added to {config.vault.key_file}")
    if is_first:
        say("It is the first, so it seals what is stored from now on. Keep a copy of the file: without it that is lost")
    else:
        say("It seals nothing yet. Copy this file to every gateway on this database, then run: acp-gateway key rotate")


async def rotate_keys(config: Config, say: Say, *, key_id: str | None) -> None:
    """Make the newest key (or ``key_id``) the current one, and seal all rows again with it."""
    config = _located(config)
    async with reach_database(config) as database:
        await check_keys(database, _loaded(config))
        if config.vault.key_file:
            await asyncio.to_thread(_make_current, config.vault.key_file, key_id)
        keys = _loaded(config)
        ring = keys.ring
        assert ring is not None, "loaded"
        if key_id not in (None, ring.current.id):
            raise UsageError(f"The keys come from {KEYS_VARIABLE}: put a * before {key_id} there, and no other")
        await know_keys(database, keys, list(ring))
        say(f"current       {ring.current.id}")
        done = await reseal(database, Vault(keys))
        say(f"sealed again  {done.rows}")
        used = await used_keys(database)
    for name, row in sorted(done.unreadable):
        say(f"left as it is {name} {'/'.join(row)}: it does not open")
    former = [one for one in ring.ids if one != ring.current.id and one not in used]
    if former:
        say(f"no longer in use: {', '.join(former)} (keep them while a backup of the database may be restored)")
    if not done.complete:
        raise StartError(
            "Gateways go on storing secrets under a former key: give them this key file, and run this again"
        )


async def list_keys(config: Config, say: Say, *, as_json: bool) -> None:
    """List the keys' ids, which is current, and how many rows each has sealed."""
    config = _located(config)
    keys = Keys.load(config.vault)
    async with reach_database(config) as database:
        used = await used_keys(database)
    ring = keys.ring
    ids = ring.ids if ring else []
    shown: list[dict[str, Any]] = [
        {
            "id": one,
            "current": ring is not None and one == ring.current.id,
            "missing": one not in ids,
            "rows": used.get(one, 0),
        }
        for one in (*ids, *(used_id for used_id in used if used_id not in ids))
    ]
    if as_json:
        say(dump_json({"keys": shown}).decode())
        return
    if shown:
        for line in table(_COLUMNS, shown):
            say(line)
    else:
        say("There are no keys. Make one: acp-gateway key new")


def _state(key: Mapping[str, Any]) -> str:
    return "current" if key["current"] else "MISSING" if key["missing"] else "former" if key["rows"] else "unused"


_COLUMNS: Final = (Column("ID", "id"), Column("STATE", _state), Column("ROWS IT SEALS", "rows"))


async def forget_key(config: Config, say: Say, *, key_id: str) -> None:
    """Delete what a lost key has sealed, so that gateways can start again."""
    config = _located(config)
    ring = Keys.load(config.vault).ring
    if ring is not None and ring.get(key_id) is not None:
        raise UsageError(f"The key {key_id} is not lost: run acp-gateway key rotate, and what it has sealed is kept")
    async with reach_database(config) as database:
        rows = await forget(database, key_id)
    say(f"deleted       {rows} rows that {key_id} had sealed; their users connect their accounts again")


def _located(config: Config) -> Config:
    """The configuration with the key file that its gateways use."""
    return config if config.database.url else with_keys_beside_data(config)


def _loaded(config: Config) -> Keys:
    keys = Keys.load(config.vault)
    if keys.ring is None:
        raise UsageError(_NO_FILE)
    return keys


def _add(name: str) -> tuple[Key, bool]:
    file = Path(name).expanduser()
    with changing(file):
        key = Key.make()
        ring = read_file(file) if file.exists() else None
        write_file(file, ring.with_new(key) if ring else KeyRing([key]))
        return key, ring is None


def _make_current(name: str, key_id: str | None) -> None:
    file = Path(name).expanduser()
    with changing(file):
        ring = read_file(file)
        wanted = key_id or ring.newest.id
        if ring.get(wanted) is None:
            raise UsageError(f"There is no key {wanted} in {file}; it has {', '.join(ring.ids)}")
        if wanted != ring.current.id:
            write_file(file, ring.with_current(wanted))
