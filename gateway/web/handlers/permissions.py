"""Permission requests and answers to them."""

import attrs
from aiohttp import web

from gateway.errors import InvalidBody
from gateway.permissions.requests import new_answer_id
from gateway.permissions.room import PERMISSIONS
from gateway.sessions.idempotency import Answer
from gateway.web.handlers import idempotency, shapes, views
from gateway.web.handlers.parameters import AFTER
from gateway.web.handlers.requests import known_place, page_size, read_body, text
from gateway.web.keys import PROJECT, USER


@attrs.frozen(kw_only=True)
class AnswerBody:
    """Body of ``POST …/permission/{id}``: one of the agent's options, or yes or no, once."""

    option_id: str | None = None
    granted: bool | None = None


async def list_waiting(request: web.Request) -> web.Response:
    """The project's permission requests that wait for an answer, oldest first."""
    size, after = page_size(request), text(request, AFTER)
    if after is not None:
        await known_place(request.app[PERMISSIONS].get(request[PROJECT].id, after))
    waiting = await request.app[PERMISSIONS].waiting(request[PROJECT].id, after=after, limit=size + 1)
    page, after = views.listed([views.permission(one) for one in waiting], size)
    return views.answer(shapes.PermissionPage(permissions=page, next=after))


async def get(request: web.Request) -> web.Response:
    """One permission request, settled or not."""
    found = await request.app[PERMISSIONS].get(request[PROJECT].id, request.match_info["permission_id"])
    return views.answer(views.permission(found))


async def answer(request: web.Request) -> web.Response:
    """Answer a request. 202 if the container is unreachable and gets the answer later."""
    body = await read_body(request, AnswerBody)
    if (body.option_id is None) == (body.granted is None):
        raise InvalidBody("$: give either optionId or granted")

    async def work(answer_id: str | None) -> Answer:
        answered = await request.app[PERMISSIONS].answer(
            request[PROJECT],
            request.match_info["permission_id"],
            request[USER],
            option_id=body.option_id,
            granted=body.granted,
            answer_id=answer_id,
        )
        return idempotency.answer(views.permission(answered), status=202 if answered.state == "answering" else 200)

    return idempotency.respond(await idempotency.once(request, new_answer_id, work, name="answer permission"))
