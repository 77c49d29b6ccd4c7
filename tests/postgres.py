"""PostgreSQL's programs as people run them, instead of those of the embedded one; a standby; PgBouncer before it.

``ACP_GATEWAY_TEST_POSTGRES`` names the directory of programs for each server that tests and benchmarks start, such as
``/usr/lib/postgresql/15/bin``.
"""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from gateway.db import cluster, embedded
from gateway.db.cluster import ENVIRONMENT, launch_command
from gateway.db.embedded import EmbeddedPostgres
from gateway.db.programs import ServerUser, server_user
from tests.db.things import soon
from tests.machine import Missing

CHOSEN = "ACP_GATEWAY_TEST_POSTGRES"
_CHOICE = ExitStack()
_QUICK = {"fsync": "off", "full_page_writes": "off"}


def of_debian() -> Path:
    """The newest that Debian's packages have installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise Missing("there is no /usr/lib/postgresql/*/bin/postgres (on Debian: apt-get install postgresql)")
    return found[-1].parent


def use_chosen(environ: Mapping[str, str]) -> None:
    """From now on, the embedded PostgreSQL is what ``ACP_GATEWAY_TEST_POSTGRES`` names."""
    if programs := environ.get(CHOSEN):
        _CHOICE.enter_context(_instead(Path(programs)))


@contextmanager
def _instead(programs: Path) -> Iterator[None]:
    told = subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
    major = re.search(r"\) (\d+)", told)
    assert major is not None, told
    with (
        mock.patch.multiple(embedded, installed=lambda: programs, programs_for=lambda user, own: programs),
        mock.patch.object(cluster, "MAJOR", major[1]),
    ):
        yield


def start(directory: Path, programs: Path, **settings: str) -> EmbeddedPostgres:
    """A server of these programs that lets everybody on this machine in who may enter its directory."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    rules = directory / "everybody.conf"
    rules.write_text("local all all trust\nlocal replication all trust\n")
    rules.chmod(0o644)
    with _instead(programs):
        return EmbeddedPostgres.start(directory, settings={**_QUICK, "hba_file": str(rules), **settings})


def socket_of(url: str) -> str:
    """The directory of a server's socket."""
    return parse_qs(urlsplit(url).query)["host"][0]


def copied(primary: EmbeddedPostgres, directory: Path, programs: Path) -> None:
    """What a standby of ``primary`` starts from, for ``start``."""
    user = server_user(directory)
    directory.mkdir()
    directory.chmod(0o755)
    data = directory / "postgres"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(data, user.uid, user.gid)
    arguments = ("-d", primary.url, "-D", str(data), "-R", "-X", "stream", "-c", "fast")
    _run(user, programs / "pg_basebackup", *arguments)


def _run(user: ServerUser, program: Path, *arguments: str) -> None:
    command = launch_command(user, program, *arguments)
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT, cwd="/", timeout=60)


class PgBouncer:
    """The real one, before a server that lets it in. Its configuration has what it needs, and nothing for us."""

    def __init__(self, program: Path, directory: Path, server_url: str, mode: str, port: int) -> None:
        self._program = program
        self._directory = directory
        self._user = server_user(directory)
        self._socket = socket_of(server_url)
        self._mode = mode
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def running(cls, program: Path, directory: Path, server_url: str, *, mode: str, **settings: str) -> Iterator[Self]:
        """``mode``: ``session`` or ``transaction``."""
        directory.mkdir()
        directory.chmod(0o755)
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        bouncer = cls(program, directory, server_url, mode, port)
        bouncer._configure(settings)
        bouncer.start()
        try:
            yield bouncer
        finally:
            bouncer.stop()

    def url(self, server_url: str) -> str:
        """The database of a URL of the server, through here."""
        return f"postgresql://postgres@127.0.0.1:{self._port}{urlsplit(server_url).path}"

    def start(self) -> None:
        command = launch_command(self._user, self._program, str(self._directory / "pgbouncer.ini"))
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        soon(self._listens)

    def stop(self) -> None:
        """As a restart of its machine does: clients and servers are cut off."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def _configure(self, settings: Mapping[str, str]) -> None:
        ours = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(self._directory / "users.txt"),
            "pool_mode": self._mode,
            "default_pool_size": "12",
            "max_client_conn": "200",
            **settings,
        }
        lines = [f"{name} = {value}" for name, value in ours.items()]
        databases = f"[databases]\n* = host={self._socket} port=5432\n[pgbouncer]\n"
        for name, text in (("users.txt", '"postgres" ""\n'), ("pgbouncer.ini", databases + "\n".join(lines) + "\n")):
            (self._directory / name).write_text(text)
            (self._directory / name).chmod(0o644)

    def _listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self._port)) == 0
