"""A gateway behind a proxy that signs users in, and a project of alice's with a member of each role."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.container import FakeContainer
from tests.world import PROXIED, Gateway, GatewayProcess, Project

OWNER, ADMIN, OPERATOR, VIEWER, STRANGER = "alice", "ada", "olga", "victor", "mallory"
MEMBERS = {ADMIN: "admin", OPERATOR: "operator", VIEWER: "viewer"}


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, PROXIED).run() as running:
        yield running


@pytest.fixture
async def project(gateway: Gateway, base_container: FakeContainer) -> Project:
    """Alice's, seen by her."""
    project = await gateway.as_user(OWNER).register(
        base_container.url, containerUrl=base_container.url, defaultAgentId="demo"
    )
    for user_id, role in MEMBERS.items():
        answer = await project.gateway.call("PUT", f"{project.path}/members/{user_id}", {"role": role})
        assert answer.status == 201, answer.body
    return project
