"""What stays open, watched: a stream or WebSocket ends when whoever opened it may have it no more.

A request is let in once. One that lasts, be it an event stream, a WebSocket or a long answer of a container, would go
on for as long as its client likes, so one task looks again at all of them together, in one question to the database.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from gateway.db.arrays import text_array
from gateway.db.every import every
from gateway.db.pool import Database
from gateway.identity.caller import Caller
from gateway.identity.roles import Role

logger = logging.getLogger(__name__)

#: How long access that was withdrawn elsewhere may last; here it ends at once.
SWEEP_SECONDS: Final = 15.0
#: How many questions are asked at a time.
BATCH: Final = 1000


@attrs.frozen(kw_only=True, eq=False)
class OpenRequest:
    """A request under way: whose, in which project, as what at least, and how it is broken off."""

    caller: Caller
    project_id: str
    least: Role
    end: Callable[[], None]

    @property
    def key(self) -> tuple[str, str, str | None]:
        return self.project_id, self.caller.user_id, self.caller.token_id


class AccessMonitor:
    """All requests of this process that are under way. ``run`` is its task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: set[OpenRequest] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, request: OpenRequest) -> None:
        """It is under way until it is told to ``leave``."""
        self._open.add(request)

    def leave(self, request: OpenRequest) -> None:
        self._open.discard(request)

    def look_now(self) -> None:
        """Something was withdrawn here: do not wait for the next time."""
        self._changed.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        # Where it fails, nobody is thrown out: who may what cannot be told just now.
        await every(SWEEP_SECONDS, self._look, failed="access not looked at again", woken=self._changed)

    async def _look(self) -> None:
        keys = list({request.key for request in self._open})
        allowed: dict[tuple[str, str, str | None], Role | None] = {}
        for start in range(0, len(keys), BATCH):
            allowed |= await self._ask(keys[start : start + BATCH])
        for request in list(self._open):
            # One that came while the database was asked has just been let in.
            if request.key in allowed and (reason := _withdrawn(request, allowed[request.key])):
                logger.info("ended: access was withdrawn", extra={"project": request.project_id, "reason": reason})
                request.end()

    async def _ask(self, keys: Sequence[tuple[str, str, str | None]]) -> dict[tuple[str, str, str | None], Role | None]:
        """The role that each has, None where it is none any more."""
        rows = await self._database.fetch_all(
            "recheck_access",
            project_ids=text_array(key[0] for key in keys),
            user_ids=text_array(key[1] for key in keys),
            token_ids=text_array(key[2] for key in keys),
        )
        found = {}
        for row in rows:
            key = keys[row["n"] - 1]
            roles = [row["role"]] if key[2] is None else [row["role"], row["token_role"]]
            found[key] = None if None in roles else min(map(Role.named, roles))
        return found


def _withdrawn(request: OpenRequest, role: Role | None) -> str | None:
    if request.caller.has_expired():
        return "credential expired"
    if role is None:
        return "no member, or credential revoked"
    if min(role, request.caller.max_role) < request.least:
        return "insufficient role"
    return None
