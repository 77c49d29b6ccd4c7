"""OpenCode's own event stream: served from the log where a project records it, and passed through where not."""

import posixpath
from typing import Final
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import RoleTooSmall
from gateway.handlers.events import last_event_id_of, stream_log
from gateway.handlers.parameters import DIRECTORY, DIRECTORY_HEADER, FROM
from gateway.handlers.requests import choice
from gateway.identity.watch import Visit
from gateway.keys import CALLER, CONTAINERS, FOLLOWERS, PROJECT, ROLE, WATCH
from gateway.log.dialects import OPENCODE
from gateway.roles import Role
from gateway.wire.opencode import opencode_log

#: OpenCode's own parameter for places that are no directories of its machine; nothing of them is recorded.
_WORKSPACE: Final = "workspace"


def events_or(passthrough: Handler) -> Handler:
    """What answers for OpenCode's events, where ``passthrough`` is for what is not recorded."""

    async def events(request: web.Request) -> web.StreamResponse:
        """What OpenCode says, in its own form. Where the project has `recordOpencodeEvents`, each event has an `id`,
        and a stream goes on after the last one that its client got; else it is what the container sends now, and needs
        the role `operator`.
        """
        if request[PROJECT].record_opencode_events and await _is_recorded(request):
            return await _recorded(request)
        return await _as_an_operator(request, passthrough)

    return events


async def _is_recorded(request: web.Request) -> bool:
    """Whether the client means the directory whose events are recorded."""
    if _WORKSPACE in request.query:
        return False
    meant = request.query.get(DIRECTORY.name) or unquote(request.headers.get(DIRECTORY_HEADER.name, ""))
    if not meant:
        return True
    project = request[PROJECT]
    recorded = project.opencode_directory or await request.app[CONTAINERS].opencode(project).directory()
    return posixpath.normpath(meant) == posixpath.normpath(recorded)


async def _recorded(request: web.Request) -> web.StreamResponse:
    project_id = request[PROJECT].id
    if not last_event_id_of(request) and choice(request, FROM) != "start":
        # What happens from its first event on is what a client has to hear of, so that it has to be recorded by then.
        await request.app[FOLLOWERS].opencode_connected(project_id)
    return await stream_log(request, opencode_log(project_id), dialect=OPENCODE)


async def _as_an_operator(request: web.Request, passthrough: Handler) -> web.StreamResponse:
    """Pass through, as whatever the container answers."""
    role, needed = request[ROLE], Role.OPERATOR
    if role < needed:
        raise RoleTooSmall(
            f"What OpenCode streams is not recorded here, so that this needs the role {needed.word}; "
            f"yours is {role.word}.",
            role=role.word,
            needed=needed.word,
        )

    def end() -> None:
        if request.transport is not None:
            request.transport.abort()

    visit = Visit(caller=request[CALLER], project_id=request[PROJECT].id, least=needed, end=end)
    watch = request.app[WATCH]
    watch.enter(visit)
    try:
        return await passthrough(request)
    finally:
        watch.leave(visit)
