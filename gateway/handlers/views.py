"""What goes out: each resource as the API shows it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from gateway.container.client import ContainerAgent
from gateway.identity.members import Member
from gateway.log.transcript import Page
from gateway.projects import Project
from gateway.roles import Role
from gateway.sessions.containers import Agents
from gateway.sessions.permissions import Permission
from gateway.sessions.queue import Queued
from gateway.sessions.sessions import Session
from gateway.sessions.snapshot import Snapshot
from gateway.sessions.turns import Started, Turn
from gateway.wire.codec import dump_foreign_json, to_builtins
from gateway.wire.times import timestamp


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` as JSON on a line of its own, so that a terminal's prompt does not follow it."""
    body = dump_foreign_json(value) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def project(value: Project, role: Role) -> dict[str, Any]:
    """``role``: of who asks."""
    return {
        "id": value.id,
        "name": value.name,
        "containerUrl": value.container_url,
        "acpUrl": value.acp_url,
        "defaultAgentId": value.default_agent_id,
        "retention": to_builtins(value.retention) if value.retention else None,
        "permissionMode": value.permission_mode,
        "permissionRules": to_builtins(value.permission_rules),
        "permissionTimeout": value.permission_timeout,
        "hasContainerToken": value.sealed_container_token is not None,
        "ownerId": value.owner_id,
        "role": role.word,
        "createdAt": timestamp(value.created_at),
        "updatedAt": timestamp(value.updated_at),
    }


def member(value: Member) -> dict[str, Any]:
    return {
        "userId": value.user_id,
        "role": value.role.word,
        "owner": value.is_owner,
        "addedBy": value.added_by,
        "addedAt": timestamp(value.added_at),
    }


def agents(value: Agents, default_agent_id: str | None) -> dict[str, Any]:
    return {
        "agents": [_agent(agent, value.stale) for agent in value.agents],
        "defaultAgentId": default_agent_id,
        "stale": value.stale,
    }


def _agent(value: ContainerAgent, stale: bool) -> dict[str, Any]:
    return {
        "id": value.id,
        "name": value.name,
        "description": value.description,
        "status": value.status,
        "stale": stale,
        "requiresAuth": value.requires_auth,
        "authenticated": value.authenticated,
        "error": value.error,
    }


def spawned(said: Mapping[str, Any]) -> dict[str, Any]:
    """What the contract knows of a container's answer: it is kept for its key, and must not hold variables."""
    return {name: said[name] for name in ("id", "status", "startedAt") if name in said}


def session(value: Session) -> dict[str, Any]:
    running = value.turn_id is not None
    return {
        "id": value.id,
        "projectId": value.project_id,
        "agentId": value.agent_id,
        "title": value.title,
        "workingDirectory": value.working_directory,
        "permissions": value.permissions,
        "status": "ended" if value.status == "ended" else "running" if running else "idle",
        "turn": {"id": value.turn_id, "startedAt": _time(value.turn_started_at)} if running else None,
        "queue": value.queue,
        "cursor": str(value.cursor),
        "createdBy": value.user_id,
        "createdAt": timestamp(value.created_at),
        "updatedAt": timestamp(value.updated_at),
        "endedAt": _time(value.ended_at),
    }


def begun(value: Started | Queued) -> dict[str, Any]:
    shown = {"turnId": value.turn_id, "cursor": str(value.cursor)}
    return shown | {"state": "queued", "position": value.position} if isinstance(value, Queued) else shown


def turn(value: Turn) -> dict[str, Any]:
    return {
        "id": value.id,
        "state": value.state,
        "stopReason": value.stop_reason,
        "failure": value.failure,
        "message": value.message,
        "prompt": value.prompt,
        "queuedAt": _time(value.queued_at),
        "startedAt": _time(value.started_at),
        "endedAt": _time(value.ended_at),
    }


def messages(page: Page) -> dict[str, Any]:
    return {"messages": [message.to_json() for message in page.messages], "next": page.next}


def snapshot(value: Snapshot) -> dict[str, Any]:
    shown = session(value.session)
    return {
        "session": shown,
        "turn": shown["turn"],
        "permissions": [permission(one) for one in value.permissions],
        **messages(value.messages),
        "cursor": shown["cursor"],
    }


def permission(value: Permission) -> dict[str, Any]:
    return {
        "id": value.id,
        "sessionId": value.session_id,
        "turnId": value.turn_id,
        "agentId": value.agent_id,
        "toolCall": value.tool_call,
        "options": value.options,
        "state": value.state,
        "optionId": value.option_id,
        "resolvedBy": value.resolved_by,
        "rule": value.rule,
        "requestedAt": timestamp(value.requested_at),
        "expiresAt": _time(value.expires_at),
        "resolvedAt": _time(value.resolved_at),
    }


def listed(name: str, entries: Sequence[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page of ``limit`` from one entry more than that; ``next`` is the id to ask for more after."""
    more = len(entries) > limit
    return {name: list(entries[:limit]), "next": entries[limit - 1]["id"] if more else None}


def _time(at: datetime | None) -> str | None:
    return timestamp(at) if at else None
