"""``acp-gateway token …``: directly in the database, with or without a running gateway."""

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gateway.cli.database import reach_database
from gateway.cli.local_access import address_in
from gateway.cli.places import data_dir
from gateway.cli.running import base_of
from gateway.cli.say import Say
from gateway.cli.terminal.table import Column, table
from gateway.cli.terminal.text import local_time
from gateway.config.schema import Config
from gateway.db.pool import Database
from gateway.errors import ProjectNotFound, UsageError
from gateway.identity.caller import flaw_of_user_id
from gateway.identity.roles import Role
from gateway.identity.sign_ins import LINK_SECONDS, SignIns, address_of
from gateway.identity.tokens import NewToken, Token, Tokens
from gateway.projects.store import Projects
from gateway.proxy.upstream import Upstream
from gateway.wire.codec import dump_json
from gateway.wire.times import parse_timestamp, timestamp

_LIFETIME = re.compile(r"([1-9]\d{0,5})([mhdwy])")
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
NEVER = "never"
MAX_NAME = 200


async def create_token(
    config: Config,
    say: Say,
    *,
    user_id: str,
    role: str,
    projects: Sequence[str],
    expires: str,
    name: str | None,
    as_json: bool,
) -> None:
    """Create a token and print it."""
    flaw = flaw_of_user_id(user_id)
    if flaw is not None:
        raise UsageError(f"--user {user_id!r}: {flaw}")
    if name is not None and not (1 <= len(name) <= MAX_NAME and name.isprintable()):
        raise UsageError(f"--name: must be 1 to {MAX_NAME} printable characters")
    new = NewToken(
        user_id=user_id,
        name=name,
        max_role=Role.named(role),
        projects=frozenset(projects) or None,
        lifetime=_lifetime(expires),
    )
    async with reach_database(config) as database:
        await _refuse_unknown(database, projects)
        token, text = await Tokens(database).create(new)
    if as_json:
        say(dump_json({**_shown(token), "token": text}).decode())
    else:
        say(f"token     {text}")
        say(_described(token))
        say("It cannot be shown again. Clients send it as:  Authorization: Bearer acpgw_…")
        say("For acp-gateway's own commands:  export ACP_GATEWAY_TOKEN=acpgw_…")
    _warn_where_none_is_taken(config)


async def make_link(config: Config, say: Say, *, user_id: str, url: str | None, as_json: bool) -> None:
    """Create a link that signs a browser in, and print it."""
    flaw = flaw_of_user_id(user_id)
    if flaw is not None:
        raise UsageError(f"--user {user_id!r}: {flaw}")
    try:
        Upstream.parse(url or "http://localhost")
    except ValueError as exc:
        raise UsageError(f"--url: {exc}") from exc
    base = url or config.server.public_url or address_in(data_dir(config)) or base_of(config.server)
    async with reach_database(config) as database:
        link = address_of(base.rstrip("/"), await SignIns(database).issue(user_id))
    if as_json:
        say(dump_json({"userId": user_id, "url": link, "expiresInSeconds": LINK_SECONDS}).decode())
    else:
        say(link)
        sys.stderr.write(f"Open it in a browser within {LINK_SECONDS // 60} minutes; it is valid once.\n")
    _warn_where_none_is_taken(config)


def _warn_where_none_is_taken(config: Config) -> None:
    if config.identity.modes and Tokens.name not in config.identity.modes:
        sys.stderr.write(
            "acp-gateway: identity.modes does not contain tokens in this command's configuration; if the gateway has "
            "another one, use --config\n"
        )


async def list_tokens(config: Config, say: Say, *, user_id: str | None, as_json: bool) -> None:
    """List tokens without their secrets."""
    async with reach_database(config) as database:
        tokens = await Tokens(database).list_all(user_id)
    if as_json:
        say(dump_json({"tokens": [_shown(token) for token in tokens]}).decode())
        return
    if tokens:
        for line in table(_COLUMNS, [_shown(token) for token in tokens]):
            say(line)
    else:
        of = f" of {user_id!r}" if user_id else ""
        say(f"There are no tokens{of}. Make one: acp-gateway token create --user {user_id or 'NAME'}")


async def revoke_token(config: Config, say: Say, *, token_id: str, as_json: bool) -> None:
    """Revoke a token."""
    async with reach_database(config) as database:
        token = await Tokens(database).revoke(token_id)
    say(dump_json(_shown(token)).decode() if as_json else _described(token))


async def _refuse_unknown(database: Database, projects: Sequence[str]) -> None:
    for project_id in projects:
        try:
            await Projects(database).get_for_follower(project_id)
        except ProjectNotFound as exc:
            raise UsageError(f"--project {project_id!r}: there is no such project") from exc


def _lifetime(text: str) -> timedelta | None:
    match = _LIFETIME.fullmatch(text)
    if match is None and text != NEVER:
        raise UsageError(f"--expires {text!r}: must be a time such as 90m, 12h, 30d, 4w or 1y, or {NEVER}")
    return None if match is None else int(match[1]) * _UNITS[match[2]]


def _shown(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "userId": token.user_id,
        "name": token.name,
        "maxRole": token.max_role.word,
        "projects": None if token.projects is None else sorted(token.projects),
        "createdAt": timestamp(token.created_at),
        "expiresAt": timestamp(token.expires_at) if token.expires_at else None,
        "revokedAt": timestamp(token.revoked_at) if token.revoked_at else None,
        "lastUsedAt": timestamp(token.last_used_at) if token.last_used_at else None,
    }


def _described(token: Token) -> str:
    where = "all projects" if token.projects is None else ", ".join(sorted(token.projects))
    name = f" ({token.name})" if token.name else ""
    return f"{token.id}  {token.user_id}{name}, at most {token.max_role.word} in {where}; {_state(_shown(token))}"


def _state(shown: Mapping[str, Any]) -> str:
    if shown["revokedAt"]:
        return f"revoked {local_time(shown['revokedAt'])}"
    at = parse_timestamp(shown["expiresAt"])
    if at is None:
        return "does not expire"
    return f"{'expired' if at <= datetime.now(UTC) else 'expires'} {local_time(shown['expiresAt'])}"


_COLUMNS: Final = (
    Column("ID", "id"),
    Column("USER", "userId"),
    Column("AT MOST", "maxRole"),
    Column("PROJECTS", lambda shown: "all" if shown["projects"] is None else ", ".join(shown["projects"])),
    Column("STATE", _state),
    Column("LAST USED", lambda shown: local_time(shown["lastUsedAt"]) if shown["lastUsedAt"] else "never"),
    Column("NAME", "name"),
)
