"""OpenCode's own API on a container's other port (4096): what it remembers of a session that ``opencode acp`` runs.

``opencode serve`` and ``opencode acp`` of one home share their storage, and ACP's session id is OpenCode's own (seen
with OpenCode 1.18): ``GET /session/{id}`` gives ``{id, directory, …}``, ``GET /session/{id}/message`` all messages
``{info: {id, role, parentID?, time: {created, completed?}, finish?, error?}, parts: [{type, …}]}``, oldest first. The
text of a part is stored when the part has ended. Nothing here is trusted to have its shape.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import attrs

from gateway.container.client import Mask
from gateway.errors import UpstreamFailed
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.wire.codec import DecodeError, parse_foreign_json

MAX_HISTORY_BYTES = 64 * 1024 * 1024
ASK_SECONDS = 10.0

#: A message of the assistant that finished so is followed by another one.
_GOES_ON = {None, "tool-calls", "unknown"}


@attrs.frozen(kw_only=True)
class Text:
    """Something that the agent said, or thought; of one message."""

    message_id: str
    text: str
    thought: bool = False


@attrs.frozen(kw_only=True)
class ToolCall:
    """A tool that the agent called. ``status``: pending, running, completed or error."""

    call_id: str
    tool: str
    status: str
    state: dict[str, Any]

    @property
    def over(self) -> bool:
        return self.status in ("completed", "error")


@attrs.define(kw_only=True)
class Exchange:
    """A prompt and all that came of it, in order."""

    prompt: str
    items: list[Text | ToolCall] = attrs.field(factory=list)
    #: The last message of the assistant, as it is.
    last: dict[str, Any] = attrs.field(factory=dict)
    #: Whether OpenCode itself has put something in between: it has compacted the session, say.
    mixed: bool = False

    @property
    def finish(self) -> str | None:
        """Why the model's last answer ended, once it is the turn's last: stop, length, …; None before that."""
        finish = self.last.get("finish")
        over = isinstance(_object(self.last.get("time")).get("completed"), int | float)
        return finish if over and isinstance(finish, str) and finish not in _GOES_ON else None

    @property
    def error(self) -> tuple[str, str] | None:
        """The name of the error that the turn ended with, and its message."""
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
    """A session as OpenCode remembers it."""

    directory: str
    exchanges: tuple[Exchange, ...]


class OpenCode:
    """OpenCode's API of one container. Raises ``UpstreamError`` kinds."""

    def __init__(self, client: Client, upstream: Upstream, *, timeouts: Timeouts, mask: Mask) -> None:
        self._client = client
        self._mask = mask
        self._upstream = upstream
        self._timeouts = attrs.evolve(timeouts, headers=ASK_SECONDS)

    async def history(self, session_id: str) -> History | None:
        """The session of this id; None where there is none, or what is there is not OpenCode."""
        path = f"/session/{quote(session_id, safe='')}"
        session = _object(await self._get(path))
        directory = session.get("directory")
        if session.get("id") != session_id or not isinstance(directory, str):
            return None
        messages = await self._get(f"{path}/message")
        return History(directory=directory, exchanges=tuple(exchanges(messages))) if messages is not None else None

    async def _get(self, path: str) -> Any:
        headers = {"Accept": "application/json"}
        async with self._client.open("GET", self._upstream, path, headers=headers, timeouts=self._timeouts) as response:
            if response.status != 200 or response.content_type != "application/json":
                return None
            answer = bytearray()
            async for data in response.content.iter_any():
                answer += data
                if len(answer) > MAX_HISTORY_BYTES:
                    raise UpstreamFailed("OpenCode's history of the session is too large.")
        try:
            return parse_foreign_json(await self._mask(bytes(answer)))
        except DecodeError as exc:
            raise UpstreamFailed("OpenCode's answer is not JSON.") from exc


def exchanges(messages: Any) -> Sequence[Exchange]:
    """The messages as prompts with what came of each; what has another shape is passed over, and marks its exchange."""
    found: list[Exchange] = []
    for message in messages if isinstance(messages, list) else []:
        info, parts = _object(_object(message).get("info")), _objects(_object(message).get("parts"))
        if info.get("role") == "user":
            prompts = [part["text"] for part in parts if _is_prompt(part)]
            if prompts:
                found.append(Exchange(prompt="".join(prompts)))
            elif found:
                found[-1].mixed = True
        elif found:
            found[-1].last = info
            found[-1].items += _items(str(info.get("id")), parts)
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
