"""Commands that the host runs for agents (ACP's `terminal/*`)."""

import asyncio
import codecs
import secrets
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.agenthost.process import ChildProcess, Lifeline
from gateway.errors import Conflict, NotFound
from gateway.wire.events import EventData, TerminalEnded, TerminalOutput, TerminalStarted
from gateway.wire.masking import Masker, RunningText
from gateway.wire.steps import at_once

#: Bytes of output that are kept for the agent, by default and at most.
_DEFAULT_OUTPUT = 1024 * 1024
_LARGEST_OUTPUT = 16 * 1024 * 1024
#: Bytes of output that are kept for one agent process, of all its commands together.
KEPT_TOGETHER = 32 * 1024 * 1024
#: Commands of one agent process that run at a time, and ended ones whose output the agent may still ask for.
_RUNNING, _ENDED = 64, 64
#: Bytes of a command's output that are told as they come. Of what follows the end is told, once the command has ended.
_TOLD_AT_ONCE, _TOLD_AT_THE_END = 256 * 1024, 64 * 1024
#: Seconds in which output is gathered before it is told.
_GATHER_SECONDS = 0.1

Tell = Callable[[EventData], None]


class Output:
    """The end of a command's output, cut at a character."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        #: Bytes before the kept ones.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, chunk: bytes) -> None:
        self._kept += chunk
        self.drop(len(self._kept) - self._limit)

    def drop(self, count: int) -> None:
        """Forget the first ``count`` of the kept bytes."""
        if count > 0:
            self.dropped += min(count, len(self._kept))
            del self._kept[:count]

    def text(self, *, final: bool) -> str:
        """The text so far; until it is final, without an incomplete last character."""
        begin = 0
        if self.dropped:
            # 10xxxxxx continues a character (RFC 3629 section 3) whose beginning was cut off.
            while begin < min(3, len(self._kept)) and self._kept[begin] & 0xC0 == 0x80:
                begin += 1
        return codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._kept[begin:]), final)

    def take(self) -> bytes:
        """The kept bytes, which are forgotten."""
        taken, self._kept = bytes(self._kept), bytearray()
        return taken


class Report:
    """Tells of a command as it runs, without the secrets of its agent."""

    def __init__(self, terminal_id: str, tell: Tell, masker: Masker) -> None:
        self._id = terminal_id
        self._tell = tell
        self._masker = masker
        self._running = RunningText()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._gathered = bytearray()
        self._room = _TOLD_AT_ONCE
        self._rest = Output(_TOLD_AT_THE_END)
        self._timer: asyncio.TimerHandle | None = None

    def add(self, chunk: bytes) -> None:
        """The next piece of its output."""
        self._gathered += chunk[: self._room]
        self._rest.add(chunk[self._room :])
        self._room -= len(chunk[: self._room])
        if self._gathered and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._tell_gathered)

    def end(self, exit_code: int | None, signal_name: str | None) -> None:
        if not self._rest.dropped:
            self._gathered += self._rest.take()
        self._tell_gathered(final=not self._rest.dropped)
        if self._rest.dropped:
            # It may begin in the middle of a secret, which would not be recognised.
            self._rest.drop(max((len(secret.encode()) for secret in self._masker.secrets), default=0))
            self._running.forget()
            self._tell_text(self._rest.text(final=True), omitted_bytes=self._rest.dropped)
        self._tell(TerminalEnded(terminal_id=self._id, exit_code=exit_code, signal=signal_name))

    def _tell_gathered(self, *, final: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = bytes(self._gathered), bytearray()
        if text := self._decoder.decode(gathered, final):
            self._tell_text(text)

    def _tell_text(self, text: str, *, omitted_bytes: int = 0) -> None:
        masked = at_once(self._running.masking("output", text, self._masker))
        self._tell(TerminalOutput(terminal_id=self._id, text=masked, omitted_bytes=omitted_bytes))


class Terminal:
    """One command and its output."""

    def __init__(self, process: ChildProcess, output: Output, report: Report, *, on_output: Callable[[], None]) -> None:
        self._process = process
        self.kept = output
        self._report = report
        self._on_output = on_output
        self._ended = asyncio.create_task(self._watch())

    @property
    def has_ended(self) -> bool:
        return self._ended.done()

    def output(self) -> dict[str, Any]:
        """ACP's `terminal/output` answer."""
        ended = self.has_ended
        answer: dict[str, Any] = {"output": self.kept.text(final=ended), "truncated": self.kept.dropped > 0}
        if ended:
            answer["exitStatus"] = self._exit_status()
        return answer

    async def wait(self) -> dict[str, Any]:
        """ACP's `terminal/wait_for_exit` answer; no timeout, since the agent can kill the command."""
        await asyncio.shield(self._ended)
        return self._exit_status()

    def kill(self) -> None:
        self._process.kill()

    async def release(self) -> None:
        """End the command, if necessary, and forget its output."""
        self._process.kill()
        try:
            await asyncio.shield(self._ended)
        finally:
            await self._process.end()

    async def _watch(self) -> None:
        while chunk := await self._process.stdout.read(64 * 1024):
            self.kept.add(chunk)
            self._on_output()
            self._report.add(chunk)
        await self._process.wait()
        status = self._exit_status()
        self._report.end(status["exitCode"], status["signal"])

    def _exit_status(self) -> dict[str, Any]:
        code = self._process.returncode
        if code is not None and code < 0:
            return {"exitCode": None, "signal": _signal_name(-code)}
        return {"exitCode": code, "signal": None}


class Terminals:
    """The terminals of one agent process."""

    def __init__(self, lifeline: Lifeline, *, grace: float) -> None:
        self._lifeline = lifeline
        self._grace = grace
        self._open: dict[str, Terminal] = {}
        #: Commands that are being started.
        self._starting = 0

    async def create(
        self,
        command: str,
        args: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        output_limit: int | None,
        tell: Tell,
        masker: Masker,
    ) -> str:
        """Start a command, and ``tell`` of it as it runs; returns the terminal's id.

        A command without arguments that is not a program is run by the shell: some agents send a command line.
        """
        ended = [terminal_id for terminal_id, terminal in self._open.items() if terminal.has_ended]
        if len(self._open) - len(ended) + self._starting >= _RUNNING:
            raise Conflict(f"{_RUNNING} commands run already; wait for one, or kill it")
        # Their agent has not released them, but their output was told.
        left = [self._open.pop(terminal_id) for terminal_id in ended[: max(0, len(ended) - _ENDED + 1)]]
        self._starting += 1
        try:
            await asyncio.gather(*(terminal.release() for terminal in left))
            return await self._start(command, args, cwd, env, output_limit, tell, masker)
        finally:
            self._starting -= 1

    async def _start(
        self,
        command: str,
        args: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        output_limit: int | None,
        tell: Tell,
        masker: Masker,
    ) -> str:
        line = [command, *args]
        if not args and shutil.which(command, path=env.get("PATH")) is None:
            line = ["/bin/sh", "-c", command]
        process = await ChildProcess.start(
            line, cwd=cwd, env=env, lifeline=self._lifeline, grace=self._grace, interactive=False
        )
        limit = _DEFAULT_OUTPUT if output_limit is None else min(output_limit, _LARGEST_OUTPUT)
        terminal_id = f"term-{secrets.token_hex(8)}"
        tell(TerminalStarted(terminal_id=terminal_id, command=command, args=tuple(args), cwd=str(cwd)))
        report = Report(terminal_id, tell, masker)
        self._open[terminal_id] = Terminal(process, Output(limit), report, on_output=self._bound_together)
        return terminal_id

    def _bound_together(self) -> None:
        """Forget the beginning of what is kept, of the oldest command first, and of those that run last."""
        excess = sum(len(terminal.kept) for terminal in self._open.values()) - KEPT_TOGETHER
        if excess > 0:
            for terminal in sorted(self._open.values(), key=lambda terminal: not terminal.has_ended):
                before = len(terminal.kept)
                terminal.kept.drop(excess)
                excess -= before - len(terminal.kept)

    def get(self, terminal_id: str) -> Terminal:
        if (terminal := self._open.get(terminal_id)) is None:
            raise NotFound(f"there is no terminal {terminal_id}")
        return terminal

    async def release(self, terminal_id: str) -> None:
        terminal = self.get(terminal_id)
        del self._open[terminal_id]
        await terminal.release()

    async def close(self) -> None:
        """Release all."""
        released = [terminal.release() for terminal in self._open.values()]
        self._open.clear()
        await asyncio.gather(*released)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"SIG{number}"
