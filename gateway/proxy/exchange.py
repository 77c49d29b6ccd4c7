"""A request to an upstream and its answer, on a connection of their own meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from functools import lru_cache

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, StreamWriter
from multidict import CIMultiDict

from gateway.errors import RequestStalled, UpstreamError, UpstreamForbidden
from gateway.proxy.answer import Answer
from gateway.proxy.failures import as_upstream_error
from gateway.proxy.headers import MAX_FIELD, MAX_HEAD, MAX_HEADERS, MAX_LINE, write_head
from gateway.proxy.limits import Limits
from gateway.proxy.observer import Call, Observer
from gateway.proxy.policy import ForbiddenAddress
from gateway.proxy.upstream import Timeouts, Upstream

# RFC 9110 9.2.1: only these may be sent again, when a kept connection closes just as a request goes out on it.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# RFC 9110 8.6: without a body these send ``Content-Length: 0``.
_USUALLY_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
#: A kept connection that closes later than this was not closing already.
DROPPED_SECONDS = 5.0
#: Interim answers (1xx) to one request: more are an error.
MAX_INTERIM = 16
_DROPPED = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError)


class Exchange:
    """See ``Client.open``: sends on entry, yields the answer, releases the connection on exit."""

    def __init__(
        self,
        connector: aiohttp.TCPConnector,
        limits: Limits,
        *,
        upstream: Upstream,
        door: aiohttp.ClientRequest,
        method: str,
        path: str,
        headers: Mapping[str, str] | CIMultiDict[str] | None,
        body: bytes | AsyncIterable[bytes] | None,
        timeouts: Timeouts,
        observer: Observer | None = None,
        via: str = "",
    ) -> None:
        self._connector = connector
        self._limits = limits
        self._upstream = upstream
        self._door = door
        self._method = method
        self._path = path
        self._headers = headers
        self._body = body
        self._timeouts = timeouts
        self._observer = observer
        self._via = via
        #: Start of the current phase, by a finer clock than the loop's.
        self._since = 0.0
        self._call: Call | None = None
        self._failure: str | None = None
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._answer: Answer | None = None
        self._upload: _Upload | None = None

    async def __aenter__(self) -> Answer:
        if self._observer is not None:
            self._call = self._observer.begin(self._method, self._upstream.host, self._upstream.port)
        try:
            return await self._begin()
        except BaseException:
            self._over()
            raise

    async def _begin(self) -> Answer:
        try:
            self._answer = answer = await self._ask()
        except BaseException as exc:
            upload = self._upload
            stalled = upload is not None and upload.waiting and isinstance(exc, TimeoutError)
            await self._close()
            if isinstance(exc, Exception) and upload is not None and upload.failure is not None:
                raise upload.failure from None
            if stalled:
                raise RequestStalled from exc
            if isinstance(exc, ForbiddenAddress):
                raise UpstreamForbidden(f"The gateway does not connect there: {exc}.") from exc
            if isinstance(exc, aiohttp.ClientError | HttpProcessingError | OSError):
                raise self._failed(exc) from exc
            raise
        answer.limit_silence(self._timeouts.idle)
        return answer

    async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if exc is None and self._answer is not None:
            self._body_over(self._answer)
        try:
            await self._close()
            if isinstance(exc, aiohttp.ClientError):
                raise self._failed(exc) from exc
        finally:
            self._over()

    def expire(self) -> None:
        """The time for the answer's headers, or for the next piece of the body, is over."""
        if self._connection is not None and self._connection.protocol is not None:
            self._connection.protocol.set_exception(aiohttp.SocketTimeoutError())

    def _failed(self, exc: Exception) -> UpstreamError:
        error = as_upstream_error(exc, self._upstream)
        self._failure = error.code
        if self._observer is not None:
            self._observer.upstream_failed(error.code)
        return error

    def _over(self) -> None:
        if self._call is not None:
            self._call.end(None if self._answer is None else self._answer.status, failure=self._failure)

    def _phase_over(self, name: str) -> None:
        if self._observer is not None:
            now = time.perf_counter()
            self._observer.phase(name, now - self._since)
            self._since = now

    def _body_over(self, answer: Answer) -> None:
        if answer.ends_by_itself:
            self._phase_over("body")

    async def _ask(self) -> Answer:
        began = self._loop.time()
        try:
            return await self._attempt(began)
        except aiohttp.ClientConnectorError:
            raise
        except _DROPPED:
            is_late = self._loop.time() - began > DROPPED_SECONDS
            if is_late or self._method not in SAFE_METHODS or self._body is not None:
                raise
        await self._close()
        return await self._attempt(began)

    async def _attempt(self, began: float) -> Answer:
        timeouts = self._timeouts
        self._since = time.perf_counter()
        connection, protocol = await self._connect()
        self._phase_over("connect")
        self._limits.set(self, None if timeouts.headers is None else began + timeouts.headers)
        protocol.set_response_params(
            skip_payload=self._method == hdrs.METH_HEAD,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=MAX_LINE,
            max_field_size=MAX_FIELD,
            max_headers=MAX_HEADERS,
        )
        await self._send(protocol)
        try:
            for _ in range(MAX_INTERIM + 1):
                message, content = await protocol.read()
                if sum(len(name) + len(value) for name, value in message.raw_headers) > MAX_HEAD:
                    raise HttpProcessingError(message="too large a head")
                if message.code >= 200 or message.code == 101:
                    self._phase_over("headers")
                    return Answer(message, content, connection)
            raise HttpProcessingError(message="too many interim answers")
        finally:
            self._limits.set(self, None)
            if self._upload is not None:
                self._upload.answered = True

    async def _connect(self) -> tuple[Connection, ResponseHandler]:
        timeouts = self._timeouts
        limit = timeouts.connect if timeouts.headers is None else min(timeouts.connect, timeouts.headers)
        while True:
            try:
                connection = await self._connector.connect(self._door, [], _until_connected(limit))
            except TimeoutError as exc:
                raise aiohttp.ConnectionTimeoutError from exc
            protocol = connection.protocol
            assert protocol is not None, "a connection that was just given out"
            if not len(protocol):
                self._connection = connection
                return connection, protocol
            # Data that came unasked would be taken for the answer to this request.
            connection.close()

    async def _send(self, protocol: ResponseHandler) -> None:
        body = self._body
        writer = StreamWriter(protocol, self._loop)
        headers = CIMultiDict({hdrs.HOST: self._door.headers[hdrs.HOST]})
        if self._headers is not None:
            headers.extend(self._headers)
        if self._call is not None:
            headers.update(self._call.headers)
        if self._via:
            # RFC 9110 7.6.3: after the proxies before us.
            headers[hdrs.VIA] = ", ".join([*headers.getall(hdrs.VIA, ()), f"1.1 {self._via}"])
        if isinstance(body, bytes):
            headers[hdrs.CONTENT_LENGTH] = str(len(body))
        elif body is None:
            if self._method in _USUALLY_WITH_BODY:
                headers.setdefault(hdrs.CONTENT_LENGTH, "0")
        elif hdrs.CONTENT_LENGTH not in headers:
            headers[hdrs.TRANSFER_ENCODING] = "chunked"
            writer.enable_chunking()
        await write_head(writer, f"{self._method} {self._path} HTTP/1.1", headers)
        if body is None:
            writer.send_headers()
        elif isinstance(body, bytes):
            # It is in memory: written together with the head, without waiting.
            await writer.write(body, drain=False)
        else:
            self._upload = _Upload(self, self._limits, self._timeouts)
            self._upload.start(body, writer, protocol)

    async def _close(self) -> None:
        """Keep the connection if request and answer are complete, otherwise close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        whole = self._answer is not None and self._answer.content.is_eof()
        if whole and (self._upload is None or self._upload.complete):
            connection.release()
        else:
            connection.close()
        if self._upload is not None:
            await self._upload.stop()


class _Upload:
    """A request's body being sent, in a task of its own: each piece renews the time limit."""

    def __init__(self, exchange: Exchange, limits: Limits, timeouts: Timeouts) -> None:
        self._exchange = exchange
        self._limits = limits
        self._timeouts = timeouts
        self._task: asyncio.Task[None] | None = None
        self.complete = False
        self.waiting = False  # for the source, rather than for the upstream
        self.answered = False
        self.failure: Exception | None = None

    def start(self, source: AsyncIterable[bytes], writer: StreamWriter, protocol: ResponseHandler) -> None:
        self._task = asyncio.create_task(self._run(aiter(source), writer, protocol), name="upload")

    async def stop(self) -> None:
        # Another reader of the source must not meet this one.
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self, source: AsyncIterator[bytes], writer: StreamWriter, protocol: ResponseHandler) -> None:
        try:
            while (chunk := await self._next(source)) is not None:
                self._allow(self._timeouts.idle)
                await writer.write(chunk)
            await writer.write_eof()
            self.complete = True
        except OSError:
            return  # the upstream has gone: who waits for its answer is told by the connection
        except Exception as exc:
            self.failure = exc
            protocol.set_exception(exc)

    async def _next(self, source: AsyncIterator[bytes]) -> bytes | None:
        self._allow(self._timeouts.idle)
        self.waiting = True
        try:
            return await anext(source)
        except StopAsyncIteration:
            self._allow(self._timeouts.headers)
            return None
        finally:
            self.waiting = False

    def _allow(self, seconds: float | None) -> None:
        if not self.answered:
            end = None if seconds is None else asyncio.get_running_loop().time() + seconds
            self._limits.set(self._exchange, end)


@lru_cache(maxsize=16)
def _until_connected(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds)
