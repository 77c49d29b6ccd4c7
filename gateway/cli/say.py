"""Telling the person at the terminal."""

import os
import sys
from collections.abc import Callable

Say = Callable[[str], None]


def say(line: str) -> None:
    """Print it; that nobody reads it is no reason to stop."""
    try:
        print(line, flush=True)
    except OSError:
        # `| head -1`, a full disk. Python would complain at its end of what it could not write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
