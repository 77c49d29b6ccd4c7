"""A PostgreSQL of our own, for ``acp-gateway up``: on a data directory that survives restarts, gone with its owner.

    <data_dir>/
      lock              locked (flock) while an owner lives; holds its process id
      postgres/         the cluster, mode 0700
      run/              the Unix socket, mode 0700; a link to a private temporary directory where the path is too long
      postgres.log      the server's output since its last start; postgres.log.1 the one before
      pg_hba.conf, pg_ident.conf   who may connect: the owner
      programs-*/       for root only, see programs.py

PostgreSQL listens on no network. It is a child of ours and gets a fast shutdown when we die (Linux), however we die;
where that fails, the next start stops what is left. Everything here blocks: call it in a thread.
"""

import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from gateway.db.cluster import (
    ENVIRONMENT,
    ROLE,
    complaint,
    ensure_cluster,
    launch_command,
    server_arguments,
    write_access,
)
from gateway.db.leftovers import stop_leftovers
from gateway.db.programs import ServerUser, first_closed, installed, programs_for, server_user
from gateway.errors import StartError

_SOCKET_NAME = ".s.PGSQL.5432"
# sockaddr_un has room for 108 bytes on Linux and 104 on macOS, the final NUL included.
_SOCKET_PATH_LIMIT = 103
_START_LIMIT = 120.0  # Long enough to recover from a crash.
_STOP = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
#: The longest that ``stop`` may take.
STOP_SECONDS = sum(seconds for _, seconds in _STOP)
_POLL = 0.01
_LOG_TAIL = 16 * 1024


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where the data goes unless the operator says otherwise; ``environ`` is the process's."""
    if os.geteuid() == 0:
        return Path("/var/lib/acp-gateway")
    home = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".local/share")
    return Path(home) / "acp-gateway"


def owner_of(data_dir: Path) -> str | None:
    """The process id of the gateway that uses ``data_dir`` just now; None where nobody does, or nobody can tell."""
    try:
        descriptor = os.open(data_dir / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode(errors="replace").strip()
    finally:
        os.close(descriptor)
    return None


def is_data_dir(data_dir: Path) -> bool:
    """Whether a server has been started on ``data_dir`` before."""
    return (data_dir / "postgres").is_dir()


def url_of_running(data_dir: Path) -> str | None:
    """What a client connects to whose user's gateway runs on ``data_dir`` just now; None where none does."""
    return _url(data_dir / "run") if owner_of(data_dir) is not None else None


def _url(sockets: Path) -> str:
    return f"postgresql://{ROLE}@/{ROLE}?host={quote(os.fsencode(sockets.resolve()), safe='')}"


class EmbeddedPostgres:
    """A running server. ``start`` makes one, ``stop`` ends it; ``url`` is what a client connects to."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str]):
        """Not for callers: see ``start``."""
        self._data_dir = data_dir
        self._settings = settings
        self._cluster = data_dir / "postgres"
        self._log = data_dir / "postgres.log"
        self._lock: int | None = None
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._launched = threading.Event()
        self._ended = threading.Event()
        self._reaping = threading.Lock()
        self._launch_error: OSError | None = None

    @classmethod
    def start(cls, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> "EmbeddedPostgres":
        """Start PostgreSQL on ``data_dir``, which is made if need be, and return when it takes connections.

        ``settings`` are further settings of PostgreSQL. ``StartError``, in one sentence, when it cannot be.
        """
        if any(ord(character) < 32 for character in str(data_dir)):
            raise StartError(f"PostgreSQL cannot use {str(data_dir)!r}: there is a control character in the path")
        server = cls(data_dir.expanduser().absolute(), settings or {})
        try:
            server._start()
        except OSError as exc:
            server.stop()
            place = exc.filename or data_dir
            raise StartError(
                f"PostgreSQL's data directory {data_dir} cannot be used: {exc.strerror or exc} ({place}); "
                "choose another with --data-dir"
            ) from exc
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def url(self) -> str:
        """``postgresql://…``, over the Unix socket; only the user who started it may use it."""
        return _url(self._socket_directory)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None once it has ended."""
        return None if self._process is None or self._ended.is_set() else self._process.pid

    def stop(self) -> None:
        """End it: clients are cut off, what they committed is on disk. Harmless when it has ended already."""
        for number, seconds in _STOP:
            if not self._signal(number) or self._ended.wait(seconds):
                break
        if self._sockets is not None:
            _remove_sockets(self._sockets)
            self._sockets = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _socket_directory(self) -> Path:
        if self._sockets is None:
            raise RuntimeError("the server is not running")
        return self._sockets.resolve() if self._sockets.is_symlink() else self._sockets

    def _start(self) -> None:
        # Before anything is made.
        installed()
        _make(self._data_dir)
        self._lock = _lock(self._data_dir)
        user = server_user(self._cluster)
        _check_way(self._data_dir, user)
        programs = programs_for(user, self._data_dir)
        stop_leftovers(self._cluster)
        ensure_cluster(self._cluster, programs, user)
        write_access(self._data_dir, pwd.getpwuid(os.geteuid()).pw_name)
        self._sockets = _make_sockets(self._data_dir / "run", user)
        if self._log.exists():
            self._log.replace(self._log.with_name("postgres.log.1"))
        arguments = server_arguments(self._cluster, self._data_dir, self._socket_directory, self._settings)
        self._launch(launch_command(user, programs / "postgres", *arguments))
        self._wait_until_ready()

    def _launch(self, command: list[str]) -> None:
        # Linux tells a child of its parent's death when the *thread* that started it ends, and threads of a pool may
        # end at any time: this one lives as long as the server.
        threading.Thread(target=self._keep, args=(command,), name="embedded-postgres", daemon=True).start()
        self._launched.wait()
        if self._launch_error is not None:
            raise self._launch_error

    def _keep(self, command: list[str]) -> None:
        try:
            with open(self._log, "ab", opener=_private) as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._data_dir,
                    env=ENVIRONMENT,
                    # Ctrl-C reaches the whole foreground group: PostgreSQL must outlive the gateway's last writes.
                    start_new_session=True,
                )
        except OSError as exc:
            self._launch_error = exc
            return
        finally:
            self._launched.set()
        # Leave the child unreaped until the lock is held: so long its number cannot become somebody else's.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._reaping:
            self._process.wait()
            self._ended.set()

    def _signal(self, number: signal.Signals) -> bool:
        """Whether there was a server to send it to."""
        with self._reaping:
            # Not Popen.send_signal, which may reap the child before the thread that waits for it has seen it end.
            if self.pid is None:
                return False
            os.kill(self.pid, number)
            return True

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT
        while not self._is_ready():
            if self._ended.wait(_POLL):
                raise StartError(f"PostgreSQL did not start on {self._cluster}: {self._complaint()} (see {self._log})")
            if time.monotonic() > deadline:
                raise StartError(f"PostgreSQL was not ready after {_START_LIMIT:g} seconds (see {self._log})")

    def _is_ready(self) -> bool:
        """As pg_ctl sees it: line 1 of the pid file is the postmaster's, line 8 its state."""
        if not (self._socket_directory / _SOCKET_NAME).exists():
            # Before there is a socket, the pid file may still be that of a crashed server; in a container even the
            # number in it may be the same.
            return False
        try:
            lines = (self._cluster / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _complaint(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _LOG_TAIL))
            return complaint(log.read(), self._cluster)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _make(data_dir: Path) -> None:
    """Make the directory and what is missing above it, enterable for all if root does; what exists keeps its mode."""
    if data_dir.exists() and not data_dir.is_dir():
        raise StartError(f"{data_dir} is a file; choose another data directory with --data-dir")
    if (data_dir / "PG_VERSION").exists():
        raise StartError(f"{data_dir} is the data of another PostgreSQL; choose another data directory with --data-dir")
    missing = [directory for directory in (data_dir, *data_dir.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir()
        directory.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _lock(data_dir: Path) -> int:
    """Hold the directory until the returned descriptor is closed, by us or by our death."""
    descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise StartError(f"{data_dir} is in use by another gateway (process {owner})") from None
    except BaseException:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _check_way(data_dir: Path, user: ServerUser) -> None:
    """PostgreSQL's user must be able to come to the data; we open no directory that is there already."""
    closed = first_closed(data_dir.resolve(), user) if os.geteuid() == 0 else None
    if closed is not None:
        raise StartError(
            f"PostgreSQL does not run as root, and user {user.name}, as whom it would run, may not enter {closed}; "
            "choose another data directory: --data-dir /var/lib/acp-gateway"
        )


def _make_sockets(run: Path, user: ServerUser) -> Path:
    """An empty private directory for the socket: ``run``, or where its path is too long a link to a temporary one."""
    _remove_sockets(run)
    if _fits(run):
        run.mkdir(mode=0o700)
        _give(run, user)
        return run
    for parent in (tempfile.gettempdir(), "/tmp"):
        directory = Path(parent) / f"acp-gateway-{hashlib.sha256(os.fsencode(run)).hexdigest()[:8]}-xxxxxxxx"
        if _fits(directory):
            made = Path(tempfile.mkdtemp(prefix=directory.name[:-8], dir=parent))
            _give(made, user)
            run.symlink_to(made)
            return run
    raise StartError(f"the path {run} is too long for a socket, and so is the temporary directory's")


def _fits(directory: Path) -> bool:
    # libpq takes a comma in a host for the start of the next one.
    return len(os.fsencode(directory / _SOCKET_NAME)) <= _SOCKET_PATH_LIMIT and "," not in str(directory)


def _give(directory: Path, user: ServerUser) -> None:
    if os.geteuid() == 0:
        os.chown(directory, user.uid, user.gid)


def _remove_sockets(run: Path) -> None:
    if run.is_symlink():
        target = Path(os.readlink(run))
        # Only what we made: a private directory with our name on it, not something that was put in its place.
        ours = target.name.startswith("acp-gateway-") and target.is_dir() and not target.is_symlink()
        if ours and stat.S_IMODE(target.stat().st_mode) == 0o700:
            shutil.rmtree(target)
        run.unlink()
    elif run.exists():
        shutil.rmtree(run)
