"""An agent host as the base contract would have it: no ids, no replay, no end of turn, permissions allowed."""

import asyncio
import json
from typing import Self

import aiohttp
from aiohttp import web

from gateway.wire.sse import SSEEvent, SSEParser, encode_event

#: What containers of the base contract do not say.
_BEYOND = {"session_end_turn", "permission_request", "permission_resolved", "session_restored"}


class BaseContract:
    """``async with BaseContract(host_url) as container``: ``container.app`` is to be served as the container."""

    def __init__(self, host_url: str) -> None:
        self._host_url = host_url
        self._http: aiohttp.ClientSession
        self._reader: asyncio.Task[None] | None = None
        self._streams: list[asyncio.Queue[bytes | None]] = []
        self._listening = asyncio.Event()
        self._listening.set()
        #: The data of each event that it had from the agent, whether somebody listened or not.
        self.heard: list[str] = []
        self.app = web.Application()
        self.app.router.add_get("/info", self._info)
        self.app.router.add_get("/events", self._events)
        self.app.router.add_route("*", "/{path:.*}", self._forward)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reader is not None
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._http.close()

    def break_streams(self) -> None:
        """End every event stream and open none; what is said is gone, until ``mend``."""
        self._listening.clear()
        for stream in self._streams:
            stream.put_nowait(None)
        self._streams.clear()

    def mend(self) -> None:
        self._listening.set()

    async def _read(self) -> None:
        parser = SSEParser()
        async with self._http.get(f"{self._host_url}/events") as answer:
            async for piece in answer.content.iter_any():
                for event in parser.feed(piece):
                    assert isinstance(event, SSEEvent)
                    await self._tell(event)

    async def _tell(self, event: SSEEvent) -> None:
        self.heard.append(event.data)
        if event.event == "permission_request":
            request_id = json.loads(event.data)["data"]["requestId"]
            async with self._http.post(f"{self._host_url}/permission/{request_id}", json={"granted": True}):
                pass
        if event.event not in _BEYOND:
            for stream in self._streams:
                stream.put_nowait(encode_event(event=event.event, data=event.data))

    async def _info(self, _: web.Request) -> web.Response:
        async with self._http.get(f"{self._host_url}/info") as answer:
            data = (await answer.json())["data"]
        del data["capabilities"], data["bootId"]
        return web.json_response({"success": True, "data": data})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if not self._listening.is_set():
            return web.json_response({"success": False, "error": "not now"}, status=500)
        mine: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams.append(mine)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while (frame := await mine.get()) is not None:
            await response.write(frame)
        return response

    async def _forward(self, request: web.Request) -> web.Response:
        headers = {"Content-Type": "application/json"} if request.can_read_body else {}
        async with self._http.request(
            request.method, self._host_url + request.path, data=await request.read(), headers=headers
        ) as answer:
            body = json.loads(await answer.read())
            if isinstance(data := body.get("data"), dict):
                # It tells the agent's own id in its updates only.
                data.pop("acpSessionId", None)
            return web.json_response(body, status=answer.status)
