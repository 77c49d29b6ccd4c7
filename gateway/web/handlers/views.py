"""What goes out: each resource as the API shows it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs
from aiohttp import web

from gateway.container.containers import Agents
from gateway.container.values import ContainerAgent
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
from gateway.wire.codec import dump_foreign_json, raw_members, to_builtins
from gateway.wire.messages import Message

T = TypeVar("T", shapes.Project, shapes.Session)
#: What a message's body has, by its role.
_BODY = {
    "content": "content",
    "message_id": "messageId",
    "tool_call": "toolCall",
    "omitted": "omitted",
    "entries": "entries",
    "author": "author",
    "event": "event",
    "data": "data",
}


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` as JSON on a line of its own, so that a terminal's prompt does not follow it."""
    return web.Response(body=encode(value), status=status, content_type="application/json", headers=headers)


def encode(value: Any) -> bytes:
    return dump_foreign_json(to_builtins(value)) + b"\n"


def project(value: Project, role: Role) -> shapes.Project:
    """``role``: of who asks."""
    return shapes.Project(
        id=value.id,
        name=value.name,
        container_url=value.container_url,
        acp_url=value.acp_url,
        default_agent_id=value.default_agent_id,
        retention=value.retention,
        permission_mode=value.permission_mode,
        permission_rules=list(value.permission_rules),
        permission_timeout=value.permission_timeout,
        record_opencode_events=value.record_opencode_events,
        has_container_token=value.sealed_container_token is not None,
        owner_id=value.owner_id,
        role=role.word,
        created_at=value.created_at,
        updated_at=value.updated_at,
    )


def member(value: Member) -> shapes.Member:
    return shapes.Member(
        user_id=value.user_id,
        role=value.role.word,
        owner=value.is_owner,
        added_by=value.added_by,
        added_at=value.added_at,
    )


def audit_entry(value: Noted) -> shapes.AuditEntry:
    members = {field.name: getattr(value, field.name) for field in attrs.fields(shapes.AuditEntry)}
    return shapes.AuditEntry(**members | {"id": str(value.id)})


def agents(value: Agents, default_agent_id: str | None) -> shapes.AgentList:
    return shapes.AgentList(
        agents=[_agent(agent, value.stale) for agent in value.agents],
        default_agent_id=default_agent_id,
        stale=value.stale,
        omitted=value.omitted,
    )


def _agent(value: ContainerAgent, stale: bool) -> shapes.Agent:
    return shapes.Agent(
        id=value.id,
        name=value.name,
        description=value.description,
        status=value.status,
        stale=stale,
        requires_auth=value.requires_auth,
        authenticated=value.authenticated,
        error=value.error,
    )


def spawned(said: Mapping[str, Any]) -> shapes.Spawned:
    """What the contract knows of a container's answer: it is kept for its key, and must not hold variables."""
    known = {"id": "id", "status": "status", "startedAt": "started_at"}
    return shapes.Spawned(**{name: said[member] for member, name in known.items() if member in said})


def session(value: Session) -> shapes.Session:
    turn = None if value.turn_id is None else shapes.RunningTurn(id=value.turn_id, started_at=value.turn_started_at)
    return shapes.Session(
        id=value.id,
        project_id=value.project_id,
        agent_id=value.agent_id,
        title=value.title,
        working_directory=value.working_directory,
        permissions=value.permissions,
        status="ended" if value.status == "ended" else "running" if turn else "idle",
        turn=turn,
        queue=value.queue,
        cursor=str(value.cursor),
        created_by=value.user_id,
        credential_user_id=value.credential_user_id,
        created_at=value.created_at,
        updated_at=value.updated_at,
        ended_at=value.ended_at,
    )


def accepted(value: Started | Queued) -> shapes.Accepted:
    begun = shapes.Accepted(turn_id=value.turn_id, cursor=str(value.cursor))
    return attrs.evolve(begun, state="queued", position=value.position) if isinstance(value, Queued) else begun


def turn(value: Turn) -> shapes.Turn:
    return shapes.Turn(
        id=value.id,
        state=value.state,
        stop_reason=value.stop_reason,
        failure=value.failure,
        message=value.message,
        prompt=value.prompt,
        queued_at=value.queued_at,
        started_at=value.started_at,
        ended_at=value.ended_at,
    )


def message(value: Message) -> shapes.Message:
    # It stays as it is stored: what an agent has said is large, and nobody here looks into it.
    body: dict[str, Any] = raw_members(value.body)
    return shapes.Message(
        id=value.id,
        role=value.role,
        turn_id=value.turn_id,
        at=value.at,
        updated_at=value.updated_at,
        **{name: body[member] for name, member in _BODY.items() if member in body},
    )


def messages(page: Page) -> shapes.MessagePage:
    return shapes.MessagePage(messages=[message(one) for one in page.messages], next=page.next)


def snapshot(value: Snapshot) -> shapes.Snapshot:
    shown, page = session(value.session), messages(value.messages)
    return shapes.Snapshot(
        session=shown,
        turn=shown.turn,
        permissions=[permission(one) for one in value.permissions],
        messages=page.messages,
        next=page.next,
        cursor=shown.cursor,
    )


def permission(value: Permission) -> shapes.Permission:
    return shapes.Permission(
        id=value.id,
        session_id=value.session_id,
        turn_id=value.turn_id,
        agent_id=value.agent_id,
        tool_call=value.tool_call,
        options=value.options,
        state=value.state,
        option_id=value.option_id,
        resolved_by=value.resolved_by,
        rule=value.rule,
        requested_at=value.requested_at,
        expires_at=value.expires_at,
        resolved_at=value.resolved_at,
    )


def listed(entries: Sequence[T], limit: int) -> tuple[list[T], str | None]:
    """A page of ``limit`` from one entry more than that, and the id to ask for more after."""
    more = len(entries) > limit
    return list(entries[:limit]), entries[limit - 1].id if more else None
