"""``acp-gateway`` whose event loop is watched: for how long did nothing else get its turn, at the longest?

    python -m tests.bounds.watched FIGURES serve --config …

Told in CPU time of the process between two turns of a task that wants one every few milliseconds. Work of others on
this machine does not count; a thread that holds the interpreter does. The figures stand in the file FIGURES (``Watch``
reads them), and so does what the loop was doing when it stood still for long.
"""

import asyncio
import mmap
import struct
import sys
import threading
import time
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

BEAT_SECONDS = 0.005
#: When a standstill is looked at: what the loop is doing is written down.
LOOK_SECONDS = 0.04
#: The longest standstill since it was set to 0, how many turns there were, and the text of what was going on.
_FIGURES = struct.Struct("dQH")
SIZE = 8192


class Watch:
    """The figures of a watched process."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(SIZE))
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SIZE)

    def begin(self) -> None:
        """Forget what was before."""
        _FIGURES.pack_into(self._memory, 0, 0.0, self.turns, 0)

    @property
    def longest(self) -> float:
        """Seconds."""
        longest: float = _FIGURES.unpack_from(self._memory)[0]
        return longest

    @property
    def turns(self) -> int:
        turns: int = _FIGURES.unpack_from(self._memory)[1]
        return turns

    @property
    def doing(self) -> str:
        """What the loop was doing in the longest one, where that was looked at."""
        length = _FIGURES.unpack_from(self._memory)[2]
        return self._memory[_FIGURES.size : _FIGURES.size + length].decode("utf-8", "replace")


class _Watcher:
    """In the watched process."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SIZE)
        self._last = time.process_time()
        self._loop_thread = threading.get_ident()
        self._seen: tuple[float, str] = (0.0, "")
        threading.Thread(target=self._look, daemon=True, name="watch").start()

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.process_time()
            stood, self._last = now - self._last, now
            longest, turns, length = _FIGURES.unpack_from(self._memory)
            if stood > longest:
                longest, text = stood, b""
                if self._seen[0]:
                    text = self._seen[1].encode()[: SIZE - _FIGURES.size]
                    self._memory[_FIGURES.size : _FIGURES.size + len(text)] = text
                length = len(text)
            self._seen = (0.0, "")
            _FIGURES.pack_into(self._memory, 0, longest, turns + 1, length)

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS / 2)
            stood = time.process_time() - self._last
            if stood < LOOK_SECONDS or self._seen[0]:
                continue
            frame = sys._current_frames().get(self._loop_thread)
            if frame is not None:
                text = "".join(traceback.format_stack(frame)[-8:])
                # What comes last says most.
                self._seen = (stood, text[-(SIZE - 256) :])


def main() -> None:
    figures, sys.argv[1:] = Path(sys.argv[1]), sys.argv[2:]
    run = uvloop.run

    def watched(work: Coroutine[Any, Any, None], **options: Any) -> None:
        async def both() -> None:
            beating = asyncio.create_task(_Watcher(figures).beat())
            try:
                await work
            finally:
                beating.cancel()

        run(both(), **options)

    uvloop.run = watched
    from gateway.cli.main import main as gateway_main

    gateway_main()


if __name__ == "__main__":
    main()
