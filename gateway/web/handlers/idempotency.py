"""``Idempotency-Key``: a repeated call is done once and gets the first response again.

draft-ietf-httpapi-idempotency-key-header-07: the header is a structured-field string (RFC 9651 3.3.3). Many clients
send it without quotes, which is accepted.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from gateway.errors import InvalidParameter
from gateway.sessions.idempotency import Answer, Call
from gateway.sessions.room import SESSIONS
from gateway.web.handlers import views
from gateway.web.handlers.parameters import IDEMPOTENCY_KEY
from gateway.web.handlers.requests import BODY
from gateway.web.keys import PROJECT, TASKS, USER

HEADER = IDEMPOTENCY_KEY.name
MAX_KEY = 255
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")
_RIGHT = (
    f"{HEADER} must come once and be 1 to {MAX_KEY} visible ASCII characters, best a random UUID in quotes: "
    '"8e03978e-40d5-43e8-bc93-6894a57f9324"'
)

#: Does the work, under the reserved id, or under any id if it is None.
Work = Callable[[str | None], Awaitable[Answer]]


async def once(
    request: web.Request,
    new_id: Callable[[], str],
    work: Work,
    *,
    name: str,
    id_of: Callable[[str], str] | None = None,
) -> Answer:
    """Run ``work`` in a task that outlives the client; with a key, give its first answer again.

    The body must have been read. ``new_id`` makes the id that a key reserves; ``id_of`` makes it of 20 hexadecimal
    digits that are the same for the same call, where what was done under it can be found without the database.
    """
    key, tasks = _key(request), request.app[TASKS]
    if key is None:
        return await tasks.complete(_without_key(work), name=name)
    call = Call(
        project_id=request[PROJECT].id,
        user_id=request[USER],
        key=key,
        digest=Call.digest_of(request.method, request.rel_url.raw_path, request[BODY]),
    )
    keys = request.app[SESSIONS].idempotency
    proposed = new_id() if id_of is None else id_of(call.digits(keys.hours * 3600))
    return await tasks.complete(keys.once(call, proposed, work), name=name)


def answer(value: Any, *, status: int = 200, location: str | None = None) -> Answer:
    return Answer(status=status, body=views.encode(value), location=location)


def respond(kept: Answer) -> web.Response:
    headers = {hdrs.LOCATION: kept.location} if kept.location else {}
    return web.Response(body=kept.body, status=kept.status, content_type="application/json", headers=headers)


async def _without_key(work: Work) -> Answer:
    return await work(None)


def _key(request: web.Request) -> str | None:
    """The key without its quotes: ``"a"`` and ``a`` are the same key."""
    values = request.headers.getall(HEADER, ())
    if not values:
        return None
    text = values[0].strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if len(values) > 1 or not (quoted or _BARE.fullmatch(text)) or not 1 <= len(key) <= MAX_KEY:
        raise InvalidParameter(f"{_RIGHT}.")
    return key
