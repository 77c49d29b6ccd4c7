"""What a dead owner left running on a cluster: found by what it is, stopped, and its traces removed.

Call it only under the data directory's lock: then nothing that runs on the cluster has a living owner.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from gateway.errors import StartError

# Seconds for a fast shutdown, an immediate one, and the kernel.
_ESCALATION = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_POLL = 0.02


def stop_leftovers(cluster: Path) -> None:
    """Stop PostgreSQL processes that work in ``cluster``, and see to it that a stale pid file stops nobody.

    A process belongs to the cluster if it is called postgres and works in that directory, as all of PostgreSQL's do;
    the pid file alone proves nothing, as its number may be somebody else's by now. ``StartError`` if one does not go.
    """
    pid_file = cluster / "postmaster.pid"
    if not pid_file.exists():
        return
    found = _processes_in(cluster)
    for number, seconds in _ESCALATION:
        leaders = _leaders(found)
        if not leaders:
            break
        for process in leaders:
            _send(process, number)
        found = _wait(found, seconds)
    # Some may have been on their way out when they were found, and have gone without being told.
    if left := [process for process in found if _lives(process)]:
        raise StartError(f"a PostgreSQL (process {left[0].pid}) still runs on {cluster} and does not stop")
    _forget(pid_file)


def _processes_in(cluster: Path) -> list[psutil.Process]:
    directory = os.path.realpath(cluster)
    return [process for process in psutil.process_iter() if _works_in(process, directory)]


def _works_in(process: psutil.Process, directory: str) -> bool:
    try:
        return process.name().startswith("postgres") and process.cwd() == directory
    except psutil.Error:  # It has ended, or it is not ours to ask.
        return False


def _leaders(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The postmaster, which stops its children itself; without one, the children."""
    living = [process for process in processes if _lives(process)]
    pids = {process.pid for process in living}
    return [process for process in living if process.ppid() not in pids]


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return left


def _lives(process: psutil.Process) -> bool:
    """A zombie does not: where process 1 reaps nothing, it would stand there for ever."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _forget(pid_file: Path) -> None:
    """Remove the pid file where PostgreSQL would take a stranger or a zombie for its postmaster.

    Otherwise it stays: PostgreSQL reads from it which shared memory to look for.
    """
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except FileNotFoundError:
        return
    except ValueError:
        pid_file.unlink()
        return
    if psutil.pid_exists(pid):
        pid_file.unlink(missing_ok=True)
