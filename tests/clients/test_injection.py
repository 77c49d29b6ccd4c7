"""What a container says reaches clients as data and as nothing else: not as an id, a reconnection time, an event's name
or a second event; in a real browser too."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import attrs

from gateway.wire.sse import SSEEvent, SSEParser
from tests.clients.browser import browser
from tests.fakes.container import FakeContainer
from tests.world import Gateway

SEED = 4096
ODD_BYTES = 300
#: What an attacker would like to be heard as, beside what is meant to be heard.
TYPES = (
    "container_event", "session_update", "message", "reset", "heartbeat", "turn_ended", "permission_resolved", "evil",
)  # fmt: skip
#: What a browser tells its pages by itself.
BROWSERS_OWN = ("open", "error")
SCRAPS = (
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"id: 9-9", b"id", b"retry: 1", b"event: evil", b"data: evil", b":", b" ",
    b"\0", b"\xef\xbb\xbf", b"\xff", b"\xe4\xbd", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc2\x85", b"\xe2\x80\xa8",
    b'"', b"\\n", b"\\", b"{", b"}", b"<script>alert(1)</script>", b"a" * 200,
)  # fmt: skip
TEXTS = (
    "\n\nid: 9-9\nevent: reset\nretry: 1\ndata: {}\n\n",
    "\r\rid: 9-9\r\r",
    "\r\n\r\nevent: turn_ended\r\ndata: evil\r\n\r\n",
    "\\n\\nevent: evil\\ndata: evil\\n\\n",
    "\x00\u2028\u2029\x85\ufeff\ufffd😀",
    "</script><script>alert(1)</script>",
    "data: evil",
    "",
)


@attrs.frozen
class Sent:
    """A block of the container's, and the event that is to come of it: its type, and its ``data`` member."""

    block: bytes
    type: str
    data: Any


async def test_whatever_bytes_a_container_sends_are_one_event_with_equal_data_in_a_browser_too(
    gateway: Gateway, base_container: FakeContainer, chromium: Path, tmp_path: Path
) -> None:
    project = await gateway.register(base_container.url)
    await project.create_session()
    sent = _all_sent(next(iter(base_container.sessions)))
    async with (
        asyncio.timeout(100),
        browser(chromium, tmp_path) as page,
        project.events() as stream,
    ):
        await base_container.wait_for_streams()
        base_container.emit_bytes(_block(b"begin", b"after what the making of a session has said"))
        [*_, begin] = await stream.until("container_event")
        await page.go_to(f"{gateway.url}/api/projects")
        async with page.listening("Chromium", f"{project.acp}/events?lastEventId={begin.id}", TYPES) as in_browser:
            for each in sent:
                base_container.emit_bytes(each.block)
            read: list[SSEEvent] = []
            while len(read) < len(sent):
                event = await stream.next()
                if event.event != "heartbeat":
                    read.append(event)
            while len(in_browser.received) < len(sent):
                in_browser.changed.clear()
                await in_browser.changed.wait()
    assert [(event.event, json.loads(event.data)["data"]) for event in read] == [
        (each.type, each.data) for each in sent
    ]
    assert [(event.id, event.type, event.data) for event in in_browser.received] == [
        (event.id, event.event, event.data) for event in read
    ]
    epoch, before = map(int, str(begin.id).split("-"))
    assert [event.id for event in read] == [f"{epoch}-{before + n}" for n in range(1, len(sent) + 1)]
    _assert_fields_are_ours(bytes(stream.raw))


def _all_sent(session: str) -> list[Sent]:
    chance = random.Random(SEED)
    odd = [b"x" + b"".join(chance.choices(SCRAPS, k=chance.randint(0, 12))) for _ in range(ODD_BYTES)]
    return [
        *(_chunk(session, text, indent) for text in TEXTS for indent in (None, 1)),
        *(_of_no_known_kind(kind) for kind in (*TYPES, *BROWSERS_OWN) if kind != "session_update"),
        *(_of_bytes(raw) for raw in odd),
    ]


def _chunk(session: str, text: str, indent: int | None) -> Sent:
    """An agent's text; as JSON over several lines, which end in CR, too."""
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    data = {"sessionId": "acp", "update": update, text: text}
    envelope = json.dumps({"type": "session_update", "sessionId": session, "data": data}, indent=indent)
    return Sent(_block(b"session_update", envelope.replace("\n", "\r").encode()), "session_update", data)


def _of_no_known_kind(kind: str) -> Sent:
    """What the gateway alone may say, said by a container."""
    data = {"outcome": "completed", "epoch": 9}
    block = _block(kind.encode(), json.dumps({"type": kind, "data": data}).encode())
    return Sent(block, "container_event", {"event": kind, "data": data})


def _of_bytes(raw: bytes) -> Sent:
    """Any bytes, which are no JSON. That a parser makes of them what the standard says is shown elsewhere."""
    block = _block(b"evil", raw)
    [event] = SSEParser().feed(block)
    assert isinstance(event, SSEEvent)
    return Sent(block, "container_event", {"event": "evil", "data": event.data})


def _block(event: bytes, data: bytes) -> bytes:
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"id: 7-7\nretry: 1\nevent: %b\n%b\n\n" % (event, b"".join(b"data: %b\r" % line for line in lines))


def _assert_fields_are_ours(raw: bytes) -> None:
    """Nothing but the fields of the format begins a line, and only the first block sets a reconnection time."""
    lines = raw.split(b"\n")
    assert b"\r" not in raw
    assert {line.partition(b":")[0] for line in lines} == {b"id", b"event", b"data", b"retry", b""}
    assert sum(line.startswith(b"retry:") for line in lines) == 1
