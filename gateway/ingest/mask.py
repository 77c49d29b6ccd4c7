"""Masks the secrets that a container was given in what it says, before anything reads it."""

import logging
from functools import partial

import msgspec

from gateway.container.values import MAX_NAME_BYTES
from gateway.credentials.known import KnownSecrets
from gateway.errors import DatabaseUnavailable
from gateway.follow.recorder import LookUp, Translate
from gateway.ingest.translate import untranslated
from gateway.log.store import NewEvent
from gateway.tasks import in_slices
from gateway.wire.bounded import Bounded
from gateway.wire.codec import DecodeError, parse_foreign_json
from gateway.wire.events import TerminalOutput
from gateway.wire.masking import OUTPUT, PIECE, Masker, RunningText
from gateway.wire.sse import SSEEvent
from gateway.wire.steps import Steps, at_once
from gateway.wire.strings import putting_text

logger = logging.getLogger(__name__)

_MAX_REMEMBERED = 1_000
#: Characters of an event that is masked in steps.
LARGE_EVENT = 16_384


class Masking:
    """Precedes the translation of all projects that this process follows."""

    def __init__(self, known: KnownSecrets, translate: Translate) -> None:
        self._known = known
        self._translate = translate
        #: (project, container's session id) → what its agent is saying.
        self._running: Bounded[tuple[str, str], RunningText] = Bounded(_MAX_REMEMBERED)

    async def connected(self, project_id: str) -> None:
        """Know the container's secrets before it is read."""
        await self._known.load(project_id)
        # It may repeat events; texts in progress begin anew.
        for key in [key for key in self._running if key[0] == project_id]:
            del self._running[key]

    def __call__(self, project_id: str, event: SSEEvent) -> NewEvent | LookUp | None:
        masker = self._known.masker(project_id)
        if not masker:
            return self._translated(project_id, event)
        if len(event.data) > LARGE_EVENT:
            return self._in_its_time(project_id, event, masker)
        return self._translated(project_id, at_once(self._masking(project_id, event, masker)))

    def _in_its_time(self, project_id: str, event: SSEEvent, masker: Masker) -> LookUp:
        """Its agent may have filled it with what takes many steps."""
        masked: SSEEvent | None = None

        async def look_up() -> NewEvent | None:
            nonlocal masked
            if masked is None:
                # Once, even if this is repeated without a database: the text so far is only known now.
                masked = await in_slices(self._masking(project_id, event, masker))
            meaning = self._translated(project_id, masked)
            return await meaning() if callable(meaning) else meaning

        return look_up

    def _translated(self, project_id: str, masked: SSEEvent) -> NewEvent | LookUp | None:
        try:
            meaning = self._translate(project_id, masked)
        except Exception:  # a fault of ours, which `_kept` logs
            return _kept(project_id, masked)
        return partial(_looked_up, project_id, masked, meaning) if callable(meaning) else meaning

    def _masking(self, project_id: str, event: SSEEvent, masker: Masker) -> Steps[SSEEvent]:
        raw = event.data.encode("utf-8", "surrogatepass")
        masked = raw
        # First: see RunningText.updating.
        if event.event == TerminalOutput.type or (event.event == "session_update" and RunningText.is_due(raw)):
            masked = yield from self._masking_running_text(project_id, event.event, raw, masker)
        masked = yield from masker.masking(masked)
        masked = yield from masker.masking_growing(masked)
        if masked is raw:
            return event
        return msgspec.structs.replace(event, data=masked.decode("utf-8", "surrogatepass"))

    def _masking_running_text(self, project_id: str, type: str, raw: bytes, masker: Masker) -> Steps[bytes]:
        try:
            envelope = parse_foreign_json(raw)
            key = (project_id, str(envelope["sessionId"])[:MAX_NAME_BYTES])
            said = envelope["data"]
        except (DecodeError, KeyError, TypeError):
            return raw
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = RunningText()
        is_output = type == TerminalOutput.type
        told = yield from (running.telling_output if is_output else running.telling)(said, masker)
        if told is None:
            return raw
        return (yield from putting_text(raw, ("data", *(OUTPUT if is_output else PIECE)), told))


async def _looked_up(project_id: str, masked: SSEEvent, look_up: LookUp) -> NewEvent | None:
    try:
        return await look_up()
    except DatabaseUnavailable:
        raise  # it is looked up again
    except Exception:  # a fault of ours, which `_kept` logs
        return _kept(project_id, masked)


def _kept(project_id: str, masked: SSEEvent) -> NewEvent:
    """An event that a bug of ours keeps from being translated, masked."""
    logger.exception("event not understood", extra={"project": project_id, "event": masked.event})
    return untranslated(masked)
