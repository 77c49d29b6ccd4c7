"""A primary and its standby, asynchronously replicated: the standby can be cut off, and takes over when told to.

    pair = Pair(directory)
    pair.cut()        # from here on the standby gets nothing
    pair.fail_over()  # the primary dies, the standby is promoted

Everything here blocks.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from gateway.db.embedded import EmbeddedPostgres
from gateway.db.migrate import migrate

_ACCESS = "local all all trust\nlocal replication all trust\n"
_SECONDS = 30.0


class _Standby(EmbeddedPostgres):
    def _is_ready(self) -> bool:
        try:
            psycopg2.connect(self.url).close()
        except psycopg2.OperationalError:
            return False
        return True


class Pair:
    """Two servers on one migrated database; ``url`` names both, and means the one that takes writes.

    ``settings`` are further ones of the first.
    """

    def __init__(self, directory: Path, settings: dict[str, str] | None = None) -> None:
        directory.mkdir(exist_ok=True)
        access = directory / "access.conf"
        access.write_text(_ACCESS)
        access.chmod(0o644)
        alone = {"fsync": "off", "hba_file": str(access)}
        self._first, self._second = directory / "first", directory / "second"
        primary = EmbeddedPostgres.start(self._first, settings=alone)
        migrate(primary.url)
        primary.stop()
        self._second.mkdir(mode=0o711)
        self._second.chmod(0o711)
        subprocess.run(["cp", "-a", self._first / "postgres", self._second / "postgres"], check=True)
        self.primary = EmbeddedPostgres.start(self._first, settings={**alone, **(settings or {})})
        first = _sockets(self.primary.url)
        (self._second / "postgres" / "standby.signal").touch()
        with (self._second / "postgres" / "postgresql.auto.conf").open("a") as conf:
            conf.write(f"primary_conninfo = 'host={first} user=postgres application_name=second'\n")
        self.standby: EmbeddedPostgres = _Standby.start(self._second, settings=alone)
        both = f"{quote(first, safe='')},{quote(_sockets(self.standby.url), safe='')}"
        self.url = f"postgresql://postgres@/postgres?host={both}&target_session_attrs=read-write"
        self.catch_up()

    def catch_up(self) -> None:
        """Wait until the standby has all that the primary has."""
        [(here,)] = _ask(self.primary.url, "select pg_current_wal_lsn()")
        _until(self.standby.url, f"select pg_last_wal_replay_lsn() >= '{here}'")

    def cut(self) -> None:
        """The standby gets nothing more."""
        _ask(self.standby.url, "alter system set primary_conninfo = ''")
        _ask(self.standby.url, "select pg_reload_conf()")
        _until(self.standby.url, "select not exists (select from pg_stat_wal_receiver)")

    def fail_over(self) -> None:
        """The primary ends at once; the standby goes on from what it has."""
        self.end_primary()
        self.promote()

    def switch_over(self) -> None:
        """The primary stops once the standby has everything, and the standby goes on."""
        self.primary.stop()
        self.promote()

    def end_primary(self) -> None:
        assert self.primary.pid is not None
        os.kill(self.primary.pid, signal.SIGQUIT)
        while self.primary.pid is not None:
            time.sleep(0.01)
        self.primary.stop()

    def promote(self) -> None:
        _ask(self.standby.url, "select pg_promote()")

    def stop(self) -> None:
        self.primary.stop()
        self.standby.stop()


@contextmanager
def pair(directory: Path, settings: dict[str, str] | None = None) -> Iterator[Pair]:
    made = Pair(directory, settings)
    try:
        yield made
    finally:
        made.stop()


def _sockets(url: str) -> str:
    host: Any = psycopg2.extensions.parse_dsn(url)["host"]
    return str(host)


def _ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def _until(url: str, statement: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while _ask(url, statement) != [(True,)]:
        assert time.monotonic() < deadline, f"not within {_SECONDS:g} s: {statement}"
        time.sleep(0.02)
