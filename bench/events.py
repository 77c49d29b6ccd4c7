"""The events of a benchmark: 300 bytes each, with the moment of their making inside.

The moment is of the system's monotonic clock, which all processes of one machine share.
"""

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

SIZE = 300
#: Stands once in each event, directly before its moment.
MARK = b'"t='
#: Digits of a moment, in microseconds.
DIGITS = 14
#: How often a paced source looks how many events are due.
TICK_SECONDS = 0.002

#: Of an agent's text, in one event: some four or five tokens.
CHUNK_BYTES = 25
_ROOT = Path(__file__).parent.parent

_TEMPLATE = (
    b'{"type":"session_update","sessionId":"%s","agentId":"demo","data":{"sessionId":"acp-1","update":'
    b'{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"t=%014d %s"}}}}'
)


def moment() -> int:
    """Now, in microseconds."""
    return time.monotonic_ns() // 1000


def make(session: bytes, padding: bytes) -> bytes:
    """One event of now; ``padding`` as ``padding_for`` gives it."""
    return _TEMPLATE % (session, moment(), padding)


def padding_for(session: bytes) -> bytes:
    return b"x" * (SIZE - len(_TEMPLATE % (session, 0, b"")))


async def paced(count: int, rate: float) -> AsyncIterator[int]:
    """How many events are due now, again and again until ``count`` are out; ``rate`` events/s, 0 for no pause."""
    if not rate:
        while count:
            due = min(500, count)
            count -= due
            yield due
        return
    began, sent = time.monotonic(), 0
    while sent < count:
        due = min(count, int((time.monotonic() - began) * rate) + 1) - sent
        if due > 0:
            sent += due
            yield due
        await asyncio.sleep(TICK_SECONDS)


def prose(chunks: int) -> list[str]:
    """Text and code as an agent writes them, in pieces as its tokens come: this project's own, each piece once."""
    paths = [*sorted(_ROOT.glob("*.md")), *sorted(_ROOT.glob("docs/*.md")), *sorted(_ROOT.glob("gateway/**/*.py"))]
    text = "".join(path.read_text(encoding="utf-8") for path in paths).encode("ascii", "replace").decode()
    assert len(text) >= chunks * CHUNK_BYTES, "so much text there is not"
    return [text[place : place + CHUNK_BYTES] for place in range(0, chunks * CHUNK_BYTES, CHUNK_BYTES)]


def pictures(count: int, size: int) -> Iterator[object]:
    """Updates of as many tool calls with a picture of so many bytes, such as agents with a browser leave."""
    for number in range(count):
        picture = {"type": "image", "mimeType": "image/png", "data": base64.b64encode(os.urandom(size)).decode()}
        content = [{"type": "content", "content": picture}]
        call = {"toolCallId": f"shot-{number}", "title": "Screenshot", "kind": "fetch", "status": "completed"}
        yield {"sessionUpdate": "tool_call", **call, "content": content}


def growing(count: int, size: int) -> Iterator[object]:
    """Updates of one call, each with its whole output up to then, which has so many bytes in the end."""
    line = "line of a build\n"
    for number in range(1, count + 1):
        text = line * (size * number // count // len(line))
        content = [{"type": "content", "content": {"type": "text", "text": text}}]
        call = {"toolCallId": "grow", "title": "build", "kind": "execute", "status": "in_progress"}
        yield {"sessionUpdate": "tool_call" if number == 1 else "tool_call_update", **call, "content": content}
