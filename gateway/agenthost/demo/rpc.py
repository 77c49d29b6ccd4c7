"""JSON-RPC 2.0 with the client: a message is a line of JSON, and both sides send requests.

One thread reads `messages`; any thread may send.
"""

import json
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import IO, Any

PARSE_ERROR = -32700
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603


class RpcError(Exception):
    """An error as the answer to a request, in either direction."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": str(self)}


class Connection:
    """The connection to the client."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader = reader
        self._writer = writer
        self._writing = threading.Lock()
        self._ids = count()
        #: Answers to our requests, None until they arrive; guarded by `_changed`.
        self._answers: dict[int, dict[str, Any] | None] = {}
        self._changed = threading.Condition()

    def messages(self) -> Iterator[dict[str, Any]]:
        """The client's requests and notifications, until it closes its end."""
        for line in self._reader:
            try:
                message = json.loads(line)
                if not isinstance(message, dict):
                    raise ValueError("not an object")
            except ValueError as exc:
                self.answer(None, error=RpcError(PARSE_ERROR, f"not a JSON-RPC message: {exc}").to_json())
                continue
            if "method" in message:
                yield message
            else:
                self._take_answer(message)

    def notify(self, method: str, params: dict[str, Any]) -> None:
        self._send({"method": method, "params": params})

    def request(self, method: str, params: dict[str, Any], *, until: Callable[[], bool] = lambda: False) -> Any:
        """The result of a request, or RpcError; None once `until`, checked after each `wake`, becomes true."""
        number = next(self._ids)
        with self._changed:
            self._answers[number] = None
        self._send({"id": number, "method": method, "params": params})
        with self._changed:
            self._changed.wait_for(lambda: self._answers[number] is not None or until())
            answer = self._answers.pop(number)
        if answer is None:
            return None
        if (error := answer.get("error")) is not None:
            raise RpcError(error["code"], error["message"])
        return answer.get("result")

    def wake(self) -> None:
        """Have threads that wait in `request` check their `until`."""
        with self._changed:
            self._changed.notify_all()

    def answer(self, request_id: Any, **outcome: Any) -> None:
        """Answer a request of the client with a `result` or an `error`."""
        self._send({"id": request_id, **outcome})

    def _take_answer(self, message: dict[str, Any]) -> None:
        with self._changed:
            # The request may have been given up.
            if message.get("id") in self._answers:
                self._answers[message["id"]] = message
                self._changed.notify_all()

    def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode() + b"\n"
        with self._writing:
            try:
                self._writer.write(line)
                self._writer.flush()
            except BrokenPipeError:
                pass  # The client does not read any more; it will close its other end, which ends `messages`.
