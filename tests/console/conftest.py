"""A console for each test, and a project in front of an agent host, whose demo agent does what a prompt says."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.agenthost.catalogue import BUILT_IN
from gateway.server.run import bind, serving
from tests.agenthost.hosts import scripted
from tests.console.browsing import Console, console
from tests.world import Gateway, Project


@pytest.fixture
async def project(gateway: Gateway, agent_host: str) -> Project:
    return await gateway.register(agent_host, defaultAgentId="demo")


@pytest.fixture
async def page(running_browser: Browser, gateway: Gateway) -> AsyncIterator[Console]:
    """An open console of the test's gateway."""
    async with console(running_browser, gateway.url) as opened:
        yield opened


@pytest.fixture
async def scripted_project(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Project]:
    """A project whose agent ``scripted`` says, word for word, what a prompt tells it to."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    catalogue = {**BUILT_IN, "scripted": scripted(name="<b>Scripted</b>\u202e")}
    app = build_app(AgentHostConfig(workspace=workspace, environment=dict(os.environ), catalogue=catalogue))
    sock = bind("127.0.0.1", 0, purpose="the test's agent host", option="")
    async with serving(app, sock, shutdown_timeout=2):
        yield await gateway.register(f"http://127.0.0.1:{sock.getsockname()[1]}", defaultAgentId="scripted")
