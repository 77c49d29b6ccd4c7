"""A project whose container nobody serves costs next to nothing, however long that lasts."""

import asyncio
import logging
from typing import Any, cast

import pytest

from gateway.errors import ProjectNotFound, UpstreamUnreachable
from gateway.follow.feeds import Feed
from gateway.follow.follower import Follower, Rules
from gateway.follow.lease import Lease
from gateway.log.store import Log

HOUR = 3600.0


class PassingTime:
    """A clock that goes on by itself whenever the follower pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    async def pause(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class UnservedFeed:
    """Its container refuses each connection, for the reason that is given, until ``hours`` are over."""

    def __init__(self, time: PassingTime, hours: float) -> None:
        self.time = time
        self.hours = hours
        self.reason = "connection refused"
        self.attempts: list[float] = []

    def log_id(self, project_id: str) -> str:
        return project_id

    async def find(self, project_id: str) -> Any:
        if self.time.now >= self.hours * HOUR:
            raise ProjectNotFound
        self.attempts.append(self.time.now)
        raise UpstreamUnreachable(f"The container cannot be reached: {self.reason}.")


class Changing(UnservedFeed):
    """It refuses for another reason from noon on."""

    async def find(self, project_id: str) -> Any:
        self.reason = "connection refused" if self.time.now < 12 * HOUR else "no route to host"
        return await super().find(project_id)


async def follow(feed: UnservedFeed) -> None:
    lease = cast("Lease", type("_Lease", (), {"project_id": "demo", "fence": 1}))
    follower = Follower(lease, cast("Feed", feed), cast("Log", None), cast("Rules", None))
    follower._pause = feed.time.pause  # type: ignore[method-assign]  # its pauses are the test's
    await follower.run()


async def test_it_is_asked_every_few_minutes() -> None:
    feed = UnservedFeed(PassingTime(), hours=24)
    await follow(feed)
    late = [attempt for attempt in feed.attempts if attempt >= 23 * HOUR]
    # One is made every five minutes at most, and every two and a half at least.
    assert 11 <= len(late) <= 25
    # Those that came soon after it began are few.
    assert len([attempt for attempt in feed.attempts if attempt < HOUR]) < 40


async def test_the_log_has_a_line_for_each_change_of_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gateway")
    feed = Changing(PassingTime(), hours=24)
    await follow(feed)
    lines = [record for record in caplog.records if record.name.startswith("gateway")]
    assert len(feed.attempts) > 200
    assert len(lines) == 2
