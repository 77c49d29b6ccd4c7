"""Writes to a terminal: the answer to standard output, everything else to standard error, with colours if possible."""

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
    """Standard output and error."""

    out: TextIO
    err: TextIO
    colours: bool
    #: Whether there is a terminal for questions.
    can_ask: bool
    #: Whether both go to the same place, and must not mix in one line.
    is_shared: bool
    #: Held during a question: a terminal takes one answer at a time, in order.
    questions: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    #: What the last line has, if it has not ended.
    _line: Literal["answer", "thought", "question"] | None = attrs.field(default=None, init=False)
    #: Whether the answer's last line has not ended.
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
        """A piece of the agent's answer, the only content of standard output."""
        text = clean(text)
        if text:
            self._leave_line(going_on_with="answer")
            self._write(self.out, text)
            self._is_amid_answer = not text.endswith("\n")
            self._line = "answer" if self._is_amid_answer else None

    def thought(self, text: str) -> None:
        """A piece of the agent's thoughts."""
        text = clean(text)
        if text.strip() or (text and self._line == "thought"):
            self._leave_line(going_on_with="thought")
            self._write(self.err, self.styled(text, "dim"))
            self._line = None if text.endswith("\n") else "thought"

    def end_message(self) -> None:
        """The message is complete: end its last line, on either stream."""
        if self._is_amid_answer and (self._line == "answer" or not self.is_shared):
            self._write(self.out, "\n")
            self._line = None if self._line == "answer" else self._line
        self._is_amid_answer = False
        if self._line == "thought":
            self._leave_line()

    def note(self, text: str, style: str = "") -> None:
        """A line about what happens."""
        self._leave_line()
        self._write(self.err, self.styled(clean(text), style) + "\n")

    def ask(self, text: str) -> None:
        """A question; its answer is typed after it."""
        self._leave_line()
        self._write(self.err, self.styled(clean(text), "bold") + " ")
        self._line = "question"

    def entered(self) -> None:
        """The answer was typed, and so its line has ended."""
        self._line = None

    def _leave_line(self, going_on_with: str = "") -> None:
        """End the last line before something else, but not the answer's if standard output goes elsewhere."""
        if self._line not in (None, going_on_with):
            if self._line != "answer" or self.is_shared:
                self._write(self.err, "\n")
            self._line = None

    def json(self, value: Any) -> None:
        self._leave_line()
        self._write(self.out, json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")

    def json_text(self, text: str) -> None:
        """A piece of JSON, with control characters escaped, which means the same."""
        self._write(self.out, escaped(text))

    def lines(self, lines: Iterable[str]) -> None:
        """The lines of a result."""
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
            # `| head -1`. Python would complain at exit about unwritten output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            raise SystemExit(141) from None
