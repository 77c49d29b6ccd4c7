"""The two doors to a real agent, with one handle: the agent host's own contract, and the gateway's API.

A scenario written against ``Door`` runs through either. Both are HTTP and one event stream that is read from the
first moment, so that a scenario waits for what the stream says and never for time.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from typing import Any, Literal, Self

import aiohttp
import attrs

from gateway.wire.sse import SSEEvent, SSEParser
from tests.fakes.eventually import eventually

#: What a real agent on a busy machine of two cores may take to start or to end a turn, in seconds.
PATIENCE = 60.0

Blocks = list[dict[str, Any]]


@attrs.frozen(kw_only=True)
class TurnEnd:
    """How a turn ended."""

    outcome: Literal["completed", "cancelled", "failed"]
    stop_reason: str | None = None


@attrs.frozen(kw_only=True)
class Asked:
    """A permission request that waits for its answer."""

    id: str
    options: list[dict[str, Any]]

    def option(self, kind: str) -> str:
        return next(option["optionId"] for option in self.options if option["kind"] == kind)


class Door(ABC):
    """One way to the agents; ``events`` is everything its stream has said since it was opened."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.events: list[dict[str, Any]] = []
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        connected = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(connected))
        await asyncio.wait([self._reader, connected], return_when=asyncio.FIRST_COMPLETED)
        if self._reader.done():
            self._reader.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reader is not None
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    @abstractmethod
    def events_path(self) -> str: ...

    @abstractmethod
    async def create_session(self) -> str:
        """A new session with OpenCode; returns its id."""

    @abstractmethod
    async def prompt(self, session_id: str, prompt: str | Blocks) -> str:
        """Starts a turn; returns its id."""

    @abstractmethod
    async def cancel(self, session_id: str) -> None: ...

    @abstractmethod
    async def answer(self, asked: Asked, option_id: str) -> int:
        """Answers a permission request; returns the status of the answer's answer."""

    @abstractmethod
    def end_of(self, turn_id: str) -> TurnEnd | None:
        """How the turn ended, if the stream has said so."""

    @abstractmethod
    def asked_in(self, session_id: str) -> Asked | None:
        """The last permission request of the session that the stream has told of."""

    async def end(self, turn_id: str) -> TurnEnd:
        return await eventually(lambda: self.end_of(turn_id), within=PATIENCE)

    async def asked(self, session_id: str) -> Asked:
        return await eventually(lambda: self.asked_in(session_id), within=PATIENCE)

    async def run(self, session_id: str, prompt: str | Blocks) -> TurnEnd:
        return await self.end(await self.prompt(session_id, prompt))

    def updates(self, session_id: str) -> list[dict[str, Any]]:
        """The ACP updates of a session, in the order in which the stream brought them."""
        return [event["data"]["update"] for event in self.of(session_id, "session_update")]

    def text(self, session_id: str) -> str:
        """What the agent has said in a session."""
        return "".join(self.chunks(session_id))

    def chunks(self, session_id: str) -> list[str]:
        return [
            update["content"]["text"]
            for update in self.updates(session_id)
            if update["sessionUpdate"] == "agent_message_chunk"
        ]

    def of(self, session_id: str, type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if (event.get("sessionId"), event["type"]) == (session_id, type)]

    async def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The JSON of an answer that must be a success."""
        async with self.http.request(method, path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.ok, f"{method} {path}: {answer.status} {text}"
            return json.loads(text) if text else None

    async def _read(self, connected: "asyncio.Future[None]") -> None:
        parser = SSEParser()
        timeout = aiohttp.ClientTimeout(total=None, sock_read=PATIENCE)
        async with self.http.get(self.events_path(), timeout=timeout) as answer:
            assert answer.status == 200, await answer.text()
            connected.set_result(None)
            async for piece in answer.content.iter_any():
                for event in parser.feed(piece):
                    assert isinstance(event, SSEEvent)
                    self.events.append(json.loads(event.data))


class HostDoor(Door):
    """The agent host, as ``container-api.md`` part 2 has it."""

    def events_path(self) -> str:
        return "/events"

    async def create_session(self) -> str:
        return (await self._data("POST", "/session", {"agentId": "opencode"}))["id"]

    async def prompt(self, session_id: str, prompt: str | Blocks) -> str:
        prefer = {"Prefer": "respond-async"}
        return (await self._data("POST", f"/session/{session_id}/prompt", {"prompt": prompt}, prefer))["turnId"]

    async def cancel(self, session_id: str) -> None:
        await self._data("POST", f"/session/{session_id}/cancel")

    async def answer(self, asked: Asked, option_id: str) -> int:
        async with self.http.post(f"/permission/{asked.id}", json={"optionId": option_id}) as answer:
            return answer.status

    def end_of(self, turn_id: str) -> TurnEnd | None:
        for event in self.events:
            if event["type"] == "session_end_turn" and event["data"]["turnId"] == turn_id:
                reason = event["data"].get("stopReason")
                if reason is None:
                    return TurnEnd(outcome="failed")
                return TurnEnd(outcome="cancelled" if reason == "cancelled" else "completed", stop_reason=reason)
        return None

    def asked_in(self, session_id: str) -> Asked | None:
        requests = self.of(session_id, "permission_request")
        return (
            Asked(id=requests[-1]["data"]["requestId"], options=requests[-1]["data"]["options"]) if requests else None
        )

    async def _data(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        return (await self.call(method, path, body, headers))["data"]


class GatewayDoor(Door):
    """The gateway's API for one project."""

    def __init__(self, http: aiohttp.ClientSession, project_id: str) -> None:
        super().__init__(http)
        self.acp = f"/api/projects/{project_id}/acp"

    def events_path(self) -> str:
        return f"{self.acp}/events?from=start"

    async def create_session(self) -> str:
        return (await self.call("POST", f"{self.acp}/session", {"agentId": "opencode"}))["id"]

    async def prompt(self, session_id: str, prompt: str | Blocks) -> str:
        return (await self.call("POST", f"{self.acp}/session/{session_id}/prompt", {"prompt": prompt}))["turnId"]

    async def cancel(self, session_id: str) -> None:
        await self.call("POST", f"{self.acp}/session/{session_id}/cancel")

    async def answer(self, asked: Asked, option_id: str) -> int:
        async with self.http.post(f"{self.acp}/permission/{asked.id}", json={"optionId": option_id}) as answer:
            return answer.status

    def end_of(self, turn_id: str) -> TurnEnd | None:
        for event in self.events:
            if event["type"] == "turn_ended" and event["turnId"] == turn_id:
                return TurnEnd(outcome=event["data"]["outcome"], stop_reason=event["data"].get("stopReason"))
        return None

    def asked_in(self, session_id: str) -> Asked | None:
        requests = self.of(session_id, "permission_request")
        if not requests:
            return None
        return Asked(id=requests[-1]["data"]["permissionId"], options=requests[-1]["data"]["options"])

    async def roles(self, session_id: str) -> list[str]:
        """Who said each message of a session; of an event its type."""
        return [message.get("event", message["role"]) for message in await self.messages(session_id)]

    async def messages(self, session_id: str) -> list[dict[str, Any]]:
        """The whole transcript of a session, page by page."""
        path, found = f"{self.acp}/session/{session_id}/messages", []
        after = ""
        while True:
            page = await self.call("GET", path + after)
            found += page["messages"]
            if not page.get("next"):
                return found
            after = f"?after={page['next']}"
