"""Our parser beside npm's ``eventsource-parser``, on streams made to be trouble, in the same pieces."""

import base64
import json
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.wire.sse import SSEEvent, SSEParser

ORACLE = Path(__file__).with_name("oracle.mjs")
INPUTS = 12_000
SEED = 20261122
#: Both take a reconnection time up to here for what it is; JavaScript counts exactly no further.
EXACT_RETRY = 2**53


@attrs.frozen
class Said:
    """What a parser made of a stream: (type, id, data) of each event, and the reconnection time in force."""

    events: list[tuple[str, str | None, str]]
    retry: int | None


def test_equal_to_eventsource_parser_on_streams_made_to_be_trouble(eventsource_packages: Path, node: Path) -> None:
    chance = random.Random(SEED)
    inputs = [_cut(_stream(chance), chance) for _ in range(INPUTS)]
    # What a CR at the end of a piece has ended the oracle tells with the next line's end: it gets one to come by.
    inputs = [[*cut, b"\n"] if b"\r" in b"".join(cut) else cut for cut in inputs]
    theirs = _oracle(node, eventsource_packages, inputs)
    dispatched = 0
    for number, (cut, their) in enumerate(zip(inputs, theirs, strict=True)):
        our = _ours(cut)
        assert our == their, f"input {number} of seed {SEED}: {cut}"
        dispatched += len(our.events)
    assert dispatched > INPUTS, "the streams have too few events to say anything"


#: Where the two differ, and who is right. The standard: WHATWG HTML, 9.2.6 "Interpreting an event stream".
DIFFERENCES = {
    "an id in a block without data": (
        # "Dispatch the event", step 1, sets the last event id; only step 2 returns where there is no data. We are
        # right. Clients on this parser forget such an id, so the gateway never says one without data.
        [b"id: 1\n\ndata: a\n\n"],
        Said([("message", "1", "a")], None),
        Said([("message", None, "a")], None),
    ),
    "a CR that is the last byte": (
        # A CR ends its line whatever follows. We are right; the oracle waits for the end of another line.
        [b"data: a\r\r"],
        Said([("message", None, "a")], None),
        Said([], None),
    ),
    "the letters of a byte order mark": (
        # These are the characters U+00EF U+00BB U+00BF, not the mark's bytes, which have gone with the decoding. The
        # line's field is then "\xef\xbb\xbfdata", which is none. We are right.
        ["\xef\xbb\xbfdata: a\n\n".encode()],
        Said([], None),
        Said([("message", None, "a")], None),
    ),
    "a reconnection time beyond all measure": (
        # Digits only, so the standard has it taken. Theirs is the letter of it; nobody waits 30,000,000 years, and
        # we say so by keeping to what was in force.
        [b"retry: 1000000000000000000\ndata: a\n\n"],
        Said([("message", None, "a")], None),
        Said([("message", None, "a")], 10**18),
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_differs_from_eventsource_parser_where_it_is_meant_to(
    name: str, eventsource_packages: Path, node: Path
) -> None:
    cut, ours, theirs = DIFFERENCES[name]
    assert _ours(cut) == ours
    assert _oracle(node, eventsource_packages, [cut]) == [theirs]


def _ours(cut: Iterable[bytes]) -> Said:
    parser = SSEParser()
    events = [event for piece in cut for event in parser.feed(piece)]
    assert all(isinstance(event, SSEEvent) for event in events)
    return Said([(event.event, event.id, event.data) for event in events], parser.retry)


def _oracle(node: Path, packages: Path, inputs: list[list[bytes]]) -> list[Said]:
    asked = "".join(json.dumps([base64.b64encode(piece).decode() for piece in cut]) + "\n" for cut in inputs)
    done = subprocess.run(
        [node, ORACLE, packages], input=asked, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [_as_a_client_keeps_it(json.loads(line)) for line in done.stdout.removesuffix("\n").split("\n")]


def _as_a_client_keeps_it(said: dict[str, Any]) -> Said:
    """The oracle tells a block's own id; who uses it keeps the last one, and the type's default."""
    events, last = [], None
    for type, id, data in said["events"]:
        last = last if id is None else id
        events.append((type or "message", last, data))
    return Said(events, said.get("retry"))


# The grammar.

_ENDS = (b"\n", b"\r", b"\r\n")
_NAMES = (b"data", b"event", b"retry", b"Data", b"data ", b" data", b"dat", b"events", b"", b"\xef\xbb\xbfdata", b"x")
_SCRAPS = (
    b"a", b"1", b" ", b"  ", b":", b": ", b"\0", b"\t", b"\x0b", b"\x0c", b"\x1c", b"data: ", b"retry", b"\xef\xbb\xbf",
    "é你😀\u2028\x85".encode(), b"\xff", b"\xe4\xbd", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\x80", b"x" * 50,
)  # fmt: skip


def _stream(chance: random.Random) -> bytes:
    """A stream of some blocks; what ends its lines is one thing throughout, or a mixture."""
    ends = chance.choice([_ENDS, _ENDS, (b"\n",), (b"\r",), (b"\r\n",)])
    stream = chance.choice([b"", b"", b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb", b"\n"])
    for _ in range(chance.randint(1, 6)):
        for _ in range(chance.randint(0, 5)):
            stream += _lines(chance, ends)
        stream += chance.choice(ends) * chance.choice([1, 1, 1, 1, 2, 3])
    if chance.random() < 0.4:  # a last block that nothing ends, maybe in the middle of a line
        rest = b"".join(_lines(chance, ends) for _ in range(chance.randint(1, 3)))
        stream += rest[: chance.randint(0, len(rest))]
    return stream


def _lines(chance: random.Random, ends: tuple[bytes, ...]) -> bytes:
    end = chance.choice(ends)
    value = b"".join(chance.choices(_SCRAPS, k=chance.randint(0, 4)))
    if chance.random() < 0.002:
        value *= 5_000
    match chance.randrange(12):
        case 0:
            return b":" + value + end
        case 1:
            return chance.choice([b"data", b"event", b"retry", b"nothing"]) + end
        case 2 | 3:
            # With data behind it: see DIFFERENCES.
            id = chance.choice([b"id", b"id:", b"id: ", b"id:" + value, b"id: 1-%d" % chance.randrange(99)])
            return id + end + b"data: of an id" + end
        case 4:
            digits = b"%d" % chance.randrange(EXACT_RETRY)
            return b"retry:" + chance.choice([b"", b" ", b"  "]) + chance.choice([digits, digits, value]) + end
        case 5:
            return b"event:" + chance.choice([b" ", b""]) + chance.choice([b"ping", b"", value]) + end
        case 6:
            return chance.choice(_NAMES) + chance.choice([b":", b": ", b""]) + value + end
        case _:
            return b"data:" + chance.choice([b" ", b"", b"\t"]) + value + end


def _cut(stream: bytes, chance: random.Random) -> list[bytes]:
    """In pieces: all at once, byte by byte, or at some places, of which some pieces are empty."""
    match chance.randrange(4):
        case 0:
            return [stream]
        case 1 if len(stream) < 2_000:
            return [bytes([byte]) for byte in stream] or [b""]
    places = sorted(chance.choices(range(len(stream) + 1), k=chance.randint(1, 8)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
