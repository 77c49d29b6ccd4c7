"""OpenCode's own event stream: from the log if the project records it, else forwarded."""

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

#: OpenCode's parameter for remote workspaces, whose events are not recorded.
_WORKSPACE: Final = "workspace"


def events_or(passthrough: Handler) -> Handler:
    """A handler for OpenCode's events; ``passthrough`` handles what is not recorded, for operators only."""

    async def events(request: web.Request) -> web.StreamResponse:
        """OpenCode's own events. If the project has `recordOpencodeEvents`, each event has an `id` and streams resume
        after the last one that the client got. Else the container's stream is forwarded, and the role `operator` is
        needed.
        """
        if request[PROJECT].record_opencode_events and await _is_recorded(request):
            return await _recorded(request)
        return await passthrough(request)

    return events


async def _is_recorded(request: web.Request) -> bool:
    """Whether the request is for the directory whose events are recorded."""
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
        # The client may act as soon as the stream opens, so recording must have begun by then.
        await request.app[FOLLOWERS].opencode_connected(project_id)
    return await stream_log(request, LogId(project_id, OPENCODE), dialect=dialects.OPENCODE)
