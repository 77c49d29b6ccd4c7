"""Work in steps, between which the caller may let others run.

A generator that yields nothing now and then, and returns the result. ``at_once`` runs it without pause;
``gateway.tasks`` runs it on an event loop.
"""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]


def at_once(steps: Steps[T]) -> T:
    """The result, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
