"""Writes messages of running turns before their end, so that readers have little to fold.

A tool that tells its whole output with each line leaves megabytes of events for one message.
"""

from functools import partial
from typing import Final

import attrs

from gateway.db.due import Driver
from gateway.log.entries import Appended
from gateway.log.folding import AHEAD_BYTES, Folding
from gateway.log.ids import ACP, LogId
from gateway.wire.bounded import Bounded

_MAX_REMEMBERED: Final = 10_000


@attrs.frozen
class WritingAhead:
    """Looks after the projects whose events are appended in this process."""

    folding: Folding
    driver: Driver
    #: Bytes of events that nobody has looked at yet, by project.
    _unseen: Bounded[str, int] = attrs.field(factory=lambda: Bounded(_MAX_REMEMBERED), init=False)

    def appended(self, log_id: LogId, appended: Appended) -> None:
        """For ``Log.listen``."""
        if log_id.name != ACP:
            return
        project_id = log_id.project_id
        self._unseen[project_id] = self._unseen.get(project_id, 0) + appended.size
        if self._unseen[project_id] > AHEAD_BYTES:
            self.driver.do(f"write messages of {project_id}", partial(self._write, project_id))

    async def _write(self, project_id: str) -> None:
        while self._unseen.get(project_id, 0) > AHEAD_BYTES:
            del self._unseen[project_id]
            await self.folding.write_ahead(project_id)
