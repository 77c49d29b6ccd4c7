"""An OpenCode to record, and gateways of several users whose credentials they give to agents."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.opencode import FakeOpenCode
from tests.sessions.injecting import ways
from tests.world import PROXIED, GatewayProcess


@pytest.fixture
async def opencode() -> AsyncIterator[FakeOpenCode]:
    async with FakeOpenCode() as server:
        yield server


@pytest.fixture
def gateways(database_url: str, tmp_path: Path) -> GatewayProcess:
    return GatewayProcess(database_url, PROXIED).configured(credentials=ways(tmp_path))
