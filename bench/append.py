"""From a container into the log, beside pgbench that inserts the same rows in the same batches."""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from bench.processes import cpu_seconds, program
from bench.world import World, world


def main(arguments: list[str]) -> None:
    """events/s from a container until they are committed, beside pgbench with the same rows"""
    parser = argparse.ArgumentParser(prog="python -m bench append", description=main.__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="in each round (default 200000)")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    options = parser.parse_args(arguments)
    with world() as running:
        project = running.project("append")
        project.fill(options.events // 10)
        for _ in range(options.rounds):
            before = cpu_seconds(running.process), cpu_seconds(running.postgres)
            head = project.head()
            ours = options.events / project.fill(options.events)
            after = cpu_seconds(running.process), cpu_seconds(running.postgres)
            gateway, postgres = (1e6 * (end - begin) / options.events for begin, end in zip(before, after, strict=True))
            batch = _events_in_an_append(running, head)
            theirs = _pgbench(running, options.events, batch)
            print(
                f"gateway {ours:8,.0f} events/s ({gateway:.0f} µs of CPU each, and PostgreSQL's {postgres:.0f}), "
                f"pgbench {theirs:8,.0f} rows/s, {batch} in a batch, gateway / pgbench: {ours / theirs:.2f}"
            )


def _events_in_an_append(running: World, head: int) -> int:
    """How many the gateway has appended at once, on average, from a place in the log on."""
    count = "select round(count(*)::numeric / count(distinct xmin::text)) from events where seq > %s"
    connection = psycopg2.connect(running.database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(count, (head,))
        [[found]] = cursor.fetchall()
    connection.close()
    return int(found)


def _pgbench(running: World, events: int, batch: int) -> float:
    """Rows a second into a table like the log's, one connection, a transaction for each batch."""
    connection = psycopg2.connect(running.database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("drop table if exists bench_events")
        cursor.execute("create table bench_events (like events including all)")
        cursor.execute("create sequence if not exists bench_seq")
        cursor.execute("select type, session_id, agent_id, payload from events order by seq desc limit 1")
        [row] = cursor.fetchall()
    connection.close()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        script = Path(home) / "insert.sql"
        script.write_text(_statement(batch, *row))
        command = [program("pgbench", "on Debian: apt-get install postgresql-contrib"), "--no-vacuum", "--client=1"]
        command += [f"--transactions={events // batch}", f"--file={script}", running.database_url]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found is not None, said
    return float(found[1]) * batch


def _statement(batch: int, type: str, session_id: str, agent_id: str, payload: memoryview) -> str:
    """Insert so many rows as the log has them: their payload is the event without what the columns say."""
    payloads = ",".join([f"'\\x{payload.hex()}'::bytea"] * batch)
    return (
        "insert into bench_events (project_id, log, seq, type, session_id, agent_id, at, payload) "
        f"select 'append', 'acp', nextval('bench_seq'), '{type}', '{session_id}', '{agent_id}', now(), payload "
        f"from unnest(array[{payloads}]) as payload;\n"
    )
