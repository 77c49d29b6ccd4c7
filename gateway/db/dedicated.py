"""A connection that one owner has for itself: to be told things on it, and to queue behind nobody's work."""

import asyncio
from typing import Any

import psycopg2

from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.errors import unavailable
from gateway.db.queries import Queries
from gateway.db.sending import ConnectionLost, send


class Dedicated:
    """Made by ``Database.dedicated``. Several may use it: statements run one after another."""

    def __init__(self, connection: MendedConnection, queries: Queries, limit: float):
        self._connection = connection
        self._queries = queries
        self._limit = limit
        self._turn = asyncio.Lock()

    async def execute(self, query: str, /, **params: Any) -> int:
        """How many rows were affected. ``DatabaseUnavailable`` when there was no answer in time: what was sent may
        have been done, and the connection is of no more use."""
        named = self._queries[query]
        named.check(params)
        try:
            async with self._turn:
                return (await send(self._connection, named.sql, params, self._limit)).count
        except ConnectionLost as exc:
            raise unavailable("the connection was lost") from exc

    async def notification(self) -> str:
        """The payload of the next notification. ``DatabaseUnavailable`` once the connection is lost."""
        try:
            notify = await self._connection.notifies.get()
        except psycopg2.Error as exc:
            raise unavailable("the connection was lost") from exc
        return str(notify.payload)
