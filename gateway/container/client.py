"""A project container's ACP port, called over HTTP: the calls that every container answers in the same way.

Bodies are JSON in ``{"success": true, "data": …}`` or ``{"success": false, "error": "text"}``. Errors of all kinds may
come as 500 with a text. What differs between containers is in ``gateway.container.dialects``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import attrs

from gateway.container.answers import AnswerLimit, read_answer
from gateway.container.received import WITH_EFFECT
from gateway.container.streams import opened, opened_or_counted, pieces
from gateway.container.values import (
    ContainerFacts,
    ContainerLogin,
    ContainerSession,
    ListedAgents,
    beginning,
    is_name,
    name,
    text,
)
from gateway.errors import UpstreamError, UpstreamFailed, UpstreamUnreachable
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.wire.codec import DecodeError, dump_foreign_json, parse_foreign_json, storable
from gateway.wire.sse import OversizedEvent, SSEEvent, SSEParser

CONTROL_SECONDS = 30.0
#: Starting an agent may install something or log in.
SPAWN_SECONDS = 120.0
#: Between two looks whether a container counts a stream that it has not answered.
COUNT_SECONDS = 0.25
#: After that long, it counts as open although the container does not say so: what comes next will show it.
UNANSWERED_SECONDS = 1.5
#: Limits of a response; larger for a whole turn and for all sessions.
ANSWER = AnswerLimit(max_bytes=1_048_576, max_values=20_000)
LONG_ANSWER = AnswerLimit(max_bytes=4_194_304, max_values=100_000)
#: The base contract pings every 30 s, a container with event ids at least every 15 s.
SLOWER_PINGS = 2


class ContainerRefused(UpstreamFailed):
    """The project's container answered with an error.

    ``data``: further JSON, such as the outcome of a settled permission request. ``upstream_code``: its error code, any
    JSON; the base contract has none.
    """

    def __init__(self, status: int, text: str, data: Any = None, code: Any = None):
        super().__init__(f"The container answered {status}: {text}", upstreamStatus=status)
        self.upstream_status = status
        self.text = text
        self.data = data
        self.upstream_code = code


#: Masks a container's secrets in a response.
Mask = Callable[[bytes], Awaitable[bytes]]


@attrs.frozen(kw_only=True)
class Reach:
    """How to reach a container. ``mask`` masks its secrets in responses."""

    client: Client
    upstream: Upstream
    token: str = attrs.field(repr=False)
    timeouts: Timeouts
    mask: Mask


class ContainerClient:
    """A container's ACP port. Raises ``UpstreamError`` kinds; ``ContainerRefused`` if it answers with an error."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._headers = {"Authorization": f"Bearer {reach.token}"} if reach.token else {}

    async def read_facts(self) -> ContainerFacts:
        """The container's present facts."""
        return ContainerFacts.from_info(as_object(await self._call("GET", "/info")))

    async def agents(self) -> ListedAgents:
        return ListedAgents.from_answer(as_object(await self._call("GET", "/agents")).get("agents"))

    async def spawn(self, agent_id: str, options: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/agents/{quote(agent_id, safe='')}/spawn"
        return as_object(await self._call("POST", path, options, seconds=SPAWN_SECONDS))

    async def stop(self, agent_id: str) -> dict[str, Any]:
        return as_object(await self._call("POST", f"/agents/{quote(agent_id, safe='')}/stop", {}))

    async def renew_credential(self, agent_id: str, credential: Mapping[str, Any]) -> None:
        """Give an owner's processes a newer credential; busy ones get it after their turns."""
        path = f"/agents/{quote(agent_id, safe='')}/credential"
        await self._call("POST", path, credential, seconds=SPAWN_SECONDS)

    async def withdraw_credential(self, agent_id: str, owner: str) -> None:
        """Have an owner's credential forgotten, and its processes ended."""
        await self._call("DELETE", f"/agents/{quote(agent_id, safe='')}/credential/{quote(owner, safe='')}")

    async def agent_status(self, agent_id: str) -> dict[str, Any]:
        return as_object(await self._call("GET", f"/agents/{quote(agent_id, safe='')}/status"))

    async def begin_auth(self, agent_id: str) -> dict[str, Any]:
        """Have the container run its own login; its answer may have ``authUrl``, ``userCode``, ``message``."""
        return as_object(await self._call("POST", f"/agents/{quote(agent_id, safe='')}/auth/init", {}))

    async def login_state(self, agent_id: str) -> ContainerLogin:
        """What has become of the login that the container runs itself."""
        data = as_object(await self._call("GET", f"/agents/{quote(agent_id, safe='')}/auth/status"))
        return ContainerLogin.from_answer(data)

    async def give_token(self, agent_id: str, token: str) -> None:
        """Pass on what the user brought back from the container's own login."""
        await self._call("POST", f"/agents/{quote(agent_id, safe='')}/auth/token", {"token": token})

    async def create_session(self, options: Mapping[str, Any]) -> ContainerSession:
        """A new session, with an id of the container's."""
        data = as_object(await self._call("POST", "/session", options, seconds=SPAWN_SECONDS))
        session_id = data.get("id")
        if not isinstance(session_id, str) or not is_name(session_id):
            raise UpstreamFailed("The container created a session and gave it no id that can be stored.")
        return ContainerSession.from_answer(data, session_id)

    async def load_session(self, session_id: str, options: Mapping[str, Any]) -> ContainerSession:
        """Restore a session that the container does not know, under an id of ours.

        ``options``: ``agentId`` and ``acpSessionId``, and those of its creation. Its history is not repeated.
        """
        data = as_object(await self._call("POST", f"{session_path(session_id)}/load", options, seconds=SPAWN_SECONDS))
        how = name(data, "how") or "load"
        return ContainerSession.from_answer(data, session_id, acp_id=options["acpSessionId"], how=how)

    async def sessions(self) -> set[str]:
        """The ids of the container's sessions."""
        return {one["id"] for one in await self.listed_sessions()}

    async def listed_sessions(self) -> list[dict[str, Any]]:
        """The container's sessions as it describes them."""
        listed = as_object(await self._call("GET", "/sessions", limit=LONG_ANSWER)).get("sessions")
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise UpstreamFailed("The container's answer has no list of sessions.")
        return [one for one in listed if is_name(one.get("id"))]

    async def session_status(self, session_id: str) -> str | None:
        """active, idle, processing, ended or error; None if the container does not know the session."""
        try:
            data = as_object(await self._call("GET", session_path(session_id)))
        except ContainerRefused as exc:
            if exc.upstream_status == 404:
                return None
            raise
        return text(data, "status") or "active"

    async def has_session(self, session_id: str) -> bool:
        return await self.session_status(session_id) is not None

    async def end_session(self, session_id: str) -> None:
        await self._call("DELETE", session_path(session_id))

    async def cancel(self, session_id: str, turn_id: str | None = None) -> None:
        """Ask for the end of the session's turn, only of ``turn_id`` if the container supports it."""
        body = {} if turn_id is None else {"turnId": turn_id}
        await self._call("POST", f"{session_path(session_id)}/cancel", body)

    async def answer_permission(self, request_id: str, option_id: str | None) -> None:
        """Give the answer; ``option_id`` None cancels the request."""
        answer = {"cancelled": True} if option_id is None else {"optionId": option_id}
        await self._call("POST", f"/permission/{quote(request_id, safe='')}", answer)

    @asynccontextmanager
    async def events(
        self, facts: ContainerFacts, last_event_id: str | None, *, max_event_bytes: int, silence: float
    ) -> AsyncIterator[AsyncIterator[list[SSEEvent | OversizedEvent]]]:
        """The container's event stream, open once entered; each item is the events of one read, perhaps none.

        A container of the base contract may answer with its first event only. Then the stream is open once the
        container counts it among its clients, or was not refused for ``UNANSWERED_SECONDS``.

        Raises ``UpstreamUnreachable`` when the stream ends, ``UpstreamTimeout`` when it is silent for ``silence``
        seconds (twice that if it does not number events).
        """
        headers = dict(self._headers)
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        idle = silence if facts.journal is not None else silence * SLOWER_PINGS
        timeouts = attrs.evolve(self._reach.timeouts, headers=idle, idle=idle)
        opening = opened(self._reach.client, self._reach.upstream, "/events", headers=headers, timeouts=timeouts)
        async with opened_or_counted(opening, partial(self._take_for_open, facts)) as stream:
            parser = SSEParser(max_event_bytes=max_event_bytes, cuts=WITH_EFFECT)

            async def batches() -> AsyncIterator[list[SSEEvent | OversizedEvent]]:
                async for piece in pieces(await stream):
                    yield parser.feed(piece)
                raise UpstreamUnreachable("The container ended its event stream.")

            yield batches()

    async def _take_for_open(self, facts: ContainerFacts) -> None:
        """Wait until a stream that is not answered may count as open, where the container has more now than before."""
        if facts.journal is not None:
            await asyncio.get_running_loop().create_future()  # it answers at once, or the stream's own limit ends this
        before = facts.connected_clients
        with suppress(TimeoutError):
            async with asyncio.timeout(UNANSWERED_SECONDS):
                while True:
                    await asyncio.sleep(COUNT_SECONDS)
                    with suppress(UpstreamError):
                        now = (await self.read_facts()).connected_clients
                        if before is not None and now is not None and now > before:
                            return

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
        """One call; ``seconds`` until the response begins, None for a turn."""
        raw = None if body is None else dump_foreign_json(body)
        sent = {**self._headers, **(headers or {}), "Accept": "application/json"}
        if raw is not None:
            sent["Content-Type"] = "application/json"
        timeouts = attrs.evolve(self._reach.timeouts, headers=seconds)
        async with self._reach.client.open(
            method, self._reach.upstream, path, headers=sent, body=raw, timeouts=timeouts
        ) as response:
            raw = await read_answer(response.content, limit)
        return _open_envelope(response.status, await self._reach.mask(raw))


def _utf_8(raw: bytes) -> bytes:
    """An answer that has come counts, also where an agent's words in it are not UTF-8: those bytes are replaced."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace").encode()
    return raw


def _open_envelope(status: int, raw: bytes) -> Any:
    try:
        envelope = parse_foreign_json(_utf_8(raw))
    except DecodeError:
        if status >= 400:
            raise ContainerRefused(status, storable(raw[:200].decode("utf-8", "replace"))) from None
        raise UpstreamFailed("The container's answer is not JSON.") from None
    if not isinstance(envelope, dict) or status >= 400 or envelope.get("success") is not True:
        told = envelope if isinstance(envelope, dict) else {}
        reason = beginning(told, "error") or "no reason given"
        raise ContainerRefused(status, reason, told.get("data"), told.get("code"))
    return envelope.get("data")


def as_object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UpstreamFailed("The container's answer has no object in `data`.")
    return data


def session_path(session_id: str) -> str:
    return f"/session/{quote(session_id, safe='')}"
