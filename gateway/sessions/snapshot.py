"""A snapshot: a session as of one place in the log, from which its stream continues."""

from contextlib import suppress
from functools import partial

import attrs

from gateway.db.pool import Database, Transaction
from gateway.errors import HistoryTooLong, SessionNotFound
from gateway.log.folding import ATTEMPTS, Folding
from gateway.log.transcript import Page, Transcript
from gateway.permissions.requests import Permission
from gateway.sessions.sessions import Session
from gateway.wire.limits import PAGE_BYTES


@attrs.frozen(kw_only=True)
class Snapshot:
    """A session, its open permission requests and its newest messages, all as of ``session.cursor``."""

    session: Session
    permissions: tuple[Permission, ...]
    #: Oldest first; ``next`` is where the page of older ones begins.
    messages: Page


@attrs.frozen
class Snapshots:
    """Takes snapshots of sessions."""

    database: Database
    transcript: Transcript
    folding: Folding

    async def take(self, project_id: str, session_id: str, *, limit: int) -> Snapshot:
        """A session's snapshot with its newest messages. Raises ``SessionNotFound``."""

        async def work(transaction: Transaction, however_long: bool = False) -> Snapshot:
            await transaction.execute("freeze")
            row = await transaction.fetch_one("get_session", project_id=project_id, id=session_id)
            if row is None:
                raise SessionNotFound(f"There is no session {session_id!r} in this project.")
            waiting = await transaction.fetch_all(
                "list_session_permissions", project_id=project_id, session_id=session_id
            )
            permissions = tuple(map(Permission.from_row, waiting))
            page = await self.transcript.page(
                project_id,
                session_id,
                after=None,
                limit=limit,
                newest_first=True,
                size=max(1, PAGE_BYTES - sum(one.size for one in permissions)),
                within=transaction,
                however_long=however_long,
            )
            return Snapshot(
                session=Session.from_row(row),
                permissions=permissions,
                messages=attrs.evolve(page, messages=page.messages[::-1]),
            )

        for _ in range(ATTEMPTS):
            with suppress(HistoryTooLong):
                return await self.database.transaction(work)
            await self.folding.shorten(project_id, session_id)
        return await self.database.transaction(partial(work, however_long=True))
