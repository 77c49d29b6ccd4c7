"""What containers say, without the secrets that they were given: masked before anybody looks at what it means."""

from collections import OrderedDict

import msgspec

from gateway.credentials.known import KnownSecrets
from gateway.log.recorder import LookUp, Translate
from gateway.log.store import NewEvent
from gateway.wire.codec import DecodeError, parse_foreign_json
from gateway.wire.masking import PIECE, Masker, RunningText
from gateway.wire.sse import SSEEvent
from gateway.wire.strings import put_text

_MAX_REMEMBERED = 10_000


class Masking:
    """Stands before the translation of all projects that this process follows."""

    def __init__(self, known: KnownSecrets, translate: Translate) -> None:
        self._known = known
        self._translate = translate
        #: (project, container's session id) → what its agent is saying.
        self._running: OrderedDict[tuple[str, str], RunningText] = OrderedDict()

    async def connected(self, project_id: str) -> None:
        """Know what this project's container was given, before it is read."""
        await self._known.load(project_id)
        # It may tell again what it has told; what went on then begins anew.
        for key in [key for key in self._running if key[0] == project_id]:
            del self._running[key]

    def __call__(self, project_id: str, event: SSEEvent) -> NewEvent | LookUp | None:
        masker = self._known.masker(project_id)
        if masker:
            event = self._masked(project_id, event, masker)
        return self._translate(project_id, event)

    def _masked(self, project_id: str, event: SSEEvent, masker: Masker) -> SSEEvent:
        raw = event.data.encode("utf-8", "surrogatepass")
        masked = masker.mask(raw)
        if event.event == "session_update" and RunningText.is_due(masked):
            masked = self._in_running_text(project_id, masked, masker)
        masked = masker.mask_growing(masked)
        if masked is raw:
            return event
        return msgspec.structs.replace(event, data=masked.decode("utf-8", "surrogatepass"))

    def _in_running_text(self, project_id: str, raw: bytes, masker: Masker) -> bytes:
        try:
            envelope = parse_foreign_json(raw)
            key = (project_id, str(envelope["sessionId"]))
            notification = envelope["data"]
        except (DecodeError, KeyError, TypeError):
            return raw
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = RunningText()
            if len(self._running) > _MAX_REMEMBERED:
                self._running.popitem(last=False)
        told = running.told(notification, masker)
        return raw if told is None else put_text(raw, ("data", *PIECE), told)
