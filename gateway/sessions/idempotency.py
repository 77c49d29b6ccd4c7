"""Calls that are done once, however often they are sent: by their ``Idempotency-Key``.

A key reserves the id of what its call makes before anything happens. The gateway that works on the call holds the key
as long as it lives. If it dies, the gateway that gets the call again continues with the same id, so that it finds what
has been done and does not do it twice.
draft-ietf-httpapi-idempotency-key-header-07
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import attrs

from gateway.db.errors import OutcomeUnknown
from gateway.db.every import every
from gateway.db.pool import Database, Row
from gateway.db.retry import retry_until_stored
from gateway.errors import DatabaseUnavailable, GatewayError, IdempotencyKeyInUse, IdempotencyKeyReused
from gateway.tasks import Tasks, wait_for

#: How long the same call waits for the answer of the one that came first.
WAIT_SECONDS = 20.0
#: How long a call waits until its end is stored, which is tried for as long as it takes.
END_SECONDS = 5.0
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

    def digits(self, seconds: float) -> str:
        """20 hexadecimal digits: the same for the same call in the same period of so many seconds.

        An id that is made of them is found by a call that is sent again after the database has lost its key.
        """
        period = int(time.time() // seconds)
        parts = (self.project_id, self.user_id, self.key, str(period))
        return hashlib.sha256(b"\n".join([self.digest, *(part.encode() for part in parts)])).hexdigest()[:20]

    @staticmethod
    def digest_of(method: str, path: str, body: bytes) -> bytes:
        return hashlib.sha256(b"%b %b\n%b" % (method.encode(), path.encode(), body)).digest()

    @property
    def place(self) -> dict[str, str]:
        return {"project_id": self.project_id, "user_id": self.user_id, "key": self.key}


@attrs.frozen(kw_only=True)
class _Hold:
    """The right to work on a call. ``fresh``: nobody has worked on it before, so that nothing of it has been done."""

    resource_id: str
    fresh: bool


#: Does what is asked under the reserved id; where that has been done in part or in whole, the rest of it.
Work = Callable[[str], Awaitable[Answer]]


class IdempotencyKeys:
    """All keys in one database. Its owner runs ``sweep`` in a task."""

    def __init__(self, database: Database, *, gateway_id: str, hours: float) -> None:
        """An answer is kept for ``hours``."""
        self._database = database
        self._gateway_id = gateway_id
        self.hours = hours
        self._tasks = Tasks()

    async def once(self, call: Call, proposed_id: str, work: Work) -> Answer:
        """The answer of ``work``, which is done once for ``call``'s key. Run it in a task of its own.

        Raises ``IdempotencyKeyReused`` where the key is another call's, ``IdempotencyKeyInUse`` where the same call is
        still being worked on after some seconds, and what ``work`` raises. What fails before it has had an effect
        frees the key.
        """
        # Each attempt has a name of its own: none lets go what another of this gateway holds.
        place = {**call.place, "holder": f"{self._gateway_id}.{secrets.token_hex(8)}"}
        try:
            found = await wait_for(partial(self._look, call, place, proposed_id), seconds=WAIT_SECONDS)
        except OutcomeUnknown:
            await self._end(place, "free_idempotency_key")
            raise
        if found is None:
            raise IdempotencyKeyInUse(headers={"Retry-After": "1"})
        if isinstance(found, Answer):
            return found
        try:
            answer = await work(found.resource_id)
        except BaseException as exc:
            # A failure without an effect frees the key; otherwise a retry continues at once.
            is_clean = found.fresh and _had_no_effect(exc)
            await self._end(place, "forget_idempotency_key" if is_clean else "free_idempotency_key")
            raise
        await self._end(place, "answer_idempotency_key", **attrs.asdict(answer))
        return answer

    async def sweep(self) -> None:
        """Delete old keys, now and then, until cancelled."""
        await every(SWEEP_SECONDS, self._delete_old, failed="old keys not deleted")

    async def close(self) -> None:
        await self._tasks.close()

    async def _delete_old(self) -> None:
        deleted = SWEEP_BATCH
        while deleted == SWEEP_BATCH:
            batch = {"hours": self.hours, "limit": SWEEP_BATCH}
            deleted = await self._database.execute("delete_old_idempotency_keys", **batch)
            await asyncio.sleep(BATCH_PAUSE_SECONDS)

    async def _look(self, call: Call, place: Mapping[str, str], proposed_id: str) -> "_Hold | Answer | None":
        """The right to work on the call, or its answer; None while somebody else works on it."""
        row = await self._database.fetch_one(
            "hold_idempotency_key",
            digest=call.digest,
            resource_id=proposed_id,
            hours=self.hours,
            **place,
        )
        if row is not None:
            resource_id = row["resource_id"]
            return _Hold(resource_id=resource_id, fresh=resource_id == proposed_id)
        row = await self._database.fetch_one("get_idempotency_key", hours=self.hours, **call.place)
        return None if row is None else _answer(row, call)

    async def _end(self, place: Mapping[str, str], query: str, **values: Any) -> None:
        """Store how it ended. Nobody waits long for a database that is away, but this gateway would hold the key on."""
        work = retry_until_stored(lambda: self._database.execute(query, **values, **place))
        await asyncio.wait((self._tasks.start(work, name="end idempotency key"),), timeout=END_SECONDS)


def _answer(row: Row, call: Call) -> Answer | None:
    if row["digest"] != call.digest:
        raise IdempotencyKeyReused()
    if row["status"] is None:
        return None
    return Answer(status=row["status"], body=row["body"], location=row["location"])


def _had_no_effect(exc: BaseException) -> bool:
    """Whether a failed call has certainly stored nothing: a database that goes away may have stored it before."""
    return isinstance(exc, GatewayError) and not isinstance(exc, DatabaseUnavailable | OutcomeUnknown)
