"""The event-stream format against the WHATWG rules, whole and cut at every byte."""

import itertools
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.sse import OversizedEvent, SSEParser, encode_comment, encode_event
from tests.wire.streams import STREAMS, event


def parse(stream: bytes, *, max_event_bytes: int = 1 << 20):
    return SSEParser(max_event_bytes=max_event_bytes).feed(stream)


@pytest.mark.parametrize("name", STREAMS)
def test_stream_is_read_as_the_standard_says(name):
    stream, expected = STREAMS[name]
    assert parse(stream) == expected


@pytest.mark.parametrize("name", STREAMS)
def test_cut_between_any_two_bytes_changes_nothing(name):
    stream, expected = STREAMS[name]
    for at in range(len(stream) if len(stream) < 1000 else 0):
        parser = SSEParser(max_event_bytes=1 << 20)
        assert parser.feed(stream[:at]) + parser.feed(stream[at:]) == expected, at
    parser = SSEParser(max_event_bytes=1 << 20)
    assert [e for byte in stream for e in parser.feed(bytes([byte]))] == expected


def test_event_is_dispatched_at_its_empty_line_without_waiting_for_the_lf_of_a_crlf():
    parser = SSEParser()
    assert parser.feed(b"data: a\r\n\r") == [event("a")]
    assert parser.feed(b"\ndata: b\r\n\r\n") == [event("b")]


def test_last_event_id_is_the_one_of_a_complete_block():
    parser = SSEParser()
    parser.feed(b"id: 1\n\nid: 2\ndata: x\n")
    assert parser.last_event_id == "1"
    parser.feed(b"\n")
    assert parser.last_event_id == "2"


def test_retry_without_data_is_known_to_the_parser():
    parser = SSEParser()
    assert parser.feed(b"retry: 10\n\n") == []
    assert parser.retry == 10


def test_event_above_the_limit_is_reported_in_its_place():
    stream = b"data: a\n\nevent: big\nid: 2\ndata: " + b"x" * 100 + b"\n\ndata: b\n\n"
    oversized = OversizedEvent(event="big", id="2", size=10 + 5 + 106)
    assert parse(stream, max_event_bytes=64) == [event("a"), oversized, event("b", id="2")]


def test_event_id_after_an_oversized_line_is_still_told():
    stream = b"data: " + b"x" * 100 + b"\nid: 9\nevent: late\n\n"
    assert parse(stream, max_event_bytes=64) == [OversizedEvent(event="late", id="9", size=106 + 5 + 11)]


def test_many_small_lines_can_be_an_oversized_event():
    assert parse(b"data: 1234\n" * 10 + b"\n", max_event_bytes=99) == [OversizedEvent(size=100)]
    assert parse(b"data: 1234\n" * 10 + b"\n", max_event_bytes=100) == [event("\n".join(["1234"] * 10))]


def test_comments_do_not_count_towards_the_limit():
    stream = (b":" + b"x" * 200 + b"\n" + b": y\n" * 100) * 2 + b"data: a\n\n"
    assert parse(stream, max_event_bytes=64) == [event("a")]
    parser = SSEParser(max_event_bytes=64)
    assert [e for byte in stream for e in parser.feed(bytes([byte]))] == [event("a")]


def test_memory_is_bounded_by_the_limit_and_not_by_the_line():
    parser = SSEParser(max_event_bytes=64 * 1024)
    piece = b"x" * 65536
    parser.feed(b"data: ")
    tracemalloc.start()
    try:
        for _ in range(500):
            parser.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1024 * 1024
    assert parser.feed(b"\n\n") == [OversizedEvent(size=6 + 500 * 65536)]


def test_time_is_linear_in_the_length_of_a_line():
    def seconds(size: int) -> float:
        parser = SSEParser(max_event_bytes=size * 2)
        stream = b"data: " + b"x" * size + b"\n\n"
        start = time.process_time()
        events = [e for at in range(0, len(stream), 64) for e in parser.feed(stream[at : at + 64])]
        assert len(events) == 1
        return time.process_time() - start

    # Quadratic time would be 64 times as long; the floor keeps a coarse clock out of it.
    assert seconds(8 << 20) < 30 * max(seconds(1 << 20), 0.01)


def test_encoded_event_is_one_block():
    assert (
        encode_event(event="a", data="x\ny", id="e-1", retry=5) == b"id: e-1\nevent: a\nretry: 5\ndata: x\ndata: y\n\n"
    )
    assert encode_event(event=None, data=b"") == b"data: \n\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\r\n", "\0"])
def test_event_and_id_with_line_ends_or_nul_are_refused(bad):
    with pytest.raises(ValueError, match="event must"):
        encode_event(event=bad, data=b"x")
    with pytest.raises(ValueError, match="id must"):
        encode_event(event=None, data=b"x", id=bad)


def test_negative_retry_is_refused():
    with pytest.raises(ValueError, match="negative"):
        encode_event(event=None, data=b"x", retry=-1)


@pytest.mark.parametrize("text", ["", "beat", "a\nb", "a\r\ndata: b\rdata: c"])
def test_comment_is_no_event_and_leaves_the_next_one_whole(text):
    assert parse(encode_comment(text) + encode_event(event="x", data="y")) == [event("y", "x")]


texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))
written = st.builds(
    dict,
    event=st.none() | names,
    data=texts | st.text("\r\n: \ufeffa"),
    id=st.none() | names,
    retry=st.none() | st.integers(0, 10**18 - 1),
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(stream) + 1) for place in places} | {0, len(stream)})
    return [stream[a:b] for a, b in itertools.pairwise(at)]


@settings(deadline=None)
@given(st.lists(written), st.lists(st.integers(0)))
def test_what_is_written_is_read_back_however_it_is_cut(items, places):
    expected, id_in_force = [], None
    for item in items:
        id_in_force = id_in_force if item["id"] is None else item["id"]
        data = item["data"].replace("\r\n", "\n").replace("\r", "\n")
        expected.append(event(data, item["event"] or "message", id_in_force, item["retry"]))
    parser = SSEParser(max_event_bytes=1 << 20)
    stream = b"".join(encode_event(**item) for item in items)
    assert [e for piece in cut(stream, places) for e in parser.feed(piece)] == expected


tokens = st.sampled_from(
    [
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b": ",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"id: 1\nevent: x\ndata: 12\n\n",
        b"id: 12\ndata: {}\n\n",
        b"x",
        b"xxxxxxxx",
        b"12",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xef",
        b"\xbb",
        b"\xff",
        "你".encode(),
    ]
)


@settings(deadline=None)
@given(st.binary() | st.lists(tokens, max_size=60).map(b"".join), st.lists(st.integers(0)), st.integers(1, 40))
def test_any_bytes_cut_anywhere_give_what_one_read_gives(stream, places, limit):
    one, many = SSEParser(max_event_bytes=limit), SSEParser(max_event_bytes=limit)
    expected = one.feed(stream)
    assert [e for piece in cut(stream, places) for e in many.feed(piece)] == expected
    assert (many.last_event_id, many.retry) == (one.last_event_id, one.retry)
