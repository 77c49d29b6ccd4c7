"""A whole log to one client, as rows and packed, beside COPY of the rows."""

import argparse
import asyncio
import subprocess
import time
import urllib.request

from bench.events import MARK
from bench.processes import program
from bench.world import Project, World, world
from gateway.db.pool import Database
from gateway.log.ids import LogId
from gateway.upkeep.packing import Packing

ROWS = (
    "select seq, type, session_id, turn_id, agent_id, at, payload from events where project_id = 'replay' order by seq"
)


def main(arguments: list[str]) -> None:
    """seconds to replay a log to one client, as rows and packed, beside COPY (SELECT …) TO STDOUT of the rows"""
    parser = argparse.ArgumentParser(prog="python -m bench replay", description=main.__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="in the log (default 100000)")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind (default 3)")
    options = parser.parse_args(arguments)
    with world() as running:
        project = running.project("replay")
        project.fill(options.events)
        for _ in range(options.rounds):
            theirs = _copy(running)
            _print("rows", options.events, _replay(project, options.events), theirs)
        asyncio.run(_pack(running.database_url))
        for _ in range(options.rounds):
            _print("packed", options.events, _replay(project, options.events), theirs)


def _print(kind: str, events: int, ours: float, theirs: float) -> None:
    print(
        f"{kind:6} gateway {ours:6.2f} s ({events / ours:9,.0f} events/s), "
        f"COPY of the rows {theirs:6.2f} s, gateway / COPY in events/s: {theirs / ours:.2f}"
    )


async def _pack(database_url: str) -> None:
    async with await Database.open(database_url, size=1) as database:
        await Packing(database, 0).pack(LogId("replay"))


def _replay(project: Project, events: int) -> float:
    began = time.monotonic()
    with urllib.request.urlopen(f"{project.acp}/events?from=start", timeout=60) as stream:
        tail, found = b"", 0
        while found < events:
            data = tail + stream.read1(1 << 20)
            found += data.count(MARK)
            tail = data[1 - len(MARK) :]
    return time.monotonic() - began


def _copy(running: World) -> float:
    psql = program("psql", "on Debian: apt-get install postgresql-client")
    command = [psql, running.database_url, "--quiet", "--command", f"copy ({ROWS}) to stdout"]
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    return time.monotonic() - began
