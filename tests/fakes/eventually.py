"""Waiting for a condition instead of for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(condition: Callable[[], T], *, within: float = 30.0) -> T:
    """What ``condition`` gives as soon as it is true; AssertionError after ``within`` seconds."""
    try:
        async with asyncio.timeout(within):
            while not (value := condition()):  # noqa: ASYNC110 - what it waits for sets no asyncio.Event
                await asyncio.sleep(0.005)
            return value
    except TimeoutError:
        raise AssertionError(f"not so within {within:g} s") from None


async def until(condition: Callable[[], Awaitable[bool]], *, within: float = 30.0) -> None:
    """Wait until ``condition``, which has to be awaited, is true; AssertionError after ``within`` seconds."""
    try:
        async with asyncio.timeout(within):
            while not await condition():  # noqa: ASYNC110 - what it waits for sets no asyncio.Event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not so within {within:g} s") from None
