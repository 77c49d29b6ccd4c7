"""A browser for each test, and a project in front of an agent host, whose demo agent does what a prompt says."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.console.browsing import Console, browser, console
from tests.world import Gateway, Project


@pytest.fixture
async def project(gateway: Gateway, agent_host: str) -> Project:
    return await gateway.register(agent_host, defaultAgentId="demo")


@pytest.fixture
async def running_browser(chromium: Path) -> AsyncIterator[Browser]:
    async with browser(chromium) as running:
        yield running


@pytest.fixture
async def page(running_browser: Browser, gateway: Gateway) -> AsyncIterator[Console]:
    """An open console of the test's gateway."""
    async with console(running_browser, gateway.url) as opened:
        yield opened
