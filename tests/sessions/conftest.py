"""Gateways of several users whose credentials they give to agents."""

from pathlib import Path

import pytest

from tests.sessions.injecting import ways
from tests.world import PROXIED, GatewayProcess


@pytest.fixture
def gateways(database_url: str, tmp_path: Path) -> GatewayProcess:
    return GatewayProcess(database_url, PROXIED).configured(credentials=ways(tmp_path))
