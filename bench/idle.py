"""Many streams on which nothing happens, and then one event."""

import argparse
import resource
import time

from bench.world import heard, listening, world


def main(arguments: list[str]) -> None:
    """memory and CPU of idle streams, and the time until one event has reached all of them"""
    parser = argparse.ArgumentParser(prog="python -m bench idle", description=main.__doc__)
    parser.add_argument("--streams", type=int, default=5000, help="(default 5000)")
    parser.add_argument("--seconds", type=int, default=20, help="of nothing (default 20)")
    options = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.streams + 1000
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    with world() as running:
        project = running.project("idle")
        before = running.process.memory_info().rss
        targets = {f"{project.acp}/events": options.streams}
        with listening(targets, expected=1, seconds=60) as readers:
            used, began = running.cpu_seconds(), time.monotonic()
            time.sleep(options.seconds)
            share = 100 * (running.cpu_seconds() - used) / (time.monotonic() - began)
            each = (running.process.memory_info().rss - before) / options.streams / 1024
            project.emit(1, 0)
            got = heard(readers)
    print(
        f"{options.streams} idle streams: {each:.1f} KB each, {share:.1f} % of a core; one event reached "
        f"{got.events} of them, the median after {got.p50:.0f} ms, the last after {got.slowest:.0f} ms"
    )
