"""Turns itself into one of PostgreSQL's programs: ``launcher.py PARENT UID GID PROGRAM ARGUMENT…``, run as a script.

It gives up root's rights for UID and GID where it has them, and asks Linux to send SIGINT (to PostgreSQL: a fast
shutdown) when PARENT dies, ``kill -9`` included. It is a program of its own because the code between fork and exec of a
process with threads must not be Python (``preexec_fn``), and because PostgreSQL's user may not be able to reach this
Python.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main(parent: int, uid: int, gid: int, command: list[str]) -> None:
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    if sys.platform == "linux":
        # After the change of user, which clears it. exec keeps it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that wanted this has died")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
