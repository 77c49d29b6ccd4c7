"""A command line parser whose errors are about the command that was typed, not about the whole program."""

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

#: In place of the command in the usage of a group.
COMMAND: Final = "COMMAND"
#: The width of the longest command, so that each has one line in a list.
_NAME_WIDTH: Final = 16
_CHOICE: Final = re.compile(r"invalid choice: '(?P<typed>[^']*)' \(choose from (?P<known>.*)\)$")


class Parser(argparse.ArgumentParser):
    """Subparsers are of this class, too."""

    def __init__(self, **given: Any) -> None:
        super().__init__(formatter_class=_Formatter, **given)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Report unknown options here: argparse passes them up to the program, which would show its own usage."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown[0])}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        if message.endswith(f"required: {COMMAND}"):
            # Without a command, list the commands.
            self.print_help(sys.stderr)
            self.exit(2)
        if found := _CHOICE.search(message):
            known = re.findall(r"[^\s',]+", found["known"])
            message += _hint(found["typed"], known)
        super().error(message)

    def _meant(self, typed: str) -> str:
        return _hint(typed.partition("=")[0], list(self._option_string_actions)) if typed.startswith("-") else ""


def _hint(typed: str, known: Sequence[str]) -> str:
    """A suggestion. The dashes of options are ignored, because all have them."""
    words = {word.lstrip("-"): word for word in known}
    close = difflib.get_close_matches(typed.lstrip("-"), words, n=1)
    return f" (did you mean {words[close[0]]}?)" if close else ""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **given: Any) -> None:
        super().__init__(prog, **given)
        # argparse ignores the indentation of commands, and would break lines after the longest ones.
        self._action_max_length = _NAME_WIDTH
