"""A language model that does as it is told, over the chat-completions API.

    async with FakeModel() as model:
        …  # model.url is a provider's baseURL

or ``python -m tests.fakes.model --port N``. The last user message is its script, a line each:

    stream N             N chunks "tok0 " … "tokN-1 "
    say TEXT             TEXT in one chunk
    bash COMMAND         calls the tool ``bash``
    write PATH CONTENT   calls the tool ``write``
    edit PATH OLD NEW    calls the tool ``edit``
    hold                 waits until ``release`` is called
    slow S               waits S seconds
    error STATUS         answers STATUS instead (first line only)
    anything else        comes back in one chunk

A tool call ends an answer; when its result comes back, the lines after it are played, or "Done." where there are
none. A request that offers no tools (a title is wanted) gets a title, whatever its text. ``replies`` are scripts that
come before all that, one for each request that offers tools.
"""

import argparse
import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Self

import attrs
from aiohttp import web

from tests.fakes.listening import listen

TITLE = "A fake title"
_LINE = re.compile(r"(stream|say|bash|write|edit|hold|slow|error)\b ?(.*)")


@attrs.frozen(kw_only=True)
class ModelRequest:
    """A request for a completion as it arrived; header names in lower case."""

    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def has_tools(self) -> bool:
        return bool(self.body.get("tools"))

    def texts(self, role: str) -> list[str]:
        return [_text(m["content"]) for m in self.body["messages"] if m["role"] == role]

    def image_urls(self) -> list[str]:
        parts = [part for m in self.body["messages"] if isinstance(m["content"], list) for part in m["content"]]
        return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


class FakeModel:
    """One model server and what it was asked."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []
        self.replies: deque[str] = deque()
        #: Requests that stand at a ``hold``, and those whose client left before their answer was whole.
        self.holding = 0
        self.abandoned = 0
        self.port = 0
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        self.port = (await listen(self._runner, port)).port

    async def stop(self) -> None:
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()

    def release(self) -> None:
        """Let everything that stands at a ``hold`` go on."""
        self._released.set()
        self._released = asyncio.Event()

    def turns(self) -> list[ModelRequest]:
        """The requests that an agent's turns made, without those for titles."""
        return [request for request in self.requests if request.has_tools]

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "scripted", "object": "model"}]})

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in http.headers.items()}
        request = ModelRequest(headers=headers, body=await http.json())
        self.requests.append(request)
        script = self._script(request)
        if script and (match := _LINE.fullmatch(script[0])) and match[1] == "error":
            return web.json_response({"error": {"message": f"told to answer {match[2]}"}}, status=int(match[2]))
        try:
            if request.body.get("stream"):
                return await self._stream(http, script)
            return web.json_response(_whole([delta async for delta in self._deltas(script)]))
        except (asyncio.CancelledError, ConnectionError):
            self.abandoned += 1
            raise

    def _script(self, request: ModelRequest) -> list[str]:
        if not request.has_tools:
            return [f"say {TITLE}"]
        if self.replies:
            return self.replies.popleft().splitlines()
        messages = request.body["messages"]
        asked = max(index for index, message in enumerate(messages) if message["role"] == "user")
        rounds = sum(message["role"] == "tool" for message in messages[asked:])
        lines = [line.strip() for line in _text(messages[asked]["content"]).splitlines() if line.strip()]
        return _round(lines, rounds) or ["say Done."]

    async def _stream(self, http: web.Request, script: list[str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        finish = "stop"
        async for delta in self._deltas(script):
            finish = "tool_calls" if "tool_calls" in delta else finish
            await response.write(_frame(delta, None))
        await response.write(_frame({}, finish) + b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _deltas(self, script: list[str]) -> AsyncIterator[dict[str, Any]]:
        for line in script:
            match = _LINE.fullmatch(line)
            word, rest = (match[1], match[2]) if match else ("say", line)
            if word == "stream":
                for number in range(int(rest)):
                    yield {"content": f"tok{number} "}
            elif word == "say":
                yield {"content": rest}
            elif word == "hold":
                await self._hold()
            elif word == "slow":
                await asyncio.sleep(float(rest))
            else:
                yield _tool_call(word, rest)

    async def _hold(self) -> None:
        self.holding += 1
        try:
            await self._released.wait()
        finally:
            self.holding -= 1


def _round(lines: list[str], number: int) -> list[str]:
    """The lines after tool call ``number``, up to the next one."""
    played: list[str] = []
    for line in lines:
        is_call = line.split(" ")[0] in ("bash", "write", "edit")
        if number == 0:
            played.append(line)
            if is_call:
                break
        elif is_call:
            number -= 1
    return played


def _tool_call(tool: str, rest: str) -> dict[str, Any]:
    if tool == "bash":
        arguments = {"command": rest, "description": "Run a command"}
    elif tool == "write":
        path, _, content = rest.partition(" ")
        arguments = {"filePath": path, "content": content}
    else:
        path, old, new = rest.split(" ")
        arguments = {"filePath": path, "oldString": old, "newString": new}
    function = {"name": tool, "arguments": json.dumps(arguments)}
    return {"tool_calls": [{"index": 0, "id": f"call_{tool}", "type": "function", "function": function}]}


def _frame(delta: dict[str, Any], finish: str | None) -> bytes:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish}],
    }
    if finish is not None:
        chunk["usage"] = _USAGE
    return b"data: %b\n\n" % json.dumps(chunk).encode()


def _whole(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(d.get("content", "") for d in deltas)}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [choice],
        "usage": _USAGE,
    }


_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part["type"] == "text")


async def _serve(port: int) -> None:
    async with FakeModel() as model:
        await model.stop()
        await model.start(port)
        print(model.url, flush=True)  # noqa: T201
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible model that plays the script in its prompt.")
    parser.add_argument("--port", type=int, default=8090)
    try:
        asyncio.run(_serve(parser.parse_args().port))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
