"""Sessions of the scripted agent behind a gateway."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.wire.sse import SSEEvent
from tests.agenthost.hosts import scripted
from tests.story.hosting import hosting
from tests.world import Gateway, Project

CAPABILITIES = {"promptCapabilities": {"image": True, "audio": True, "embeddedContext": True}}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path


@pytest.fixture
async def scripted_url(tmp_path: Path, workspace: Path) -> AsyncIterator[str]:
    """An agent host whose agent does what its prompts say."""
    agent = scripted(script={"initialize": {"protocolVersion": 1, "agentCapabilities": CAPABILITIES}})
    async with hosting(tmp_path, workspace, agent) as url:
        yield url


@pytest.fixture
async def project(gateway: Gateway, scripted_url: str) -> Project:
    return await gateway.register(scripted_url, defaultAgentId="scripted")


@attrs.frozen
class Session:
    """A session whose agent does what its prompts say; see ``tests/agenthost/agents/scripted.py``."""

    project: Project
    id: str

    async def events_of(self, *steps: Any) -> list[SSEEvent]:
        """The events of a turn of these steps."""
        cursor = (await self.project.call("GET", f"/session/{self.id}")).json["cursor"]
        async with self.project.events(self.id, last_event_id=cursor) as stream:
            await self.project.prompt(self.id, json.dumps(steps), wait=None)
            return await stream.until("turn_ended")


@pytest.fixture
async def session(project: Project) -> Session:
    return Session(project, await project.create_session(agentId="scripted"))
