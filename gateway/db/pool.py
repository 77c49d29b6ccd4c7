"""``Database``: named queries and transactions, run in tasks that no caller can cancel.

A request's task is cancelled when its client goes away. A statement cancelled half-way would leave PostgreSQL working
on it with nobody listening, so every statement and every transaction runs to its end in a task of the Database; a
cancelled caller merely stops waiting for it.

No other room knows aiopg and psycopg2.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import psycopg2

from gateway.db.addresses import addresses
from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.availability import Availability, is_away
from gateway.db.connections import Connections, Usage
from gateway.db.dedicated import Dedicated
from gateway.db.errors import (
    SYNCHRONOUS_STANDBY,
    LostRace,
    OutcomeUnknown,
    QueryTimeout,
    Unusable,
    because,
    not_connected,
    outcome_unknown,
    query_timeout,
    unavailable,
)
from gateway.db.parameters import parameters
from gateway.db.pieces import Spread, is_large
from gateway.db.queries import Queries, Query
from gateway.db.sending import ConnectionLost, Result, send
from gateway.db.session import SessionSettings, advice
from gateway.db.timeline import Timeline
from gateway.db.troubles import Troubles
from gateway.db.waits import Waits
from gateway.errors import DatabaseUnavailable, GatewayError

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: A row by column name. ``bytea`` is ``bytes``, ``jsonb`` is decoded, ``timestamptz`` is an aware ``datetime``.
Row = Mapping[str, Any]

#: Seconds a transaction may take in all; its statements are each bound by the statement timeout.
TRANSACTION_LIMIT = 60.0
TRANSACTION_ATTEMPTS = 3
#: Seconds that PostgreSQL has beyond its own statement timeout to say so, before the connection counts as dead.
GRACE = 5.0


class Transaction:
    """The inside of ``Database.transaction``. Statements of one transaction run one after another, in any task."""

    def __init__(self, connection: MendedConnection, queries: Queries, limit: float):
        self._connection = connection
        self._queries = queries
        self._limit = limit
        self._turn = asyncio.Lock()
        self._over = False

    async def fetch_all(self, query: str, /, **params: Any) -> list[Row]:
        return list((await self.run(query, params)).rows)

    async def fetch_one(self, query: str, /, **params: Any) -> Row | None:
        return next(iter((await self.run(query, params)).rows), None)

    async def execute(self, query: str, /, **params: Any) -> int:
        return (await self.run(query, params)).count

    async def run(self, name: str, params: Mapping[str, Any]) -> Result:
        """A statement, with all that came of it."""
        query = self._queries[name]
        query.check(params)
        async with self._turn:
            if self._over:
                raise RuntimeError("the transaction is over")
            try:
                return await self._send(query.sql, params)
            except ConnectionLost as exc:
                # It was not committed, so it never happened.
                raise unavailable() from exc

    async def _send(self, sql: str, params: Mapping[str, Any]) -> Result:
        if not is_large(params):
            return await send(self._connection, sql, params, self._limit)
        spread = Spread.of(sql, params)
        for statement, piece in spread.pieces():
            await send(self._connection, statement, piece, self._limit)
        return await send(self._connection, spread.sql, spread.params, self._limit)

    async def finish(self) -> None:
        """Let a statement under way end, and no other begin."""
        async with self._turn:
            self._over = True


class Database:
    """A PostgreSQL database by its named queries. ``open`` it; ``close`` it, or use it as ``async with``.

    Errors of every call: ``DatabaseUnavailable`` (nothing was changed), ``OutcomeUnknown`` (repeat it only if that is
    harmless), and those of ``gateway.db.errors``.
    """

    def __init__(
        self,
        connections: Connections,
        connect_directly: Callable[[], Awaitable[MendedConnection]],
        queries: Queries,
        statement_timeout: float,
        troubles: Troubles,
        timeline: Timeline,
        *,
        has_two_ways: bool,
    ):
        """Not for callers: see ``open``."""
        #: Whether the database is still the same.
        self.timeline = timeline
        self._connections = connections
        self._connect_directly = connect_directly
        #: Whether dedicated connections take another way than all others.
        self.has_two_ways = has_two_ways
        self._queries = queries
        self._limit = statement_timeout + GRACE
        self._availability = Availability()
        self._troubles = troubles
        self._waits = Waits(connect_directly, troubles)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        size: int = 8,
        statement_timeout: float = 15,
        connect_timeout: float = 5,
        acquire_timeout: float = 5,
        direct_url: str = "",
        queries: Queries | None = None,
    ) -> "Database":
        """Connect to ``postgresql://…``; times are in seconds. ``DatabaseUnavailable`` if it does not answer.

        ``acquire_timeout`` is how long a caller waits when all ``size`` connections are busy. ``direct_url`` leads past
        a pooler to the same database: for ``dedicated``.
        """
        troubles, timeline = Troubles(), Timeline()

        def connecting(url: str, name: str) -> Callable[[], Awaitable[MendedConnection]]:
            given = parameters(url, application_name=name)
            settings = SessionSettings(given, statement_timeout=statement_timeout)
            return partial(_open_session, given, settings, timeline, connect_timeout, troubles)

        connections = Connections(connecting(url, "acp-gateway"), size=size, acquire_timeout=acquire_timeout)
        directly = connecting(direct_url or url, "acp-gateway-dedicated")
        async with connections.lend():
            found = queries or Queries.load()
            return cls(
                *(connections, directly, found, statement_timeout, troubles, timeline),
                has_two_ways=direct_url not in ("", url),
            )

    async def close(self, *, deadline: float = 10) -> None:
        """Let what runs come to its end for ``deadline`` seconds, then cut it off."""
        self._closed = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=deadline)
            for task in late:
                task.cancel()
            if late:
                logger.warning("database work cut off at shutdown", extra={"count": len(late)})
                await asyncio.wait(late, timeout=deadline)
        await self._waits.close()
        self._connections.close()

    def usage(self) -> Usage:
        """How its connections are used just now."""
        return self._connections.usage()

    def troubles(self) -> Mapping[str, str]:
        """Why it refuses work just now: clauses for people, by a word for programs. It need not be so for all work."""
        return self._troubles.lasting()

    async def look_for_waits(self) -> None:
        """Find out what holds up changes that do not end, for ``troubles``."""
        await self._waits.look()

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def fetch_all(self, query: str, /, **params: Any) -> list[Row]:
        """All rows of the statement that stands under this name in ``queries.sql``."""
        return list((await self._statement(query, params)).rows)

    async def fetch_one(self, query: str, /, **params: Any) -> Row | None:
        """The first row, or None."""
        return next(iter((await self._statement(query, params)).rows), None)

    async def execute(self, query: str, /, **params: Any) -> int:
        """How many rows were affected."""
        return (await self._statement(query, params)).count

    async def log_advice(self) -> str | None:
        """What its administrator has to run to keep what users say out of PostgreSQL's log; None where that is so."""

        async def ask() -> str | None:
            async with self._connections.lend() as connection:
                try:
                    return await advice(connection, self._limit)
                except ConnectionLost as exc:
                    raise unavailable() from exc

        return await self._own(ask())

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """What ``work`` returns, once committed; if it raises, nothing of it happened.

        ``work`` runs in a task of the Database and goes on when the caller is cancelled. It must use the Transaction
        that it is given, not the Database, and end within a minute. It runs again where a deadlock undid it.
        """
        return await self._own(self._transact(work, self.timeline.epoch))

    @asynccontextmanager
    async def dedicated(self, *, limit: float) -> AsyncIterator[Dedicated]:
        """A separate connection for one owner, closed afterwards; ``limit``: seconds for each statement.

        Connecting and each statement raise ``DatabaseUnavailable``; cancelling a statement closes the connection.
        """
        if self._closed:
            raise unavailable("the gateway is stopping")
        connecting = self._connect_directly()
        # Where they take another way, their failures say nothing of the database.
        connection = await (connecting if self.has_two_ways else self._watched(connecting))
        try:
            yield Dedicated(connection, self._queries, limit)
        finally:
            connection.close()

    async def _statement(self, name: str, params: Mapping[str, Any]) -> Result:
        query = self._queries[name]
        query.check(params)
        if is_large(params):
            return await self.transaction(lambda transaction: transaction.run(name, params))
        return await self._own(self._run(query, params, self.timeline.epoch))

    async def _own(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise unavailable("the gateway is stopping")
        task = asyncio.create_task(self._watched(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise
        if task.cancelled():
            raise outcome_unknown()
        return task.result()

    async def _watched(self, work: Awaitable[T]) -> T:
        try:
            result = await work
        except (QueryTimeout, OutcomeUnknown) as exc:
            if (isinstance(exc, QueryTimeout) or _timed_out(exc)) and await self._waits.look():
                raise because(exc, SYNCHRONOUS_STANDBY) from exc.__cause__
            raise
        except Unusable as exc:
            self._troubles.saw(exc.reason)
            raise
        except GatewayError as exc:
            # One connection that was lost says nothing of the next one.
            if is_away(exc) and not isinstance(exc.__cause__, ConnectionLost):
                self._availability.failed(str(exc))
            raise
        self._availability.worked()
        self._troubles.lasting()
        return result

    async def _run(self, query: Query, params: Mapping[str, Any], epoch: int | None) -> Result:
        try:
            return await self._run_once(query, params, epoch)
        except ConnectionLost as exc:
            if not query.only_reads:
                raise outcome_unknown() from exc
            logger.info("connection lost in a read; reading again", extra={"query": query.name})
        try:
            return await self._run_once(query, params, epoch)
        except ConnectionLost as exc:
            raise unavailable() from exc

    async def _run_once(self, query: Query, params: Mapping[str, Any], epoch: int | None) -> Result:
        async with self._connections.lend() as connection:
            if not query.only_reads:
                self.timeline.check(epoch)
            return await send(connection, connection.preamble + query.sql, params, self._limit)

    async def _transact(self, work: Callable[[Transaction], Awaitable[T]], epoch: int | None) -> T:
        for _ in range(TRANSACTION_ATTEMPTS - 1):
            try:
                return await self._transact_once(work, epoch)
            except LostRace:
                logger.info("deadlock; running the transaction again")
        return await self._transact_once(work, epoch)

    async def _transact_once(self, work: Callable[[Transaction], Awaitable[T]], epoch: int | None) -> T:
        async with self._begun(epoch) as connection:
            transaction = Transaction(connection, self._queries, self._limit)
            try:
                result = await _within(TRANSACTION_LIMIT, work(transaction))
                await transaction.finish()
            except Exception:
                await transaction.finish()
                await self._roll_back(connection)
                raise
            except BaseException:
                connection.close()
                raise
            await self._commit(connection)
            return result

    @asynccontextmanager
    async def _begun(self, epoch: int | None) -> AsyncIterator[MendedConnection]:
        for last in (False, True):
            async with self._connections.lend() as connection:
                self.timeline.check(epoch)
                try:
                    await send(connection, f"BEGIN; {connection.preamble}", {}, self._limit)
                except ConnectionLost as exc:
                    if last:
                        raise unavailable() from exc
                    continue
                yield connection
                return

    async def _commit(self, connection: MendedConnection) -> None:
        if connection.closed:
            raise unavailable()
        try:
            result = await send(connection, "COMMIT", {}, self._limit)
        except ConnectionLost as exc:
            raise outcome_unknown() from exc
        if result.tag != "COMMIT":
            # PostgreSQL answers COMMIT with ROLLBACK, and no error, when a statement had failed and `work` went on.
            raise RuntimeError("the transaction was rolled back: a failed statement in it was ignored")

    async def _roll_back(self, connection: MendedConnection) -> None:
        if connection.closed:
            return
        try:
            await send(connection, "ROLLBACK", {}, self._limit)
        except (ConnectionLost, GatewayError):
            connection.close()


async def _within(limit: float, work: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(limit) as timeout:
            return await work
    except TimeoutError:
        if timeout.expired():
            raise query_timeout(f"The transaction took longer than {limit:g} seconds.") from None
        raise


def _log_failure(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    exc = task.exception()
    if exc is not None:
        # With an unavailable database, a traceback does not help.
        trace = None if isinstance(exc, DatabaseUnavailable) else exc
        logger.error("database work failed after its caller had left", exc_info=trace, extra={"error": str(exc)})


def _timed_out(exc: OutcomeUnknown) -> bool:
    """Whether the connection was given up because there was no answer."""
    lost = exc.__cause__
    return lost is not None and isinstance(lost.__cause__, TimeoutError)


async def _open_session(
    given: dict[str, str], settings: SessionSettings, timeline: Timeline, timeout: float, troubles: Troubles
) -> MendedConnection:
    try:
        connection = await _connect(given, timeout)
    except Unusable as exc:
        # The caller may yet be given one of those that there are.
        troubles.saw(exc.reason)
        raise
    try:
        await settings.apply(connection, timeout)
        await timeline.look(connection, timeout)
    except ConnectionLost as exc:
        connection.close()
        raise unavailable() from exc
    except BaseException:
        connection.close()
        raise
    return connection


async def _connect(given: dict[str, str], timeout: float) -> MendedConnection:
    """A connection to the first address that gives one. They share ``timeout``, so that the last has its turn too."""
    reason = "it has no address"
    try:
        async with asyncio.timeout(timeout):
            targets = await addresses(given)
    except TimeoutError:
        raise unavailable("its name could not be resolved in time") from None
    except OSError as exc:
        raise unavailable("its name could not be resolved") from exc
    base = {key: value for key, value in given.items() if key not in ("host", "hostaddr", "port")}
    for target in targets:
        try:
            return await MendedConnection.open({**base, **target}, timeout=timeout / len(targets))
        except TimeoutError:
            reason = "it did not answer in time"
        except psycopg2.Error as exc:
            reason = _reason(exc)
    raise not_connected(reason)


def _reason(exc: psycopg2.Error) -> str:
    """libpq's reason without the address: ``Connection refused``, ``password authentication failed for user "x"``."""
    line = next(iter(str(exc).strip().splitlines()), "no reason given")
    return line.rpartition("failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
