"""One statement on one connection, and what became of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import psycopg2
from aiopg.connection import Cursor

from gateway.db.aiopg_fixes import BYTEA, MendedConnection, let_go
from gateway.db.errors import UnstorableText, from_sqlstate

#: libpq keeps room for the most that a connection has ever read, as long as the connection lasts. One that has brought
#: more than so many bytes and characters is not used again.
MAX_KEPT = 1_048_576
#: What a standby or a former primary raises (read_only_sql_transaction), and ``require_epoch`` after a failover.
_NOT_OURS = ("25006", "57P03")


class ConnectionLost(Exception):
    """The connection went while PostgreSQL may have been working on what was sent last."""


@attrs.frozen
class Result:
    rows: list[dict[str, Any]]
    #: Rows affected, or returned.
    count: int
    #: PostgreSQL's command tag: ``COMMIT``, ``INSERT 0 1``.
    tag: str


async def send(connection: MendedConnection, sql: str, params: Mapping[str, Any], limit: float) -> Result:
    """Run one statement; ``ConnectionLost`` if the connection did not survive it."""
    try:
        cursor = await connection.cursor(timeout=limit)
        try:
            await _execute(cursor, sql, params)
            rows = _rows(cursor.description, await cursor.fetchall()) if cursor.description else []
            if _weight(rows) > MAX_KEPT:
                connection.is_worn = True
            return Result(rows, cursor.rowcount, cursor.statusmessage)
        finally:
            let_go(cursor)
    except TimeoutError as exc:
        raise ConnectionLost from exc
    except psycopg2.Error as exc:
        _strip(exc)
        if connection.closed:
            raise ConnectionLost from exc
        if exc.pgcode in _NOT_OURS:
            connection.is_outdated = True
        raise from_sqlstate(exc.pgcode, exc.diag.message_primary, exc.diag.constraint_name) from exc


async def _execute(cursor: Cursor, sql: str, params: Mapping[str, Any]) -> None:
    try:
        await cursor.execute(sql, params or None)
    except ValueError:
        # The driver refuses NUL and half surrogate pairs before it sends anything; its message quotes the text.
        raise UnstorableText from None


def _strip(exc: psycopg2.Error) -> None:
    """Drop the server's text, which quotes values: errors end up in logs."""
    if exc.pgcode is not None:
        exc.args = (exc.pgcode,)


def _rows(columns: Sequence[Any], found: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Rows by column, with ``bytea`` as bytes."""
    names = [column.name for column in columns]
    binary = [column.name for column in columns if column.type_code == BYTEA]
    rows = [dict(zip(names, row, strict=True)) for row in found]
    # Nothing large is to be here twice.
    found.clear()
    for row in rows if binary else ():
        for name in binary:
            if row[name] is not None:
                row[name] = bytes(row[name])
    return rows


def _weight(rows: list[dict[str, Any]]) -> int:
    """Of the rows' large values."""
    return sum(len(value) for row in rows for value in row.values() if isinstance(value, bytes | str))
