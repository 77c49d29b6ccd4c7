"""Projects in front of one kind of container only, for tests to which the other kind makes no difference."""

import pytest

from tests.fakes.container import FakeContainer
from tests.world import Gateway, Project


@pytest.fixture
async def base_project(gateway: Gateway, base_container: FakeContainer) -> Project:
    """A project in front of a container of the base contract, which the test may direct."""
    return await gateway.register(base_container.url, defaultAgentId="demo")


@pytest.fixture
async def host_project(gateway: Gateway, agent_host: str) -> Project:
    """A project in front of an agent host."""
    return await gateway.register(agent_host, defaultAgentId="demo")
