"""What the commands that run a gateway, or a part of one, do once their options are in the configuration."""

from collections.abc import Callable

#: Tells the person at the terminal.
Say = Callable[[str], None]
