"""What a container's event means: the event of the log that it becomes, and what must come true with it."""

import hashlib
import re
import time
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import msgspec

from gateway.container.client import SPAWN_SECONDS
from gateway.container.received import ReceivedEvent
from gateway.container.values import AGENT, MAX_TOLD, ContainerFacts, is_name
from gateway.db.pool import Database, Row
from gateway.follow.recorder import LookUp
from gateway.log.store import Effect, Log, NewEvent
from gateway.permissions.asking import Asking, not_understood
from gateway.sessions.endings import as_asked, turn_ended
from gateway.sessions.turn import Turn
from gateway.tasks import wait_for
from gateway.turns.turns import is_turn_id
from gateway.wire.bounded import Bounded
from gateway.wire.codec import DecodeError, dump_foreign_json, from_builtins, parse_foreign_json, storable
from gateway.wire.cutting import CUT, marked
from gateway.wire.events import WORK, ContainerEvent, Gap, SessionMode, TurnEnded, TurnStarted
from gateway.wire.sse import SSEEvent
from gateway.wire.times import parse_timestamp

#: Characters of the type of an event that nobody knows.
MAX_TYPE = 100
PASSED_ON = {"session_update", "agent_status", "auth_required", "auth_complete", "session_restored"}
#: Members of an `auth_required` event that tell how to complete a login.
LOGIN = ("authUrl", "userCode", "deviceCode")
_MAX_REMEMBERED = 10_000
#: How long a session that is not ours is taken for foreign without looking again.
_FOREIGN_SECONDS = 0.5
#: How long one that may be ours in a moment is waited for: as long as its creator waits for the container's answer,
#: and some seconds in which the id is stored. What is taken for somebody else's before that is lost.
_CREATION_SECONDS = SPAWN_SECONDS + 5.0
#: An agent's id for a session that is longer is taken for none.
_MAX_ACP_ID = 1000
_SHORT_NAME = 100
#: ACP's update that may give a session a title.
_INFO = b'"session_info_update"'
#: Characters of a title, as in the API.
_MAX_TITLE = 500
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


class _Envelope(msgspec.Struct, rename="camel"):
    """A container's event; ``data`` stays the bytes that it came in."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    session_id: str | None = None
    agent_id: str | None = None
    timestamp: Any = None
    is_cut: bool = msgspec.field(name=CUT, default=False)


_read_envelope = msgspec.json.Decoder(_Envelope).decode


def untranslated(event: SSEEvent) -> NewEvent:
    """As the container said it, for what has no other meaning here."""
    return NewEvent.of(ContainerEvent(event=event.event[:MAX_TYPE], data=event.data))


class Translator:
    """Translates for all projects that this process follows."""

    def __init__(self, database: Database, log: Log, *, permission_timeout: float) -> None:
        self._database = database
        self._asking = Asking(database, log, timeout=permission_timeout)
        #: (project, container's session id) → ours, or until when it is taken for somebody else's.
        self._sessions: Bounded[tuple[str, str], str | float] = Bounded(_MAX_REMEMBERED)
        #: (project, agent's id) → a digest of the status that it was last said to have.
        self._statuses: Bounded[tuple[str, str], bytes] = Bounded(_MAX_REMEMBERED)
        self._facts: dict[str, ContainerFacts] = {}
        #: (project, container's session id) of which the agent's own id has been seen.
        self._named: Bounded[tuple[str, str], None] = Bounded(_MAX_REMEMBERED)

    def connected(self, project_id: str, facts: ContainerFacts) -> None:
        """The container whose events come now."""
        self._facts[project_id] = facts
        # The project may be another one by now that was made under the same id.
        for key in [key for key in self._sessions if key[0] == project_id]:
            del self._sessions[key]
        # What is told twice is told at once; an agent may have been another way while nobody listened.
        for key in [key for key in self._statuses if key[0] == project_id]:
            del self._statuses[key]

    def __call__(self, project_id: str, event: SSEEvent) -> NewEvent | LookUp | None:
        """The log's event for a container's; None for what says nothing: heartbeats, a status told twice, and what
        is of a session that is not the project's, as a container may be another project's, too.

        What it means may have to be looked up first, in what all before it has left.
        """
        if event.event == "ping":
            return None
        try:
            envelope = _decode(event.data)
        except DecodeError:
            return untranslated(event)
        if envelope is None:
            return None
        session_id = None
        if envelope.session_id:
            key = (project_id, envelope.session_id)
            known = self._sessions.get(key)
            if isinstance(known, str):
                session_id = known
                if (
                    event.event == "session_update"
                    and key in self._named
                    and _names_agent(envelope)
                    and _INFO not in bytes(envelope.data)
                ):
                    return _update(envelope, session_id)
            elif known is None or known <= time.monotonic():
                return partial(self._with_session, project_id, event, envelope, envelope.session_id)
            else:
                return None
        return self._of_session(project_id, event, envelope, session_id)

    async def _with_session(
        self, project_id: str, event: SSEEvent, envelope: _Envelope, container_session_id: str
    ) -> NewEvent | None:
        session_id = await self._session(project_id, container_session_id)
        if session_id is None:
            return None
        meaning = self._of_session(project_id, event, envelope, session_id)
        return await meaning() if callable(meaning) else meaning

    def _of_session(
        self, project_id: str, event: SSEEvent, envelope: _Envelope, session_id: str | None
    ) -> NewEvent | LookUp | None:
        # Only now: what is of somebody else's session is not recorded, whatever its agent is called.
        if not _names_agent(envelope):
            return untranslated(event)
        return self._meaning(_received(project_id, event, envelope, session_id))

    def _meaning(self, received: ReceivedEvent) -> NewEvent | LookUp | None:
        match received.type:
            case "session_begin_turn":
                # Our turns are stored before their prompts are sent, and only a failover loses them.
                return partial(self._lost_turn, received) if self._database.timeline.epoch else None
            case "session_end_turn":
                return partial(self._end_of_turn, received)
            case "permission_request":
                return partial(self._asking.requested, received, self._facts[received.project_id])
            case "permission_resolved":
                return partial(self._resolved, received)
            case "agent_output_lost":
                gap = Gap(reason="agent_output", message=_shown(received.member("text")))
                return msgspec.structs.replace(NewEvent.of(gap), **received.common)
            case "session_mode":
                return _mode(received)
            case "auth_required":
                is_one_users = isinstance(received.member("owner"), str)
                return partial(self._auth_required, received) if is_one_users else _auth_required(received)
            case "agent_status" if received.numberless and self._is_told_twice(received):
                return None
            case kind if kind in WORK:
                return _work(received)
            case kind if kind in PASSED_ON:
                effects = (*_effects(received), *self._acp_session(received), *_title(received))
                return NewEvent(type=kind, data=received.raw, effects=effects, **received.common)
            case _:
                return not_understood(received)

    async def _auth_required(self, received: ReceivedEvent) -> NewEvent | None:
        """Whose credential an agent has refused: the container knows the user under another name. None where it is one
        that it was given for another project."""
        owner = _shown(received.member("owner"))
        row = await self._database.fetch_one("user_of_owner", project_id=received.project_id, owner=owner)
        if row is None:
            return None
        data = {"agentId": received.agent_id, "message": _shown(received.member("message")), "userId": row["user_id"]}
        return NewEvent(type=received.type, data=dump_foreign_json(data), **received.common)

    async def _resolved(self, received: ReceivedEvent) -> NewEvent:
        return await self._asking.resolved(received, self._facts[received.project_id]) or not_understood(received)

    async def _session(self, project_id: str, container_session_id: str) -> str | None:
        """Our session; None for one that was made behind our back."""
        key = (project_id, container_session_id)
        known = self._sessions.get(key)
        if isinstance(known, str):
            return known
        if known is not None and known > time.monotonic():
            return None
        patience = _CREATION_SECONDS if known is None else 0.0
        found = await self._find_session(project_id, container_session_id, patience)
        self._sessions[key] = found or time.monotonic() + _FOREIGN_SECONDS
        return found

    async def _find_session(self, project_id: str, container_session_id: str, patience: float) -> str | None:
        # The container speaks of a new session before its creator has heard the answer and stored the id. All that it
        # says waits meanwhile, so each id is waited for but once, and for no session that was begun later.
        key = {
            "project_id": project_id,
            "container_session_id": container_session_id,
            "boot_id": self._facts[project_id].boot_id,
        }
        first = await self._database.fetch_one("find_container_session", **key)
        assert first is not None
        may_be = set(first["in_creation"])

        def is_certain(found: Row | None) -> bool:
            return found is None or bool(found["id"] or found["is_foreign"] or may_be.isdisjoint(found["in_creation"]))

        look = partial(self._database.fetch_one, "find_container_session", **key)
        found = first if is_certain(first) else await wait_for(look, seconds=patience, until=is_certain)
        return found["id"] if found else None

    async def _lost_turn(self, received: ReceivedEvent) -> NewEvent | None:
        """The beginning of a turn of ours that the database has lost; None for any other."""
        turn_id, prompt = received.member("turnId"), received.member("prompt")
        if received.session_id is None or not is_turn_id(turn_id):
            return None
        key = {"project_id": received.project_id, "session_id": received.session_id}
        if await self._database.fetch_one("find_turn", container_turn_id=turn_id, unnamed=False, **key):
            return None
        blocks = [block for block in prompt if isinstance(block, dict)] if isinstance(prompt, list) else []
        change = {**key, "id": turn_id, "container_boot_id": self._facts[received.project_id].boot_id}
        return NewEvent.of(
            TurnStarted(prompt=blocks, started_by=None),
            turn_id=turn_id,
            key=f"turn_started:{turn_id}",
            effects=(Effect("insert_lost_turn", change),),
            **received.common,
        )

    async def _end_of_turn(self, received: ReceivedEvent) -> NewEvent:
        turn_id = received.member("turnId")
        # A container that is given our ids names them: another one is the end of a turn that is not ours.
        unnamed = self._facts[received.project_id].may_end_any_turn(turn_id)
        row = await self._database.fetch_one(
            "find_turn",
            project_id=received.project_id,
            session_id=received.session_id,
            container_turn_id=str(turn_id) if isinstance(turn_id, int) else _shown(turn_id),
            unnamed=unnamed,
        )
        if row is None:
            return not_understood(received)
        turn = Turn.from_row(row)
        ended = as_asked(turn, _ended(received.member("stopReason"), received.member("error")))
        return msgspec.structs.replace(turn_ended(turn, ended), agent_id=received.agent_id)

    def _acp_session(self, received: ReceivedEvent) -> tuple[Effect, ...]:
        """The agent's own id for a session: its first update tells it, and a container that has it begin anew."""
        if received.session_id is None or received.container_session_id is None:
            return ()
        key = (received.project_id, received.container_session_id)
        if received.type == "session_restored":
            acp_id = received.member("acpSessionId")
        elif received.type == "session_update" and key not in self._named:
            acp_id = received.member("sessionId")
        else:
            return ()
        if not isinstance(acp_id, str) or storable(acp_id) != acp_id or not 0 < len(acp_id) <= _MAX_ACP_ID:
            return ()
        self._named[key] = None
        change = {"project_id": received.project_id, "container_session_id": received.container_session_id}
        return (Effect("set_acp_session", change | {"acp_session_id": acp_id}),)

    def _is_told_twice(self, received: ReceivedEvent) -> bool:
        key = (received.project_id, received.agent_id or "")
        digest = hashlib.sha256(received.raw).digest()
        before, self._statuses[key] = self._statuses.get(key), digest
        return before == digest


def _update(envelope: _Envelope, session_id: str) -> NewEvent:
    """What containers say most by far, and all there is to it."""
    at = parse_timestamp(envelope.timestamp) or datetime.now(UTC)
    return NewEvent(
        type="session_update",
        data=bytes(envelope.data),
        session_id=session_id,
        agent_id=envelope.agent_id,
        at=at,
    )


def _work(received: ReceivedEvent) -> NewEvent:
    """What a container did for an agent, if it tells it as the contract says."""
    try:
        from_builtins(WORK[received.type], parse_foreign_json(received.raw))
    except DecodeError:
        return not_understood(received)
    return NewEvent(type=received.type, data=received.raw, **received.common)


def _received(project_id: str, event: SSEEvent, envelope: _Envelope, session_id: str | None) -> ReceivedEvent:
    common: dict[str, Any] = {"session_id": session_id, "agent_id": envelope.agent_id}
    if at := parse_timestamp(envelope.timestamp):
        common["at"] = at
    raw = bytes(envelope.data)
    if envelope.is_cut and raw.startswith(b"{"):
        raw = marked(raw)
    return ReceivedEvent(
        project_id=project_id,
        type=event.event[:MAX_TYPE],
        is_cut=envelope.is_cut,
        numberless=event.id is None,
        session_id=session_id,
        container_session_id=envelope.session_id,
        agent_id=envelope.agent_id,
        raw=raw,
        common=common,
    )


def _decode(data: str) -> _Envelope | None:
    """None for what names a session that cannot be ours.

    Raises ``DecodeError`` for what is no JSON object.
    """
    try:
        envelope = _read_envelope(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _decode_leniently(data.encode())
    return _checked(envelope)


def _checked(envelope: _Envelope) -> _Envelope | None:
    if envelope.session_id is not None and not _is_storable(envelope.session_id):
        return None
    return envelope


def _names_agent(envelope: _Envelope) -> bool:
    """Whether its agent's id, if it has one, can be stored."""
    return envelope.agent_id is None or _is_storable(envelope.agent_id)


def _is_storable(name: str) -> bool:
    return _is_short_storable(name) if len(name) <= _SHORT_NAME else is_name(name)


@lru_cache(maxsize=10_000)  # the same few ids stand in each event
def _is_short_storable(name: str) -> bool:
    return storable(name) == name


def _decode_leniently(raw: bytes) -> _Envelope | None:
    """For what the fast reader refuses: half surrogate pairs somewhere, ids that are no text."""
    envelope = parse_foreign_json(raw)
    if not isinstance(envelope, dict):
        raise DecodeError("no object")
    session_id, agent_id = envelope.get("sessionId"), envelope.get("agentId")
    if not isinstance(session_id, str | None):
        return None
    return _checked(
        _Envelope(
            data=msgspec.Raw(dump_foreign_json(envelope.get("data"))),
            session_id=session_id,
            agent_id=agent_id if isinstance(agent_id, str) else None,
            timestamp=envelope.get("timestamp"),
            is_cut=envelope.get(CUT) is True,
        )
    )


def _effects(received: ReceivedEvent) -> tuple[Effect, ...]:
    if received.type != "agent_status":
        return ()
    status, error = received.member("status"), received.member("error")
    change = {
        "project_id": received.project_id,
        "agent_id": received.agent_id or _shown(received.member("agentId")),
        "status": _shown(status) or "stopped",
        "error": _shown(error),
    }
    return (Effect("set_agent_status", change),)


def _auth_required(received: ReceivedEvent) -> NewEvent:
    """An agent needs an account, for all users.

    Without a login's address and code: all members read this event, and one of them could connect their own account.
    """
    data = {"agentId": received.agent_id or _shown(received.member("agentId"))}
    message = _shown(received.member("message"))
    if message is not None and not any(received.has(name) for name in LOGIN):
        data["message"] = message
    return NewEvent(type=received.type, data=dump_foreign_json(data), **received.common)


def _title(received: ReceivedEvent) -> tuple[Effect, ...]:
    """What an agent calls its session; null takes a title back."""
    if received.type != "session_update" or received.session_id is None or _INFO not in received.raw:
        return ()
    update = received.member("update")
    if not isinstance(update, dict) or update.get("sessionUpdate") != "session_info_update" or "title" not in update:
        return ()
    title = update["title"]
    if isinstance(title, str):
        title = " ".join(storable(title[:_MAX_TITLE]).split()) or None
    elif title is not None:
        return ()
    change = {"project_id": received.project_id, "session_id": received.session_id, "title": title}
    return (Effect("set_agent_title", change),)


def _mode(received: ReceivedEvent) -> NewEvent:
    mode = received.member("modeId")
    told = SessionMode(mode=mode if is_name(mode) else None, agent_decides=received.member("decides") == AGENT)
    change = {
        "project_id": received.project_id,
        "container_session_id": received.container_session_id,
        "agent_mode": told.mode,
        "agent_decides": told.agent_decides,
    }
    return NewEvent.of(told, effects=(Effect("set_agent_mode", change),), **received.common)


def _ended(stop_reason: Any, error: Any) -> TurnEnded:
    if error is not None:
        code = error.get("code") if isinstance(error, dict) else None
        message = error.get("message") if isinstance(error, dict) else error
        failure = code if isinstance(code, str) and _WORD.fullmatch(code) else "agent_failed"
        return TurnEnded(outcome="failed", failure=failure, message=_shown(message) or "The agent gave no reason.")
    reason = _shown(stop_reason)
    return TurnEnded(outcome="cancelled" if reason == "cancelled" else "completed", stop_reason=reason)


def _shown(value: Any) -> str | None:
    """A text of the container's, up to some length, with a mark if it is longer; None for what is none."""
    if not isinstance(value, str):
        return None
    return storable(value if len(value) <= MAX_TOLD else f"{value[: MAX_TOLD - 1]}…")
