"""What anything may cost everybody else, and a table of what it did cost."""

import json
import time
from collections.abc import Callable

from tests.bounds.shapes import many_escapes
from tests.bounds.trial import Cost, Trial

MAX_STANDSTILL = 0.1
MAX_GROWTH = 64 * 2**20
#: Seconds that a second client may wait for /healthz. A wait has in it what the loop does not count as its own: other
#: work of this machine, and many small steps that are each within the bound and leave the second client none between
#: them. So the bound is wide, and grows with the wait that ordinary calls cost on this machine at this time; what it
#: finds is a queue that others stand in, which no single standstill shows.
MAX_WAIT = 2.0
#: Seconds of that on a machine that does nothing else.
USUAL_WAIT = 0.05
#: CPU seconds that ``_pace`` took on the machine for which that is said, with others at work on it. A slower machine
#: has as much longer.
REFERENCE = 0.0185
#: CPU seconds of a request that does next to nothing.
SMALL_CALL = 0.003
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


def check(costs: list[Cost], usual: Cost, record_property: Callable[[str, object], None], *, at_once: int = 1) -> None:
    """Say which were the worst, and refuse those over the bounds.

    Of requests that come ``at_once`` each may take its own few milliseconds before the loop looks at a clock again.
    """
    slower = max(1.0, _pace() / REFERENCE)
    standstill = max(MAX_STANDSTILL, SMALL_CALL * at_once) * slower
    wait = MAX_WAIT * max(slower, usual.wait / USUAL_WAIT)
    slowest = sorted(costs, key=lambda cost: cost.standstill, reverse=True)[:WORST]
    largest = sorted(costs, key=lambda cost: cost.growth, reverse=True)[:WORST]
    lines = [
        f"{len(costs)} measured, bounds {standstill * 1000:.0f} ms, {MAX_GROWTH >> 20} MB, {wait:.1f} s",
        str(usual),
    ]
    table = "\n".join([*lines, "longest standstills", *map(str, slowest), "largest growths", *map(str, largest)])
    print(table)  # noqa: T201 - pytest shows it with -rP, and beside a failure
    record_property("longest_standstill_ms", round(slowest[0].standstill * 1000))
    record_property("largest_growth_mb", round(largest[0].growth / 2**20, 1))
    over = [cost for cost in costs if cost.standstill > standstill or cost.growth > MAX_GROWTH or cost.wait > wait]
    assert not over, "\n".join(f"{cost}\n{cost.doing}" for cost in over)
