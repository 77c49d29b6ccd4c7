"""A project that records what OpenCode says."""

from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.wire.opencode import EVENT
from tests.fakes.container import FakeContainer
from tests.fakes.opencode import FakeOpenCode
from tests.world import Gateway

RECORDED = {"recordOpencodeEvents": True}


async def register(gateway: Gateway, opencode: FakeOpenCode, container: FakeContainer, id: str = "demo") -> None:
    await gateway.register(container.url, id=id, containerUrl=opencode.url, **RECORDED)


async def has_recorded(gateway: Gateway, count: int) -> bool:
    return (await gateway.app[LOG].store.head(LogId("demo", EVENT.name))).head >= count
