"""Two gateways on one database, at addresses that stay, and turns that run while they come and go."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs

from tests.clients.listener import Listener, Received
from tests.program import free_ports
from tests.replica import Replica, replica
from tests.world import Project

SETTINGS = {"ACP_GATEWAY_EVENTS_RETRY": "0.2", "ACP_GATEWAY_EVENTS_DRAIN": "0.2", "ACP_GATEWAY_EVENTS_HEARTBEAT": "0.5"}
#: What an agent is told, and what it says then: long enough for a gateway to come back meanwhile.
PROMPT = "\n".join(["stream 10", "slow 0.15"] * 12)
SAID = ([f"tok{number} " for number in range(10)] + ["done\n"]) * 12
#: All that a stream brings in such turns.
TYPES = (
    "session_update", "turn_started", "turn_ended", "session_created", "session_restored", "agent_status", "gap",
    "reset", "heartbeat",
)  # fmt: skip


@attrs.define
class Cluster:
    """Two places for a gateway; who stands there may change."""

    database_url: str
    directory: Path
    first_port: int
    _running: dict[int, tuple[Replica, AsyncExitStack]] = attrs.field(factory=dict)

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{self.first_port + place}" for place in (0, 1)]

    async def start(self, *places: int) -> None:
        await asyncio.gather(*map(self._start, places))

    async def kill(self, *places: int) -> None:
        for place in places:
            await self._running[place][0].kill()
        await self._clear(*places)

    async def terminate(self, *places: int) -> None:
        for place in places:
            await self._running[place][0].terminate()
        await self._clear(*places)

    def project(self, id: str = "demo") -> Project:
        """The project, asked for at a gateway that lives now."""
        running, _ = next(iter(self._running.values()))
        return Project(running.gateway, id)

    async def register(self, container_acp_url: str) -> Project:
        running, _ = next(iter(self._running.values()))
        return await running.gateway.register(container_acp_url, defaultAgentId="demo")

    async def _start(self, place: int) -> None:
        stack = AsyncExitStack()
        port = self.first_port + place
        running = await stack.enter_async_context(replica(self.database_url, self.directory, SETTINGS, port=port))
        self._running[place] = (running, stack)

    async def _clear(self, *places: int) -> None:
        for place in places:
            _, stack = self._running.pop(place)
            await stack.aclose()

    async def close(self) -> None:
        await self._clear(*self._running)


@asynccontextmanager
async def cluster(database_url: str, directory: Path) -> AsyncIterator[Cluster]:
    """Both gateways, running."""
    made = Cluster(database_url, directory, free_ports(2))
    try:
        await made.start(0, 1)
        yield made
    finally:
        await made.close()


async def kill_one(gateways: Cluster) -> None:
    await gateways.kill(0)
    await gateways.start(0)


async def restart_the_other(gateways: Cluster) -> None:
    await gateways.terminate(1)
    await gateways.start(1)


async def kill_both(gateways: Cluster) -> None:
    await gateways.kill(0, 1)
    await gateways.start(0, 1)


Fault = Callable[[Cluster], Awaitable[None]]


async def turns_through(
    faults: Sequence[Fault], gateways: Cluster, session: str, listeners: Sequence[Listener]
) -> list[Received]:
    """A turn for each fault, which happens in its midst; the log, once all listeners have received the turns' ends."""
    for number, fault in enumerate(faults):
        before = listeners[0].count("session_update")
        await gateways.project().prompt(session, PROMPT, wait=None)
        await asyncio.gather(*(listener.until("session_update", before + 20) for listener in listeners))
        await fault(gateways)
        await asyncio.gather(*(listener.until("turn_ended", number + 1) for listener in listeners))
    log = await whole_log(gateways.project(), session)
    for listener in listeners:
        await listener.until(log[-1].type, sum(event.type == log[-1].type for event in log))
    return log


async def whole_log(project: Project, session: str) -> list[Received]:
    """The project's log from its start to where it ends now, read at once, heartbeats apart."""
    head = (await project.call("GET", f"/session/{session}")).json["cursor"]
    log: list[Received] = []
    async with project.events(query="?from=start") as stream:
        while not log or log[-1].id != head:
            event = await stream.next()
            if event.event != "heartbeat":
                log.append(Received(event.id or "", event.event, event.data))
    return log


def assert_holds_each_chunk_once(log: list[Received], turns: int) -> None:
    """1..head without a hole, and in it all that the agent said, in order."""
    assert [int(event.id.split("-")[1]) for event in log] == list(range(1, len(log) + 1))
    updates = [json.loads(event.data)["data"]["update"] for event in log if event.type == "session_update"]
    texts = [each["content"]["text"] for each in updates if each["sessionUpdate"] == "agent_message_chunk"]
    assert texts == SAID * turns


def assert_received_each_once(listener: Listener, log: list[Received]) -> None:
    assert listener.received == log, f"{listener.name} received something else than the log holds"
