"""Heads of containers' answers that are not as RFC 9112 has them, and what the client gets."""

import asyncio

import pytest

from tests.proxy.peers import OK, Message, Peer, ask, gateway, get, raw_upstream

#: What may stand behind the first line of an answer without a body, although nothing should.
FRAMINGS = {
    "nothing": (b"", b""),
    "a length of 0": (b"Content-Length: 0\r\n", b""),
    "a length and no body": (b"Content-Length: 5\r\n", b""),
    "a length and its body": (b"Content-Length: 5\r\n", b"hello"),
    "chunking and no chunk": (b"Transfer-Encoding: chunked\r\n", b""),
    "chunking and the last chunk": (b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunking and a chunk": (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    "a body without a length": (b"", b"hello"),
    "another answer": (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"),
}
KINDS = {"204": (b"204 No Content", "DELETE"), "304": (b"304 Not Modified", "GET"), "HEAD": (b"200 OK", "HEAD")}


async def two_answers(first: bytes, method: str, pieces: int) -> tuple[Message, Message]:
    """What a client gets for two requests, the first of which is answered with these bytes in so many pieces."""
    asked = 0

    async def play(peer: Peer) -> None:
        nonlocal asked
        while True:
            await peer.message()
            asked += 1
            if asked > 1:
                await peer.send(OK)
                continue
            size = -(-len(first) // pieces)
            for start in range(0, len(first), size):
                await peer.send(first[start : start + size])
                await asyncio.sleep(0.005)

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        answer = await ask(front, get(method=method), bodyless=True)
        return answer, await ask(front, get())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_an_answer_without_a_body_passes_however_it_is_framed(framing: str, kind: str) -> None:
    await passes(framing, kind, pieces=1)


@pytest.mark.parametrize("pieces", [2, 7, 50])
@pytest.mark.parametrize("kind", ["204", "304"])
@pytest.mark.parametrize("framing", [name for name in FRAMINGS if name.startswith("chunking")])
async def test_a_body_that_was_announced_and_comes_late_is_not_the_next_answer(
    framing: str, kind: str, pieces: int
) -> None:
    await passes(framing, kind, pieces=pieces)


async def passes(framing: str, kind: str, *, pieces: int) -> None:
    (start, method), (fields, body) = KINDS[kind], FRAMINGS[framing]
    answer, following = await two_answers(
        b"HTTP/1.1 " + start + b"\r\nETag: x\r\n" + fields + b"\r\n" + body, method, pieces
    )
    assert (answer.start.split(" ", 1)[1].encode(), answer.one("ETag"), answer.body) == (start, "x", b"")
    assert (following.status, following.body) == (200, b"ok")


async def test_an_interim_answer_before_one_without_a_body_is_no_head_of_it() -> None:
    first = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    for pieces in (1, 3, len(first)):
        answer, following = await two_answers(first, "DELETE", pieces)
        assert (answer.status, following.body) == (204, b"ok")


@pytest.mark.parametrize("space", [" ", "\t", "  \t "])
async def test_white_space_behind_a_fields_name_is_taken_away_and_the_field_counts(space: str) -> None:
    """RFC 9112 5.1."""
    for fields, body in (
        (f"Content-Length{space}: 5", b"hello"),
        (f"transfer-encoding{space}:chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    ):
        first = f"HTTP/1.1 200 OK\r\nX-Plain{space}: a b : c\r\n{fields}\r\n\r\n".encode()
        async with raw_upstream(first + body) as upstream, gateway(upstream.address) as front:
            for _ in range(2):
                answer = await ask(front, get())
                assert (answer.body, answer.complete, answer.one("X-Plain")) == (b"hello", True, "a b : c")
                assert all(name == name.strip() for name, _ in answer.headers)
            assert len(upstream.connections) == 1


async def test_a_head_that_does_not_end_is_given_up() -> None:
    async with raw_upstream(b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 40_000) as upstream:
        async with gateway(upstream.address) as front:
            assert (await ask(front, get())).status == 502


@pytest.mark.parametrize(
    "said", [b"\x15\x03\x01\x00\x02\x02\x16", b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1"]
)
async def test_what_is_no_http_is_told_as_that(said: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(said)

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        assert (await ask(front, get())).status == 502
