"""What is written to a terminal: the answer on standard output, all else on standard error; colours where they help."""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, TextIO

import attrs

from gateway.terminal.text import clean

_STYLES: Final = {"dim": "2", "bold": "1", "green": "32", "red": "31", "yellow": "33", "cyan": "36"}


@attrs.define
class Screen:
    """Both streams of a terminal, or of a script."""

    out: TextIO
    err: TextIO
    colours: bool
    #: Whether somebody can be asked.
    can_ask: bool
    #: Held by whatever is asked just now: a terminal takes one answer at a time, and in the order of the questions.
    questions: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _is_mid_line: bool = attrs.field(default=False, init=False)

    @classmethod
    def of_process(cls, environ: Mapping[str, str]) -> "Screen":
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        return cls(
            out=sys.stdout,
            err=sys.stderr,
            colours=sys.stderr.isatty() and not plain,
            can_ask=sys.stdin.isatty() and sys.stderr.isatty(),
        )

    def answer(self, text: str) -> None:
        """A piece of the agent's answer."""
        text = clean(text)
        if text:
            self._write(self.out, text)
            self._is_mid_line = not text.endswith("\n")

    def note(self, text: str, style: str = "") -> None:
        """A line of what happens."""
        self.end_line()
        self._write(self.err, self.styled(clean(text), style) + "\n")

    def ask(self, text: str) -> None:
        """A question, whose answer is typed behind it."""
        self.end_line()
        self._write(self.err, self.styled(clean(text), "bold") + " ")

    def end_line(self) -> None:
        """Before something else comes, where the answer has stopped in the middle of a line."""
        if self._is_mid_line:
            self._write(self.out, "\n")
            self._is_mid_line = False

    def json(self, value: Any) -> None:
        self._write(self.out, json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")

    def lines(self, lines: Iterable[str]) -> None:
        """What was asked for, a line each."""
        for line in lines:
            self._write(self.out, f"{clean(line)}\n")

    def styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style and self.colours else text

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            # `| head -1`: nobody reads any more, and Python would complain at its end of what it could not write.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            raise SystemExit(141) from None
