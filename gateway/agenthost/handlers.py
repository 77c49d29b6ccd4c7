"""The handlers of the agent host; `app.py` has the route table."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway import __version__
from gateway.agenthost import bodies, stream
from gateway.agenthost.answers import success
from gateway.agenthost.credentials import Credential
from gateway.agenthost.errors import AgentFailed, AgentRefused
from gateway.agenthost.host import AgentHost
from gateway.agenthost.journal import now
from gateway.agenthost.logins import LOGIN_SECONDS
from gateway.agenthost.sessions import Session
from gateway.agenthost.slots import Agent
from gateway.errors import AgentNotFound, BadRequest, InvalidBody, NotFound, SessionNotFound

HOST = web.AppKey("host", AgentHost)

CAPABILITIES = (
    *("event-ids", "end-turn", "permissions", "session-env", "content-blocks"),
    *("turn-ids", "modes", "load-session", "credentials", "references"),
)
_INVALID_PARAMS = -32602
_RESOURCE_NOT_FOUND = -32002


async def health(request: web.Request) -> web.Response:
    return success({"status": "healthy", "timestamp": now()})


async def info(request: web.Request) -> web.Response:
    host = request.app[HOST]
    return success(
        {
            "name": host.config.name,
            "version": __version__,
            "workingDirectory": str(host.workspace.root),
            "runningAgents": host.agents.running,
            "activeSessions": len(host.sessions),
            "connectedClients": host.streams,
            "capabilities": CAPABILITIES,
            "bootId": host.journal.boot_id,
        }
    )


async def list_agents(request: web.Request) -> web.Response:
    return success({"agents": await request.app[HOST].agents.list()})


async def spawn_agent(request: web.Request) -> web.Response:
    """Start an agent, initialise and authenticate it."""
    host = request.app[HOST]
    body = await bodies.read(request, bodies.SpawnBody)
    cwd = None if body.working_directory is None else host.workspace.directory(body.working_directory)
    spawn = host.agents.spawn(request.match_info["agent_id"], body.env, cwd, body.credential)
    agent = await host.tasks.complete(spawn, name="spawn")
    return success({"id": agent.spec.id, "status": agent.status, "startedAt": agent.started_at})


async def stop_agent(request: web.Request) -> web.Response:
    """End all processes of an agent."""
    host = request.app[HOST]
    await bodies.read(request, bodies.NoBody)
    agent = await host.tasks.complete(host.agents.stop(request.match_info["agent_id"]), name="stop")
    return success({"id": agent.spec.id, "status": agent.status})


async def renew_credential(request: web.Request) -> web.Response:
    """Give an owner's processes a newer credential: idle ones are replaced now, others after their turns."""
    host = request.app[HOST]
    credential = await bodies.read(request, Credential)
    renew = host.agents.renew(request.match_info["agent_id"], credential)
    done = await host.tasks.complete(renew, name="renew credential")
    return success({"owner": credential.owner, "version": credential.version, "process": done})


async def withdraw_credential(request: web.Request) -> web.Response:
    """Forget an owner's credential, and end its processes."""
    host, owner = request.app[HOST], request.match_info["owner"]
    withdraw = host.agents.withdraw(request.match_info["agent_id"], owner)
    return success({"owner": owner, "withdrawn": await host.tasks.complete(withdraw, name="withdraw credential")})


async def agent_status(request: web.Request) -> web.Response:
    agent, host = _agent(request), request.app[HOST]
    return success(
        {
            "id": agent.spec.id,
            "status": agent.status,
            "startedAt": agent.started_at,
            "lastActivity": agent.last_activity,
            "sessionCount": sum(session.agent_id == agent.spec.id for session in host.sessions),
            "error": agent.error,
        }
    )


async def begin_auth(request: web.Request) -> web.Response:
    """How to give an agent a credential; an agent that logs its person in by itself begins with that."""
    agent = _agent(request)
    await bodies.read(request, bodies.NoBody)
    if agent.spec.login:
        login = await request.app[HOST].logins.begin(agent)
        return success({**login.describe(), "expiresIn": LOGIN_SECONDS})
    if not agent.spec.credentials:
        return success({"message": f"{agent.spec.name} needs no credential"})
    names = ", ".join(agent.spec.credentials)
    return success({"message": f"send a token to auth/token, or one of these with spawn or a session's env: {names}"})


async def auth_status(request: web.Request) -> web.Response:
    """Whether an agent has the credential that it needs."""
    agent = _agent(request)
    host = request.app[HOST]
    login = host.logins.newest(agent)
    pending = login is not None and not login.is_over
    answer: dict[str, object] = {"authenticated": not pending and host.agents.authenticated(agent)}
    if login is not None and pending:
        answer |= login.describe()
    elif login is not None and login.error is not None:
        answer |= {"authenticated": False, "error": login.error}
    elif login is None and agent.spec.login and not agent.links:
        # Only its use, or a login, could show that it has an account.
        answer |= {"authenticated": False, "error": "the agent host has started anew, and knows of no login"}
    if agent.token is not None and agent.token.expires_at is not None:
        answer["expiresAt"] = agent.token.expires_at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return success(answer)


async def take_token(request: web.Request) -> web.Response:
    """Keep a credential in memory for the agent's next process."""
    host = request.app[HOST]
    body = await bodies.read(request, bodies.TokenBody)
    if not body.token or "\0" in body.token:
        raise InvalidBody("$.token: must not be empty or hold a NUL character")
    take = host.agents.take_token(request.match_info["agent_id"], body.token, body.expires_in)
    await host.tasks.complete(take, name="token")
    return success({"authenticated": True})


async def create_session(request: web.Request) -> web.Response:
    """Create a session; its agent is started if necessary."""
    host = request.app[HOST]
    body = await bodies.read(request, bodies.SessionBody)
    try:
        agent = host.agents.get(body.agent_id)
    except AgentNotFound as exc:
        raise BadRequest(f"$.agentId: {exc}") from exc
    cwd = host.workspace.directory(body.working_directory)
    session = Session(
        agent_id=agent.spec.id,
        cwd=cwd,
        reference=body.reference,
        env=body.env or None,
        owner=None if body.credential is None else body.credential.owner,
        mcp_servers=body.mcp_servers,
        mode=body.mode_id,
    )
    return success(await host.tasks.complete(host.create(session, body.credential), name="create session"))


async def list_sessions(request: web.Request) -> web.Response:
    return success({"sessions": [session.describe() for session in request.app[HOST].sessions]})


async def get_session(request: web.Request) -> web.Response:
    return success(_session(request).describe())


async def delete_session(request: web.Request) -> web.Response:
    host, session = request.app[HOST], _session(request)
    await host.tasks.complete(host.delete(session), name="delete session")
    return success({"id": session.id, "status": session.status})


async def prompt(request: web.Request) -> web.Response:
    """Begin a turn. With `Prefer: respond-async` (RFC 7240) answer 202 at once, otherwise when the turn has ended."""
    host, session = request.app[HOST], _session(request)
    body = await bodies.read(request, bodies.PromptBody)
    blocks = body.blocks()
    if session.link is not None:
        bodies.check_capabilities(blocks, session.link.capabilities.get("promptCapabilities") or {})
    turn = host.prompt(session, blocks, body.turn_id)
    if _prefers_async(request):
        data = {"id": session.id, "turnId": turn.id}
        return success(data, status=202, headers={"Preference-Applied": "respond-async"})
    # The turn continues if this client disconnects.
    end = await asyncio.shield(turn.end)
    if "error" in end:
        raise AgentFailed(end["error"]["message"], data=end)
    # The base contract requires "processing" here, although the turn has ended.
    return success({"id": session.id, "status": "processing", **end})


async def cancel(request: web.Request) -> web.Response:
    """Ask the agent to cancel its turn; the status says whether it has ended."""
    host, session = request.app[HOST], _session(request)
    turn_id = (await bodies.read(request, bodies.CancelBody)).turn_id
    if turn_id is None or (session.turn is not None and session.turn.id == turn_id):
        await host.tasks.complete(host.cancel(session), name="cancel")
    return success({"id": session.id, "status": "processing" if session.turn is not None else "idle"})


async def set_mode(request: web.Request) -> web.Response:
    """ACP's `session/set_mode`."""
    session = _session(request)
    body = await bodies.read(request, bodies.ModeBody)
    host = request.app[HOST]
    await _asked(host.tasks.complete(host.set_mode(session, body.mode_id), name="set mode"))
    return success({"id": session.id, "modeId": body.mode_id})


async def set_config(request: web.Request) -> web.Response:
    """ACP's `session/set_config_option`; the response has all options."""
    session = _session(request)
    body = await bodies.read(request, bodies.ConfigBody)
    if not isinstance(body.value, str | bool):
        raise InvalidBody("$.value: must be a string, true or false")
    host = request.app[HOST]
    work = host.set_option(session, body.config_id, body.value)
    answer = await _asked(host.tasks.complete(work, name="set option"))
    return success({"id": session.id, "configOptions": answer.get("configOptions", [])})


async def load_session(request: web.Request) -> web.Response:
    """ACP's `session/load`, for a session of this host or, with `agentId` and `acpSessionId`, from before its start.

    Without `replay`, an agent that can only resume does that; `how` says so.
    """
    host = request.app[HOST]
    session_id = request.match_info["session_id"]
    body = await bodies.read(request, bodies.LoadBody)
    try:
        session = host.session(session_id)
    except SessionNotFound:
        if body.agent_id is None or body.acp_session_id is None:
            raise
        session = _unknown_session(host, session_id, body)
        work = host.adopt(session, body.credential, replay=body.replay)
    else:
        agent_id = None if body.agent_id is None else host.agents.get(body.agent_id).spec.id
        if agent_id not in (None, session.agent_id) or body.acp_session_id not in (None, session.acp_id):
            raise InvalidBody("$: the session is another agent's, or another one of this agent") from None
        work = host.load(session, body.credential, replay=body.replay)
    extras = await _asked(host.tasks.complete(work, name="load session"))
    return success({**session.describe(), "how": "load", **extras})


async def answer_permission(request: web.Request) -> web.Response:
    """Settle a permission request: by option, as cancelled, or by yes or no, once."""
    permissions = request.app[HOST].permissions
    request_id = request.match_info["request_id"]
    body = await bodies.read(request, bodies.PermissionBody)
    given = [name for name in ("option_id", "cancelled", "granted") if getattr(body, name) is not None]
    if len(given) != 1 or body.cancelled is False:
        raise InvalidBody("$: must have one of optionId, granted, and cancelled: true")
    if body.option_id is not None:
        outcome = permissions.choose(request_id, body.option_id)
    elif body.granted is not None:
        outcome = permissions.grant(request_id, granted=body.granted)
        return success({"id": request_id, "granted": body.granted, "outcome": outcome})
    else:
        outcome = permissions.cancel(request_id)
    return success({"id": request_id, "outcome": outcome})


async def events(request: web.Request) -> web.StreamResponse:
    """All events, or those of one session and of none."""
    session = _session(request) if "session_id" in request.match_info else None
    return await stream.serve(request, request.app[HOST], None if session is None else session.id)


def _agent(request: web.Request) -> Agent:
    return request.app[HOST].agents.get(request.match_info["agent_id"])


def _session(request: web.Request) -> Session:
    return request.app[HOST].session(request.match_info["session_id"])


def _unknown_session(host: AgentHost, session_id: str, body: bodies.LoadBody) -> Session:
    assert body.agent_id is not None
    assert body.acp_session_id is not None
    agent = host.agents.get(body.agent_id)
    cwd: Path = host.workspace.directory(body.working_directory)
    return Session(
        id=session_id,
        agent_id=agent.spec.id,
        acp_id=body.acp_session_id,
        cwd=cwd,
        reference=body.reference,
        env=body.env or None,
        owner=None if body.credential is None else body.credential.owner,
        mcp_servers=body.mcp_servers or [],
        mode=body.mode_id,
    )


async def _asked(work: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """The agent's answer; some of its errors are the caller's fault."""
    try:
        return await work
    except AgentRefused as exc:
        if exc.rpc_code == _INVALID_PARAMS:
            raise BadRequest(str(exc)) from exc
        if exc.rpc_code == _RESOURCE_NOT_FOUND:
            raise NotFound(str(exc)) from exc
        raise


def _prefers_async(request: web.Request) -> bool:
    """RFC 7240 section 4.1."""
    fields = ",".join(request.headers.getall("Prefer", ()))
    return any(one.partition(";")[0].strip().lower() == "respond-async" for one in fields.split(","))
