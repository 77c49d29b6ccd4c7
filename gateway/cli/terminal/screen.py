"""What is written to a terminal: the answer on standard output, all else on standard error; colours where they help."""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TextIO

import attrs

from gateway.cli.terminal.text import clean, escaped

_STYLES: Final = {"dim": "2", "bold": "1", "green": "32", "red": "31", "yellow": "33", "cyan": "36"}


@attrs.define(kw_only=True)
class Screen:
    """Both streams of a terminal, or of a script."""

    out: TextIO
    err: TextIO
    colours: bool
    #: Whether somebody can be asked.
    can_ask: bool
    #: Whether both go to one place, where they must not stand in each other's lines.
    is_shared: bool
    #: Held by whatever is asked just now: a terminal takes one answer at a time, and in the order of the questions.
    questions: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    #: What stands in the last line, which has not ended.
    _line: Literal["answer", "thought", "question"] | None = attrs.field(default=None, init=False)
    #: Whether the answer has stopped in the middle of a line, whatever came since.
    _is_amid_answer: bool = attrs.field(default=False, init=False)

    @classmethod
    def of_process(cls, environ: Mapping[str, str]) -> "Screen":
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        return cls(
            out=sys.stdout,
            err=sys.stderr,
            colours=sys.stderr.isatty() and not plain,
            can_ask=sys.stdin.isatty() and sys.stderr.isatty(),
            is_shared=os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno()),
        )

    def answer(self, text: str) -> None:
        """A piece of the agent's answer: standard output has these and nothing else, word for word."""
        text = clean(text)
        if text:
            self._leave_line(going_on_with="answer")
            self._write(self.out, text)
            self._is_amid_answer = not text.endswith("\n")
            self._line = "answer" if self._is_amid_answer else None

    def thought(self, text: str) -> None:
        """A piece of what the agent thinks."""
        text = clean(text)
        if text.strip() or (text and self._line == "thought"):
            self._leave_line(going_on_with="thought")
            self._write(self.err, self.styled(text, "dim"))
            self._line = None if text.endswith("\n") else "thought"

    def end_message(self) -> None:
        """What the agent said or thought is whole, and so is its last line, wherever it goes."""
        if self._is_amid_answer and (self._line == "answer" or not self.is_shared):
            self._write(self.out, "\n")
            self._line = None if self._line == "answer" else self._line
        self._is_amid_answer = False
        if self._line == "thought":
            self._leave_line()

    def note(self, text: str, style: str = "") -> None:
        """A line of what happens."""
        self._leave_line()
        self._write(self.err, self.styled(clean(text), style) + "\n")

    def ask(self, text: str) -> None:
        """A question, whose answer is typed behind it."""
        self._leave_line()
        self._write(self.err, self.styled(clean(text), "bold") + " ")
        self._line = "question"

    def entered(self) -> None:
        """The answer was typed, and the terminal has ended its line."""
        self._line = None

    def _leave_line(self, going_on_with: str = "") -> None:
        """Something else comes. In the middle of the answer only those who see both get a new line for it."""
        if self._line not in (None, going_on_with):
            if self._line != "answer" or self.is_shared:
                self._write(self.err, "\n")
            self._line = None

    def json(self, value: Any) -> None:
        self._leave_line()
        self._write(self.out, json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")

    def json_text(self, text: str) -> None:
        """A piece of JSON as it is, but for what a terminal would obey: that is escaped, and means the same."""
        self._write(self.out, escaped(text))

    def lines(self, lines: Iterable[str]) -> None:
        """What was asked for, a line each."""
        self._leave_line()
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
