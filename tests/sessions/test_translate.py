"""What containers say is remembered within bounds, however much it is, and found to be ours however slow they are."""

import asyncio
import json
from functools import partial
from typing import Any, cast

import attrs
import pytest

from gateway.container.client import SPAWN_SECONDS
from gateway.container.values import ContainerFacts
from gateway.db.pool import Database
from gateway.follow.recorder import LookUp
from gateway.ingest import translate as translate_module
from gateway.ingest.translate import Translator
from gateway.log.store import Log, NewEvent
from gateway.tasks import wait_for
from gateway.wire.sse import SSEEvent


def status(agent_id: str, status: str) -> SSEEvent:
    data = {"type": "agent_status", "agentId": agent_id, "data": {"agentId": agent_id, "status": status}}
    return SSEEvent(event="agent_status", data=json.dumps(data), id=None)


def test_of_agents_without_end_only_the_latest_are_remembered() -> None:
    translator = Translator(cast("Database", None), cast("Log", None), permission_timeout=1)
    translator.connected("demo", ContainerFacts(boot_id=None, capabilities=frozenset()))
    assert isinstance(translator("demo", status("first", "running")), NewEvent)
    assert translator("demo", status("first", "running")) is None
    for number in range(10_000):
        translator("demo", status(f"agent-{number}", "running"))
    assert translator("demo", status("agent-9999", "running")) is None
    # Forgotten meanwhile, so that it is told once more.
    assert isinstance(translator("demo", status("first", "running")), NewEvent)


@attrs.define(slots=False)
class Creation:
    """A database, and a clock, in which a session's creation is answered or given up after so many seconds."""

    seconds: float
    is_answered: bool = True
    is_foreign: bool = False
    now: float = 1000.0

    def __attrs_post_init__(self) -> None:
        self.end = self.now + self.seconds

    def monotonic(self) -> float:
        return self.now

    async def fetch_one(self, query: str, **parameters: Any) -> dict[str, Any]:
        self.now += 1
        is_first, is_over = self.now == 1001, self.now >= self.end
        found = {"id": "ours" if self.is_answered and is_over else None, "is_foreign": self.is_foreign}
        return {**found, "in_creation": ["ours"] * (not is_over) + ["later"] * (not is_first)}


def first_words(creation: Creation, monkeypatch: pytest.MonkeyPatch) -> LookUp:
    """What a session that is not known says first."""

    async def wake(pause: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(asyncio.get_running_loop(), "time", creation.monotonic)
    monkeypatch.setattr(translate_module, "wait_for", partial(wait_for, wake=wake))
    translator = Translator(cast("Database", creation), cast("Log", None), permission_timeout=1)
    translator.connected("demo", ContainerFacts(boot_id=None, capabilities=frozenset()))
    data = {"sessionId": "theirs", "data": {"update": {"sessionUpdate": "plan", "entries": []}}}
    return cast("LookUp", translator("demo", SSEEvent(event="session_update", data=json.dumps(data), id=None)))


@pytest.mark.parametrize("is_answered", [True, False])
async def test_what_a_new_session_says_waits_as_long_as_its_container_may_take_to_answer(
    monkeypatch: pytest.MonkeyPatch, is_answered: bool
) -> None:
    creation = Creation(SPAWN_SECONDS, is_answered)
    found = await first_words(creation, monkeypatch)()
    assert (found and found.session_id) == ("ours" if is_answered else None)
    # What was begun later is not waited for.
    assert SPAWN_SECONDS <= creation.now - 1000 <= SPAWN_SECONDS + 1


async def test_what_another_projects_session_says_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    creation = Creation(SPAWN_SECONDS, is_foreign=True)
    assert await first_words(creation, monkeypatch)() is None
    assert creation.now - 1000 == 1
