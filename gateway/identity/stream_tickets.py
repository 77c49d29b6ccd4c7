"""Stream tickets, with which a browser's ``EventSource`` or ``WebSocket`` opens one stream without a header.

A *ticket* is valid once, for 30 seconds, in a URL. It is exchanged for a *cookie* limited to the stream's path, with
which the browser reconnects, since a reconnect repeats the URL with the used ticket. Both are bound to the user, the
project and the stream, and stored as digests, so that any gateway accepts them. Each look-up also checks, in the same
statement, the user's current role and the API token.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote

import attrs

from gateway.db.every import every
from gateway.db.pool import Database, Row
from gateway.errors import ProjectNotFound, TooManyRequests
from gateway.identity.caller import Caller
from gateway.identity.roles import Role
from gateway.identity.tokens import digest_of

TICKET_SECONDS: Final = 30
#: How long a page may reconnect without a new ticket, unless the credential expires before.
COOKIE_SECONDS: Final = 43_200
SWEEP_SECONDS: Final = 300.0
MAX_PASS: Final = 100
#: Unused tickets per user and project.
MAX_TICKETS: Final = 100


@attrs.frozen
class StreamOf:
    """A stream: its project, its path as in a URL, and the minimum role."""

    project_id: str
    path: str
    role: Role

    @classmethod
    def events(cls, project_id: str, session_id: str | None) -> "StreamOf":
        """One of the gateway's streams: a project's, or one session's."""
        base = f"/api/projects/{project_id}/acp/events"
        return cls(project_id, base if session_id is None else f"{base}/{quote(session_id, safe='')}", Role.VIEWER)

    @classmethod
    def passed_through(cls, project_id: str, path: str) -> "StreamOf":
        """A stream or WebSocket of the project's container, at a path below the project."""
        return cls(project_id, path, Role.OPERATOR)

    @property
    def cookie(self) -> str:
        """Its cookie's name, different for each path: browsers also send cookies of parent paths."""
        return f"acp_stream_{hashlib.sha256(self.path.encode()).hexdigest()[:12]}"


class StreamTickets:
    """All tickets and cookies. ``sweep`` is its task."""

    def __init__(self, database: Database, modes: Sequence[str]) -> None:
        """``modes``: the configured ones; tickets of other modes are invalid."""
        self._database = database
        self._modes = list(modes)

    async def issue(self, caller: Caller, stream: StreamOf) -> tuple[str, datetime]:
        """A ticket and its expiry."""
        text = secrets.token_urlsafe(32)
        row = await self._database.fetch_one(
            "insert_stream_ticket",
            project_id=stream.project_id,
            path=stream.path,
            digest=digest_of(text),
            user_id=caller.user_id,
            mode=caller.mode,
            token_id=caller.token_id,
            max_role=stream.role.word,
            ends_at=caller.expires_at,
            seconds=TICKET_SECONDS,
            most=MAX_TICKETS,
        )
        if row is None:
            raise TooManyRequests(
                f"You have {MAX_TICKETS} unused tickets in this project.",
                headers={"Retry-After": str(TICKET_SECONDS)},
            )
        return text, row["expires_at"]

    async def exchange(self, ticket: str, stream: StreamOf, former: str | None) -> tuple[Caller, str] | None:
        """The ticket's caller, and a cookie that replaces the ticket and the ``former`` cookie; None if the ticket is
        not valid for this stream."""
        if len(ticket) > MAX_PASS:
            return None
        cookie = secrets.token_urlsafe(32)
        row = await self._database.fetch_one(
            "exchange_stream_ticket",
            project_id=stream.project_id,
            path=stream.path,
            digest=digest_of(ticket),
            cookie=digest_of(cookie),
            former=digest_of(former or ""),
            seconds=COOKIE_SECONDS,
            modes=self._modes,
        )
        return None if row is None else (_caller(row, stream), cookie)

    async def find(self, cookie: str, stream: StreamOf) -> Caller | None:
        """The cookie's caller; None if it is not valid for this stream."""
        if len(cookie) > MAX_PASS:
            return None
        row = await self._database.fetch_one(
            "find_stream_cookie",
            project_id=stream.project_id,
            path=stream.path,
            digest=digest_of(cookie),
            modes=self._modes,
        )
        return None if row is None else _caller(row, stream)

    async def sweep(self) -> None:
        """Delete expired tickets and sign-ins, until cancelled."""

        async def delete() -> None:
            await self._database.execute("delete_ended_stream_passes")
            await self._database.execute("delete_ended_sign_ins")

        await every(SWEEP_SECONDS, delete, failed="stream tickets not swept")


def _caller(row: Row, stream: StreamOf) -> Caller:
    """The caller of a ticket or cookie, limited to its project and its role."""
    if row["role"] is None:
        raise ProjectNotFound(f"There is no project {stream.project_id!r}.")
    limits = (row["max_role"], row["role"], row["token_role"] or row["max_role"])
    return Caller(
        user_id=row["user_id"],
        mode=row["mode"],
        max_role=min(map(Role.named, limits)),
        projects=frozenset((stream.project_id,)),
        expires_at=row["expires_at"],
        token_id=row["token_id"],
    )
