"""A PostgreSQL of a test's own that goes away and comes back."""

import os
import signal
from pathlib import Path

from gateway.db.embedded import EmbeddedPostgres


class Restartable:
    """A server that can go and come back on the same data and socket."""

    def __init__(self, directory: Path):
        self._directory = directory
        self.start()
        self.url = self._server.url

    def start(self) -> None:
        self._server = EmbeddedPostgres.start(self._directory, settings={"fsync": "off"})

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        assert self._server.pid is not None
        os.kill(self._server.pid, number)
        self._server.stop()
