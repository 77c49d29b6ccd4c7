"""Real agents as the catalogue starts them: sessions begin in a mode that asks, or say that the agent decides."""

import os
from pathlib import Path

import attrs
import pytest
from aiohttp.test_utils import TestClient, TestServer

from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.agenthost.catalogue import BUILT_IN
from gateway.agenthost.trial import Trial
from tests.agenthost.hosts import Host
from tests.realagents.install import ALL
from tests.realagents.rows import KEY

#: What lets an agent make a session without asking its provider.
ENV = {
    "claude-code": {"ANTHROPIC_API_KEY": KEY},
    "codex": {"CODEX_API_KEY": KEY},
    "gemini": {"GEMINI_API_KEY": KEY},
    "qwen-code": {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_MODEL": "none"},
    "opencode": {"OPENCODE_DISABLE_MODELS_FETCH": "1"},
    "kilo": {"KILO_DISABLE_MODELS_FETCH": "1"},
    "fast-agent": {"FAST_AGENT_MODEL": "claude-sonnet-4-5"},
    "mistral-vibe": {"MISTRAL_API_KEY": KEY},
}


@attrs.frozen
class Started:
    """A row for the fixture that finds the agent's program."""

    agent: str

    def __str__(self) -> str:
        return self.agent


def environment(root: Path, path: str) -> dict[str, str]:
    for name in ("workspace", "home", "tmp"):
        (root / name).mkdir()
    known = {"PATH": os.pathsep.join([path, os.environ.get("PATH", os.defpath)])}
    return {**known, "HOME": str(root / "home"), "TMPDIR": str(root / "tmp")}


@pytest.mark.parametrize("row", [Started(agent) for agent in ALL if agent in ENV], ids=str)
async def test_session_of_a_real_agent_begins_in_a_mode_that_asks(
    row: Started, agent_path: str, tmp_path: Path
) -> None:
    given = environment(tmp_path, agent_path)
    spec = BUILT_IN[row.agent]
    spec = attrs.evolve(spec, env={**spec.env, **ENV[row.agent]})
    config = AgentHostConfig(
        workspace=tmp_path / "workspace", catalogue={**BUILT_IN, row.agent: spec}, environment=given
    )
    async with TestClient(TestServer(build_app(config))) as client:
        made = await Host(client, config).post("/session", {"agentId": row.agent})
        assert made.status == 200, made.body
        assert made.body["decides"] == "client"
        assert made.body["modeId"] in spec.asks_in
        assert spec.start_mode in ("", made.body["modeId"])


@pytest.mark.parametrize("row", [Started(agent) for agent in ALL if agent not in ENV], ids=str)
async def test_real_agent_starts_and_speaks_acp(row: Started, agent_path: str, tmp_path: Path) -> None:
    trial = Trial(environment(tmp_path, agent_path), tmp_path / "workspace", seconds=60.0)
    tried = await trial.run(BUILT_IN[row.agent])
    assert tried.works, tried.problem
    assert BUILT_IN[row.agent].login in ("", *tried.logins)
    assert {method.method_id for method in BUILT_IN[row.agent].authenticate} <= set(tried.logins)
