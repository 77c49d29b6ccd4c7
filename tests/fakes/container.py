"""A container that speaks the base contract and nothing more, with its quirks.

    async with FakeContainer() as container:
        …  # container.url is what port 4097 of a real one would be

or ``python -m tests.fakes.container --port 4097``. What its agents do is written in the prompt: see ``directives``.

What it does as real ones do, and a well-meaning reader would not expect:
 1. Events have no id, there is no replay and no ``retry:``; what is emitted while nobody listens is gone.
 2. ``POST /session/{id}/prompt`` answers when the turn is over. There is no ``session_end_turn``, and dropping
    the request does not stop the turn.
 3. A session stays ``processing`` after its turn; only cancel makes it ``idle``.
 4. Permissions are given inside; ``POST /permission/{id}`` answers 200 whatever the id.
 5. ``env`` of ``POST /session`` is ignored; ``spawn`` takes it, and an agent that runs keeps what it has.
 6. Status of an unknown agent is 200 ``stopped``; spawn of it is 404 and ``POST /session`` 400.
 7. Forgotten sessions are 404 (``forget``), and ``restart`` forgets all.
 8. Every other error is 500 with a text.
 9. The ids in ``/session/…`` are its own, and the agent's are others still.
10. ``agent_status`` comes twice for one change and goes to every stream, session streams too.

``POST /session`` starts an agent that does not run yet.
"""

import argparse
import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

import attrs
from aiohttp import web

from gateway.server.listening import Accepting
from gateway.wire.sse import encode_event
from tests.fakes.directives import Crash, Fail, TurnFailed, Wait, steps
from tests.fakes.eventually import eventually
from tests.fakes.listening import listen

OPENCODE_TRAFFIC = Path(__file__).with_name("container-events-opencode.sse")
#: Whose it is.
RECORDED_SESSION = "wODEAaPBwP-nEWiQTwQih"


@attrs.frozen(kw_only=True)
class Recorded:
    """A request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.define(kw_only=True)
class Agent:
    id: str
    name: str
    requires_auth: bool = False
    authenticated: bool = False
    status: str = "stopped"
    #: What ``spawn`` gave to the process that runs now.
    env: dict[str, str] = attrs.Factory(dict)
    working_directory: str | None = None
    started_at: str | None = None
    #: Counts processes: a session lives in one of them.
    process: int = 0

    @property
    def running(self) -> bool:
        return self.status == "running"


@attrs.define(kw_only=True)
class Session:
    id: str
    agent: Agent
    process: int
    #: The agent's own id, which only its notifications carry.
    acp_id: str
    created_at: str
    working_directory: str | None
    status: str = "active"
    last_activity: str = ""
    message_count: int = 0
    turns: set["asyncio.Task[None]"] = attrs.Factory(set)
    cancelled: asyncio.Event = attrs.Factory(asyncio.Event)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "agentId": self.agent.id,
            "status": self.status,
            "createdAt": self.created_at,
            "lastActivity": self.last_activity or self.created_at,
            "messageCount": self.message_count,
        }


@attrs.define(kw_only=True, eq=False)
class Stream:
    """An open event stream; ``session_id`` None hears everything."""

    session_id: str | None
    transport: asyncio.Transport
    waiting: "asyncio.Queue[bytes]" = attrs.Factory(asyncio.Queue)


class ContainerError(Exception):
    """The envelope's ``success: false``."""

    def __init__(self, error: str, status: int = 500) -> None:
        super().__init__(error)
        self.status = status


class FakeContainer:
    """One container; its methods are what a test may do to it."""

    def __init__(
        self, *, ping_every: float = 30.0, prompt_key: str = "prompt", idle_timeout: float | None = None
    ) -> None:
        self.ping_every = ping_every
        #: As Bun's server: the head of an event stream goes out with its first event, and a connection that is silent
        #: for this many seconds is closed without a word, a prompt's too. Its turn goes on.
        self.idle_timeout = idle_timeout
        #: The member in which this build reads the prompt: ``prompt`` or ``text``.
        self.prompt_key = prompt_key
        self.requests: list[Recorded] = []
        self.agents = {
            agent.id: agent
            for agent in (
                Agent(id="demo", name="Demo"),
                Agent(id="opencode", name="OpenCode"),
                Agent(id="locked", name="Locked", requires_auth=True),
            )
        }
        self.sessions: dict[str, Session] = {}
        self.streams: list[Stream] = []
        self.streams_opened = 0
        self.counts_streams = True
        self.port = 0
        #: Of the bodies of its answers.
        self.encoding = "utf-8"
        self._failures: list[tuple[str, str, int]] = []
        self._cut_next_answer = False
        self._awake = asyncio.Event()
        self._awake.set()
        self._connections: set[asyncio.Transport] = set()
        self._runner: web.AppRunner | None = None
        self._site: Accepting | None = None
        self._pings: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        self.port = port
        self._runner = web.AppRunner(_application(self), handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.listen()
        self._pings = asyncio.create_task(self._ping())

    async def stop(self) -> None:
        self._awake.set()
        if self._pings is not None:
            self._pings.cancel()
            await asyncio.gather(self._pings, return_exceptions=True)
        await self._end_turns(list(self.sessions.values()))
        self._disconnect_all()
        if self._runner is not None:
            await self._runner.cleanup()

    # What a test may do to it.

    async def wait_for_streams(self, count: int = 1) -> None:
        await eventually(lambda: len(self.streams) >= count)

    def requests_to(self, method: str, path: str) -> list[Recorded]:
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def emit(self, type: str, data: Any, *, session_id: str | None = None, agent_id: str | None = None) -> None:
        """Tell all who listen now; without a session, session streams hear it too."""
        envelope = {"type": type, "sessionId": session_id, "agentId": agent_id, "data": data, "timestamp": _now()}
        body = {key: value for key, value in envelope.items() if value is not None or key == "data"}
        frame = encode_event(event=type, data=json.dumps(body, separators=(",", ":")))
        self.emit_bytes(frame, session_id=session_id)

    def emit_bytes(self, raw: bytes, *, session_id: str | None = None) -> None:
        """Put bytes of any kind on the streams, as they are."""
        for stream in self.streams:
            if session_id is None or stream.session_id in (None, session_id):
                stream.waiting.put_nowait(raw)

    def replay_opencode_traffic(self, session_id: str = RECORDED_SESSION) -> bytes:
        """What a real container once sent, byte for byte but for its session's id, to all streams; returns it."""
        raw = OPENCODE_TRAFFIC.read_bytes().replace(RECORDED_SESSION.encode(), session_id.encode())
        self.emit_bytes(raw)
        return raw

    def drop_streams(self, *, after: bytes = b"") -> None:
        """Break every event stream, each after ``after`` (the beginning of an event, say)."""
        dropped, self.streams = self.streams, []
        for stream in dropped:
            if after:
                stream.transport.write(b"%x\r\n%b\r\n" % (len(after), after))
            stream.transport.abort()

    def freeze(self) -> None:
        """Say nothing more to anybody, as a stopped process does: connections stay, turns wait."""
        self._awake.clear()

    def thaw(self) -> None:
        self._awake.set()

    async def refuse(self) -> None:
        """Break every connection and refuse new ones until ``listen``."""
        assert self._site is not None
        await self._site.stop()
        self._site = None
        self._disconnect_all()

    async def listen(self) -> None:
        assert self._runner is not None
        self._site = await listen(self._runner, self.port)
        self.port = self._site.port

    async def restart(self) -> None:
        """A new process at the same address: no sessions, no running agents, no connections."""
        await self.refuse()
        await self._end_turns(list(self.sessions.values()))
        self.sessions.clear()
        for agent in self.agents.values():
            agent.status, agent.env = "stopped", {}
        await self.listen()

    def forget(self, session_id: str) -> None:
        """As after an hour without use."""
        del self.sessions[session_id]

    async def kill_agent(self, agent_id: str) -> None:
        """The agent's process dies; the prompts that it works on fail."""
        await self._end_process(self.agents[agent_id], "error")

    def fail_next(self, path: str, error: str = "it broke", status: int = 500) -> None:
        """The next request to ``path`` is answered with ``error``."""
        self._failures.append((path, error, status))

    def die_in_next_answer(self) -> None:
        """The next answer breaks off in the middle of its body."""
        self._cut_next_answer = True

    def turns_under_way(self) -> int:
        return sum(len(session.turns) for session in self.sessions.values())

    # The contract.

    async def health(self, _: web.Request) -> Any:
        return {"status": "healthy", "timestamp": _now()}

    async def info(self, _: web.Request) -> Any:
        return {
            "name": "acp-gateway",
            "version": "0.1.0",
            "workingDirectory": "/workspace",
            "runningAgents": sum(agent.running for agent in self.agents.values()),
            "activeSessions": len(self.sessions),
            "connectedClients": len(self.streams) if self.counts_streams else 0,
        }

    async def list_agents(self, _: web.Request) -> Any:
        return {
            "agents": [
                {
                    "id": agent.id,
                    "name": agent.name,
                    "description": f"{agent.name}, played by a fake",
                    "requiresAuth": agent.requires_auth,
                    "status": agent.status,
                    "authenticated": agent.authenticated,
                }
                for agent in self.agents.values()
            ]
        }

    async def spawn(self, request: web.Request) -> Any:
        agent = self._agent(request, 404)
        body = await _optional_object(request)
        if not agent.running:
            self._start(agent, body.get("env") or {}, body.get("workingDirectory"))
        return {"id": agent.id, "status": agent.status, "startedAt": agent.started_at}

    async def stop_agent(self, request: web.Request) -> Any:
        agent = self._agent(request)
        await self._end_process(agent, "stopped")
        return {"id": agent.id, "status": "stopped"}

    async def agent_status(self, request: web.Request) -> Any:
        agent_id = request.match_info["agent_id"]
        agent = self.agents.get(agent_id) or Agent(id=agent_id, name=agent_id)
        count = sum(session.agent is agent for session in self.sessions.values())
        return {
            "id": agent_id,
            "status": agent.status,
            "startedAt": agent.started_at,
            "lastActivity": agent.started_at,
            "sessionCount": count,
            "error": None,
        }

    async def auth_init(self, request: web.Request) -> Any:
        agent = self._agent(request)
        login = {"authUrl": "https://login.example/device", "deviceCode": "device-1", "userCode": "WDJB-MJHT"}
        self.emit("auth_required", {"agentId": agent.id, **login}, agent_id=agent.id)
        return {**login, "expiresIn": 900, "message": "Enter the code on the page"}

    async def auth_status(self, request: web.Request) -> Any:
        return {"authenticated": self._agent(request).authenticated}

    async def auth_token(self, request: web.Request) -> Any:
        agent = self._agent(request)
        if not isinstance((await _object(request)).get("token"), str):
            raise ContainerError("token is required")
        agent.authenticated = True
        self.emit("auth_complete", {"agentId": agent.id}, agent_id=agent.id)
        return {"authenticated": True}

    async def create_session(self, request: web.Request) -> Any:
        body = await _object(request)
        agent = self.agents.get(body.get("agentId", ""))
        if agent is None:
            raise ContainerError(f"Unknown agent: {body.get('agentId')}", 400)
        if not agent.running:
            self._start(agent, {}, body.get("workingDirectory"))
        if not agent.running:
            raise ContainerError("Authentication required")
        session = Session(
            id=secrets.token_urlsafe(16),
            agent=agent,
            process=agent.process,
            acp_id=f"ses_{secrets.token_hex(12)}",
            created_at=_now(),
            working_directory=body.get("workingDirectory"),
        )
        self.sessions[session.id] = session
        return {key: session.to_json()[key] for key in ("id", "agentId", "status", "createdAt")}

    async def list_sessions(self, _: web.Request) -> Any:
        return {"sessions": [session.to_json() for session in self.sessions.values()]}

    async def get_session(self, request: web.Request) -> Any:
        return self._session(request).to_json()

    async def end_session(self, request: web.Request) -> Any:
        session = self._session(request)
        await self._end_turns([session])
        del self.sessions[session.id]
        return {"id": session.id, "status": "ended"}

    async def prompt(self, request: web.Request) -> Any:
        session = self._session(request)
        text = (await _object(request)).get(self.prompt_key)
        if not isinstance(text, str):
            raise ContainerError(f"{self.prompt_key} is required")
        if not session.agent.running or session.process != session.agent.process:
            raise ContainerError(f"Agent {session.agent.id} does not know this session")
        session.status, session.last_activity = "processing", _now()
        session.message_count += 1
        session.cancelled.clear()
        turn = asyncio.create_task(self._run_turn(session, text))
        session.turns.add(turn)
        turn.add_done_callback(session.turns.discard)
        # A turn outlives the request that began it, so its failure may find nobody to tell.
        turn.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Waiting for the task is not awaiting it: the request's end does not cancel it, and its own reads as an answer.
        await asyncio.wait([turn], timeout=self.idle_timeout)
        if not turn.done():
            assert request.transport is not None
            request.transport.abort()
            await asyncio.wait([turn])
        if turn.cancelled():
            raise ContainerError("Agent process exited")
        if error := turn.exception():
            raise ContainerError(str(error))
        return {"id": session.id, "status": "processing"}

    async def cancel(self, request: web.Request) -> Any:
        session = self._session(request)
        session.cancelled.set()
        session.status = "idle"
        return {"id": session.id, "status": "idle"}

    async def permission(self, request: web.Request) -> Any:
        body = await _object(request)
        return {"id": request.match_info["permission_id"], "granted": bool(body.get("granted"))}

    async def events(self, request: web.Request) -> web.StreamResponse:
        session_id = request.match_info.get("session_id")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        assert request.transport is not None
        stream = Stream(session_id=session_id, transport=request.transport)
        # Before the headers: whoever has them hears all that follows.
        self.streams.append(stream)
        self.streams_opened += 1
        try:
            if self.idle_timeout is None:
                await response.prepare(request)
            while True:
                async with asyncio.timeout(self.idle_timeout):
                    raw = await stream.waiting.get()
                await self._awake.wait()
                if not response.prepared:
                    await response.prepare(request)
                await response.write(raw)
        except TimeoutError:
            stream.transport.abort()
            return response
        finally:
            if stream in self.streams:
                self.streams.remove(stream)

    # Behind it.

    async def answer(self, request: web.Request, method: Callable[[web.Request], Coroutine[Any, Any, Any]]) -> Any:
        """Every request goes through here: recorded, delayed or broken as the test asked, put into the envelope."""
        assert request.transport is not None
        self._connections.add(request.transport)
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.requests.append(Recorded(method=request.method, path=request.raw_path, headers=headers, body=body))
        await self._awake.wait()
        try:
            self._fail_if_asked(request.path)
            data = await method(request)
        except ContainerError as exc:
            response = web.json_response({"success": False, "error": str(exc)}, status=exc.status)
        else:
            if isinstance(data, web.StreamResponse):
                return data
            text = json.dumps({"success": True, "data": data}, ensure_ascii=self.encoding == "utf-8")
            response = web.Response(body=text.encode(self.encoding), content_type="application/json")
        await self._awake.wait()
        return await self._cut(request, response) if self._cut_next_answer else response

    def _fail_if_asked(self, path: str) -> None:
        for failure in self._failures:
            if failure[0] == path:
                self._failures.remove(failure)
                raise ContainerError(failure[1], failure[2])

    async def _cut(self, request: web.Request, response: web.Response) -> web.StreamResponse:
        self._cut_next_answer = False
        body = response.body
        assert isinstance(body, bytes)
        broken = web.StreamResponse(status=response.status, headers={"Content-Type": "application/json"})
        broken.content_length = len(body)
        await broken.prepare(request)
        await broken.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.abort()
        return broken

    def _start(self, agent: Agent, env: dict[str, str], working_directory: str | None) -> None:
        if agent.requires_auth and not (agent.authenticated or env):
            self._set_status(agent, "auth_required")
            self.emit("auth_required", {"agentId": agent.id}, agent_id=agent.id)
            return
        agent.process += 1
        agent.env, agent.working_directory, agent.started_at = dict(env), working_directory, _now()
        self._set_status(agent, "running")

    def _set_status(self, agent: Agent, status: str) -> None:
        agent.status = status
        for _ in range(2):
            self.emit("agent_status", {"agentId": agent.id, "status": status}, agent_id=agent.id)

    async def _end_process(self, agent: Agent, status: str) -> None:
        await self._end_turns([session for session in self.sessions.values() if session.agent is agent])
        if agent.status != status:
            self._set_status(agent, status)

    async def _end_turns(self, sessions: list[Session]) -> None:
        turns = [turn for session in sessions for turn in session.turns]
        for turn in turns:
            turn.cancel()
        await asyncio.gather(*turns, return_exceptions=True)

    async def _run_turn(self, session: Session, text: str) -> None:
        for step in steps(text, session.agent.env):
            await self._awake.wait()
            if session.cancelled.is_set():
                return
            if isinstance(step, Fail):
                raise TurnFailed(step.message)
            if isinstance(step, Crash):
                self._set_status(session.agent, "error")
                raise TurnFailed("Agent process exited")
            if isinstance(step, Wait):
                await _either(session.cancelled if step.heedful else asyncio.Event(), step.seconds)
                continue
            notification = {"sessionId": session.acp_id, "update": step}
            self.emit("session_update", notification, session_id=session.id, agent_id=session.agent.id)
            await asyncio.sleep(0)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self.ping_every)
            self.emit_bytes(b"event: ping\ndata: ping\n\n")

    def _disconnect_all(self) -> None:
        for transport in self._connections:
            transport.abort()
        self._connections.clear()
        self.streams.clear()

    def _agent(self, request: web.Request, status: int = 500) -> Agent:
        agent_id = request.match_info["agent_id"]
        if agent_id not in self.agents:
            raise ContainerError(f"Unknown agent: {agent_id}", status)
        return self.agents[agent_id]

    def _session(self, request: web.Request) -> Session:
        session_id = request.match_info["session_id"]
        if session_id not in self.sessions:
            raise ContainerError(f"Session not found: {session_id}", 404)
        return self.sessions[session_id]


def _application(container: FakeContainer) -> web.Application:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    for method, path, handler in (
        ("GET", "/health", container.health),
        ("GET", "/info", container.info),
        ("GET", "/agents", container.list_agents),
        ("POST", "/agents/{agent_id}/spawn", container.spawn),
        ("POST", "/agents/{agent_id}/stop", container.stop_agent),
        ("GET", "/agents/{agent_id}/status", container.agent_status),
        ("POST", "/agents/{agent_id}/auth/init", container.auth_init),
        ("GET", "/agents/{agent_id}/auth/status", container.auth_status),
        ("POST", "/agents/{agent_id}/auth/token", container.auth_token),
        ("POST", "/session", container.create_session),
        ("GET", "/sessions", container.list_sessions),
        ("GET", "/session/{session_id}", container.get_session),
        ("DELETE", "/session/{session_id}", container.end_session),
        ("POST", "/session/{session_id}/prompt", container.prompt),
        ("POST", "/session/{session_id}/cancel", container.cancel),
        ("POST", "/permission/{permission_id}", container.permission),
        ("GET", "/events", container.events),
        ("GET", "/events/{session_id}", container.events),
        ("*", "/{anything:.*}", _no_such_route),
    ):
        app.router.add_route(method, path, partial(container.answer, method=handler))
    return app


async def _no_such_route(_: web.Request) -> Any:
    raise ContainerError("Not found", 404)


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError as exc:
        raise ContainerError(f"Unexpected token in JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise ContainerError("Body must be an object")
    return body


async def _optional_object(request: web.Request) -> dict[str, Any]:
    return await _object(request) if await request.read() else {}


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _serve(port: int) -> None:
    container = FakeContainer()
    await container.start(port)
    print(container.url, flush=True)  # noqa: T201
    try:
        await asyncio.Event().wait()
    finally:
        await container.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="A project container that speaks the base contract, quirks included.")
    parser.add_argument("--port", type=int, default=4097)
    try:
        asyncio.run(_serve(parser.parse_args().port))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
