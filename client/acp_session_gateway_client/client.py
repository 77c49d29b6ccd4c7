"""Calls of a running gateway, and its event streams."""

import asyncio
import codecs
import json
import random
import re
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from acp_session_gateway_client.errors import (
    LONGEST_PAUSE,
    NO_CODE,
    EventsMissing,
    InvalidArgument,
    Refused,
    Unreachable,
)
from acp_session_gateway_client.events import Cursor, StreamEvent
from acp_session_gateway_client.sse import Block, Parser, TooLarge

#: Three heartbeats: a stream that says nothing for as long is dead.
SILENCE_SECONDS: Final = 45.0
CONNECT_SECONDS: Final = 10.0
#: A call may have to start an agent; one that waits for a turn takes that time more.
CALL_SECONDS: Final = 120.0
FIRST_PAUSE: Final = 0.5
#: How often a call is sent before its caller hears that nobody answers.
ATTEMPTS: Final = 4
#: What a call is answered whose first sending is still worked on: it is to be asked for again.
_UNDER_WAY: Final = "idempotency_key_in_use"
#: An event may be as large as a gateway can be set to take from its containers, and more with its envelope.
MAX_EVENT_BYTES: Final = 2**31
#: What a header can hold in one word.
_FIELD: Final = re.compile("[!-~]*")
#: To this client alone, and never stored.
HEARTBEAT, RESET = "heartbeat", "reset"


class Client:
    """Calls a gateway at ``url``. ``token`` is an API token or a JWT, where the gateway wants one."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        if token is not None and not _FIELD.fullmatch(token):
            raise InvalidArgument("The token must be printable ASCII characters, without spaces and line breaks.")
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS)
        self._http = aiohttp.ClientSession(headers=headers, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    def project(self, project_id: str) -> "Project":
        return Project(self, project_id)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        once: bool = False,
        wait: int | None = None,
        as_bytes: bool = False,
    ) -> Any:
        """The JSON that the gateway answers, None for no content. Raises ``Refused`` and ``Unreachable``.

        ``once``: it is sent with a key of its own, so that it can be sent again when its answer was lost. ``wait``:
        seconds to wait for a turn's end. ``as_bytes``: the answer as it is, JSON or not.
        """
        headers = {"Idempotency-Key": f'"{secrets.token_hex(16)}"'} if once else {}
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        seconds = CALL_SECONDS + (wait or 0)
        asked_until = asyncio.get_running_loop().time() + seconds
        failures, attempts = 0, ATTEMPTS if once or method == "GET" else 1
        while True:
            pause = 0.0
            try:
                async with asyncio.timeout(seconds):
                    return await self._send(method, path, body, query or {}, headers, as_bytes)
            except Refused as exc:
                pause = exc.retry_after
                # While the first sending is worked on, whose answer was lost, nothing has failed.
                if exc.reason != _UNDER_WAY or asyncio.get_running_loop().time() >= asked_until:
                    failures += 1
                    if failures == attempts or not exc.is_passing:
                        raise
            except (aiohttp.ClientError, TimeoutError) as exc:
                failures += 1
                if failures == attempts:
                    raise Unreachable(f"No gateway answers at {self.url}: {exc or 'it took too long'}.") from exc
            await asyncio.sleep(max(pause, _pause(max(failures, 1))))

    async def _send(
        self, method: str, path: str, body: Any, query: Mapping[str, str], headers: Mapping[str, str], as_bytes: bool
    ) -> Any:
        url = URL(self.url + path, encoded=True)
        url = url.with_query(dict(query)) if query else url
        async with self._http.request(method, url, json=body, headers=headers, allow_redirects=False) as response:
            raw = await response.read()
            if response.status >= 300:
                raise await Refused.by(response)
            if as_bytes:
                return raw
            try:
                return json.loads(raw) if raw else None
            except ValueError as exc:
                raise Unreachable(self._no_gateway(response)) from exc

    def _no_gateway(self, response: aiohttp.ClientResponse) -> str:
        return f"What answers at {self.url} is no gateway: {response.content_type}."

    @asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[AsyncIterator[str]]:
        """A file's text in pieces, however long it is."""
        try:
            async with self._http.get(URL(self.url + path, encoded=True), allow_redirects=False) as response:
                if response.status != 200:
                    raise await Refused.by(response)
                yield _decoded(response.content)
        except aiohttp.ClientError as exc:
            raise Unreachable(f"The transfer from {self.url} broke off: {exc}.") from exc

    @asynccontextmanager
    async def stream(self, path: str, last_event_id: str | None, *, from_start: bool) -> AsyncIterator[Any]:
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        url = URL(self.url + path + ("?from=start" if from_start else ""), encoded=True)
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        async with self._http.get(url, headers=headers, timeout=timeout, allow_redirects=False) as response:
            if response.status != 200:
                raise await Refused.by(response)
            if response.content_type != "text/event-stream":
                raise Unreachable(self._no_gateway(response))
            yield response.content


class Project:
    """A project of the gateway."""

    def __init__(self, client: Client, project_id: str) -> None:
        self._client = client
        self.id = project_id
        self.path = f"/api/projects/{quote(project_id, safe='')}"

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Call ``path`` below the project's ``/acp``."""
        return await self._client.call(method, f"{self.path}/acp{path}", body, **options)

    async def create_session(self, **members: Any) -> Any:
        """``agentId``, ``title``, ``workingDirectory``, ``mcpServers``: each as the API has it."""
        return await self.call("POST", "/session", members, once=True)

    async def session(self, session_id: str) -> Any:
        return await self.call("GET", f"/session/{quote(session_id, safe='')}")

    async def prompt(self, session_id: str, prompt: Any, *, queue: bool = False, wait: int | None = None) -> Any:
        """Send a prompt, once, however often the network loses the answer."""
        body = {"prompt": prompt, **({"queue": True} if queue else {})}
        return await self.call("POST", f"/session/{quote(session_id, safe='')}/prompt", body, once=True, wait=wait)

    async def cancel(self, session_id: str, turn_id: str | None = None) -> Any:
        body = {"turnId": turn_id} if turn_id else {}
        return await self.call("POST", f"/session/{quote(session_id, safe='')}/cancel", body)

    async def permissions(self) -> list[Any]:
        """The permission requests that wait for an answer."""
        return [one async for one in self._pages("/permission", "permissions", {})]

    async def messages(self, session_id: str, *, newest_first: bool = False) -> AsyncIterator[Any]:
        """A session's messages, read page by page. What is large in one stands in its ``references``."""
        path, order = f"/session/{quote(session_id, safe='')}/messages", "desc" if newest_first else "asc"
        async for message in self._pages(path, "messages", {"order": order}):
            yield message

    async def content(self, reference: Mapping[str, Any]) -> bytes:
        """The value that one of a message's ``references`` stands for; of base64, the bytes themselves."""
        data: bytes = await self._client.call("GET", reference["url"], as_bytes=True)
        return data

    async def _pages(self, path: str, name: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        after: str | None = None
        while True:
            place = {} if after is None else {"after": after}
            page = await self.call("GET", path, query={**query, "limit": "200", **place})
            for entry in page[name]:
                yield entry
            after = page["next"]
            if after is None:
                return

    async def answer(self, permission_id: str, *, option_id: str | None = None, granted: bool | None = None) -> Any:
        body = {"granted": granted} if option_id is None else {"optionId": option_id}
        return await self.call("POST", f"/permission/{quote(permission_id, safe='')}", body, once=True)

    def events(
        self,
        session_id: str | None = None,
        *,
        after: str | None = None,
        from_start: bool = False,
        patience: float | None = None,
        on_away: Callable[[str | None], None] = lambda why: None,
    ) -> "Events":
        """The project's events, or one session's, each once and in order, for as long as they are iterated.

        ``after``: a cursor. ``patience``: seconds without a gateway after which ``Unreachable`` is raised; None: never.
        ``on_away``: called with why when there is no gateway, and with None when it is back. Whatever answers in its
        place, a proxy's error or a login page, is waited out too; what the gateway itself refuses is ``Refused``.
        """
        if after is not None and not _FIELD.fullmatch(after):
            raise InvalidArgument(f"{after!r} is no cursor: that is the id of an event, such as 1-289.")
        path = f"{self.path}/acp/events" + (f"/{quote(session_id, safe='')}" if session_id else "")
        return Events(
            self._client,
            path,
            after=after,
            from_start=from_start,
            is_whole=session_id is None,
            patience=patience,
            on_away=on_away,
        )


class Events:
    """An event stream, read through lost connections and restarts.

    A ``reset`` comes as an event: what follows it is new, and what was known is to be read anew. So does a ``gap``,
    which is an event of the log.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        *,
        after: str | None,
        from_start: bool,
        is_whole: bool,
        patience: float | None,
        on_away: Callable[[str | None], None],
    ) -> None:
        self._client = client
        self._path = path
        self._last_id = after
        self._from_start = from_start
        self._is_whole = is_whole
        self._patience = patience
        self._on_away = on_away
        #: Since when there is no gateway, and how often it was looked for.
        self._away_since: float | None = None
        self._failures = 0
        self._hole: Cursor | None = None
        #: Seconds to wait before coming back, as the gateway says.
        self._retry = FIRST_PAUSE

    @property
    def cursor(self) -> str | None:
        """The place after the last event that was given."""
        return self._last_id

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        while True:
            try:
                async for event in self._connection():
                    self._is_back()
                    if event is not None:
                        yield event
                pause = self._retry * random.uniform(1.0, 1.5)
            except (aiohttp.ClientError, TimeoutError, Unreachable) as exc:
                pause = self._is_away(exc)
            except Refused as exc:
                # The gateway answers streams with 200 or something final; what else comes is from a proxy in between.
                if exc.reason != NO_CODE and not exc.is_passing and exc.answered < 500:
                    raise
                pause = max(self._is_away(exc), exc.retry_after)
            await asyncio.sleep(pause)

    def _is_away(self, exc: Exception) -> float:
        """How long to wait before the gateway is looked for again; ``Unreachable`` at the end of the patience."""
        now = asyncio.get_running_loop().time()
        why = str(exc) or "it is silent"
        if self._away_since is None:
            self._away_since = now
            self._on_away(why)
        if self._patience is not None and now - self._away_since >= self._patience:
            if isinstance(exc, Unreachable):
                raise exc
            raise Unreachable(f"No gateway answers at {self._client.url}: {why.removesuffix('.')}.") from exc
        self._failures += 1
        return _pause(self._failures)

    def _is_back(self) -> None:
        if self._away_since is not None:
            self._away_since, self._failures = None, 0
            self._on_away(None)

    async def _connection(self) -> AsyncIterator[StreamEvent | None]:
        """What one connection brings, None for a heartbeat; it ends where the stream must be read again."""
        parser = Parser(max_bytes=MAX_EVENT_BYTES)
        from_start = self._from_start and self._last_id is None
        async with self._client.stream(self._path, self._last_id, from_start=from_start) as content:
            async for piece in content.iter_any():
                for block in _blocks(parser, piece):
                    if block.retry is not None:
                        self._retry = block.retry / 1000
                    if self._misses(block):
                        return
                    yield self._take(block)

    def _take(self, block: Block) -> StreamEvent | None:
        cursor, known = Cursor.parse(block.id or ""), Cursor.parse(self._last_id or "")
        if block.event == HEARTBEAT:
            self._last_id = block.id if cursor else self._last_id
            return None
        if cursor is None:
            return None
        if block.event != RESET and known is not None and (cursor.epoch, cursor.seq) <= (known.epoch, known.seq):
            return None
        self._last_id, self._hole = str(cursor), None
        return StreamEvent.of(block.data, cursor)

    def _misses(self, block: Block) -> bool:
        """Whether events are missing before this block: a project's are numbered without holes."""
        cursor, known = Cursor.parse(block.id or ""), Cursor.parse(self._last_id or "")
        if not self._is_whole or block.event == RESET or cursor is None or known is None or cursor.epoch != known.epoch:
            return False
        if cursor.seq <= known.seq + (block.event != HEARTBEAT):
            return False
        if self._hole == known:
            raise EventsMissing(f"Events after {known} are missing; the next one is {cursor}.")
        self._hole = known
        return True


def _blocks(parser: Parser, piece: bytes) -> list[Block]:
    try:
        return parser.feed(piece)
    except TooLarge as exc:
        raise EventsMissing("An event was larger than this client takes.") from exc


async def _decoded(content: aiohttp.StreamReader) -> AsyncIterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for piece in content.iter_any():
        yield decoder.decode(piece)


def _pause(attempt: int) -> float:
    """Twice as long each time, and not for all clients at once."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))
