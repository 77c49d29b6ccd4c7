"""A container that says whatever it likes: any bytes as the answer to a call, and any on its event stream.

What it is not told to answer in another way it answers as the contract has it. It passes for an OpenCode, too: the
stream of ``/event`` is there, and the rest is what it is told to answer.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from tests.fakes.eventually import eventually
from tests.fakes.listening import listen

CAPABILITIES = (
    "event-ids", "end-turn", "permissions", "content-blocks", "turn-ids", "credentials", "session-env", "load-session",
)  # fmt: skip
BOOT = "boot"
_PIECE = 65536
Answer = bytes | Callable[[], web.Response]


def envelope(data: Any) -> bytes:
    return json.dumps({"success": True, "data": data}, separators=(",", ":")).encode()


class HostileContainer:
    """``answers`` are by method and path; a path that ends with ``*`` stands for all that begin so.

    An answer that is a function makes the response itself.
    """

    def __init__(self, *, capabilities: tuple[str, ...] = CAPABILITIES) -> None:
        self.capabilities = capabilities
        self.answers: dict[tuple[str, str], Answer] = {}
        self.asked: list[tuple[str, str]] = []
        self.port = 0
        self.streams = 0
        self._number = 0
        self._sessions = 0
        self._stream: web.StreamResponse | None = None
        self._transport: asyncio.Transport | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        self.port = (await listen(self._runner, 0)).port
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def next_id(self) -> str:
        """The id of the next event."""
        self._number += 1
        return f"{BOOT}-{self._number}"

    async def say(self, raw: bytes) -> None:
        """Put bytes on the event stream, as they are."""
        stream = await eventually(lambda: self._stream)
        for start in range(0, len(raw), _PIECE):
            await stream.write(raw[start : start + _PIECE])

    async def tell(self, kind: bytes, data: bytes, *, session: str | None = None, agent: str = "demo") -> None:
        """An event with ``data``, which is JSON or what is to pass for it."""
        whose = b"" if session is None else b'"sessionId":%b,' % json.dumps(session).encode()
        head = b"id: %b\nevent: %b\ndata: {%b" % (self.next_id().encode(), kind, whose)
        await self.say(b'%b"agentId":"%b","data":%b}\n\n' % (head, agent.encode(), data))

    async def cut(self) -> None:
        """Break the event stream."""
        (await eventually(lambda: self._transport)).abort()

    def _of(self, method: str, path: str) -> Answer | None:
        for (wanted, pattern), answer in self.answers.items():
            if method == wanted and (path == pattern or (pattern.endswith("*") and path.startswith(pattern[:-1]))):
                return answer
        return None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        method, path = request.method, request.path
        self.asked.append((method, path))
        if (answer := self._of(method, path)) is not None:
            return answer() if callable(answer) else web.Response(body=answer, content_type="application/json")
        if path in ("/events", "/event"):
            return await self._listen(request)
        match method, path.strip("/").split("/"):
            case "GET", ["info"]:
                told = {"bootId": BOOT, "capabilities": self.capabilities, "workingDirectory": "/w"}
            case "GET", ["agents"]:
                told = {"agents": [{"id": "demo", "status": "running"}, {"id": "claude-code", "status": "running"}]}
            case "GET", ["sessions"]:
                told = {"sessions": [{"id": f"c{number}"} for number in range(self._sessions)]}
            case "POST", ["session"]:
                told = {"id": f"c{self._sessions}", "acpSessionId": f"a{self._sessions}"}
                self._sessions += 1
            case "POST", ["session", session, "load"]:
                told = {"id": session, "acpSessionId": f"loaded-{session}", "how": "load"}
            case "POST", ["session", _, "prompt"]:
                sent = json.loads(body)
                told = {"turnId": sent.get("turnId"), "status": "processing"}
            case _:
                told = {"id": "demo", "status": "running"}
        return web.Response(body=envelope(told), content_type="application/json")

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self._stream, self._transport = response, request.transport
        self.streams += 1
        try:
            while True:
                await response.write(b": hello\n\n")
                await asyncio.sleep(5)  # its heartbeats
        except ConnectionError:
            return response
        finally:
            if self._stream is response:
                self._stream = None
