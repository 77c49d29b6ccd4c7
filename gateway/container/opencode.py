"""OpenCode's own API on a container's other port (4096): what it stores of a session that ``opencode acp`` runs.

``opencode serve`` and ``opencode acp`` of one home share their storage, and ACP's session id is OpenCode's own (seen
with OpenCode 1.18): ``GET /session/{id}`` gives ``{id, directory, …}``, ``GET /session/{id}/message`` all messages
``{info: {id, role, parentID?, time: {created, completed?}, finish?, error?}, parts: [{type, …}]}``, oldest first. A
part's text is stored when the part ends. ``GET /path`` gives its directory. ``gateway.wire.opencode`` has its streams.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import attrs
from aiohttp import hdrs

from gateway.container.answers import AnswerLimit, read_answer
from gateway.container.client import Mask
from gateway.container.streams import is_there, opened, pieces
from gateway.container.values import ContainerFacts
from gateway.errors import UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.tasks import in_slices
from gateway.wire.codec import DecodeError, parse_foreign_json, storable
from gateway.wire.opencode import HEARTBEAT, EventStream
from gateway.wire.sse import OversizedEvent, SSEEvent, SSEParser
from gateway.wire.steps import Steps

HISTORY = AnswerLimit(max_bytes=4_194_304, max_values=100_000)
#: Messages, or parts of one, in a step.
_STEP: Final = 200
ASK_SECONDS = 10.0
#: Characters.
SHORT_EVENT = 500

#: An assistant's message that finishes like this is followed by another.
_GOES_ON = {None, "tool-calls", "unknown"}


@attrs.frozen(kw_only=True)
class Text:
    """Something that the agent said or thought in one message."""

    message_id: str
    text: str
    thought: bool = False


@attrs.frozen(kw_only=True)
class ToolCall:
    """A tool call. ``status``: pending, running, completed or error."""

    call_id: str
    tool: str
    status: str
    state: dict[str, Any]

    @property
    def over(self) -> bool:
        return self.status in ("completed", "error")


@attrs.define(kw_only=True)
class Exchange:
    """A prompt and everything that followed it, in order."""

    prompt: str
    items: list[Text | ToolCall] = attrs.field(factory=list)
    #: The assistant's last message, unchanged.
    last: dict[str, Any] = attrs.field(factory=dict)
    #: Whether OpenCode inserted something: it compacted the session, for example.
    mixed: bool = False

    @property
    def finish(self) -> str | None:
        """Why the turn's final answer ended: stop, length, …; None before that."""
        finish = self.last.get("finish")
        over = isinstance(_object(self.last.get("time")).get("completed"), int | float)
        return finish if over and isinstance(finish, str) and finish not in _GOES_ON else None

    @property
    def error(self) -> tuple[str, str] | None:
        """The name and message of the error that the turn ended with."""
        error = _object(self.last.get("error"))
        if not isinstance(name := error.get("name"), str):
            return None
        message = _object(error.get("data")).get("message")
        return name, message if isinstance(message, str) else name

    @property
    def over(self) -> bool:
        return self.finish is not None or self.error is not None


@attrs.frozen(kw_only=True)
class History:
    """A session as OpenCode stores it."""

    directory: str
    exchanges: tuple[Exchange, ...]


class OpenCode:
    """OpenCode's API of one container. Raises ``UpstreamError`` kinds."""

    def __init__(
        self, client: Client, upstream: Upstream, *, authorization: str | None, timeouts: Timeouts, mask: Mask
    ) -> None:
        """``authorization``: what it wants in the field of this name, if anything."""
        self._client = client
        self._authorization: dict[str, str] = {} if authorization is None else {hdrs.AUTHORIZATION: authorization}
        self._mask = mask
        self._upstream = upstream
        self._timeouts = attrs.evolve(timeouts, headers=ASK_SECONDS)

    async def history(self, session_id: str) -> History | None:
        """The session with this id; None if there is none, or the port is not OpenCode's."""
        path = f"/session/{quote(session_id, safe='')}"
        session = _object(await self._get(path))
        directory = session.get("directory")
        if session.get("id") != session_id or not isinstance(directory, str):
            return None
        messages = await self._get(f"{path}/message")
        if messages is None:
            return None
        return History(directory=directory, exchanges=tuple(await in_slices(exchanges(messages))))

    async def directory(self) -> str:
        """Its default directory, whose events ``events`` yields."""
        directory = _object(await self._get("/path")).get("directory")
        if not isinstance(directory, str) or not directory:
            raise UpstreamFailed(
                "What is on the container's other port is not OpenCode: it does not say where it works."
            )
        return storable(directory)

    async def has(self, stream: EventStream) -> bool:
        """Whether it has this stream, which depends on its version."""
        return await is_there(
            self._client, self._upstream, stream.path, headers=self._authorization, timeouts=self._timeouts
        )

    @asynccontextmanager
    async def events(
        self, stream: EventStream, *, max_event_bytes: int, silence: float
    ) -> AsyncIterator[AsyncIterator[list[SSEEvent | OversizedEvent]]]:
        """The events of a stream, open on entry; each item holds the events of one read, maybe none.

        Ends with ``UpstreamUnreachable`` when the stream ends, and with ``UpstreamTimeout`` after ``silence`` seconds,
        once there was a heartbeat. Older versions send none: they may be silent for as long as any answer.
        """
        async with opened(
            self._client, self._upstream, stream.path, headers=self._authorization, timeouts=self._timeouts
        ) as content:
            parser = SSEParser(max_event_bytes=max_event_bytes)

            async def batches() -> AsyncIterator[list[SSEEvent | OversizedEvent]]:
                limit: float | None = None
                coming = pieces(content)
                while True:
                    try:
                        async with asyncio.timeout(limit):
                            piece = await anext(coming, b"")
                    except TimeoutError:
                        raise UpstreamTimeout("OpenCode's event stream has fallen silent.") from None
                    if not piece:
                        raise UpstreamUnreachable("OpenCode ended its event stream.")
                    events = parser.feed(piece)
                    if limit is None and (
                        stream.is_comment(piece) or any(is_of_type(stream, event, HEARTBEAT) for event in events)
                    ):
                        limit = silence
                    yield events

            yield batches()

    async def _get(self, path: str) -> Any:
        headers = {hdrs.ACCEPT: "application/json", **self._authorization}
        async with self._client.open("GET", self._upstream, path, headers=headers, timeouts=self._timeouts) as response:
            if response.status != 200 or response.content_type != "application/json":
                return None
            raw = await read_answer(response.content, HISTORY)
        try:
            return parse_foreign_json(await self._mask(raw))
        except DecodeError as exc:
            raise UpstreamFailed("OpenCode's answer is not JSON.") from exc


@attrs.frozen
class OpenCodeStream:
    """One of its streams, for its follower."""

    _opencode: OpenCode
    _stream: EventStream

    async def read_facts(self) -> ContainerFacts:
        """Its facts as a feed: its events have no ids."""
        directory = await self._opencode.directory()
        return ContainerFacts(boot_id=None, capabilities=frozenset(), working_directory=directory)

    def events(
        self, facts: ContainerFacts, last_event_id: str | None, *, max_event_bytes: int, silence: float
    ) -> AbstractAsyncContextManager[AsyncIterator[list[SSEEvent | OversizedEvent]]]:
        """See ``OpenCode.events``."""
        return self._opencode.events(self._stream, max_event_bytes=max_event_bytes, silence=silence)


def is_of_type(stream: EventStream, event: SSEEvent | OversizedEvent, type: str) -> bool:
    """Whether this is a short event of this type, as those about the stream itself are."""
    if not isinstance(event, SSEEvent) or len(event.data) > SHORT_EVENT or type not in event.data:
        return False
    try:
        value = parse_foreign_json(event.data.encode("utf-8", "surrogatepass"))
    except DecodeError:
        return False
    return stream.event_in(value).get("type") == type


def exchanges(messages: Any) -> Steps[Sequence[Exchange]]:
    """The messages as prompts with what followed each; unknown shapes are skipped, and mark their exchange."""
    found: list[Exchange] = []
    for number, message in enumerate(messages if isinstance(messages, list) else []):
        if number % _STEP == 0:
            yield
        info, parts = _object(_object(message).get("info")), _objects(_object(message).get("parts"))
        if info.get("role") == "user":
            prompts = [part["text"] for part in parts if _is_prompt(part)]
            if prompts:
                found.append(Exchange(prompt="".join(prompts)))
            elif found:
                found[-1].mixed = True
        elif found:
            found[-1].last = info
            for start in range(0, len(parts), _STEP):
                yield
                found[-1].items += _items(str(info.get("id")), parts[start : start + _STEP])
    return found


def _is_prompt(part: dict[str, Any]) -> bool:
    told = part.get("synthetic") is True or part.get("ignored") is True
    return part.get("type") == "text" and isinstance(part.get("text"), str) and not told


def _items(message_id: str, parts: Sequence[dict[str, Any]]) -> Iterator[Text | ToolCall]:
    for part in parts:
        text, state = part.get("text"), _object(part.get("state"))
        match part.get("type"):
            case "text" | "reasoning" as kind if isinstance(text, str) and part.get("synthetic") is not True:
                yield Text(message_id=message_id, text=text, thought=kind == "reasoning")
            case "tool" if isinstance(call_id := part.get("callID"), str):
                yield ToolCall(
                    call_id=call_id, tool=str(part.get("tool")), status=str(state.get("status")), state=state
                )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
