"""Output for people."""

import os
import sys
from collections.abc import Callable

Say = Callable[[str], None]


def say(line: str) -> None:
    """Print a line; a closed pipe is no reason to stop."""
    try:
        print(line, flush=True)
    except OSError:
        # `| head -1`, or a full disk. Python would complain at exit about unwritten output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
