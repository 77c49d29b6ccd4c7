"""What answers must look like, and what the database holds."""

from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import sql

from tests.world import Answer

MEMBERS = {"type", "title", "status", "code", "detail", "instance", "requestId"}


def problem(answer: Answer, status: int, code: str | None = None, *, says: str = "") -> dict[str, Any]:
    """The answer as a problem document (RFC 9457) with this status and code, its ``detail`` holding ``says``."""
    shown = f"{answer.status} {answer.body[:500]!r}"
    assert answer.headers["Content-Type"].partition(";")[0] == "application/problem+json", shown
    document: dict[str, Any] = answer.json
    assert set(document) >= MEMBERS, shown
    assert answer.status == document["status"] == status, shown
    assert code is None or document["code"] == code, shown
    assert says in document["detail"], shown
    assert answer.headers["X-Request-Id"] == document["requestId"], shown
    return document


def rows(database_url: str, *, of_project: str | None = None) -> dict[str, int]:
    """How many rows each table has, of all projects or of one; tables without a project are left out then."""
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select table_name, array_agg(column_name::text) from information_schema.columns"
            " join information_schema.tables using (table_schema, table_name)"
            " where table_schema = 'public' and table_type = 'BASE TABLE' and table_name !~ 'yoyo' group by table_name"
        )
        counts = {}
        for table, columns in cursor.fetchall():
            key = "project_id" if "project_id" in columns else "id" if table == "projects" else None
            # What was done to a project is known when it is no more, too.
            if of_project is not None and (key is None or table == "audit_entries"):
                continue
            statement = sql.SQL("select count(*) from {}").format(sql.Identifier(table))
            if of_project is not None and key is not None:
                statement += sql.SQL(" where {} = {}").format(sql.Identifier(key), sql.Literal(of_project))
            cursor.execute(statement)
            [(counts[table],)] = cursor.fetchall()
        return counts
