"""Requests and bytes through the gateway, beside other proxies in front of the same upstream."""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import psutil

from bench.contenders import CONTENDERS, Contender
from bench.load import Load, generator, put
from bench.processes import Missing, cpu_seconds, running
from bench.upstream import LARGE, SMALL


@attrs.frozen(kw_only=True)
class Workload:
    title: str
    path: str
    connections: int
    body_size: int


WORKLOADS = (
    Workload(title=f"small answers ({len(SMALL)} bytes of JSON)", path="/small", connections=32, body_size=len(SMALL)),
    Workload(title=f"large answers ({LARGE >> 20} MiB)", path="/large", connections=4, body_size=LARGE),
)


@attrs.frozen(kw_only=True)
class Sample:
    """One round: ``per_core`` is a second of the proxy's own CPU time, whatever else ran beside it."""

    requests_per_second: float
    requests_per_core: float
    errors: int


def main(arguments: list[str]) -> None:
    """requests/s and MB/s through the gateway, plain aiohttp, nginx and configurable-http-proxy, and their ratios"""
    parser = argparse.ArgumentParser(prog="python -m bench proxy", description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is told (default 3)")
    options = parser.parse_args(arguments)
    with _upstream() as upstream, ExitStack() as stack:
        proxies = list(_start_all(upstream, stack))
        print(f"\nload: {generator()}; {options.rounds} rounds of {options.seconds} s each, median")
        for workload in WORKLOADS:
            samples = _measure(workload, proxies, rounds=options.rounds, seconds=options.seconds)
            _report(workload, samples)


@contextmanager
def _upstream() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-m", "bench.upstream"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _start_all(upstream: int, stack: ExitStack) -> Iterator[tuple[Contender, psutil.Process]]:
    for make in CONTENDERS:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        try:
            contender = make(upstream, home)
        except Missing as exc:
            print(f"left out: {make.__name__}: {exc}")
            continue
        process = stack.enter_context(running(contender.command, answers=contender.ready or f"{contender.url}/small"))
        contender.tell()
        print(f"running: {contender.name} at {contender.url}")
        yield contender, process


def _measure(
    workload: Workload, proxies: list[tuple[Contender, psutil.Process]], *, rounds: int, seconds: int
) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {contender.name: [] for contender, _ in proxies}
    for contender, _ in proxies:
        _put(contender, workload, seconds=1)  # Node compiles what is hot, connections are made
    # Round by round, so that what disturbs the machine for a while disturbs everyone.
    for _ in range(rounds):
        for contender, process in proxies:
            before = cpu_seconds(process)
            load = _put(contender, workload, seconds=seconds)
            used = cpu_seconds(process) - before
            samples[contender.name].append(
                Sample(
                    requests_per_second=load.requests / load.seconds,
                    requests_per_core=load.requests / used,
                    errors=load.errors,
                )
            )
    return samples


def _put(contender: Contender, workload: Workload, *, seconds: int) -> Load:
    url = contender.url + workload.path
    return put(url, connections=workload.connections, seconds=seconds, body_size=workload.body_size)


def _report(workload: Workload, samples: dict[str, list[Sample]]) -> None:
    in_bytes = workload.body_size == LARGE
    unit, scale = ("MB", workload.body_size / 1e6) if in_bytes else ("requests", 1)
    print(f"\n{workload.title}, {workload.connections} connections")
    print(f"  {'':24} {unit + '/s':>12} {unit + '/s a core':>18} {'CPU µs each':>12} {'errors':>7}")
    core: dict[str, float] = {}
    for name, rounds in samples.items():
        second = statistics.median(each.requests_per_second for each in rounds) * scale
        core[name] = statistics.median(each.requests_per_core for each in rounds) * scale
        errors = sum(each.errors for each in rounds)
        print(f"  {name:24} {second:12,.0f} {core[name]:18,.0f} {1e6 * scale / core[name]:12,.0f} {errors:7}")
    if any(each.errors for rounds in samples.values() for each in rounds):
        sys.exit("Some requests failed: these figures say nothing.")
    first, *others = core
    for other in others:
        print(f"  a core, {first} / {other}: {core[first] / core[other]:.2f}")
    if {"plain aiohttp", "nginx"} <= core.keys():
        print(f"  a core, plain aiohttp / nginx: {core['plain aiohttp'] / core['nginx']:.2f}")
