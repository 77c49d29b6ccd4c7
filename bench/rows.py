"""What one long turn leaves in the database, once it is folded into messages and its events are packed."""

import argparse
import time

import psycopg2

from bench.events import CHUNK_BYTES
from bench.world import World, call, world

#: All that grows with a turn's length, with indexes and TOAST.
TABLES = ("events", "event_packs", "agent_session_messages", "turns", "log_sources")
PATIENCE_SECONDS = 120
#: A gateway looks every two seconds for what can be packed.
QUIET_SECONDS = 8


def main(arguments: list[str]) -> None:
    """rows and bytes that a turn of 10,000 chunks leaves, as shares of its chunks and of its text"""
    parser = argparse.ArgumentParser(prog="python -m bench rows", description=main.__doc__)
    parser.add_argument("--chunks", type=int, default=10_000, help="of some 25 bytes each (default 10000)")
    options = parser.parse_args(arguments)
    with world(events_pack_after="0") as running:
        project = running.project("rows")
        _run_turn(running, project.acp, project.session, 1)
        rows_before, bytes_before = _weigh(running)
        _run_turn(running, project.acp, project.session, options.chunks)
        rows, size = _weigh(running)
    rows, size, text = rows - rows_before, size - bytes_before, options.chunks * CHUNK_BYTES
    print(
        f"{options.chunks} chunks, {text} bytes of text: {rows} rows ({100 * rows / options.chunks:.2f} % of the "
        f"chunks), {size} bytes ({size / text:.2f} × the text)"
    )


def _run_turn(running: World, acp: str, session: str, chunks: int) -> None:
    """Run a turn, and wait until what it left is folded and packed as far as it ever is."""
    turn = call(f"{acp}/session/{session}/prompt", {"prompt": str(chunks)})["turnId"]
    end, rows, since = time.monotonic() + PATIENCE_SECONDS, -1, time.monotonic()
    while time.monotonic() < since + QUIET_SECONDS:
        if time.monotonic() > end:
            raise TimeoutError("the turn does not come to rest")
        now = _ask(running, "select count(*) from events")
        if now != rows or call(f"{acp}/session/{session}/turns/{turn}")["state"] == "running":
            rows, since = now, time.monotonic()
        time.sleep(0.2)


def _weigh(running: World) -> tuple[int, int]:
    rows = size = 0
    for table in TABLES:
        _ask(running, f"vacuum full {table}")
        rows += _ask(running, f"select count(*) from {table}")
        size += _ask(running, f"select pg_total_relation_size('{table}')")
    return rows, size


def _ask(running: World, statement: str) -> int:
    connection = psycopg2.connect(running.database_url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return int(cursor.fetchall()[0][0]) if cursor.description else 0
    finally:
        connection.close()
