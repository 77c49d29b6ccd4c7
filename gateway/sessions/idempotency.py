"""Calls that are done once, however often they are sent: by their ``Idempotency-Key``.

A key reserves the id of what its call makes before anything happens. Whoever works on the call holds the key for a
short time and renews that; where a gateway dies, the key becomes free and whoever gets the call again goes on with the
same id, so that what has been done is found and not done twice.
draft-ietf-httpapi-idempotency-key-header-07
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs

from gateway.db.availability import log_failure
from gateway.db.errors import OutcomeUnknown
from gateway.db.pool import Database, Row
from gateway.errors import DatabaseUnavailable, GatewayError, IdempotencyKeyInUse, IdempotencyKeyReused

logger = logging.getLogger(__name__)

#: How long the same call waits for the answer of the one that came first.
WAIT_SECONDS = 20.0
FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS = 0.02, 0.25
#: Old keys are deleted in batches, so that no statement holds many rows for long.
SWEEP_SECONDS, SWEEP_BATCH, BATCH_PAUSE_SECONDS = 300.0, 1000, 0.1


@attrs.frozen(kw_only=True)
class Answer:
    """What a call is answered: its status, JSON body and ``Location``."""

    status: int
    body: bytes
    location: str | None = None


@attrs.frozen(kw_only=True)
class Call:
    """A call with a key: whose, in which project, and what it asks, as a digest."""

    project_id: str
    user_id: str
    key: str
    digest: bytes

    @staticmethod
    def digest_of(method: str, path: str, body: bytes) -> bytes:
        return hashlib.sha256(b"%b %b\n%b" % (method.encode(), path.encode(), body)).digest()

    @property
    def place(self) -> dict[str, str]:
        return {"project_id": self.project_id, "user_id": self.user_id, "key": self.key}


@attrs.frozen(kw_only=True)
class _Hold:
    """The right to work on a call. ``fresh``: nobody has worked on it before, so that nothing of it has been done."""

    call: Call
    holder: str
    resource_id: str
    fresh: bool

    @property
    def place(self) -> dict[str, str]:
        return {**self.call.place, "holder": self.holder}


#: Does what is asked under the reserved id; where that has been done in part or in whole, the rest of it.
Work = Callable[[str], Awaitable[Answer]]


class IdempotencyKeys:
    """All keys in one database. ``sweep`` is a task of whoever owns this."""

    def __init__(self, database: Database, *, hold_seconds: float, hours: float) -> None:
        """A key whose holder has died is free after ``hold_seconds``; an answer is kept for ``hours``."""
        self._database = database
        self._hold_seconds = hold_seconds
        self._hours = hours

    async def once(self, call: Call, proposed_id: str, work: Work) -> Answer:
        """The answer of ``work``, which is done once for ``call``'s key. Run it in a task of its own.

        Raises ``IdempotencyKeyReused`` where the key is another call's, ``IdempotencyKeyInUse`` where the same call is
        still being worked on after some seconds, and what ``work`` raises. What fails before it has had an effect
        frees the key.
        """
        held = await self._claim(call, proposed_id)
        if isinstance(held, Answer):
            return held
        try:
            async with self._renewing(held):
                answer = await work(held.resource_id)
        except BaseException as exc:
            await asyncio.shield(self._let_go(held, exc))
            raise
        await self._store(held, answer)
        return answer

    async def sweep(self) -> None:
        """Delete old keys, now and then, until cancelled."""
        while True:
            deleted = 0
            try:
                deleted = await self._database.execute(
                    "delete_old_idempotency_keys", hours=self._hours, limit=SWEEP_BATCH
                )
            except GatewayError as exc:
                log_failure(logger, "old keys not deleted", exc)
            await asyncio.sleep(BATCH_PAUSE_SECONDS if deleted == SWEEP_BATCH else SWEEP_SECONDS)

    async def _claim(self, call: Call, proposed_id: str) -> "_Hold | Answer":
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + WAIT_SECONDS, FIRST_LOOK_SECONDS
        while True:
            held = await self._try_to_hold(call, proposed_id)
            if held is not None:
                return held
            row = await self._database.fetch_one("get_idempotency_key", hours=self._hours, **call.place)
            if row is not None and (answer := _answer(row, call)):
                return answer
            if loop.time() >= deadline:
                raise IdempotencyKeyInUse(headers={"Retry-After": "1"})
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_LOOK_SECONDS)

    async def _try_to_hold(self, call: Call, proposed_id: str) -> _Hold | None:
        holder = secrets.token_hex(10)
        row = await self._database.fetch_one(
            "hold_idempotency_key",
            digest=call.digest,
            resource_id=proposed_id,
            holder=holder,
            seconds=self._hold_seconds,
            hours=self._hours,
            **call.place,
        )
        if row is None:
            return None
        resource_id = row["resource_id"]
        return _Hold(call=call, holder=holder, resource_id=resource_id, fresh=resource_id == proposed_id)

    @asynccontextmanager
    async def _renewing(self, held: _Hold) -> AsyncIterator[None]:
        task = asyncio.create_task(self._renew(held), name="renew idempotency key")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def _renew(self, held: _Hold) -> None:
        while True:
            await asyncio.sleep(self._hold_seconds / 3)
            try:
                await self._database.execute("renew_idempotency_key", seconds=self._hold_seconds, **held.place)
            except GatewayError as exc:
                log_failure(logger, "key not renewed", exc)

    async def _let_go(self, held: _Hold, exc: BaseException) -> None:
        """What failed without an effect leaves nothing; else whoever sends the call again goes on at once."""
        query = "forget_idempotency_key" if held.fresh and _had_no_effect(exc) else "free_idempotency_key"
        try:
            await self._database.execute(query, **held.place)
        except GatewayError as failure:
            # Nobody renews it any more, so it is free in a moment.
            logger.info("key not let go", extra={"error": str(failure)})

    async def _store(self, held: _Hold, answer: Answer) -> None:
        values: dict[str, Any] = attrs.asdict(answer)
        try:
            await self._database.execute("answer_idempotency_key", **values, **held.place)
        except GatewayError as exc:
            # It is done. Whoever sends the call again has it looked up by its id.
            logger.warning("answer not kept for its key", extra={"error": str(exc)})


def _answer(row: Row, call: Call) -> Answer | None:
    if row["digest"] != call.digest:
        raise IdempotencyKeyReused()
    if row["status"] is None:
        return None
    return Answer(status=row["status"], body=row["body"], location=row["location"])


def _had_no_effect(exc: BaseException) -> bool:
    """Whether a failed call has certainly stored nothing: a database that goes away may have stored it before."""
    return isinstance(exc, GatewayError) and not isinstance(exc, DatabaseUnavailable | OutcomeUnknown)
