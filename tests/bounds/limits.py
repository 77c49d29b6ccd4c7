"""What anything may cost everybody else, and a table of what it did cost."""

import json
import time
from collections.abc import Callable

from tests.bounds.shapes import many_escapes
from tests.bounds.trial import Cost, Trial

MAX_STANDSTILL = 0.1
MAX_GROWTH = 64 * 2**20
#: CPU seconds that ``_pace`` took on the machine for which that is said, with others at work on it. A slower machine
#: has as much longer.
REFERENCE = 0.0185
WORST = 12


async def baseline(trial: Trial) -> Cost:
    """What ordinary calls cost here and now, once whatever is made at the first of them is made."""
    async with trial.measured("warming up"):
        await _ordinary_calls(trial)
    async with trial.measured("ordinary calls"):
        await _ordinary_calls(trial)
    cost = trial.costs[-1]
    trial.costs.clear()
    return cost


def _pace() -> float:
    """CPU seconds for some work that is the same everywhere."""
    raw = many_escapes(4_000_000)

    def once() -> float:
        began = time.process_time()
        json.loads(raw)
        return time.process_time() - began

    return min(once() for _ in range(5))


async def _ordinary_calls(trial: Trial) -> None:
    for path in ("/api/projects", "/openapi.json", "/metrics", "/readyz", "/console", "/api/credentials") * 5:
        assert (await trial.gateway.call("GET", path)).status == 200


def check(costs: list[Cost], usual: Cost, record_property: Callable[[str, object], None]) -> None:
    """Say which were the worst, and refuse those over the bounds."""
    standstill = MAX_STANDSTILL * max(1.0, _pace() / REFERENCE)
    slowest = sorted(costs, key=lambda cost: cost.standstill, reverse=True)[:WORST]
    largest = sorted(costs, key=lambda cost: cost.growth, reverse=True)[:WORST]
    lines = [f"{len(costs)} measured, bounds {standstill * 1000:.0f} ms and {MAX_GROWTH >> 20} MB", str(usual)]
    table = "\n".join([*lines, "longest standstills", *map(str, slowest), "largest growths", *map(str, largest)])
    print(table)  # noqa: T201 - pytest shows it with -rP, and beside a failure
    record_property("longest_standstill_ms", round(slowest[0].standstill * 1000))
    record_property("largest_growth_mb", round(largest[0].growth / 2**20, 1))
    over = [cost for cost in costs if cost.standstill > standstill or cost.growth > MAX_GROWTH]
    assert not over, "\n".join(f"{cost}\n{cost.doing}" for cost in over)
