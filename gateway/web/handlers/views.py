"""Domain values as the shapes that the API answers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import attrs
import msgspec
from aiohttp import web

from gateway.container.containers import Agents
from gateway.identity.audit import Noted
from gateway.identity.members import Member
from gateway.identity.roles import Role
from gateway.log.transcript import Page
from gateway.permissions.requests import Permission
from gateway.projects.store import Project
from gateway.sessions.sessions import Session
from gateway.sessions.snapshot import Snapshot
from gateway.sessions.turn import Turn
from gateway.turns.queue import Queued
from gateway.turns.turns import Started
from gateway.web.handlers import shapes
from gateway.wire.codec import dump_foreign_json, parse_foreign_json, raw_members, to_builtins
from gateway.wire.limits import PAGE_BYTES
from gateway.wire.messages import Message

S = TypeVar("S", bound=attrs.AttrsInstance)
T = TypeVar("T", shapes.AuditEntry, shapes.Credential, shapes.Permission, shapes.Project)
#: Members of a message's body; which of them it has depends on its role.
_BODY = {
    "content": "content",
    "message_id": "messageId",
    "tool_call": "toolCall",
    "omitted": "omitted",
    "terminal": "terminal",
    "entries": "entries",
    "author": "author",
    "event": "event",
    "data": "data",
    "filled": "filled",
    "through": "through",
}


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` as JSON that ends with a line break, for people who call with curl."""
    return web.Response(body=encode(value), status=status, content_type="application/json", headers=headers)


def encode(value: Any) -> bytes:
    return dump_foreign_json(to_builtins(value)) + b"\n"


def shown(shape: type[S], value: Any, **members: Any) -> S:
    """``value`` as ``shape``: ``members``, and the attributes of the same names for all fields that have no default."""
    required = (field.name for field in attrs.fields(shape) if field.default is attrs.NOTHING)
    return shape(**{name: getattr(value, name) for name in required if name not in members}, **members)


def project(value: Project, role: Role) -> shapes.Project:
    """``role`` is the caller's."""
    return shown(
        shapes.Project,
        value,
        role=role.word,
        has_container_token=value.sealed_container_token is not None,
        has_opencode_password=value.sealed_opencode_password is not None,
    )


def member(value: Member) -> shapes.Member:
    return shown(shapes.Member, value, role=value.role.word, owner=value.is_owner)


def audit_entry(value: Noted) -> shapes.AuditEntry:
    return shown(shapes.AuditEntry, value, id=str(value.id))


def agents(value: Agents, default_agent_id: str | None) -> shapes.AgentList:
    every = [shown(shapes.Agent, agent, stale=value.stale) for agent in value.agents]
    listed = within_page(every)
    omitted = value.omitted + len(every) - len(listed)
    return shown(shapes.AgentList, value, agents=listed, default_agent_id=default_agent_id, omitted=omitted)


def spawned(said: Mapping[str, Any]) -> shapes.Spawned:
    """The members that the contract names: the answer is stored for its key, and must not hold variables."""
    known = {"id": "id", "status": "status", "startedAt": "started_at"}
    return shapes.Spawned(**{name: said[member] for member, name in known.items() if member in said})


def session(value: Session) -> shapes.Session:
    turn = None if value.turn_id is None else shapes.RunningTurn(id=value.turn_id, started_at=value.turn_started_at)
    status = "ended" if value.status == "ended" else "running" if turn else "idle"
    told = {"cursor": str(value.cursor), "created_by": value.user_id, "updated_at": value.active_at}
    return shown(shapes.Session, value, status=status, turn=turn, **told)


def accepted(value: Started | Queued) -> shapes.Accepted:
    begun = shapes.Accepted(turn_id=value.turn_id, cursor=str(value.cursor))
    return attrs.evolve(begun, state="queued", position=value.position) if isinstance(value, Queued) else begun


def turn(value: Turn) -> shapes.Turn:
    return shown(shapes.Turn, value)


def message(session: Session, value: Message) -> shapes.Message:
    # The stored JSON is passed on as bytes: it can be large.
    body = raw_members(value.body)
    members: dict[str, Any] = {name: body[member] for name, member in _BODY.items() if member in body}
    if "references" in body:
        place = f"/api/projects/{session.project_id}/acp/session/{quote(session.id, safe='')}/messages/{value.id}"
        references = enumerate(parse_foreign_json(body["references"]))
        members["references"] = [_reference(f"{place}/content/{number}", one) for number, one in references]
    return shown(shapes.Message, value, **members)


def _reference(path: str, value: Mapping[str, Any]) -> shapes.Reference:
    # The digest makes it the address of this value, whatever the message becomes.
    url = f"{path}?digest={value['digest']}"
    return shapes.Reference(path=value["path"], url=url, media_type=value["mediaType"], size=value["size"])


def messages(session: Session, page: Page) -> shapes.MessagePage:
    return shapes.MessagePage(messages=[message(session, one) for one in page.messages], next=page.next)


def snapshot(value: Snapshot) -> shapes.Snapshot:
    taken, page = session(value.session), messages(value.session, value.messages)
    return shapes.Snapshot(
        session=taken,
        turn=taken.turn,
        permissions=[permission(one) for one in value.permissions],
        messages=page.messages,
        next=page.next,
        cursor=taken.cursor,
    )


def permission(value: Permission) -> shapes.Permission:
    return shown(shapes.Permission, value)


def listed(entries: Sequence[T], limit: int) -> tuple[list[Any], str | None]:
    """A page of ``limit`` entries out of at most ``limit + 1``, encoded, and the ``after`` of the next page.

    Beyond 4 MiB the page ends earlier, but never before its first entry.
    """
    page = within_page(entries[:limit])
    if len(page) == len(entries):
        return page, None
    last = entries[len(page) - 1]
    return page, last.agent_id if isinstance(last, shapes.Credential) else last.id


def within_page(entries: Iterable[attrs.AttrsInstance]) -> list[Any]:
    """The first entries, encoded: the very first, and others while they take no more than 4 MiB together."""
    page: list[msgspec.Raw] = []
    size = 0
    for entry in entries:
        encoded = dump_foreign_json(to_builtins(entry))
        size += len(encoded)
        if page and size > PAGE_BYTES:
            break
        page.append(msgspec.Raw(encoded))
    return page
