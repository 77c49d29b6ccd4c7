"""The events of OpenCode's streams as they are recorded: unchanged, but for secrets and heartbeats.

``server.connected`` begins each stream, and the gateway's own streams as well. The one after a break is recorded: it
makes clients reload what they may have missed.
"""

import hashlib
from typing import Any

from gateway.container.opencode import is_of_type
from gateway.container.values import ContainerFacts
from gateway.credentials.known import KnownSecrets
from gateway.db.pool import Database
from gateway.follow.recorder import LookUp
from gateway.ingest.mask import LARGE_EVENT
from gateway.log.store import NewEvent
from gateway.tasks import in_slices
from gateway.wire.bounded import Bounded
from gateway.wire.codec import DecodeError, dump_foreign_json, parse_foreign_json
from gateway.wire.events import OPENCODE_EVENT
from gateway.wire.masking import Masker, RunningText
from gateway.wire.opencode import CONNECTED, HEARTBEAT, EventStream
from gateway.wire.sse import SSEEvent
from gateway.wire.steps import Steps, at_once

_MAX_REMEMBERED = 10_000
#: The end of an event's type that brings the next piece of a text; the piece is its property ``delta``.
_DELTA = ".delta"
#: It has the whole part and, in some versions, the new piece as well.
_PART = "message.part.updated"

#: Properties in a step.
_STEP_PROPERTIES = 500

#: A project, and a digest that identifies the text of a piece.
_Text = tuple[str, bytes]


class Recording:
    """Takes the events of one of OpenCode's streams, of each project that this process follows."""

    def __init__(self, stream: EventStream, database: Database, known: KnownSecrets) -> None:
        self._stream = stream
        self._database = database
        self._known = known
        #: Projects whose next ``server.connected`` is after a break.
        self._broken: set[str] = set()
        self._running: Bounded[_Text, RunningText] = Bounded(_MAX_REMEMBERED)

    async def connected(self, project_id: str, facts: ContainerFacts, after_break: bool) -> None:
        """Know the container's secrets, and OpenCode's directory, before it is read."""
        await self._known.load(project_id)
        await self._database.execute("set_opencode_directory", id=project_id, directory=facts.working_directory)
        if after_break:
            self._broken.add(project_id)
        for text in [text for text in self._running if text[0] == project_id]:
            del self._running[text]

    def __call__(self, project_id: str, event: SSEEvent) -> NewEvent | LookUp | None:
        if is_of_type(self._stream, event, HEARTBEAT):
            return None
        if is_of_type(self._stream, event, CONNECTED):
            if project_id not in self._broken:
                return None
            self._broken.discard(project_id)
        raw = event.data.encode("utf-8", "surrogatepass")
        masker = self._known.masker(project_id)
        if not masker:
            return NewEvent(type=OPENCODE_EVENT, data=raw)
        if len(raw) <= LARGE_EVENT:
            return NewEvent(type=OPENCODE_EVENT, data=at_once(self._masking(project_id, raw, masker)))

        async def in_its_time() -> NewEvent:
            return NewEvent(type=OPENCODE_EVENT, data=await in_slices(self._masking(project_id, raw, masker)))

        return in_its_time

    def _masking(self, project_id: str, raw: bytes, masker: Masker) -> Steps[bytes]:
        # First: see RunningText.updating.
        masked = yield from self._masking_piece(project_id, raw, masker)
        masked = yield from masker.masking(masked)
        return (yield from masker.masking_growing(masked))

    def _masking_piece(self, project_id: str, raw: bytes, masker: Masker) -> Steps[bytes]:
        if b'"delta"' not in raw:
            return raw
        try:
            value = parse_foreign_json(raw)
            event = self._stream.event_in(value)
            type, content = event["type"], event[self._stream.content]
            piece = content["delta"]
        except (DecodeError, KeyError, TypeError):
            return raw
        if not isinstance(type, str) or not type.endswith((_DELTA, _PART)) or not isinstance(piece, str):
            return raw
        running = self._of_text(project_id, (yield from _naming(type, content)))
        told = yield from running.masking("", piece, masker)
        if told == piece:
            return raw
        content["delta"] = told
        return dump_foreign_json(value)

    def _of_text(self, project_id: str, named: bytes) -> RunningText:
        key = (project_id, named)
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = RunningText()
        return running


def _naming(type: str, content: dict[str, Any]) -> Steps[bytes]:
    """A digest of an event's type and of the properties that identify the text of its piece.

    OpenCode decides how many and how long they are, so only the digest is kept.
    """
    named = {name: value for name, value in content.items() if name != "delta" and isinstance(value, str)}
    match content.get("part"):
        case {"id": str() as part_id}:
            named["part"] = part_id
    digest = hashlib.sha256()
    for number, text in enumerate((type, *(text for pair in named.items() for text in pair))):
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(raw))
        digest.update(raw)
        if number % _STEP_PROPERTIES == 0:
            yield
    return digest.digest()
