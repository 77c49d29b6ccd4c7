"""Streams that cannot be served for now: the client is told to come back, and keeps its place."""

from contextlib import AsyncExitStack

import pytest

from gateway.wire.sse import SSEParser
from tests.db.relay import Relay
from tests.fakes.container import FakeContainer
from tests.world import QUICK, GatewayProcess


@pytest.mark.parametrize("named", ["1-7", None, "nonsense"])
async def test_a_stream_without_a_database_is_one_heartbeat_with_the_clients_own_id(
    database_url: str, base_container: FakeContainer, named: str | None
) -> None:
    """A client that takes each block's id for its place, as httpx-sse shows, would lose it by a block without one."""
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Relay(database_url))
        async with GatewayProcess(relay.url, QUICK).run() as gateway:
            project = await gateway.register(base_container.url)
            await stack.aclose()
            answer = await project.call("GET", "/events", headers={"Last-Event-ID": named} if named else {})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    [event] = SSEParser().feed(answer.body)
    assert event.event == "heartbeat"
    assert event.id == ("1-7" if named == "1-7" else None)
    assert event.retry >= 1000 * QUICK.events.retry
