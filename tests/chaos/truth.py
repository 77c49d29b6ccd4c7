"""What the container really said: the record that everything else is held against."""

import json
import time
from zlib import crc32

import attrs


def checksum(data: bytes) -> int:
    return crc32(data)


@attrs.define
class Truth:
    """Every event that the container has emitted, in order: its serial number is its place, from 1."""

    #: The ``data`` of each, as JSON bytes.
    events: list[bytes] = attrs.field(factory=list)
    #: When each was emitted, by ``time.monotonic``.
    at: list[float] = attrs.field(factory=list)

    def next(self, padding: int = 100) -> bytes:
        """One more event's data: an agent's message chunk whose text is its serial number, the moment of its making in
        microseconds, a checksum and padding."""
        serial, at = len(self.events) + 1, time.monotonic()
        body = f"{serial} @{round(at * 1e6)} {'x' * padding}"
        text = f"{crc32(body.encode()):08x} {body}"
        update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
        data = json.dumps({"sessionId": "acp", "update": update}, separators=(",", ":")).encode()
        self.events.append(data)
        self.at.append(at)
        return data


def serial_of(data: bytes) -> int | None:
    """The serial number in an event's data; None where it is not the container's; ``ValueError`` where it is torn."""
    if b"agent_message_chunk" not in data:
        return None
    text = json.loads(data)["update"]["content"]["text"]
    told, _, body = text.partition(" ")
    if int(told, 16) != crc32(body.encode()):
        raise ValueError(f"torn: {text[:60]}")
    return int(body.split(" ", 1)[0])
