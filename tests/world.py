"""A gateway of a test's own on a real socket, in front of a container, and a client that speaks to both."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import attrs
from aiohttp import web
from yarl import URL

from gateway.app import build_app
from gateway.config.schema import Config, ContainersConfig, DatabaseConfig, EventsConfig, IdentityConfig, VaultConfig
from gateway.credentials.keyring import Key
from gateway.server.run import bind, serving
from gateway.wire.sse import SSEEvent, SSEParser
from tests.leaks import know_config


@attrs.frozen(kw_only=True)
class Answer:
    """What a call was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class EventStream:
    """An open event stream, read event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.raw = bytearray()
        self._parser = SSEParser()
        self._read: list[SSEEvent] = []

    async def next(self) -> SSEEvent:
        """The next event; heartbeats are none."""
        while (event := await self.block()).event == "heartbeat":
            pass
        return event

    async def block(self) -> SSEEvent:
        """The next event, heartbeats included."""
        while not self._read:
            data = await self.response.content.readany()
            if not data:
                raise EOFError("the stream ended")
            self.raw += data
            self._read += [event for event in self._parser.feed(data) if isinstance(event, SSEEvent)]
        return self._read.pop(0)

    async def until(self, type: str) -> list[SSEEvent]:
        """The events up to and including the next one of this type."""
        events = [await self.next()]
        while events[-1].event != type:
            events.append(await self.next())
        return events


def data_of(event: SSEEvent) -> Any:
    """What stands in the ``data`` member of an event of ours."""
    return json.loads(event.data)["data"]


def text_of(events: list[SSEEvent]) -> str:
    """The text of the agent's message chunks among these events."""
    updates = [data_of(event)["update"] for event in events if event.event == "session_update"]
    chunks = [update["content"] for update in updates if update["sessionUpdate"] == "agent_message_chunk"]
    return "".join(chunk["text"] for chunk in chunks)


class Gateway:
    """A running gateway, called over HTTP."""

    def __init__(
        self, app: web.Application, url: str, http: aiohttp.ClientSession, headers: Mapping[str, str] | None = None
    ) -> None:
        self.app = app
        self.url = url
        self.http = http
        #: What each call has in its head.
        self.headers = dict(headers or {})

    def sending(self, **headers: str) -> Self:
        """The same gateway, for a caller whose calls have these headers."""
        return type(self)(self.app, self.url, self.http, headers)

    def as_user(self, user_id: str) -> Self:
        """The same gateway, for a user whom a proxy names; see ``PROXIED``."""
        return self.sending(**{"X-Forwarded-User": user_id})

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call ``path`` below the gateway's address; ``body`` is sent as JSON, ``raw`` as it is (and said to be JSON).

        ``path`` goes out as it is, percent-encoding included.
        """
        sent = {"Content-Type": "application/json"} if body is not None or raw is not None else {}
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        async with self.http.request(
            method,
            URL(self.url + path, encoded=True),
            data=data,
            headers=sent | self.headers | dict(headers or {}),
            allow_redirects=False,
        ) as response:
            return Answer(status=response.status, headers=response.headers, body=await response.read())

    async def register(self, container_acp_url: str, id: str = "demo", **members: Any) -> "Project":
        """Register a project whose ACP address is this one."""
        body = {"id": id, "containerUrl": "http://127.0.0.1:4096", "acpUrl": container_acp_url, **members}
        answer = await self.call("POST", "/api/projects", body)
        assert answer.status == 201, answer.body
        return Project(self, id)


class Project:
    """A project of a running gateway."""

    def __init__(self, gateway: Gateway, id: str) -> None:
        self.gateway = gateway
        self.id = id
        self.path = f"/api/projects/{id}"
        self.acp = f"{self.path}/acp"

    def as_user(self, user_id: str) -> Self:
        """The same project, for a user whom a proxy names."""
        return type(self)(self.gateway.as_user(user_id), self.id)

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """Call ``path`` below the project's ``/acp``."""
        return await self.gateway.call(method, self.acp + path, body, **options)

    async def create_session(self, **members: Any) -> str:
        answer = await self.call("POST", "/session", {"agentId": "demo", **members})
        assert answer.status == 201, answer.body
        session_id: str = answer.json["id"]
        return session_id

    async def prompt(self, session_id: str, prompt: Any, *, wait: int | None = 30) -> Any:
        """Send a prompt; what the gateway answers once the turn is over, or at once with ``wait=None``."""
        headers = {} if wait is None else {"Prefer": f"wait={wait}"}
        answer = await self.call("POST", f"/session/{session_id}/prompt", {"prompt": prompt}, headers=headers)
        assert answer.status in (200, 202), answer.body
        return answer.json

    async def messages(self, session_id: str, query: str = "") -> list[Any]:
        answer = await self.call("GET", f"/session/{session_id}/messages{query}")
        assert answer.status == 200, answer.body
        found: list[Any] = answer.json["messages"]
        return found

    @asynccontextmanager
    async def events(
        self, session_id: str | None = None, *, last_event_id: str | None = None, query: str = ""
    ) -> AsyncIterator[EventStream]:
        """An event stream of the project, or of one session."""
        path = f"{self.acp}/events" + (f"/{session_id}" if session_id else "")
        headers = dict(self.gateway.headers)
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        async with self.gateway.http.get(self.gateway.url + path + query, headers=headers) as response:
            assert response.status == 200, await response.read()
            yield EventStream(response)

    async def all_events(self, session_id: str | None = None) -> list[SSEEvent]:
        """All that the log holds now."""
        head = (await self.call("GET", f"/session/{session_id}")).json["cursor"] if session_id else None
        async with self.events(session_id, query="?from=start") as stream:
            events = [await stream.next()]
            while head is not None and int(events[-1].id.split("-")[1]) < int(head.split("-")[1]):
                events.append(await stream.next())
            return events


#: Whoever is on this machine may ask.
LOCAL = IdentityConfig(modes=("local",))


@attrs.define
class GatewayProcess:
    """Starts gateways on one database; each is a server of its own, as replicas are."""

    database_url: str
    config: Config = attrs.field(factory=lambda: Config(identity=LOCAL))
    #: To the same database, past a pooler.
    direct_url: str = ""

    def configured(self, **tables: Any) -> Self:
        return attrs.evolve(self, config=attrs.evolve(self.config, **tables))

    def with_long_leases(self) -> Self:
        """Whichever of them follows a container goes on following it, however busy the machine is."""
        return self.configured(events=attrs.evolve(self.config.events, lease=60.0))

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Gateway]:
        config = attrs.evolve(
            self.config, database=DatabaseConfig(url=self.database_url, direct_url=self.direct_url, pool_size=4)
        )
        know_config(config)
        sock = bind("127.0.0.1", 0, purpose="the test's gateway", option="")
        app = build_app(config)
        async with serving(app, sock, shutdown_timeout=2):
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            # Of a stream each read has that long; on a busy machine a whole one may take longer.
            timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
            async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as http:
                yield Gateway(app, url, http)


QUICK = Config(
    identity=LOCAL,
    containers=ContainersConfig(connect_timeout=2, headers_timeout=5, idle_timeout=5),
    events=EventsConfig(heartbeat=0.5, lease=2.0),
    vault=VaultConfig(keys=Key.make().line()),
)
#: A gateway behind a proxy that signs users in: here, whoever calls says themselves who they are.
PROXIED = attrs.evolve(QUICK, identity=IdentityConfig(modes=("proxy",), proxy_addresses=("127.0.0.0/8",)))
