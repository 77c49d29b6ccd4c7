"""One project's events to many clients, through the whole path, beside nchan fed with the same events."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

from bench.listeners import Heard
from bench.nchan import nchan
from bench.processes import Missing, cpu_seconds
from bench.world import heard, listening, world

#: Clients, events a second, and for how many seconds.
LOADS = ((100, 50, 10), (1000, 400, 5), (1000, 1000, 5))
#: How long it may take until all have all.
PATIENCE_SECONDS = 60


@attrs.frozen(kw_only=True)
class Sample:
    heard: Heard
    cpu_seconds: float


def main(arguments: list[str]) -> None:
    """events/s delivered to many clients of one project, and their delay, beside nchan"""
    parser = argparse.ArgumentParser(prog="python -m bench fanout", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="of each load, one line each (default 1)")
    options = parser.parse_args(arguments)
    for clients, rate, seconds in LOADS:
        for _ in range(options.rounds):
            count = rate * seconds
            print(f"\n{clients} clients × {rate} events/s of 300 B for {seconds} s")
            ours = _gateway(clients, rate, count)
            _report("gateway", ours)
            try:
                theirs = _nchan(clients, rate, count)
            except Missing as exc:
                print(f"  left out: nchan: {exc}")
                continue
            _report("nchan", theirs)
            print(
                f"  gateway / nchan: {ours.heard.rate / theirs.heard.rate:.2f} in events/s, "
                f"{ours.heard.p50 / theirs.heard.p50:.2f} in p50"
            )


def _gateway(clients: int, rate: float, count: int) -> Sample:
    with world() as running:
        project = running.project("fanout")
        targets = {f"{project.acp}/events": clients}
        with listening(targets, expected=count, seconds=PATIENCE_SECONDS) as readers:
            before = running.cpu_seconds()
            project.emit(count, rate)
            got = heard(readers)
            return Sample(heard=got, cpu_seconds=running.cpu_seconds() - before)


def _nchan(clients: int, rate: float, count: int) -> Sample:
    with tempfile.TemporaryDirectory(prefix="bench-") as home, nchan(Path(home)) as (port, process):
        targets = {f"http://127.0.0.1:{port}/events": clients}
        with listening(targets, expected=count, seconds=PATIENCE_SECONDS) as readers:
            before = cpu_seconds(process)
            publish = [sys.executable, "-m", "bench.nchan", str(port), str(count), str(rate)]
            with subprocess.Popen(publish) as publisher:
                got = heard(readers)
                used = cpu_seconds(process) - before
                publisher.terminate()
            return Sample(heard=got, cpu_seconds=used)


def _report(name: str, sample: Sample) -> None:
    got = sample.heard
    share = 100 * got.events / got.wanted
    print(
        f"  {name:8} {got.rate:10,.0f} events/s, {share:5.1f} % delivered, p50 {got.p50:8.1f} ms, "
        f"p99 {got.p99:8.1f} ms, slowest {got.slowest:8.1f} ms, CPU {sample.cpu_seconds:.1f} s, "
        f"the readers' {got.cpu_seconds:.1f} s"
    )
