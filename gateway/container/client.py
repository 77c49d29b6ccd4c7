"""One project container's ACP port, spoken to.

The base contract: JSON in ``{"success": true, "data": …}`` or ``{"success": false, "error": "text"}``. What a container
can beyond it stands in the ``capabilities`` of ``GET /info``; each is independent of the others.

Two of its habits matter here: ``POST …/prompt`` answers when the turn is over (hours later, with no event), unless the
container has ``end-turn``; and errors of all kinds come as 500 with a text.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any
from urllib.parse import quote

import attrs

from gateway.container.answers import AnswerLimit, read_answer
from gateway.container.streams import opened, pieces
from gateway.errors import UpstreamFailed, UpstreamUnreachable
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.wire.codec import DecodeError, dump_foreign_json, parse_foreign_json, storable
from gateway.wire.sse import OversizedEvent, SSEEvent, SSEParser

CONTROL_SECONDS = 30.0
#: Starting an agent may install or log in; a container that needs longer has a problem of its own.
SPAWN_SECONDS = 120.0
#: How large an answer may be, and how many values it may have; that of a whole turn, or of all sessions, may be larger.
ANSWER = AnswerLimit(max_bytes=1_048_576, max_values=20_000)
LONG_ANSWER = AnswerLimit(max_bytes=4_194_304, max_values=100_000)
#: Agents of one container that are taken; the rest is counted.
MAX_AGENTS = 1000
#: What it can beyond the base contract: so many words of so many characters.
MAX_CAPABILITIES, MAX_CAPABILITY = 100, 100
#: Bytes. An id that is longer is taken for none.
MAX_NAME_BYTES = 255
#: Characters of what is told of an agent, and of why something was refused.
MAX_TOLD = 1000
#: The base contract pings every 30 s, a container with ids at least every 15 s: the former may be silent for so much
#: longer.
SLOWER_PINGS = 2


class ContainerRefused(UpstreamFailed):
    """The project's container answered with an error.

    ``data``: what it says beside it, any JSON; the outcome of a permission request that is settled, say.
    ``upstream_code``: its word for programs, any JSON; the base contract has none.
    """

    def __init__(self, status: int, text: str, data: Any = None, code: Any = None):
        super().__init__(f"The container answered {status}: {text}", upstreamStatus=status)
        self.upstream_status = status
        self.text = text
        self.data = data
        self.upstream_code = code


@attrs.frozen(kw_only=True)
class ContainerInfo:
    """What a container is: its boot, and what it can beyond the base contract."""

    boot_id: str | None
    capabilities: frozenset[str]
    #: Where its agents work when no session says otherwise, if it tells.
    working_directory: str | None = None

    @property
    def numbers_events(self) -> bool:
        return self.boot_id is not None and "event-ids" in self.capabilities

    @property
    def tells_end_of_turn(self) -> bool:
        return "end-turn" in self.capabilities

    @property
    def asks_permission(self) -> bool:
        return "permissions" in self.capabilities

    @property
    def takes_turn_ids(self) -> bool:
        """A prompt that is sent twice under one id is run once."""
        return self.tells_end_of_turn and "turn-ids" in self.capabilities

    @property
    def loads_sessions(self) -> bool:
        """A session that it does not know, from before its boot, is taken up by the agent's own id for it."""
        return "load-session" in self.capabilities

    @property
    def takes_credentials(self) -> bool:
        """Agents' processes are kept apart by whose credential they have, and files and calls can be given too."""
        return "credentials" in self.capabilities

    @property
    def takes_session_env(self) -> bool:
        """A session with variables of its own has a process of its own."""
        return "session-env" in self.capabilities

    @property
    def takes_content_blocks(self) -> bool:
        return "content-blocks" in self.capabilities


@attrs.frozen(kw_only=True)
class ContainerSession:
    """A session as its container has it.

    ``acp_id``: the agent's own id for it, where the container tells it. ``how``: load or resume, where it was taken up.
    """

    id: str
    acp_id: str | None
    how: str | None = None


@attrs.frozen(kw_only=True)
class ContainerAgent:
    """An agent as its container lists it."""

    id: str
    name: str
    description: str | None
    requires_auth: bool
    authenticated: bool
    status: str
    error: str | None


@attrs.frozen(kw_only=True)
class ListedAgents:
    """The agents that a container lists; ``omitted``: how many more they are than are taken of one."""

    agents: tuple[ContainerAgent, ...]
    omitted: int = 0


#: Takes secrets that the container was given out of an answer.
Mask = Callable[[bytes], Awaitable[bytes]]


class Container:
    """A container's ACP port. Raises ``UpstreamError`` kinds; ``ContainerRefused`` where it answered with an error."""

    def __init__(self, client: Client, upstream: Upstream, *, token: str, timeouts: Timeouts, mask: Mask) -> None:
        self._client = client
        self._upstream = upstream
        self._mask = mask
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeouts = timeouts

    async def info(self) -> ContainerInfo:
        data = _object(await self._call("GET", "/info"))
        told = data.get("capabilities")
        words = [word for word in told if _is_capability(word)] if isinstance(told, list) else []
        boot_id = data.get("bootId")
        return ContainerInfo(
            boot_id=boot_id if is_name(boot_id) else None,
            capabilities=frozenset(words[:MAX_CAPABILITIES]),
            working_directory=_text(data, "workingDirectory"),
        )

    async def agents(self) -> ListedAgents:
        listed = _object(await self._call("GET", "/agents")).get("agents")
        agents = [agent for agent in listed if isinstance(agent, dict)] if isinstance(listed, list) else []
        named = {agent["id"]: agent for agent in agents if is_name(agent.get("id"))}
        taken = tuple(_agent(agent) for agent in islice(named.values(), MAX_AGENTS))
        return ListedAgents(agents=taken, omitted=len(named) - len(taken))

    async def spawn(self, agent_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/agents/{quote(agent_id, safe='')}/spawn"
        return _object(await self._call("POST", path, options, seconds=SPAWN_SECONDS))

    async def stop(self, agent_id: str) -> dict[str, Any]:
        return _object(await self._call("POST", f"/agents/{quote(agent_id, safe='')}/stop", {}))

    async def renew_credential(self, agent_id: str, credential: Mapping[str, Any]) -> None:
        """Give an owner's processes a newer credential; one that works on a turn has it after that."""
        path = f"/agents/{quote(agent_id, safe='')}/credential"
        await self._call("POST", path, credential, seconds=SPAWN_SECONDS)

    async def withdraw_credential(self, agent_id: str, owner: str) -> None:
        """Have an owner's credential forgotten, and end what runs with it."""
        await self._call("DELETE", f"/agents/{quote(agent_id, safe='')}/credential/{quote(owner, safe='')}")

    async def agent_status(self, agent_id: str) -> dict[str, Any]:
        return _object(await self._call("GET", f"/agents/{quote(agent_id, safe='')}/status"))

    async def begin_auth(self, agent_id: str) -> dict[str, Any]:
        """Have the container run a login of its own; what it says of how: ``authUrl``, ``userCode``, ``message``."""
        return _object(await self._call("POST", f"/agents/{quote(agent_id, safe='')}/auth/init", {}))

    async def is_authenticated(self, agent_id: str) -> bool:
        """Whether the agent has what it needs, as the container sees it."""
        data = _object(await self._call("GET", f"/agents/{quote(agent_id, safe='')}/auth/status"))
        return data.get("authenticated") is True

    async def give_token(self, agent_id: str, token: str) -> None:
        """What a person brought back from the container's own login."""
        await self._call("POST", f"/agents/{quote(agent_id, safe='')}/auth/token", {"token": token})

    async def create_session(self, options: Mapping[str, Any]) -> ContainerSession:
        """A new session, with an id of the container's."""
        data = _object(await self._call("POST", "/session", options, seconds=SPAWN_SECONDS))
        session_id = data.get("id")
        if not isinstance(session_id, str) or not is_name(session_id):
            raise UpstreamFailed("The container created a session and gave it no id that can be stored.")
        return ContainerSession(id=session_id, acp_id=_name(data, "acpSessionId"))

    async def load_session(self, session_id: str, options: Mapping[str, Any]) -> ContainerSession:
        """Take up a session that the container does not know, under an id of ours; the agent remembers it.

        ``options``: ``agentId`` and ``acpSessionId``, and what it was made with. What was said is not told again.
        """
        data = _object(await self._call("POST", f"{_session(session_id)}/load", options, seconds=SPAWN_SECONDS))
        how = _name(data, "how") or "load"
        return ContainerSession(id=session_id, acp_id=_name(data, "acpSessionId") or options["acpSessionId"], how=how)

    async def sessions(self) -> set[str]:
        """The ids of all sessions that the container has."""
        return {one["id"] for one in await self.listed_sessions()}

    async def listed_sessions(self) -> list[dict[str, Any]]:
        """All sessions that the container has, as it tells of them."""
        listed = _object(await self._call("GET", "/sessions", limit=LONG_ANSWER)).get("sessions")
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise UpstreamFailed("The container's answer has no list of sessions.")
        return [one for one in listed if is_name(one.get("id"))]

    async def session_status(self, session_id: str) -> str | None:
        """active, idle, processing, ended or error; None where the container knows no such session."""
        try:
            data = _object(await self._call("GET", _session(session_id)))
        except ContainerRefused as exc:
            if exc.upstream_status == 404:
                return None
            raise
        return _text(data, "status") or "active"

    async def has_session(self, session_id: str) -> bool:
        try:
            await self._call("GET", _session(session_id))
        except ContainerRefused as exc:
            if exc.upstream_status == 404:
                return False
            raise
        return True

    async def end_session(self, session_id: str) -> None:
        await self._call("DELETE", _session(session_id))

    async def prompt(
        self, session_id: str, blocks: Sequence[Mapping[str, Any]], turn_id: str, info: ContainerInfo
    ) -> str | None:
        """Run a turn, however long it takes; gives the container's id for it where its end comes as an event.

        None means that the turn is over. ``turn_id`` is ours, for a container that takes it.
        """
        text = "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
        prompt: Any = list(blocks) if info.takes_content_blocks else text
        if not info.tells_end_of_turn:
            # Some containers read `prompt`, some `text`.
            both = {"prompt": prompt, "text": text}
            await self._call("POST", f"{_session(session_id)}/prompt", both, seconds=None, limit=LONG_ANSWER)
            return None
        body = {"prompt": prompt, "turnId": turn_id}
        data = await self._call("POST", f"{_session(session_id)}/prompt", body, headers={"Prefer": "respond-async"})
        named = _object(data).get("turnId")
        return str(named) if isinstance(named, int) or is_name(named) else turn_id

    async def cancel(self, session_id: str, turn_id: str | None = None) -> None:
        """Ask for the end of the session's turn; with ``turn_id`` of that one only, where the container takes it."""
        body = {} if turn_id is None else {"turnId": turn_id}
        await self._call("POST", f"{_session(session_id)}/cancel", body)

    async def answer_permission(self, request_id: str, option_id: str | None) -> None:
        """Give the answer; ``option_id`` None takes the request back."""
        answer = {"cancelled": True} if option_id is None else {"optionId": option_id}
        await self._call("POST", f"/permission/{quote(request_id, safe='')}", answer)

    @asynccontextmanager
    async def events(
        self, info: ContainerInfo, last_event_id: str | None, *, max_event_bytes: int, silence: float
    ) -> AsyncIterator[AsyncIterator[list[SSEEvent | OversizedEvent]]]:
        """The container's event stream, open once this is entered; each item is what one read brought, maybe nothing.

        Ends with ``UpstreamUnreachable`` when the stream ends, ``UpstreamTimeout`` when it is silent for ``silence``
        seconds (twice that where it numbers no events).
        """
        headers = dict(self._headers)
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        idle = silence if info.numbers_events else silence * SLOWER_PINGS
        timeouts = attrs.evolve(self._timeouts, headers=CONTROL_SECONDS, idle=idle)
        async with opened(self._client, self._upstream, "/events", headers=headers, timeouts=timeouts) as stream:
            parser = SSEParser(max_event_bytes=max_event_bytes)

            async def batches() -> AsyncIterator[list[SSEEvent | OversizedEvent]]:
                async for piece in pieces(stream):
                    yield parser.feed(piece)
                raise UpstreamUnreachable("The container ended its event stream.")

            yield batches()

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float | None = CONTROL_SECONDS,
        headers: Mapping[str, str] | None = None,
        limit: AnswerLimit = ANSWER,
    ) -> Any:
        """One call; ``seconds`` until the answer begins, None for a turn that may take hours."""
        raw = None if body is None else dump_foreign_json(body)
        sent = {**self._headers, **(headers or {}), "Accept": "application/json"}
        if raw is not None:
            sent["Content-Type"] = "application/json"
        timeouts = attrs.evolve(self._timeouts, headers=seconds)
        async with self._client.open(
            method, self._upstream, path, headers=sent, body=raw, timeouts=timeouts
        ) as response:
            raw = await read_answer(response.content, limit)
        return _open_envelope(response.status, await self._mask(raw))


def _open_envelope(status: int, raw: bytes) -> Any:
    try:
        envelope = parse_foreign_json(raw)
    except DecodeError:
        if status >= 400:
            raise ContainerRefused(status, storable(raw[:200].decode("utf-8", "replace"))) from None
        raise UpstreamFailed("The container's answer is not JSON.") from None
    if not isinstance(envelope, dict) or status >= 400 or envelope.get("success") is not True:
        told = envelope if isinstance(envelope, dict) else {}
        text = _told(told, "error") or "no reason given"
        raise ContainerRefused(status, text, told.get("data"), told.get("code"))
    return envelope.get("data")


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UpstreamFailed("The container's answer has no object in `data`.")
    return data


def _agent(listed: dict[str, Any]) -> ContainerAgent:
    return ContainerAgent(
        id=listed["id"],
        name=_told(listed, "name") or listed["id"],
        description=_told(listed, "description"),
        requires_auth=listed.get("requiresAuth") is True,
        authenticated=listed.get("authenticated") is True,
        status=_told(listed, "status") or "stopped",
        error=_told(listed, "error"),
    )


def _text(listed: dict[str, Any], name: str) -> str | None:
    value = listed.get(name)
    return storable(value) if isinstance(value, str) else None


def _told(listed: dict[str, Any], name: str) -> str | None:
    """Its beginning."""
    value = listed.get(name)
    return storable(value[:MAX_TOLD]) if isinstance(value, str) else None


def _name(listed: dict[str, Any], name: str) -> str | None:
    value = listed.get(name)
    return value if is_name(value) else None


def is_name(value: Any) -> bool:
    """Whether a container's id of something can be remembered: longer ones find no place in an index."""
    return isinstance(value, str) and value != "" and storable(value) == value and len(value.encode()) <= MAX_NAME_BYTES


def _is_capability(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_CAPABILITY


def _session(session_id: str) -> str:
    return f"/session/{quote(session_id, safe='')}"
