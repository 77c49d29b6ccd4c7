"""Run a benchmark by name."""

import argparse
from collections.abc import Callable

from bench import append, fanout, history, idle, latency, proxy, replay, rows

BENCHMARKS: dict[str, Callable[[list[str]], None]] = {
    "proxy": proxy.main,
    "fanout": fanout.main,
    "append": append.main,
    "replay": replay.main,
    "idle": idle.main,
    "latency": latency.main,
    "rows": rows.main,
    "history": history.main,
}


def main() -> None:
    width = max(map(len, BENCHMARKS))
    listed = "\n".join(f"  {name:{width}}  {_first_line(run)}" for name, run in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"{__doc__}\n\n{listed}\n\n'python -m bench NAME --help' tells its options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help=argparse.SUPPRESS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.name is None:
        parser.print_help()
    else:
        BENCHMARKS[chosen.name](chosen.options)


def _first_line(run: Callable[[list[str]], None]) -> str:
    return (run.__doc__ or "").splitlines()[0]


if __name__ == "__main__":
    main()
