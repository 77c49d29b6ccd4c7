"""OpenCode's own event streams: from the log if the project records them, else forwarded."""

import posixpath
from typing import Final
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.container.room import CONTAINERS
from gateway.errors import UpstreamError
from gateway.follow.room import FOLLOWERS
from gateway.log.ids import LogId
from gateway.stream import dialects
from gateway.web.handlers.events import last_event_id_of, stream_log
from gateway.web.handlers.parameters import DIRECTORY, DIRECTORY_HEADER, FROM
from gateway.web.handlers.requests import choice
from gateway.web.keys import PROJECT
from gateway.wire.opencode import EVENT, EventStream

#: OpenCode's parameter for remote workspaces, whose events are not recorded.
_WORKSPACE: Final = "workspace"


def events_or(passthrough: Handler, stream: EventStream) -> Handler:
    """A handler for a stream of OpenCode's; ``passthrough`` handles what is not recorded, for operators only."""

    async def events(request: web.Request) -> web.StreamResponse:
        """OpenCode's own events. If the project has `recordOpencodeEvents`, each event has an `id` and streams resume
        after the last one that the client got. Else the container's stream is forwarded, and the role `operator` is
        needed.
        """
        if not await _is_recorded(request, stream):
            return await passthrough(request)
        log_id = LogId(request[PROJECT].id, stream.name)
        return await stream_log(request, log_id, dialect=dialects.OPENCODE[stream.name])

    return events


async def _is_recorded(request: web.Request, stream: EventStream) -> bool:
    """Whether what the client asks for is in the log, and whatever it does from now on will be.

    The first client that asks for a stream has it recorded, if this OpenCode has it.
    """
    project = request[PROJECT]
    if not project.record_opencode_events or not await _means_what_is_recorded(request, stream):
        return False
    log_id, followers = LogId(project.id, stream.name), request.app[FOLLOWERS]
    opencode = request.app[CONTAINERS].opencode(project)
    if not await followers.leases.has_log(log_id):
        if not await opencode.has(stream):
            return False
        await followers.record(log_id)
    elif last_event_id_of(request) or choice(request, FROM) == "start":
        return True
    try:
        # The client may act as soon as the stream opens, so recording must have begun by then.
        await followers.opencode_connected(log_id)
    except UpstreamError:
        if await opencode.has(stream):
            raise
        return False
    return True


async def _means_what_is_recorded(request: web.Request, stream: EventStream) -> bool:
    """Whether it asks for the events of the directory whose events are recorded, or of all directories."""
    if _WORKSPACE in request.query:
        return False
    meant = request.query.get(DIRECTORY.name) or unquote(request.headers.get(DIRECTORY_HEADER.name, ""))
    if not meant or stream is not EVENT:
        return True
    project = request[PROJECT]
    recorded = project.opencode_directory or await request.app[CONTAINERS].opencode(project).directory()
    return posixpath.normpath(meant) == posixpath.normpath(recorded)
