"""Connections to containers, by aiohttp, with heads mended that it would not take or would pass on as they are."""

import re
from typing import Any, Final

from aiohttp.client_proto import ResponseHandler

from gateway.proxy.headers import MAX_HEAD

_START: Final = b"HTTP/1."
_END: Final = re.compile(rb"\r?\n\r?\n")
#: White space between a field's name and the colon, which a proxy takes away (RFC 9112 5.1).
_SPACE: Final = re.compile(rb"(?m)^([^\s:]+)[ \t]+:")
_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d")
_WITHOUT_BODY: Final = re.compile(rb"HTTP/1\.[01] (?:204|304)\b")
#: A body that must not be there, of a container that may send it nevertheless.
_ANNOUNCED: Final = re.compile(rb"(?im)^transfer-encoding:|\A.{9}204\b(?s:.*)^content-length:\s*0*[1-9]")


class ContainerConnection(ResponseHandler):
    """Gives aiohttp the head of an answer in one piece, and no body for an answer that has none.

    An answer to HEAD, a 204 and a 304 end with their head, whatever that says of a body (RFC 9112 6.3). What a
    container sends behind it nevertheless would be read as the next answer: it is thrown away, with the connection.
    """

    _is_at_head = False
    _is_over = False
    _head = b""

    def set_response_params(self, **params: Any) -> None:
        """Called before each request on this connection."""
        self._is_at_head, self._is_over, self._head = True, False, b""
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """A piece of what the container sends."""
        if self._is_at_head and data:
            data = self._take_heads(data)
            if not data:
                return
        if self._is_over and data:
            self.force_close()
            if self.transport is not None:
                self.transport.close()
            return
        super().data_received(data)

    def _take_heads(self, data: bytes) -> bytes:
        """Pass on the heads that are complete with ``data``; gives what stands behind the last one."""
        searched, data, self._head = max(0, len(self._head) - 3), self._head + data, b""
        while data:
            found = _END.search(data, searched)
            searched = 0
            if not data.startswith(_START[: len(data)]) or (found is None and len(data) > MAX_HEAD):
                self._is_at_head = False
                return data
            if found is None:
                self._head = data
                return b""
            head, data = data[: found.end()], data[found.end() :]
            head = _SPACE.sub(rb"\1:", head)
            self._is_at_head = _INTERIM.match(head) is not None
            if not self._is_at_head:
                self._note_body(head)
            super().data_received(head)
            if not self._is_at_head:
                return data
        return b""

    def _note_body(self, head: bytes) -> None:
        is_empty = _WITHOUT_BODY.match(head) is not None
        self._is_over = is_empty or self._skip_payload
        if is_empty and _ANNOUNCED.search(head):
            self.force_close()
