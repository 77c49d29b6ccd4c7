"""Runs one program and leaves nothing of it behind, even if its parent is killed.

    python -I -S guard.py LIFELINE COMMAND [ARGUMENT …]

LIFELINE is the reading end of a pipe whose only writing end is in the agent host. At its end the host is gone, by
`kill -9` too, and the program is ended. The program inherits standard input, output and error, and gets its own process
group. When it ends, the rest of its group is killed, and on Linux also its detached descendants. The guard exits with
the program's exit status, or by its signal. On SIGTERM the group is terminated, on SIGUSR1 killed.

It is not a `preexec_fn`: that runs between fork and exec in a process that may have threads, where taking a lock can
deadlock. It uses the standard library only, and so starts in about 15 ms.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time

#: Seconds between SIGTERM and SIGKILL once the host is gone.
GRACE = 2.0
_MOST_DESCRIPTORS = 65536
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(lifeline: int, command: list[str]) -> None:
    # uvloop leaks a second descriptor of each pipe into children, so the pipe would not end when they close theirs.
    os.closerange(3, lifeline)
    os.closerange(lifeline + 1, _MOST_DESCRIPTORS)
    os.set_inheritable(lifeline, False)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (*_FORWARDED, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    # Orphans become children of the guard, so that it can find them.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        _become(command, guard)
    # Both processes set the group, so that it exists for whichever runs first.
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    _let_go_of_stdio()
    status = _watch(child, lifeline, woken)
    _kill_orphans()
    _end_as(status)


def _become(command: list[str], guard: int) -> None:
    try:
        signal.set_wakeup_fd(-1)
        for number in (*_FORWARDED, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The guard may have died before the line above.
        if os.getppid() == guard:
            os.execvp(command[0], command)
    except OSError as exc:
        os.write(2, f"{command[0]}: {exc.strerror}\n".encode())
    finally:
        os._exit(127)


def _let_go_of_stdio() -> None:
    """The pipes must end with the program, not with the guard."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(null, stream)


def _watch(child: int, lifeline: int, woken: int) -> int:
    """The child's wait status, once it and its group have ended."""
    watched = [lifeline, woken]
    kill_at: float | None = None
    while (status := _reap(child)) is None:
        wait = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        ready, _, _ = select.select(watched, [], [], wait)
        if lifeline in ready:
            watched.remove(lifeline)
            _signal_group(child, signal.SIGTERM)
            kill_at = time.monotonic() + GRACE
        if woken in ready:
            for number in os.read(woken, 512):
                if number in _FORWARDED:
                    _signal_group(child, signal.SIGTERM)
                elif number == signal.SIGUSR1:
                    _signal_group(child, signal.SIGKILL)
        if kill_at is not None and time.monotonic() >= kill_at:
            _signal_group(child, signal.SIGKILL)
            kill_at = None
    return status


def _reap(child: int) -> int | None:
    """The child's wait status if it has ended, with its group killed. Ended orphans are reaped, too."""
    if not hasattr(os, "waitid"):
        # macOS before Python 3.13. The group's number is free now, but is not reused that soon.
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            _signal_group(child, signal.SIGKILL)
        return status if pid else None
    while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if ended.si_pid == child:
            # Not reaped yet, so the group's number cannot have been reused.
            _signal_group(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        os.waitpid(ended.si_pid, 0)
    return None


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _kill_orphans() -> None:
    """Kill descendants in other groups and sessions, until there are none: killing one may orphan more."""
    while orphans := _children():
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as listing:
            return [int(pid) for pid in listing.read().split()]
    except OSError:
        return []


def _end_as(status: int) -> None:
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    # No core dump of the guard.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _prctl(option: int, value: int) -> None:
    """Linux's prctl(2); other systems rely on the lifeline and the end of input."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
