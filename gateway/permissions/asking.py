"""A container's permission requests as rows and events, and how they are settled."""

import hashlib
import secrets

import attrs
import msgspec

from gateway.container.received import ReceivedEvent
from gateway.container.values import MAX_TOLD, ContainerFacts
from gateway.db.pool import Database
from gateway.log.ids import LogId
from gateway.log.store import Effect, Log, NewEvent
from gateway.permissions.events import RULE, UnsettledRequest, permission_resolved, taken_back
from gateway.permissions.merging import Merged, Merging
from gateway.permissions.policy import decide_now
from gateway.wire.census import Census
from gateway.wire.codec import dump_foreign_json, members_of, parse_foreign_json, storable
from gateway.wire.cutting import CUT
from gateway.wire.events import ContainerEvent, PermissionRequest

#: Who settled a permission request that nobody here answered.
CONTAINER = "container"
#: Bytes of a request's options, and values in them: some hundred options. Of more the first are kept, cut.
MAX_OPTION_BYTES, MAX_OPTION_VALUES = 65_536, 1000
#: Characters of an option's id, and of its name. One with a longer id is left out, as its id may have been cut.
_MAX_OPTION_ID, _MAX_OPTION_NAME = 1000, 200
#: Open requests per session. Further ones are not asked, and only recorded.
MAX_UNSETTLED = 200
#: An agent host's reasons to take a request back because nobody waits for its answer any more.
_GONE = {"turn_cancelled", "turn_ended", "agent_died", "agent_stopped", "withdrawn"}


class Asking:
    """The permission requests of containers that this process follows."""

    def __init__(self, database: Database, log: Log, *, timeout: float) -> None:
        """``timeout``: seconds until a request is refused, unless its project has its own."""
        self._database = database
        self._log = log
        self._merging = Merging(database, log)
        self._timeout = timeout

    async def requested(self, received: ReceivedEvent, facts: ContainerFacts) -> NewEvent | None:
        """A request, open or with the policy's answer; None if it is told again while it waits.

        What its tool call leaves out is taken from the log, for the policy and for people. To be called once all
        earlier events are stored.
        """
        request_id = _request_id(received)
        request_key = _request_key(facts, received, request_id) if request_id else secrets.token_hex(32)
        # Without the capability, the container only reports requests that it has allowed.
        asks = facts.asks_permission
        if await self._waits_already(received, request_key):
            return None
        if await self._has_most_requests(received):
            return not_understood(received)
        merged = await self._merged(received)
        options = received.raw_member("options")
        if received.is_cut or len(options) > MAX_OPTION_BYTES or Census(options).has_more_than(MAX_OPTION_VALUES):
            options = _first_options(options)
            merged = attrs.evolve(merged, tool_call=_cut(merged.tool_call))
        if received.is_cut:
            # What was cut off may be the kind.
            merged = attrs.evolve(merged, kinds=(*merged.kinds, None))
        # A request outside our sessions is not answered.
        decision = None
        if asks and received.session_id is not None:
            offered = parse_foreign_json(options)
            decision = await decide_now(self._database, received.project_id, received.session_id, merged.kinds, offered)
        data = PermissionRequest(
            permission_id=f"prm_{secrets.token_hex(10)}",
            tool_call=msgspec.Raw(merged.tool_call),
            options=msgspec.Raw(options),
            resolved_by=CONTAINER if not asks else RULE if decision else None,
            rule=decision.rule if decision else None,
        )
        # So that an append of which it is not known whether it was one is repeated.
        event_key = f"permission_request:{data.permission_id}"
        if received.session_id is None:
            return NewEvent.of(data, key=event_key, **received.common)
        row = {
            "project_id": received.project_id,
            "id": data.permission_id,
            "container_request_id": request_id or f"unnamed-{request_key}",
            "container_boot_id": facts.boot_id,
            "request_key": request_key,
            "session_id": received.session_id,
            "agent_id": received.agent_id,
            "tool_call": merged.tool_call,
            "kinds": list(merged.kinds),
            "options": options,
            "state": "selected" if not asks else "answering" if decision else "waiting",
            "option_id": decision.option_id if decision else None,
            "resolved_by": data.resolved_by,
            "rule": dump_foreign_json(data.rule) if decision else None,
            "timeout": self._timeout,
        }
        former = {"project_id": received.project_id, "request_key": request_key}
        effects = (Effect("release_request_key", former), Effect("insert_permission", row))
        return NewEvent.of(data, key=event_key, effects=effects, **received.common)

    async def resolved(self, received: ReceivedEvent, facts: ContainerFacts) -> NewEvent | None:
        """The outcome of a request; None if it is unknown."""
        request_key = _request_key(facts, received, _request_id(received) or "")
        permission = await self._database.fetch_one(
            "find_permission", project_id=received.project_id, request_key=request_key
        )
        if permission is None:
            return None
        outcome = received.member("outcome")
        chosen = outcome.get("optionId") if isinstance(outcome, dict) else None
        option_id = storable(chosen) if isinstance(chosen, str) else None
        answered_here = permission["state"] == "answering" and option_id == permission["option_id"]
        return permission_resolved(
            UnsettledRequest.from_row(permission),
            outcome="cancelled" if option_id is None else "selected",
            option_id=option_id,
            resolved_by=permission["resolved_by"] if answered_here else CONTAINER,
            gone=not answered_here and option_id is None and received.member("reason") in _GONE,
        )

    async def _waits_already(self, received: ReceivedEvent, request_key: str) -> bool:
        """Whether a request under this id waits in this turn.

        Ids are unique within one answer, at most: in another turn, or once the former is settled, it is another one.
        """
        former = await self._database.fetch_one(
            "find_permission", project_id=received.project_id, request_key=request_key
        )
        if former is None or former["state"] not in ("waiting", "answering"):
            return False
        if former["is_of_this_turn"]:
            return True
        # An answer to it would be taken for one to its successor.
        await self._log.append(LogId(received.project_id), [taken_back(UnsettledRequest.from_row(former))])
        return False

    async def _has_most_requests(self, received: ReceivedEvent) -> bool:
        """Whether so many requests of its session are open that no person is asked another one."""
        if received.session_id is None:
            return False
        row = await self._database.fetch_one(
            "count_unsettled_permissions", project_id=received.project_id, session_id=received.session_id
        )
        return row is None or row["number"] >= MAX_UNSETTLED

    async def _merged(self, received: ReceivedEvent) -> Merged:
        tool_call = received.raw_member("toolCall")
        if received.session_id is None:
            return Merged(tool_call=tool_call, kinds=(None,))
        return await self._merging.complete(received.project_id, received.session_id, tool_call)


def _first_options(options: bytes) -> bytes:
    """As many of the options as a person can be shown, each with its id as it is."""
    kept, room = list[bytes](), MAX_OPTION_BYTES
    given = parse_foreign_json(options)
    for option in given if isinstance(given, list) else ():
        match option:
            case {"optionId": str(option_id)} if len(option_id) <= _MAX_OPTION_ID:
                name, kind = (str(option.get(member) or "")[:_MAX_OPTION_NAME] for member in ("name", "kind"))
                kept.append(dump_foreign_json({"optionId": option_id, "name": name or option_id, "kind": kind}))
                room -= len(kept[-1])
        if room < 0:
            kept.pop()
            break
    return b"[%b]" % b",".join(kept)


def _cut(tool_call: bytes) -> bytes:
    """The call of a request that was cut, marked."""
    members = members_of(tool_call)
    meta = {name: msgspec.Raw(value) for name, value in members_of(members.get("_meta", b"null")).items()}
    members["_meta"] = dump_foreign_json({**meta, CUT: True})
    return dump_foreign_json({name: msgspec.Raw(value) for name, value in members.items()})


def not_understood(received: ReceivedEvent) -> NewEvent:
    """The container's event, unchanged."""
    return NewEvent.of(ContainerEvent(event=received.type, data=msgspec.Raw(received.raw)), **received.common)


def _request_id(received: ReceivedEvent) -> str | None:
    """The container's id for a request, under either name; None if it has none."""
    for name in ("requestId", "permissionId", "id"):
        value = received.member(name)
        if value != "" and isinstance(value, str | int) and not isinstance(value, bool):
            return storable(str(value))[:MAX_TOLD]
    return None


def _request_key(facts: ContainerFacts, received: ReceivedEvent, request_id: str) -> str:
    """The key of a request, with the boot, since a restarted container may count from 1 again.

    A digest, because an index entry has at most about 2,700 bytes.
    """
    scope = (facts.boot_id or "", received.container_session_id or "", request_id)
    return hashlib.sha256("\0".join(scope).encode()).hexdigest()
