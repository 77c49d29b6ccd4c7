"""Ends open streams, WebSockets and long responses when their callers lose access.

Access is checked when a request begins. One task checks all open requests again, together in one query.
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

#: How long access may outlast its withdrawal in another gateway; in this one it ends at once.
SWEEP_SECONDS: Final = 15.0
#: Open requests per query.
BATCH: Final = 1000


@attrs.frozen(kw_only=True, eq=False)
class OpenRequest:
    """An open request: its caller, project and minimum role, and how to abort it."""

    caller: Caller
    project_id: str
    least: Role
    end: Callable[[], None]

    @property
    def key(self) -> tuple[str, str, str | None]:
        return self.project_id, self.caller.user_id, self.caller.token_id


class AccessMonitor:
    """All open requests of this process. ``run`` is its task."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: set[OpenRequest] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, request: OpenRequest) -> None:
        """Watch the request until ``leave``."""
        self._open.add(request)

    def leave(self, request: OpenRequest) -> None:
        self._open.discard(request)

    def look_now(self) -> None:
        """Check now, because access was withdrawn here."""
        self._changed.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        # If the database cannot be asked, nobody loses access: their roles are not known now.
        await every(SWEEP_SECONDS, self._look, failed="access not looked at again", woken=self._changed)

    async def _look(self) -> None:
        keys = list({request.key for request in self._open})
        allowed: dict[tuple[str, str, str | None], Role | None] = {}
        for start in range(0, len(keys), BATCH):
            allowed |= await self._ask(keys[start : start + BATCH])
        for request in list(self._open):
            # Requests that began during the query have just been checked.
            if request.key in allowed and (reason := _withdrawn(request, allowed[request.key])):
                logger.info("ended: access was withdrawn", extra={"project": request.project_id, "reason": reason})
                request.end()

    async def _ask(self, keys: Sequence[tuple[str, str, str | None]]) -> dict[tuple[str, str, str | None], Role | None]:
        """The role of each, None if it has none any more."""
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
