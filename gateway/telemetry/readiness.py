"""Whether this process can work, part by part. Asking is cheap and quick, however often."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs

from gateway.errors import GatewayError

logger = logging.getLogger(__name__)

#: How long a result is reused.
FRESH_SECONDS: Final = 1.0
#: A part that does not answer in this time is not ready.
LIMIT_SECONDS: Final = 2.0

#: Why a part is not ready, for anybody to read; None if it is.
Check = Callable[[], Awaitable[str | None]]


@attrs.frozen(kw_only=True)
class Report:
    """Why each part is not ready, or None; and limitations of parts that are."""

    parts: Mapping[str, str | None]
    notes: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def is_ready(self) -> bool:
        return not any(self.parts.values())


class Readiness:
    """Checks the parts; ``stop`` marks the process as ending, for good."""

    def __init__(
        self, checks: Mapping[str, Check], notes: Mapping[str, Callable[[], str | None]] | None = None
    ) -> None:
        """``notes``: what a ready part cannot do; None if it can do all."""
        self._checks = checks
        self._notes = notes or {}
        self._report: Report | None = None
        self._looked_at = 0.0
        self._looking: asyncio.Task[Report] | None = None
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    async def report(self) -> Report:
        """The recent or a new result; concurrent callers share one check."""
        if self._stopping:
            return Report(parts={"gateway": "It is stopping."})
        loop = asyncio.get_running_loop()
        if self._report is None or loop.time() - self._looked_at > FRESH_SECONDS:
            if self._looking is None:
                self._looking = asyncio.create_task(self._look(), name="readiness")
            await asyncio.shield(self._looking)
        assert self._report is not None
        return self._report

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    async def _look(self) -> Report:
        try:
            found = await asyncio.gather(*(_ask(name, check) for name, check in self._checks.items()))
            notes = {name: text for name, note in self._notes.items() if (text := note()) is not None}
            self._report = Report(parts=dict(zip(self._checks, found, strict=True)), notes=notes)
            self._looked_at = asyncio.get_running_loop().time()
            return self._report
        finally:
            self._looking = None


async def _ask(name: str, check: Check) -> str | None:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await check()
    except TimeoutError:
        return f"It did not answer within {LIMIT_SECONDS:g} seconds."
    except GatewayError as exc:
        return str(exc)
    except Exception:
        logger.exception("readiness not known", extra={"part": name})
        return "It could not be looked at; the gateway's log says why."
