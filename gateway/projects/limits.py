"""Limits of what one user or project may use at once. Each is a setting; 0 means no limit.

Requests and streams are counted per process, turns and sessions in the database. Simultaneous requests may slightly
exceed a limit, except the one on projects, which is exact.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiolimiter import AsyncLimiter

from gateway.config.reload import Settings
from gateway.config.schema import LimitsConfig
from gateway.db.pool import Database
from gateway.errors import BodyTooLarge, PromptTooLarge, TooManyRequests, TooManySessions, TooManyStreams, TooManyTurns
from gateway.telemetry.metrics import Metrics
from gateway.wire.bounded import Bounded

#: After this time without requests, a user can burst again.
BURST_SECONDS: Final = 10.0
#: Users whose rates are remembered; the least recent ones are dropped.
MAX_USERS: Final = 10_000
#: Turns may last for hours, so this is only a guess.
RETRY_SECONDS: Final = 5


class Limits:
    """Refuses what exceeds a limit."""

    def __init__(self, settings: Settings, database: Database, metrics: Metrics) -> None:
        self._settings = settings
        self._database = database
        self._metrics = metrics
        self._buckets: Bounded[str, AsyncLimiter] = Bounded(MAX_USERS)
        self._streams: Counter[str] = Counter()

    @property
    def _config(self) -> LimitsConfig:
        return self._settings.config.limits

    async def request(self, user_id: str) -> None:
        """Count a user's request; ``TooManyRequests`` if they come too fast."""
        rate = self._config.requests_per_second
        if not rate:
            return
        # A bucket for less than one request would never admit any.
        burst = max(1.0, rate * BURST_SECONDS)
        bucket = self._buckets.get(user_id)
        if bucket is None or (bucket.max_rate, bucket.time_period) != (burst, burst / rate):
            bucket = AsyncLimiter(burst, burst / rate)
        self._buckets[user_id] = bucket
        if not bucket.has_capacity():
            self._metrics.refused("requests_per_second")
            raise TooManyRequests(
                f"At most {rate:g} requests a second are taken of one user here, for some time.",
                headers={"Retry-After": str(math.ceil(1 / rate))},
                limit=rate,
            )
        # There is room, so it does not wait.
        await bucket.acquire()

    async def turn(self, project_id: str, user_id: str, turn_id: str | None, *, waits: bool = False) -> None:
        """``TooManyTurns`` if the project or user must not begin another one.

        A turn that has begun under its reserved id does not count: a retry gets its result. ``waits``: it will be
        queued, so nothing is refused.
        """
        config = self._config
        if not (config.turns_per_user or config.turns_per_project):
            return
        row = await self._database.fetch_one("count_running_turns", project_id=project_id, user_id=user_id, id=turn_id)
        if row is None:
            return
        for whose, limit in (("user", config.turns_per_user), ("project", config.turns_per_project)):
            if limit and row[f"of_{whose}"] >= limit:
                if not waits:
                    self._metrics.refused(f"turns_per_{whose}")
                raise TooManyTurns(
                    f"At most {limit} turns of one {whose} run at once; wait for the end of one, or cancel it.",
                    headers={"Retry-After": str(RETRY_SECONDS)},
                    limit=limit,
                )

    def most_turns(self) -> dict[str, int]:
        """The maximum numbers, for the statement that begins a queued turn; 0 means no limit."""
        return {"turns_per_user": self._config.turns_per_user, "turns_per_project": self._config.turns_per_project}

    async def session(self, project_id: str, session_id: str | None) -> None:
        """``TooManySessions`` if the project must not have another open one; ``session_id`` as for ``turn``."""
        limit = self._config.sessions_per_project
        if not limit:
            return
        row = await self._database.fetch_one("count_living_sessions", project_id=project_id, id=session_id)
        if row is not None and row["living"] >= limit:
            self._metrics.refused("sessions_per_project")
            raise TooManySessions(f"A project has at most {limit} living sessions; end one of them.", limit=limit)

    def most_projects(self) -> int:
        """How many projects one user may own; 0 means no limit."""
        return self._config.projects_per_user

    @property
    def prompt_bytes(self) -> int:
        """The largest prompt, unless ``server.max_body_bytes`` is smaller."""
        return self._config.prompt_bytes or sys.maxsize

    @contextmanager
    def prompt(self) -> Iterator[None]:
        """Around reading a prompt: ``PromptTooLarge`` if it is too large."""
        try:
            yield
        except BodyTooLarge as exc:
            limit = self._config.prompt_bytes
            if exc.members["limit"] != limit:
                raise
            self._metrics.refused("prompt_bytes")
            raise PromptTooLarge(f"A prompt has at most {limit} bytes of JSON here.", limit=limit) from exc

    @contextmanager
    def stream(self, user_id: str) -> Iterator[None]:
        """Around one event stream of the user; ``TooManyStreams`` if there are too many."""
        limit = self._config.streams_per_user
        if limit and self._streams[user_id] >= limit:
            self._metrics.refused("streams_per_user")
            raise TooManyStreams(f"At most {limit} event streams of one user are open at once.", limit=limit)
        self._streams[user_id] += 1
        try:
            yield
        finally:
            self._streams[user_id] -= 1
            if not self._streams[user_id]:
                del self._streams[user_id]
