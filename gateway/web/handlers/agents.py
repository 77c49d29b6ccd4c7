"""Agents of a project's container: listed, started and stopped."""

import secrets
from typing import Annotated

import attrs
from aiohttp import web
from msgspec import Meta

from gateway.container.room import CONTAINERS
from gateway.injection.room import INJECTION
from gateway.sessions.idempotency import Answer
from gateway.web.handlers import views
from gateway.web.handlers.idempotency import answer, once, respond
from gateway.web.handlers.requests import NoBody, read_body, telling_refusals
from gateway.web.keys import PROJECT, TASKS, USER

Variables = Annotated[dict[str, str], Meta(max_length=1000)]


@attrs.frozen(kw_only=True)
class SpawnBody:
    """What ``POST …/spawn`` takes: variables for the agent's process, and where it works."""

    env: Variables | None = attrs.field(default=None, repr=False)
    working_directory: str | None = None


async def list_all(request: web.Request) -> web.Response:
    """The project's agents. While the container is unreachable, their last known state, marked `stale`."""
    project = request[PROJECT]
    found = await request.app[CONTAINERS].agents(project)
    return views.answer(views.agents(found, project.default_agent_id))


async def spawn(request: web.Request) -> web.Response:
    """Start an agent's process."""
    body = await read_body(request, SpawnBody)
    options: dict[str, object] = {"env": body.env} if body.env is not None else {}
    if body.working_directory is not None:
        options["workingDirectory"] = body.working_directory
    project, user_id = request[PROJECT], request[USER]
    injecting, containers = request.app[INJECTION].injecting, request.app[CONTAINERS]

    async def work(_: str | None) -> Answer:
        agent = await containers.agent(project, request.match_info["agent_id"])
        # The caller's own variables may contain a key, so no credential is required then.
        chosen = await injecting.for_agent(project, agent, user_id, needed=False if body.env else None)
        container = await containers.identify(project)
        # A running process is not started again, so a retry after a crash is harmless.
        said = await request.app[INJECTION].processes.spawn(project, agent.id, chosen, container, options)
        return answer(views.spawned(said))

    with telling_refusals():
        return respond(await once(request, _new_spawn_id, work, name="spawn"))


def _new_spawn_id() -> str:
    return f"spawn_{secrets.token_hex(10)}"


async def stop(request: web.Request) -> web.Response:
    """Stop an agent's processes. Running turns fail."""
    await read_body(request, NoBody)
    agent_id = await _known_agent(request)
    container = request.app[CONTAINERS].of(request[PROJECT])
    with telling_refusals():
        return views.answer(await request.app[TASKS].complete(container.stop(agent_id), name="stop"))


async def status(request: web.Request) -> web.Response:
    """An agent's status, as its container reports it."""
    agent_id = await _known_agent(request)
    with telling_refusals():
        return views.answer(await request.app[CONTAINERS].of(request[PROJECT]).agent_status(agent_id))


async def _known_agent(request: web.Request) -> str:
    # Containers answer differently for unknown agents; their list is reliable.
    agent = await request.app[CONTAINERS].agent(request[PROJECT], request.match_info["agent_id"])
    return agent.id
