"""A gateway behind a proxy that signs users in, and a project of alice's with a member of each role."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.container import FakeContainer
from tests.program import Ended, run_to_end
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


class Commands:
    """``acp-gateway token …`` on a database."""

    def __init__(self, url: str, directory: Path) -> None:
        self._environ = {"ACP_GATEWAY_DATABASE_URL": url, "ACP_GATEWAY_IDENTITY_MODES": "tokens"}
        self._directory = directory

    def run(self, *arguments: str) -> Ended:
        return run_to_end("token", *arguments, directory=self._directory, environ=self._environ)

    def json(self, *arguments: str) -> Any:
        ended = self.run(*arguments, "--json")
        assert (ended.status, ended.stderr) == (0, ""), ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture
def commands(database_url: str, tmp_path: Path) -> Commands:
    return Commands(database_url, tmp_path)
