"""An agent host on a real port, with real agent processes below it."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.agenthost.catalogue import BUILT_IN, AgentSpec
from tests.agenthost.hosts import PATIENCE, Host, scripted

OpenHost = Callable[..., AbstractAsyncContextManager[Host]]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path


@pytest.fixture
def open_host(tmp_path: Path, workspace: Path) -> OpenHost:
    """Starts an agent host with the scripted agent and others given, and settings given by name."""

    @asynccontextmanager
    async def start(*agents: AgentSpec, **settings: Any) -> AsyncIterator[Host]:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), **settings.pop("environment", {})}
        # Spawning it fails at once: a mark in the events.
        marker = AgentSpec(id="marker", name="marker", command=("false",), requires_auth=False)
        given = {spec.id: spec for spec in (scripted(), marker, *agents)}
        config = AgentHostConfig(
            workspace=workspace,
            catalogue={**BUILT_IN, **given},
            environment=environment,
            **{"stop_timeout": 0.5, "cancel_timeout": PATIENCE, **settings},
        )
        async with TestClient(TestServer(build_app(config))) as client:
            yield Host(client, config)

    return start


@pytest.fixture
async def host(open_host: OpenHost) -> AsyncIterator[Host]:
    async with open_host() as one:
        yield one
