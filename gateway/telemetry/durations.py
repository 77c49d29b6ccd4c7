"""Histograms for hot paths: only the event loop's thread observes, so there is no lock.

prometheus-client's take a microsecond for each value, of which a small request has four; these a seventh of that.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import HistogramMetricFamily

#: Seconds.
QUICK: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Durations:
    """A histogram of durations."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float] = QUICK) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def buckets(self) -> Iterator[tuple[str, float]]:
        """Cumulative counts, as the exposition format requires."""
        bounds = [*map(str, self._bounds), "+Inf"]
        return zip(bounds, map(float, accumulate(self._counts)), strict=True)

    @property
    def sum(self) -> float:
        return self._sum


def family(name: str, text: str, labels: Sequence[str], children: Mapping[Any, Durations]) -> HistogramMetricFamily:
    """Histograms under one name, each with its label values."""
    made = HistogramMetricFamily(name, text, labels=labels)
    for values, child in children.items():
        made.add_metric(values, list(child.buckets()), child.sum)
    return made
