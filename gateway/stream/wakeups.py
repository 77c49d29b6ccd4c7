"""Wake-ups between the gateways on one database: which logs have grown, and that leases were released.

They are hints: a gateway that misses one notices a little later by polling. They are sent after the commit, from a
separate connection, at most every 25 ms and combined, because ``NOTIFY`` takes a lock of the whole database, and would
slow appends down.

One connection sends and listens. It is probed, because a frozen one would go unnoticed. And it must hear what this
gateway sends over another connection: through a pooler in transaction mode nothing is ever heard, and nothing fails.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress

from gateway.db.availability import log_failure
from gateway.db.dedicated import Dedicated
from gateway.db.pool import Database
from gateway.errors import GatewayError
from gateway.log.ids import LogId
from gateway.log.store import Appended
from gateway.wire.events import Cursor

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.025
#: PostgreSQL's payloads are limited to 7,999 bytes.
PAYLOAD_BYTES = 7_900
#: How often an idle connection is probed, and how long an answer may take.
PROBE_SECONDS, ANSWER_SECONDS = 3.0, 3.0
#: How often it is looked whether anything is heard. Each time costs a commit.
ECHO_SECONDS = 60.0
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 2.0

RELEASED = "leases-released"
#: What a gateway sends to itself.
ECHO = "echo"


class Wakeups:
    """What this gateway sends to the others and receives. ``run`` is its task."""

    def __init__(self, database: Database, *, gateway_id: str) -> None:
        """``gateway_id``: a word without spaces; our own messages have it."""
        self._database = database
        self._gateway_id = gateway_id
        self._moved: dict[LogId, Cursor] = {}
        self._released = False
        self._due = asyncio.Event()
        self._on_moved: list[Callable[[LogId, Cursor], None]] = []
        self._on_released: list[Callable[[], None]] = []
        #: Set while listening.
        self.listening = asyncio.Event()
        self._echo = asyncio.Event()
        #: Why nothing is heard, although the database can be used: a clause for people.
        self.deafness: str | None = None

    def on_moved(self, listener: Callable[[LogId, Cursor], None]) -> None:
        """Call ``listener(log_id, head)`` when another gateway has appended; it must not block."""
        self._on_moved.append(listener)

    def on_released(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when another gateway has released leases; it must not block."""
        self._on_released.append(listener)

    def moved(self, log_id: LogId, appended: Appended) -> None:
        """Tell the others that a log has grown; for ``Log.listen``."""
        self._moved[log_id] = appended.cursor
        self._due.set()

    def released(self) -> None:
        """Tell the others that leases are free."""
        self._released = True
        self._due.set()

    async def run(self) -> None:
        """Send and listen until cancelled; a lost connection is replaced."""
        backoff = MIN_BACKOFF_SECONDS
        while True:
            try:
                async with self._database.dedicated(limit=ANSWER_SECONDS) as connection:
                    await connection.execute("listen_for_wakeups")
                    self.listening.set()
                    backoff = MIN_BACKOFF_SECONDS
                    await self._use(connection)
            except GatewayError as exc:
                log_failure(logger, "no wake-ups", exc)
                if self._database.has_two_ways:
                    self._hears(deafness=f"{exc}".rstrip("."))
            finally:
                self.listening.clear()
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _use(self, connection: Dedicated) -> None:
        tasks = [
            asyncio.create_task(self._tell(connection), name="tell other gateways"),
            asyncio.create_task(self._hear(connection), name="hear other gateways"),
            asyncio.create_task(self._test_hearing(connection), name="hear this gateway"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for failure in [task.exception() for task in tasks if not task.cancelled()]:
            if failure is not None:
                raise failure

    async def _tell(self, connection: Dedicated) -> None:
        while True:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._due.wait()
            except TimeoutError:
                await connection.execute("probe")
                continue
            self._due.clear()
            await connection.execute("send_wakeups", payloads=list(self._payloads()))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _hear(self, connection: Dedicated) -> None:
        while True:
            gateway_id, *words = (await connection.notification()).split(" ")
            if gateway_id == self._gateway_id:
                if words == [ECHO]:
                    self._echo.set()
                continue
            for word in words:
                self._take(word)

    async def _test_hearing(self, connection: Dedicated) -> None:
        while True:
            if self.deafness is not None:
                await connection.execute("listen_for_wakeups")
            # Not over the connection that listens: a pooler passes on what that one says to itself.
            with suppress(GatewayError):
                # Twice, because one may be late: this process or the database may have stood still.
                heard = await self._hears_echo() or await self._hears_echo()
                self._hears(deafness=None if heard else self._pooled())
            if self.deafness is not None:
                # Through a pooler somebody else may have this session next.
                await connection.execute("stop_listening")
            await asyncio.sleep(ECHO_SECONDS)

    async def _hears_echo(self) -> bool:
        self._echo.clear()
        await self._database.execute("send_wakeups", payloads=[f"{self._gateway_id} {ECHO}"])
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._echo.wait()
        return self._echo.is_set()

    def _pooled(self) -> str:
        if self._database.has_two_ways:
            return "database.direct_url leads through a pooler in transaction mode, too"
        return "database.url leads through a pooler in transaction mode; set database.direct_url"

    def _hears(self, *, deafness: str | None) -> None:
        if self.deafness is None and deafness is not None:
            logger.warning("notifications do not arrive", extra={"reason": deafness})
        elif self.deafness is not None and deafness is None:
            logger.warning("notifications arrive again")
        self.deafness = deafness

    def _take(self, word: str) -> None:
        if word == RELEASED:
            for released in self._on_released:
                released()
            return
        log, _, text = word.partition("=")
        head = Cursor.parse(text)
        if head is not None:
            for moved in self._on_moved:
                moved(LogId.parse(log), head)

    def _payloads(self) -> Iterator[str]:
        words = [f"{log_id}={head}" for log_id, head in self._moved.items()]
        if self._released:
            words.append(RELEASED)
        self._moved, self._released = {}, False
        payload = self._gateway_id
        for word in words:
            if len(payload) + 1 + len(word) > PAYLOAD_BYTES:
                yield payload
                payload = self._gateway_id
            payload += f" {word}"
        yield payload
