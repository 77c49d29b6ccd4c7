"""OpenCode's own event stream: served from the log where a project records it, and passed through where not."""

import posixpath
from typing import Final
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.container.room import CONTAINERS
from gateway.follow.room import FOLLOWERS
from gateway.log.ids import OPENCODE, LogId
from gateway.stream import dialects
from gateway.web.handlers.events import last_event_id_of, stream_log
from gateway.web.handlers.parameters import DIRECTORY, DIRECTORY_HEADER, FROM
from gateway.web.handlers.requests import choice
from gateway.web.keys import PROJECT

#: OpenCode's own parameter for places that are no directories of its machine; nothing of them is recorded.
_WORKSPACE: Final = "workspace"


def events_or(passthrough: Handler) -> Handler:
    """What answers for OpenCode's events; ``passthrough`` is for what is not recorded, and lets operators in alone."""

    async def events(request: web.Request) -> web.StreamResponse:
        """What OpenCode says, in its own form. Where the project has `recordOpencodeEvents`, each event has an `id`,
        and a stream goes on after the last one that its client got; else it is what the container sends now, and needs
        the role `operator`.
        """
        if request[PROJECT].record_opencode_events and await _is_recorded(request):
            return await _recorded(request)
        return await passthrough(request)

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
    return await stream_log(request, LogId(project_id, OPENCODE), dialect=dialects.OPENCODE)
