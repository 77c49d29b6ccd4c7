"""Sessions and prompts."""

from typing import Any

import attrs
from aiohttp import web

from gateway.errors import InvalidBody
from gateway.handlers import views
from gateway.handlers.idempotency import answer, once, respond
from gateway.handlers.requests import (
    flag,
    known_place,
    limit,
    parameter,
    read_body,
    seconds_to_wait,
    telling_refusals,
)
from gateway.keys import PROJECT, SESSIONS, TASKS, TURNS, USER
from gateway.sessions.idempotency import Answer
from gateway.sessions.sessions import NewSession, Session, new_session_id
from gateway.sessions.turns import new_turn_id
from gateway.wire.codec import parse_foreign_json

MAX_TITLE = 500
#: ACP's content blocks with the members that each must have.
_BLOCKS: dict[str, dict[str, type]] = {
    "text": {"text": str},
    "image": {"data": str, "mimeType": str},
    "audio": {"data": str, "mimeType": str},
    "resource_link": {"uri": str, "name": str},
    "resource": {"resource": dict},
}


@attrs.frozen(kw_only=True)
class SessionBody:
    """What ``POST …/session`` takes."""

    agent_id: str | None = None
    working_directory: str | None = None
    title: str | None = None
    mcp_servers: list[dict[str, Any]] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class TitleBody:
    """What ``PATCH …/session/{id}`` takes."""

    title: str | None


@attrs.frozen(kw_only=True)
class PromptBody:
    """What ``POST …/prompt`` takes: text, or a list of ACP content blocks; whether it may wait for another turn."""

    prompt: Any = attrs.field(repr=False)
    queue: bool = False


@attrs.frozen(kw_only=True)
class CancelBody:
    """What ``POST …/cancel`` takes: the turn that is meant, which may wait in the queue; else the running one."""

    turn_id: str | None = None


async def create(request: web.Request) -> web.Response:
    """Create a session with the named agent, or the project's default one."""
    body = await read_body(request, SessionBody)
    _check_title(body.title)
    project, new = request[PROJECT], NewSession(**attrs.asdict(body))

    async def work(session_id: str | None) -> Answer:
        created = await request.app[SESSIONS].create(project, request[USER], new, session_id=session_id)
        location = f"/api/projects/{project.id}/acp/session/{created.id}"
        return answer(views.session(created), status=201, location=location)

    with telling_refusals():
        return respond(await once(request, new_session_id, work, name="create session"))


async def list_all(request: web.Request) -> web.Response:
    """The project's sessions, newest first; those that have ended where asked for."""
    size = limit(request)
    after = parameter(request, "after")
    if after is not None:
        await known_place(request.app[SESSIONS].get(request[PROJECT].id, after))
    found = await request.app[SESSIONS].page(
        request[PROJECT].id,
        after=after,
        limit=size + 1,
        include_ended=flag(request, "includeEnded"),
    )
    return views.answer(views.listed("sessions", [views.session(one) for one in found], size))


async def get(request: web.Request) -> web.Response:
    """One session, with its running turn and the log's newest cursor."""
    return views.answer(views.session(await _session(request)))


async def rename(request: web.Request) -> web.Response:
    """Give a session a title."""
    body = await read_body(request, TitleBody)
    _check_title(body.title)
    renamed = await request.app[SESSIONS].rename(request[PROJECT].id, request.match_info["session_id"], body.title)
    return views.answer(views.session(renamed))


async def end(request: web.Request) -> web.Response:
    """End a session; its history stays."""
    session = await _session(request)
    work = request.app[SESSIONS].end(request[PROJECT], session, request[USER])
    return views.answer(views.session(await request.app[TASKS].complete(work, name="end session")))


async def prompt(request: web.Request) -> web.Response:
    """Send a prompt, or have it wait; it is stored before the agent sees it. ``Prefer: wait=N`` waits for its end."""
    body = await read_body(request, PromptBody, verbatim=True)
    blocks = _blocks(body.prompt)
    session = await _session(request)
    turns = request.app[TURNS]

    async def work(turn_id: str | None) -> Answer:
        begun = await turns.start(request[PROJECT], session, request[USER], blocks, turn_id=turn_id, queue=body.queue)
        return answer(views.begun(begun), status=202)

    with telling_refusals():
        accepted = await once(request, new_turn_id, work, name="start turn")
    seconds = seconds_to_wait(request)
    if seconds is None:
        return respond(accepted)
    shown = parse_foreign_json(accepted.body)
    latest = await turns.wait(request[PROJECT].id, shown["turnId"], seconds)
    shown["turn"] = views.turn(latest)
    applied = {"Preference-Applied": f"wait={seconds}"}
    return views.answer(shown, status=202 if latest.is_open else 200, headers=applied)


async def turn(request: web.Request) -> web.Response:
    """One turn of the session: whether it runs, and how it ended."""
    found = await request.app[TURNS].of_session(await _session(request), request.match_info["turn_id"])
    return views.answer(views.turn(found))


async def cancel(request: web.Request) -> web.Response:
    """Have a turn stop; its end comes as an event. That it is over is no error."""
    body = await read_body(request, CancelBody)
    session = await _session(request)
    work = request.app[TURNS].cancel(request[PROJECT], session, request[USER], body.turn_id)
    turn_id = await request.app[TASKS].complete(work, name="cancel turn")
    return views.answer({"turnId": turn_id}, status=202 if turn_id else 200)


async def _session(request: web.Request) -> Session:
    return await request.app[SESSIONS].get(request[PROJECT].id, request.match_info["session_id"])


def _check_title(title: str | None) -> None:
    if title is not None and len(title) > MAX_TITLE:
        raise InvalidBody(f"$.title: must have at most {MAX_TITLE} characters")


def _blocks(given: Any) -> list[dict[str, Any]]:
    """Text or content blocks as content blocks."""
    if isinstance(given, str):
        given = [{"type": "text", "text": given}]
    if not isinstance(given, list):
        raise InvalidBody("$.prompt: must be a string or a list of content blocks")
    if not given or given == [{"type": "text", "text": ""}]:
        raise InvalidBody("$.prompt: must not be empty")
    for index, block in enumerate(given):
        _check_block(block, f"$.prompt[{index}]")
    return given


def _check_block(block: Any, place: str) -> None:
    if not isinstance(block, dict):
        raise InvalidBody(f"{place}: must be an object")
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in _BLOCKS:
        raise InvalidBody(f"{place}.type: must be one of {', '.join(_BLOCKS)}")
    _check_members(block, _BLOCKS[kind], place)
    if kind == "resource":
        _check_members(block["resource"], {"uri": str}, f"{place}.resource")


def _check_members(block: dict[str, Any], members: dict[str, type], place: str) -> None:
    for name, kind in members.items():
        if not isinstance(block.get(name), kind):
            raise InvalidBody(f"{place}.{name}: must be {'a string' if kind is str else 'an object'}")
