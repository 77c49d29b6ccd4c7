"""A session's history: pages of messages, snapshots and exports."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import attrs
from aiohttp import hdrs, web

from gateway.errors import ContentNotFound, InvalidParameter
from gateway.log.room import LOG
from gateway.log.transcript import Transcript
from gateway.sessions.room import SESSIONS
from gateway.sessions.sessions import Session
from gateway.web.handlers import files, views
from gateway.web.handlers.parameters import AFTER_PLACE, DIGEST, FORMAT, ORDER
from gateway.web.handlers.requests import choice, number, page_size, text
from gateway.web.keys import PROJECT, REQUEST_ID, USER
from gateway.wire import markdown
from gateway.wire.messages import Message
from gateway.wire.sentences import Sentences
from gateway.wire.times import timestamp

#: Exports are written in pieces of about this size.
PIECE_BYTES: Final = 65_536
#: Larger messages are formatted in a thread.
LARGE_BYTES: Final = 32_768
#: Ids of messages, and numbers of their contents.
_NUMBER: Final = re.compile("[0-9]{1,18}")
_DIGEST: Final = re.compile("[0-9a-f]{32}")
#: How long the client of an export may read nothing.
STALL_SECONDS: Final = 60.0


async def messages(request: web.Request) -> web.Response:
    """A page of the session's messages, oldest first, or newest first with ``?order=desc``."""
    session = await _session(request)
    page = await request.app[LOG].transcript.page(
        session.project_id,
        session.id,
        after=number(request, AFTER_PLACE),
        limit=page_size(request),
        newest_first=choice(request, ORDER) == "desc",
    )
    return views.answer(views.messages(session, page))


async def content(request: web.Request) -> web.Response:
    """A large value of a message, to which its `references` lead."""
    session = await _session(request)
    wanted = text(request, DIGEST)
    if wanted is not None and not _DIGEST.fullmatch(wanted):
        raise InvalidParameter("?digest= must be 32 hexadecimal digits, as in the `url` of a reference.")
    place = [request.match_info[name] for name in ("message_id", "number")]
    found = None
    if all(_NUMBER.fullmatch(one) for one in place):
        found = await request.app[LOG].transcript.content(session.project_id, session.id, *map(int, place))
    if found is None or wanted not in (None, found.digest):
        raise ContentNotFound()
    return files.foreign(request, found.data, found.media_type, found.digest, is_lasting=wanted is not None)


async def clear_messages(request: web.Request) -> web.Response:
    """Delete the session's messages. Its events stay in the log."""
    session = await _session(request)
    await request.app[LOG].transcript.clear(session.project_id, session.id, agent_id=session.agent_id, by=request[USER])
    return web.Response(status=204)


async def snapshot(request: web.Request) -> web.Response:
    """The session with its open turn and permissions and its newest messages, all as of one cursor."""
    size = page_size(request)
    taken = await request.app[SESSIONS].snapshots.take(
        request[PROJECT].id, request.match_info["session_id"], limit=size
    )
    return views.answer(views.snapshot(taken))


async def export(request: web.Request) -> web.StreamResponse:
    """The session's whole history as a file. If it cannot be completed, the transfer breaks off."""
    session = await _session(request)
    form = _form(request)
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: f"{form.content_type}; charset=utf-8",
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{_safe(session.id)}.{form.suffix}"',
            hdrs.CACHE_CONTROL: "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Request-Id": request[REQUEST_ID],
        }
    )
    pieces = _pieces(session, request.app[LOG].transcript, form)
    # A failure before the first piece still gets an error response.
    first = await anext(pieces, b"")
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        await _write(response, first)
        async for piece in pieces:
            await _write(response, piece)
    await response.write_eof()
    return response


@attrs.frozen(kw_only=True)
class Form:
    """A file format of exports."""

    content_type: str
    suffix: str
    begin: Callable[[Session], str]
    #: A message in pieces, of an export that is begun with this.
    messages: Callable[[], Callable[[Message], Iterator[bytes]]]


def _json_line(message: Message) -> Iterator[bytes]:
    yield from message.to_json()
    yield b"\n"


def _markdown() -> Callable[[Message], Iterator[bytes]]:
    sentences = Sentences()

    def section(message: Message) -> Iterator[bytes]:
        return (piece.encode("utf-8", "backslashreplace") for piece in markdown.message(message, sentences))

    return section


def _heading(session: Session) -> str:
    return markdown.heading(
        session.title,
        {"Session": session.id, "Agent": session.agent_id, "Created": timestamp(session.created_at)},
    )


FORMS: Final = {
    "jsonl": Form(content_type="application/jsonl", suffix="jsonl", begin=lambda _: "", messages=lambda: _json_line),
    "markdown": Form(content_type="text/markdown", suffix="md", begin=_heading, messages=_markdown),
}


def _form(request: web.Request) -> Form:
    """By ``?format=``, else by ``Accept``, else JSON Lines."""
    accepted = "markdown" if "text/markdown" in request.headers.get(hdrs.ACCEPT, "").lower() else "jsonl"
    return FORMS[choice(request, FORMAT) or accepted]


async def _pieces(session: Session, transcript: Transcript, form: Form) -> AsyncIterator[bytes]:
    """The export in pieces of some size; each is gone before the next is read."""
    piece, parts_of = bytearray(form.begin(session).encode()), form.messages()
    async for message in transcript.all(session.project_id, session.id):
        parts = parts_of(message)
        if len(message.body) <= LARGE_BYTES:
            piece += b"".join(parts)
        else:
            while part := await asyncio.to_thread(_some, parts):
                yield bytes(piece) + part
                piece.clear()
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _some(parts: Iterator[bytes]) -> bytes:
    """About one piece of them; empty at the end."""
    taken: list[bytes] = []
    size = 0
    for part in parts:
        taken.append(part)
        size += len(part)
        if size >= PIECE_BYTES:
            break
    return b"".join(taken)


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    async with asyncio.timeout(STALL_SECONDS):
        await response.write(piece)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100]


async def _session(request: web.Request) -> Session:
    return await request.app[SESSIONS].sessions.get(request[PROJECT].id, request.match_info["session_id"])
