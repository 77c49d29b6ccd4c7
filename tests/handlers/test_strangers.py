"""Who has not said who they are holds no memory: each public route that takes a body, on many connections."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.web import bodies
from gateway.web.handlers.requests import MAX_BODY, MAX_STRANGERS_BODY
from gateway.web.routes import ENDPOINTS
from tests.world import Gateway

#: Of the table, and what path parameters are where there is one.
PUBLIC = [
    (one.method, one.path.format(ticket="none", provider_id="nobody", project_id="demo", agent_id="demo"))
    for one in ENDPOINTS
    if one.is_public and one.method in ("POST", "PUT", "PATCH", "DELETE")
]
#: As many bodies as there is room for, and many more connections.
ROOM, CONNECTIONS = 5, 25
#: Each is short of its last byte.
BEGUN = {
    "large": b"Content-Length: %d\r\n\r\n%b" % (MAX_BODY, b" " * (MAX_BODY - 1)),
    "large in chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b" % (MAX_BODY, b" " * (MAX_BODY - 1)),
    "small": b"Content-Length: %d\r\n\r\n%b" % (MAX_STRANGERS_BODY, b" " * (MAX_STRANGERS_BODY - 1)),
    "small in chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n " % MAX_STRANGERS_BODY,
}


def test_there_are_public_routes_that_take_a_body() -> None:
    assert ("POST", "/api/sign-in") in PUBLIC


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN.keys())
@pytest.mark.parametrize(("method", "path"), PUBLIC, ids=[path for _, path in PUBLIC])
async def test_strangers_bodies_are_bounded_one_by_one_and_together(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, method: str, path: str, begun: bytes, kind: str
) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", ROOM * MAX_STRANGERS_BODY)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n".encode()
    async with AsyncExitStack() as stack:
        answers = []
        for _ in range(CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
            stack.callback(writer.close)
            writer.write(head + begun)
            answers.append(asyncio.create_task(reader.readline()))
        # Long enough for what is answered at all to be answered: it waits for nothing.
        _, held = await asyncio.wait(answers, timeout=1)
        assert len(held) <= ROOM
        # Those who say who they are have room of their own.
        await gateway.register("http://127.0.0.1:1")
        for answer in held:
            answer.cancel()
    assert {answer.result().split()[1] for answer in answers if answer not in held} <= {b"303", b"413", b"415", b"429"}
