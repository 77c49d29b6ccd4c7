"""From a container into the log, beside pgbench that inserts the same rows in the same batches."""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

import psycopg2

from bench.events import make, padding_for
from bench.processes import program
from bench.world import World, world

BATCH = 500


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
            before = running.cpu_seconds()
            ours = options.events / project.fill(options.events)
            used = 1e6 * (running.cpu_seconds() - before) / options.events
            theirs = _pgbench(running, options.events)
            print(
                f"gateway {ours:8,.0f} events/s ({used:.0f} µs of CPU each, PostgreSQL's included), "
                f"pgbench {theirs:8,.0f} rows/s, gateway / pgbench: {ours / theirs:.2f}"
            )


def _pgbench(running: World, events: int) -> float:
    """Rows a second into a table like the log's, one connection, a transaction for each batch."""
    connection = psycopg2.connect(running.database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("drop table if exists bench_events")
        cursor.execute("create table bench_events (like events including all)")
        cursor.execute("create sequence if not exists bench_seq")
    connection.close()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        script = Path(home) / "insert.sql"
        script.write_text(_statement())
        command = [program("pgbench", "on Debian: apt-get install postgresql-contrib"), "--no-vacuum", "--client=1"]
        command += [f"--transactions={events // BATCH}", f"--file={script}", running.database_url]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found is not None, said
    return float(found[1]) * BATCH


def _statement() -> str:
    padding = padding_for(b"bench")
    payloads = ",".join(f"'\\x{make(b'bench', padding).hex()}'::bytea" for _ in range(BATCH))
    return (
        "insert into bench_events (project_id, seq, type, session_id, at, payload) "
        "select 'append', nextval('bench_seq'), 'session_update', 'ses_bench', now(), payload "
        f"from unnest(array[{payloads}]) as payload;\n"
    )
