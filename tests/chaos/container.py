"""The chaos container: a server in this process that emits numbered, checksummed events at a rate, and records them."""

import asyncio
import json
import secrets
from contextlib import suppress
from typing import Any

from aiohttp import web

from tests.chaos.truth import Truth

CAPABILITIES = ["event-ids", "end-turn"]


class ChaosContainer:
    """``numbered``: it speaks part 2 of the contract, with ids and replay; else part 1: what nobody hears is gone.

    Its port is ``port``; with a proxy in between, the project is registered at the proxy's.
    """

    def __init__(self, *, numbered: bool = True, heartbeat: float = 1.0) -> None:
        self.truth = Truth()
        self.numbered = numbered
        self.port = 0
        self.session_id: str | None = None
        self._heartbeat = heartbeat
        self._boot = secrets.token_hex(4)
        #: This boot's events, framed; the number of each is its place.
        self._journal: list[bytes] = []
        self._more = asyncio.Event()
        self._listening: dict[int, web.StreamResponse] = {}
        self._runner: web.AppRunner | None = None
        self._emitting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._runner = web.AppRunner(
            self._application(), handler_cancellation=True, shutdown_timeout=0.1, access_log=None
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/info", self._info)
        app.router.add_get("/agents", self._agents)
        app.router.add_get("/sessions", self._sessions)
        app.router.add_post("/session", self._create)
        app.router.add_get("/session/{id}", self._session)
        app.router.add_post("/session/{id}/{what}", self._ok)
        app.router.add_delete("/session/{id}", self._ok)
        app.router.add_get("/events", self._events)
        return app

    async def stop(self) -> None:
        await self.pause()
        if self._runner is not None:
            await self._runner.cleanup()

    # What a row may have it do.

    def emit(self, count: int = 1) -> None:
        for _ in range(count):
            self._journal.append(self._frame(self.truth.next()))
        self._wake()

    def emit_at(self, rate: float) -> None:
        """Emit ``rate`` events a second from now on, in bursts as agents do."""
        if self._emitting is None:
            self._emitting = asyncio.create_task(self._emit_for_ever(rate))

    async def pause(self) -> None:
        if self._emitting is not None:
            self._emitting.cancel()
            await asyncio.wait((self._emitting,))
            self._emitting = None

    def restart(self) -> None:
        """Another boot, which counts from 1 and has no journal; the session it still knows."""
        self._boot = secrets.token_hex(4)
        self._journal = []
        self._wake()
        self.cut_streams()

    def cut_streams(self) -> None:
        for response in list(self._listening.values()):
            if (transport := response._req.transport if response._req else None) is not None:
                transport.abort()

    def peers(self) -> list[int]:
        """The ports from which its event stream is read just now."""
        return list(self._listening)

    async def _emit_for_ever(self, rate: float) -> None:
        loop = asyncio.get_running_loop()
        began, done = loop.time(), 0
        while True:
            await asyncio.sleep(0.02)
            due = int((loop.time() - began) * rate) - done
            if due > 0:
                self.emit(due)
                done += due

    def _frame(self, data: bytes, type: bytes = b"session_update") -> bytes:
        session_id = json.dumps(self.session_id).encode()
        envelope = b'{"type":"%b","sessionId":%b,"data":%b}' % (type, session_id, data)
        return b"event: %b\n%bdata: %b\n\n" % (type, self._number(), envelope)

    def _number(self) -> bytes:
        """The next event's id, as a line; nothing where events have none."""
        return b"id: %b-%d\n" % (self._boot.encode(), len(self._journal) + 1) if self.numbered else b""

    def _wake(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    # The contract.

    async def _info(self, _: web.Request) -> web.Response:
        data: dict[str, Any] = {"name": "chaos", "version": "1", "workingDirectory": "/", "runningAgents": 1}
        if self.numbered:
            data |= {"capabilities": CAPABILITIES, "bootId": self._boot}
        return _envelope(data)

    async def _agents(self, _: web.Request) -> web.Response:
        agent = {"id": "demo", "name": "Demo", "description": "", "requiresAuth": False, "status": "running"}
        return _envelope({"agents": [agent | {"authenticated": True}]})

    async def _create(self, _: web.Request) -> web.Response:
        self.session_id = self.session_id or secrets.token_hex(8)
        return _envelope({"id": self.session_id, "agentId": "demo", "status": "active", "createdAt": "2026-01-01"})

    async def _sessions(self, _: web.Request) -> web.Response:
        listed = [{"id": self.session_id, "agentId": "demo", "status": "active"}] if self.session_id else []
        return _envelope({"sessions": listed})

    async def _session(self, request: web.Request) -> web.Response:
        return _envelope({"id": request.match_info["id"], "agentId": "demo", "status": "active"})

    async def _ok(self, request: web.Request) -> web.Response:
        return _envelope({"id": request.match_info["id"], "status": "idle"})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")[1]
        place = self._place(request.headers.get("Last-Event-ID"))
        boot = self._boot
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        self._listening[peer] = response
        try:
            # Who reads it may go at any time.
            with suppress(ConnectionError):
                while boot == self._boot:
                    place = await self._tell(response, place)
        finally:
            del self._listening[peer]
        return response

    async def _tell(self, response: web.StreamResponse, place: int) -> int:
        """Write what comes after a place, or a heartbeat where nothing comes; the place behind it."""
        more = self._more
        frames = self._journal[place : place + 500]
        if frames:
            await response.write(b"".join(frames))
            return place + len(frames)
        try:
            await asyncio.wait_for(more.wait(), self._heartbeat)
        except TimeoutError:
            await response.write(b": heartbeat\n\n" if self.numbered else b"event: ping\ndata: ping\n\n")
        return place

    def _place(self, last_event_id: str | None) -> int:
        if not self.numbered:
            return len(self._journal)
        boot, _, number = (last_event_id or "").rpartition("-")
        return int(number) if boot == self._boot and number.isdigit() else 0


def _envelope(data: Any) -> web.Response:
    return web.json_response({"success": True, "data": data})
