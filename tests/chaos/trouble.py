"""A chaos container whose event stream and answers go wrong in the ways that rows ask for."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.chaos.container import ChaosContainer

#: An answer in place of the contract's.
Hostile = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TroubledContainer(ChaosContainer):
    def __init__(self, *, numbered: bool = True, heartbeat: float = 0.5) -> None:
        super().__init__(numbered=numbered, heartbeat=heartbeat)
        #: How often its stream has been asked for.
        self.opened = 0
        #: A reader that comes back is told so many events again.
        self.tells_again = 0
        #: Path → what the next requests for it are answered.
        self.hostile: defaultdict[str, deque[Hostile]] = defaultdict(deque)
        self._silent: set[web.StreamResponse] = set()
        self._dripping: set[web.StreamResponse] = set()
        #: Place of the frame that is to be cut, after how many bytes, and whether the stream ends as if that were all.
        self._cut: tuple[int, int, bool] | None = None

    # What a row may have it do.

    def emit_cut(self, offset: int, *, ends_well: bool) -> int:
        """Emit an event of which only so many bytes are sent; how many it has."""
        frame = self._frame(self.truth.next(padding=0))
        self._cut = (len(self._journal), offset, ends_well)
        self._journal.append(frame)
        self._wake()
        return len(frame)

    def fall_silent(self) -> None:
        """The connections that are open now stay so, and nothing comes any more."""
        self._silent |= set(self._listening.values())

    def drip(self) -> None:
        """On the connections that are open now comes one byte a second."""
        self._dripping |= set(self._listening.values())

    def skip(self, count: int) -> None:
        """So many true events that nobody can be told: their numbers are given away."""
        for _ in range(count):
            self.truth.next()
            self._journal.append(b"")

    def say(self, block: bytes) -> None:
        """Any bytes under the next number, where events have one; replayed as the others are."""
        self._journal.append(self._number() + block)
        self._wake()

    def say_before(self, block: bytes) -> None:
        """Any bytes with an id of their own, or none, and a true event behind them; replayed together."""
        self._journal.append(block + self._frame(self.truth.next()))
        self._wake()

    async def throw(self, data: bytes) -> None:
        """Any bytes to whoever reads just now; nothing remembers them."""
        for response in list(self._listening.values()):
            await response.write(data)

    # How it does it.

    def _application(self) -> web.Application:
        app = super()._application()
        app.middlewares.append(self._hostile)
        return app

    @web.middleware
    async def _hostile(self, request: web.Request, handler: Hostile) -> web.StreamResponse:
        waiting = self.hostile[request.path]
        return await (waiting.popleft() if waiting else handler)(request)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.opened += 1
        return await super()._events(request)

    def _place(self, last_event_id: str | None) -> int:
        return max(0, super()._place(last_event_id) - self.tells_again)

    async def _tell(self, response: web.StreamResponse, place: int) -> int:
        more = self._more
        frames = self._journal[place : place + 500]
        if not frames:
            try:
                await asyncio.wait_for(more.wait(), self._heartbeat)
            except TimeoutError:
                await self._write(response, b": heartbeat\n\n" if self.numbered else b"event: ping\ndata: ping\n\n")
            return place
        if self._cut is not None and place <= self._cut[0] < place + len(frames):
            index, offset, ends_well = self._cut
            self._cut = None
            await response.write(b"".join(frames[: index - place]) + frames[index - place][:offset])
            if not ends_well and response._req is not None and response._req.transport is not None:
                response._req.transport.close()
            raise ConnectionAbortedError
        await self._write(response, b"".join(frames))
        return place + len(frames)

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        if response in self._silent:
            await asyncio.Event().wait()  # until its reader goes
        if response in self._dripping:
            for byte in data:
                await response.write(bytes([byte]))
                await asyncio.sleep(1.0)
        elif data:
            await response.write(data)
