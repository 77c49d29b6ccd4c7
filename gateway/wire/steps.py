"""Work in steps: whoever has it done decides whether others have their turn between two of them.

A generator that yields nothing, now and then, and returns what comes of the work. ``at_once`` does it in one go; an
event loop's way is ``gateway.tasks``.
"""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]


def at_once(steps: Steps[T]) -> T:
    """What comes of the work, done without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
