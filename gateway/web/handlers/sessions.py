"""Sessions and prompts."""

from typing import Annotated

import attrs
from aiohttp import web
from msgspec import Meta

from gateway.projects.room import PROJECTS
from gateway.sessions.idempotency import Answer
from gateway.sessions.room import SESSIONS
from gateway.sessions.sessions import NewSession, Session, new_session_id
from gateway.turns.room import TURNS
from gateway.turns.turns import new_turn_id
from gateway.web.handlers import shapes, views
from gateway.web.handlers.acp import McpServer, Prompt, blocks_of, check_mcp_server
from gateway.web.handlers.idempotency import answer, once, respond
from gateway.web.handlers.parameters import AFTER_PLACE, INCLUDE_ENDED
from gateway.web.handlers.requests import (
    flag,
    forget_body,
    number,
    page_size,
    read_body,
    seconds_to_wait,
    telling_refusals,
)
from gateway.web.keys import PROJECT, TASKS, USER
from gateway.wire.codec import parse_foreign_json, to_builtins

Title = Annotated[str, Meta(max_length=500)]
Directory = Annotated[str, Meta(max_length=4096)]


@attrs.frozen(kw_only=True)
class SessionBody:
    """Body of ``POST …/session``."""

    agent_id: str | None = None
    working_directory: Directory | None = None
    title: Title | None = None
    mcp_servers: Annotated[list[McpServer], Meta(max_length=100)] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class TitleBody:
    """Body of ``PATCH …/session/{id}``."""

    title: Title | None


@attrs.frozen(kw_only=True)
class PromptBody:
    """Body of ``POST …/prompt``: text or ACP content blocks; whether to queue it if a turn is running."""

    prompt: Prompt = attrs.field(repr=False)
    queue: bool = False


@attrs.frozen(kw_only=True)
class CancelBody:
    """Body of ``POST …/cancel``: a running or queued turn; by default the running one."""

    turn_id: str | None = None


async def create(request: web.Request) -> web.Response:
    """Create a session with the given agent, or the project's default agent."""
    body = await read_body(request, SessionBody)
    for index, server in enumerate(body.mcp_servers or []):
        check_mcp_server(server, f"$.mcpServers[{index}]")
    project, new = request[PROJECT], NewSession(**attrs.asdict(body))

    async def work(session_id: str | None) -> Answer:
        await request.app[PROJECTS].limits.session(project.id, session_id)
        created = await request.app[SESSIONS].sessions.create(project, request[USER], new, session_id=session_id)
        location = f"/api/projects/{project.id}/acp/session/{created.id}"
        return answer(views.session(created), status=201, location=location)

    with telling_refusals():
        return respond(await once(request, new_session_id, work, name="create session"))


async def list_all(request: web.Request) -> web.Response:
    """The project's sessions, the last active first; ended ones only if requested."""
    size = page_size(request)
    found = await request.app[SESSIONS].sessions.page(
        request[PROJECT].id,
        after=number(request, AFTER_PLACE),
        limit=size + 1,
        include_ended=flag(request, INCLUDE_ENDED),
    )
    # A place, and no id: a session that is active meanwhile moves to the front, and the next page begins where it did.
    page = views.within_page([views.session(one) for one in found[:size]])
    after = str(found[len(page) - 1].place) if len(page) < len(found) else None
    return views.answer(shapes.SessionPage(sessions=page, next=after))


async def list_in_container(request: web.Request) -> web.Response:
    """The project's sessions as the container lists them, with the container's ids."""
    with telling_refusals():
        found = await request.app[SESSIONS].sessions.in_container(request[PROJECT])
    return views.answer({"success": True, "data": {"sessions": found}})


async def get(request: web.Request) -> web.Response:
    """One session, with its running turn and the log's current cursor."""
    return views.answer(views.session(await _session(request)))


async def rename(request: web.Request) -> web.Response:
    """Change a session's title."""
    body = await read_body(request, TitleBody)
    renamed = await request.app[SESSIONS].sessions.rename(
        request[PROJECT].id, request.match_info["session_id"], body.title, request[USER]
    )
    return views.answer(views.session(renamed))


async def end(request: web.Request) -> web.Response:
    """End a session; its history stays."""
    session = await _session(request)
    work = request.app[SESSIONS].sessions.end(request[PROJECT], session, request[USER])
    return views.answer(views.session(await request.app[TASKS].complete(work, name="end session")))


async def prompt(request: web.Request) -> web.Response:
    """Send or queue a prompt. It is stored before the agent gets it. ``Prefer: wait=N`` waits for the turn's end."""
    seconds = seconds_to_wait(request)
    accepted = await _accept(request)
    if seconds is None:
        return respond(accepted)
    # The turn may need further requests of the same user, which count against the same limit.
    forget_body(request)
    shown = parse_foreign_json(accepted.body)
    latest = await request.app[TURNS].wait(request[PROJECT].id, shown["turnId"], seconds)
    shown["turn"] = to_builtins(views.turn(latest))
    applied = {"Preference-Applied": f"wait={seconds}"}
    return views.answer(shown, status=202 if latest.is_open else 200, headers=applied)


async def _accept(request: web.Request) -> Answer:
    """Accept a prompt. In its own function, so that the prompt is freed while the turn is waited for."""
    limits = request.app[PROJECTS].limits
    with limits.prompt():
        body = await read_body(request, PromptBody, verbatim=True, most=limits.prompt_bytes)
    blocks = blocks_of(body.prompt)
    session = await _session(request)
    turns = request.app[TURNS]

    async def work(turn_id: str | None) -> Answer:
        begun = await turns.start(request[PROJECT], session, request[USER], blocks, turn_id=turn_id, queue=body.queue)
        return answer(views.accepted(begun), status=202)

    with telling_refusals():
        return await once(request, new_turn_id, work, name="start turn", id_of=new_turn_id)


async def turn(request: web.Request) -> web.Response:
    """One turn of the session."""
    found = await request.app[TURNS].of_session(await _session(request), request.match_info["turn_id"])
    return views.answer(views.turn(found))


async def cancel(request: web.Request) -> web.Response:
    """Cancel a turn; its end comes as an event. Cancelling an ended turn is no error."""
    body = await read_body(request, CancelBody)
    session = await _session(request)
    work = request.app[TURNS].cancel(request[PROJECT], session, request[USER], body.turn_id)
    turn_id = await request.app[TASKS].complete(work, name="cancel turn")
    return views.answer(shapes.Cancelling(turn_id=turn_id), status=202 if turn_id else 200)


async def _session(request: web.Request) -> Session:
    return await request.app[SESSIONS].sessions.get(request[PROJECT].id, request.match_info["session_id"])
