"""Stream tickets: how a browser's ``EventSource`` or ``WebSocket``, which can send no header, opens one stream.

Someone who may read the stream gets a *ticket*, which is good for half a minute and once, and may stand in a URL. It is
exchanged for a *cookie* of that stream's path, by which the browser comes back: a reconnect repeats the URL, whose
ticket has gone by then. Both are bound to the user, the project and the stream, and are kept as digests, so that any
gateway knows them. Each look-up asks in the same statement what the user's role and the API token are by now: a pass
opens nothing that these would not.
"""

import hashlib
import logging
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

logger = logging.getLogger(__name__)

TICKET_SECONDS: Final = 30
#: As long a page may come back without a new ticket; no longer than the credential that it had got it with.
COOKIE_SECONDS: Final = 43_200
SWEEP_SECONDS: Final = 300.0
MAX_PASS: Final = 100
#: Of one user in one project, at a time.
MAX_TICKETS: Final = 100


@attrs.frozen
class StreamOf:
    """Which stream: its project, its path as it stands in a URL, and what one must be to have it."""

    project_id: str
    path: str
    role: Role

    @classmethod
    def events(cls, project_id: str, session_id: str | None) -> "StreamOf":
        """A stream of the gateway's own: a project's, or one session's."""
        base = f"/api/projects/{project_id}/acp/events"
        return cls(project_id, base if session_id is None else f"{base}/{quote(session_id, safe='')}", Role.VIEWER)

    @classmethod
    def passed_through(cls, project_id: str, path: str) -> "StreamOf":
        """A stream or WebSocket of the project's container, at a path below the project."""
        return cls(project_id, path, Role.OPERATOR)

    @property
    def cookie(self) -> str:
        """Its own name: what is below another stream's path is sent that one's cookie as well."""
        return f"acp_stream_{hashlib.sha256(self.path.encode()).hexdigest()[:12]}"


class StreamTickets:
    """All tickets and cookies of one database. ``sweep`` is its task."""

    def __init__(self, database: Database, modes: Sequence[str]) -> None:
        """``modes``: the ways of saying who one is that there are now; what was got in another one is over."""
        self._database = database
        self._modes = list(modes)

    async def issue(self, caller: Caller, stream: StreamOf) -> tuple[str, datetime]:
        """A ticket, and until when it is good."""
        text = secrets.token_urlsafe(32)
        row = await self._database.fetch_one(
            "insert_stream_ticket",
            project_id=stream.project_id,
            path=stream.path,
            digest=_digest(text),
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
                f"{MAX_TICKETS} tickets of yours wait in this project to be used.",
                headers={"Retry-After": str(TICKET_SECONDS)},
            )
        return text, row["expires_at"]

    async def exchange(self, ticket: str, stream: StreamOf, former: str | None) -> tuple[Caller, str] | None:
        """Who got the ticket, and a cookie in its place and that of the ``former`` one; None where it is not good, for
        this stream, any more."""
        if len(ticket) > MAX_PASS:
            return None
        cookie = secrets.token_urlsafe(32)
        row = await self._database.fetch_one(
            "exchange_stream_ticket",
            project_id=stream.project_id,
            path=stream.path,
            digest=_digest(ticket),
            cookie=_digest(cookie),
            former=_digest(former or ""),
            seconds=COOKIE_SECONDS,
            modes=self._modes,
        )
        return None if row is None else (_caller(row, stream), cookie)

    async def find(self, cookie: str, stream: StreamOf) -> Caller | None:
        """Whose cookie it is; None where it is nobody's, for this stream, any more."""
        if len(cookie) > MAX_PASS:
            return None
        row = await self._database.fetch_one(
            "find_stream_cookie",
            project_id=stream.project_id,
            path=stream.path,
            digest=_digest(cookie),
            modes=self._modes,
        )
        return None if row is None else _caller(row, stream)

    async def sweep(self) -> None:
        """Forget what is no longer good, until cancelled."""

        async def delete() -> None:
            await self._database.execute("delete_ended_stream_passes")
            await self._database.execute("delete_ended_sign_ins")

        await every(SWEEP_SECONDS, delete, failed="stream tickets not swept")


def _caller(row: Row, stream: StreamOf) -> Caller:
    """Whoever has a pass may have its stream, whatever else they may."""
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


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
