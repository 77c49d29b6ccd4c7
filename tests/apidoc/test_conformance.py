"""A running gateway, asked thousands of things that its own description allows, and many that it does not."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.fakes.container import FakeContainer
from tests.world import Gateway

#: Streams never end, and what is passed on is for the container to describe.
LEFT_OUT = r"/events(/\{sessionId\})?$|/acp$|/opencode|\{tail\}|^/console|^/docs|^/$"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "negative_data_rejection",
)  # fmt: skip
#: What the container is to blame for is answered so.
CONTAINERS_FAULTS = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", 502, 503, 504]\n'
#: After so many seconds nothing new is asked.
BUDGET, SECONDS = 60, 150


@pytest.mark.timeout(SECONDS + 20)
async def test_nothing_is_answered_that_the_description_does_not_say(
    gateway: Gateway, base_container: FakeContainer, tmp_path: Path
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    turn = (await project.prompt(session, "say before"))["turnId"]
    known = {"projectId": "demo", "agentId": "demo", "sessionId": session, "turnId": turn, "userId": "somebody"}
    parameters = "\n".join(f'"path.{name}" = {json.dumps(value)}' for name, value in known.items())
    # Not the project that all others ask for: its container's address is changed.
    await gateway.register(base_container.url, "changed")
    change = '[[operations]]\ninclude-name = "PATCH /api/projects/{projectId}"\n'
    changed = '[operations.parameters]\n"path.projectId" = "changed"\n'
    (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{parameters}\n{change}{changed}{CONTAINERS_FAULTS}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml"),
        "run", f"{gateway.url}/openapi.json",
        "--exclude-path-regex", LEFT_OUT, "--exclude-method", "DELETE", "--checks", ",".join(CHECKS),
        "--phases", "coverage,fuzzing", "--max-examples", "10", "--max-time", str(BUDGET), "--seed", "1",
        "--workers", "1", "--generation-database", "none", "--no-color",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
