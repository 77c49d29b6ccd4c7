"""Real agents under the agent host, with what the catalogue gives them: what they send, how a refusal comes back.

The provider takes no key, so one turn shows both. What an operator has set in the container must not be sent.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.agenthost.catalogue import BUILT_IN
from gateway.credentials.catalogue import Catalogue, Injection
from tests.agenthost.hosts import Host
from tests.fakes.refusing_provider import WORDS, RefusingProvider
from tests.realagents.rows import OPERATORS, REFUSAL, ROWS, Row

#: Within so many seconds a refused credential must have come back, on a machine that does something else besides.
SECONDS = 90.0


def credential(given: Injection, row: Row, url: str) -> dict[str, Any]:
    """As the gateway sends it; what leads to the provider of the tests goes over what the catalogue says of that."""
    led = {name: value for name, value in row.env(url).items() if name in given.env}
    call = given.authenticate
    return {
        "owner": "ann",
        "version": 1,
        "env": {**given.env, **led},
        "unset": list(given.unset),
        "authenticate": None if call is None else {"methodId": call.method_id, "meta": call.meta},
        "files": [{"variable": file.variable, "path": file.path, "content": file.content} for file in given.files],
    }


def host_config(root: Path, row: Row, path: str, url: str) -> AgentHostConfig:
    for name in ("workspace", "home", "tmp"):
        (root / name).mkdir()
    spec = BUILT_IN[row.agent]
    env = {**spec.env, **row.env(url), **dict.fromkeys(row.rivals, OPERATORS)}
    # Alone it must do without the host's own calls, too.
    spec = attrs.evolve(spec, env=env, authenticate=() if row.alone else spec.authenticate)
    environment = {
        "PATH": os.pathsep.join([path, os.environ.get("PATH", os.defpath)]),
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
    }
    return AgentHostConfig(
        workspace=root / "workspace", catalogue={**BUILT_IN, row.agent: spec}, environment=environment
    )


async def fails(host: Host, row: Row, members: dict[str, Any]) -> str:
    """How a session or its first turn fails."""
    made = await host.post("/session", {"agentId": row.agent, **members})
    if made.status != 200:
        assert row.at_once, made.body
        return str(made.body["code"])
    assert not row.at_once
    async with asyncio.timeout(row.seconds):
        ended = await host.run(made.body["id"], "Say hello.")
    if ended.status == 200:
        return str(ended.body["stopReason"])
    return str(ended.body["data"]["error"]["code"])


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_agent_sends_its_user_s_credential_alone_and_says_soon_that_it_is_refused(
    row: Row, agent_path: str, tmp_path: Path
) -> None:
    declared = BUILT_IN[row.agent].credentials
    given = Catalogue().injection(row.agent, row.token_type, row.token, provider=row.provider, declared=declared)
    assert given is not None
    async with RefusingProvider() as provider:
        config = host_config(tmp_path, row, agent_path, provider.url)
        async with TestClient(TestServer(build_app(config))) as client:
            host = Host(client, config)
            if row.alone:
                members: dict[str, Any] = {"env": given.variables_alone()}
            else:
                members = {"credential": credential(given, row, provider.url)}
            async with asyncio.timeout(SECONDS):
                assert await fails(host, row, members) == row.failure
            boot_id = (await host.get("/info")).body["bootId"]
            async with host.events(last_event_id=f"{boot_id}-0") as events:
                await host.post("/agents/demo/spawn", {"env": {"MARK": "1"}})
                told = await events.until("agent_status", lambda one: one.data["agentId"] == "demo")
        check_headers(provider, row)
    texts = json.dumps([one.envelope for one in told])
    assert row.token not in texts
    assert row.failure != REFUSAL or WORDS in texts
    assert left_behind(tmp_path, row.token) == [tmp_path / "home" / path for path in row.leaves]


def check_headers(provider: RefusingProvider, row: Row) -> None:
    asked = provider.asked(row.path)
    assert asked, [one.path for one in provider.requests]
    for name, value in row.headers.items():
        # One of them is a list that has this among others.
        assert all(value in one.headers.get(name, "").split(",") for one in asked), (name, asked[0].headers)
    assert not any(name in one.headers for one in asked for name in row.without)
    assert not any(OPERATORS in value for one in provider.requests for value in one.headers.values())


def left_behind(root: Path, secret: str) -> list[Path]:
    """The files that the agent, or the host, has left the credential in."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if secret.encode() in path.read_bytes()]
