"""Commands that the host runs for agents (ACP's `terminal/*`)."""

import asyncio
import codecs
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.agenthost.process import ChildProcess, Lifeline
from gateway.errors import Conflict, NotFound

#: Bytes of output that are kept, by default and at most.
_DEFAULT_OUTPUT = 1024 * 1024
_LARGEST_OUTPUT = 16 * 1024 * 1024
#: Terminals of one agent process at a time.
_AT_ONCE = 64


class Output:
    """The end of a command's output, cut at a character."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.truncated = False

    def add(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) > self._limit:
            del self._kept[: len(self._kept) - self._limit]
            self.truncated = True

    def text(self, *, final: bool) -> str:
        """The text so far; until it is final, without an incomplete last character."""
        begin = 0
        if self.truncated:
            # 10xxxxxx continues a character (RFC 3629 section 3) whose beginning was cut off.
            while begin < min(3, len(self._kept)) and self._kept[begin] & 0xC0 == 0x80:
                begin += 1
        return codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._kept[begin:]), final)


class Terminal:
    """One command and its output."""

    def __init__(self, process: ChildProcess, output: Output) -> None:
        self._process = process
        self._output = output
        self._ended = asyncio.create_task(self._watch())

    def output(self) -> dict[str, Any]:
        """ACP's `terminal/output` answer."""
        ended = self._ended.done()
        answer: dict[str, Any] = {"output": self._output.text(final=ended), "truncated": self._output.truncated}
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
            self._output.add(chunk)
        await self._process.wait()

    def _exit_status(self) -> dict[str, Any]:
        code = self._process.returncode
        if code is not None and code < 0:
            return {"exitCode": None, "signal": signal.Signals(-code).name}
        return {"exitCode": code, "signal": None}


class Terminals:
    """The terminals of one agent process."""

    def __init__(self, lifeline: Lifeline, *, grace: float) -> None:
        self._lifeline = lifeline
        self._grace = grace
        self._open: dict[str, Terminal] = {}

    async def create(
        self, command: str, args: Sequence[str], *, cwd: Path, env: Mapping[str, str], output_limit: int | None
    ) -> str:
        """Start a command; returns the terminal's id.

        A command without arguments that is not a program is run by the shell: some agents send a command line.
        """
        if len(self._open) >= _AT_ONCE:
            raise Conflict(f"there are {_AT_ONCE} terminals already; release some")
        line = [command, *args]
        if not args and shutil.which(command, path=env.get("PATH")) is None:
            line = ["/bin/sh", "-c", command]
        process = await ChildProcess.start(
            line, cwd=cwd, env=env, lifeline=self._lifeline, grace=self._grace, interactive=False
        )
        limit = _DEFAULT_OUTPUT if output_limit is None else min(output_limit, _LARGEST_OUTPUT)
        terminal_id = f"term-{secrets.token_hex(8)}"
        self._open[terminal_id] = Terminal(process, Output(limit))
        return terminal_id

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
        await asyncio.gather(*(self.release(terminal_id) for terminal_id in list(self._open)))
