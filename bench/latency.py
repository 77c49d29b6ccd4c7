"""From container to client, as projects, sessions and history grow."""

import argparse

from bench.listeners import Heard
from bench.world import World, heard, listening, world

RATE = 20
SECONDS = 8
#: Projects, sessions in each, and events in each log before.
STEPS = ((1, 1, 0), (10, 1, 0), (100, 1, 0), (10, 10, 0), (10, 1, 1_000), (10, 1, 10_000))
HEAD = (
    f"  {'projects':>8} {'sessions each':>13} {'events before':>13} {'p50 ms':>8} {'p99 ms':>8} {'CPU µs an event':>15}"
)


def main(arguments: list[str]) -> None:
    """delay from container to client and cost of an event, as projects, sessions and history grow tenfold"""
    parser = argparse.ArgumentParser(prog="python -m bench latency", description=main.__doc__)
    parser.parse_args(arguments)
    print(f"a busy session in each project: {RATE} events/s, one client each, {SECONDS} s")
    print(HEAD)
    for projects, sessions, history in STEPS:
        with world() as running:
            got, cost = _measure(running, projects, sessions, history)
            assert got.events == got.wanted, got
            print(f"  {projects:8} {sessions:13} {history:13,} {got.p50:8.1f} {got.p99:8.1f} {cost:15.0f}")


def _measure(running: World, projects: int, sessions: int, history: int) -> tuple[Heard, float]:
    busy = [running.project(f"latency-{number}") for number in range(projects)]
    for project in busy:
        for _ in range(sessions - 1):
            project.with_session()
        if history:
            project.fill(history)
    events = RATE * SECONDS
    with listening({f"{project.acp}/events": 1 for project in busy}, expected=events, seconds=60) as readers:
        before = running.cpu_seconds()
        for project in busy:
            project.emit(events, RATE)
        got = heard(readers)
        used = running.cpu_seconds() - before
    return got, 1e6 * used / got.events
