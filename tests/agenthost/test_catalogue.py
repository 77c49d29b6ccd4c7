"""The table of agents, and the file that extends it."""

import json
from pathlib import Path

import attrs
import pytest

from gateway.agenthost import environment
from gateway.agenthost.catalogue import BUILT_IN, load
from gateway.errors import ConfigError
from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import scripted
from tests.fakes.eventually import eventually


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agents.toml"


def test_file_adds_an_agent_and_changes_only_what_it_names(file: Path) -> None:
    file.write_text(
        """
        [agents.mine]
        name = "Mine"
        command = ["mine", "--acp"]
        credentials = ["MINE_KEY"]
        env = { MINE = "1" }
        [[agents.mine.authenticate]]
        method_id = "key"
        needs = ["MINE_KEY"]
        meta = { a = { b = 1 } }

        [agents.opencode]
        command = ["/opt/opencode", "acp"]
        """
    )
    catalogue = load(file)
    assert catalogue.keys() == {*BUILT_IN, "mine"}
    assert catalogue["mine"].command == ("mine", "--acp")
    assert catalogue["mine"].requires_auth
    assert catalogue["mine"].authenticate[0].meta == {"a": {"b": 1}}
    assert catalogue["opencode"].command == ("/opt/opencode", "acp")
    assert catalogue["opencode"].name == BUILT_IN["opencode"].name
    assert catalogue["codex"] == BUILT_IN["codex"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("agents = 5", "$.agents"),
        ("[agents.mine]", "$.agents[mine].command"),
        ("[agents.mine]\ncommand = []", "$.agents[mine].command"),
        ("[agents.mine]\ncommand = 'mine --acp'", "$.agents[mine].command"),
        ("[agents.mine]\ncommand = ['mine', 5]", "$.agents[mine].command[1]"),
        ("[agents.codex]\nmodel = 'x'", "$.agents[codex].model"),
        ("[agents.codex]\nenv = { A = 1 }", "$.agents[codex].env[A]"),
        ("[[agents.codex.authenticate]]\nneeds = ['A']", "$.agents[codex].authenticate[0].method_id"),
        ("[other]", "$.other"),
        ("[agents.demo]\nrefusals = [{}]", "$.agents[demo].refusals[0]"),
        ("[agents.gemini]\nname = 'a'\n[agents.gemini-cli]\nname = 'b'", "$.agents[gemini-cli]"),
        ("agents = 1\nx = =", "line 2"),
    ],
)
def test_wrong_file_is_refused_with_its_place(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert str(file) in str(refused.value)
    assert told in str(refused.value)


def test_file_that_is_not_there_is_said(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"agents\.toml"):
        load(file)


@pytest.mark.parametrize(
    ("agent", "given", "set_", "unset"),
    [
        ("claude-code", {"CLAUDE_CODE_OAUTH_TOKEN": "t"}, {"CLAUDE_CODE_MAX_RETRIES": "2"}, "ANTHROPIC_API_KEY"),
        ("gemini", {"GOOGLE_CLOUD_ACCESS_TOKEN": "t"}, {"GOOGLE_GENAI_USE_GCA": "true"}, "GOOGLE_GENAI_USE_VERTEXAI"),
        ("gemini", {"GOOGLE_API_KEY": "k"}, {"GOOGLE_GENAI_USE_VERTEXAI": "true"}, "GOOGLE_GENAI_USE_GCA"),
        ("gemini", {"GEMINI_API_KEY": "k"}, {}, "GOOGLE_GENAI_USE_GCA"),
    ],
)
def test_credential_brings_what_its_method_wants_beside_it(
    agent: str, given: dict[str, str], set_: dict[str, str], unset: str
) -> None:
    env = environment.for_agent(BUILT_IN[agent], {}, given)
    assert {**given, **set_}.items() <= env.items()
    assert unset not in env


@pytest.mark.parametrize(
    ("given", "retries"),
    [
        ({"CODEX_API_KEY": "k"}, 3),
        ({"OPENAI_API_KEY": "k"}, 3),
        # Without a credential it must say so itself, and a refused login it tells at once.
        ({}, None),
        ({"CODEX_ACCESS_TOKEN": "t"}, None),
    ],
)
def test_codex_with_a_key_is_told_to_try_it_few_times(given: dict[str, str], retries: int | None) -> None:
    config = environment.for_agent(BUILT_IN["codex"], {}, given).get("CODEX_CONFIG")
    retries = (
        None if config is None else json.loads(config)["model_providers"]["openai-few-retries"]["stream_max_retries"]
    )
    assert retries == retries


def test_operators_own_settings_of_codex_stand() -> None:
    spec = attrs.evolve(BUILT_IN["codex"], env={"CODEX_CONFIG": '{"openai_base_url": "https://proxy.example/v1"}'})
    env = environment.for_agent(spec, {}, {"CODEX_API_KEY": "k"})
    assert env["CODEX_CONFIG"] == spec.env["CODEX_CONFIG"]


async def authenticated_with(open_host: OpenHost, tmp_path: Path, env: dict[str, str], offered: list[str]) -> list[str]:
    """The methods that an agent like Codex is asked to use, with these variables and these methods of its own."""
    log = tmp_path / "log"
    script = {
        "initialize": {"protocolVersion": 1, "authMethods": [{"id": one, "name": one} for one in offered]},
        "authenticate": {},
        "log": str(log),
    }
    codex = BUILT_IN["codex"]
    spec = scripted("codex", script=script, credentials=codex.credentials, authenticate=codex.authenticate)
    async with open_host(spec) as host:
        assert (await host.post("/session", {"agentId": "codex", "env": env})).status == 200
        await eventually(lambda: '"session/new"' in log.read_text())
    lines = log.read_text().splitlines()
    return [line.split('"methodId": "')[1].split('"')[0] for line in lines if '"authenticate"' in line]


async def test_agent_that_needs_it_is_authenticated(open_host: OpenHost, tmp_path: Path) -> None:
    methods = await authenticated_with(open_host, tmp_path, {"OPENAI_API_KEY": "k"}, ["chat-gpt", "api-key"])
    assert methods == ["api-key"]


async def test_method_of_the_older_adapter_is_used_where_it_is_offered(open_host: OpenHost, tmp_path: Path) -> None:
    methods = await authenticated_with(
        open_host, tmp_path, {"OPENAI_API_KEY": "k"}, ["codex-api-key", "openai-api-key"]
    )
    assert methods == ["openai-api-key"]


async def test_no_method_is_used_without_its_credential(open_host: OpenHost, tmp_path: Path) -> None:
    assert await authenticated_with(open_host, tmp_path, {}, ["chat-gpt", "api-key"]) == []


async def test_credential_that_is_refused_is_told(open_host: OpenHost) -> None:
    codex = BUILT_IN["codex"]
    script = {
        "initialize": {"protocolVersion": 1, "authMethods": [{"id": "api-key", "name": "API key"}]},
        "authenticate": {"error": {"code": -32000, "message": "no good: sk-12345678"}},
    }
    spec = scripted("codex", script=script, credentials=codex.credentials, authenticate=codex.authenticate)
    async with open_host(spec) as host:
        answer = await host.post("/agents/codex/spawn", {"env": {"OPENAI_API_KEY": "sk-12345678"}})
        assert (answer.status, answer.body["error"]) == (403, "codex: no good: ***")
        assert (await host.get("/agents/codex/status")).body["status"] == "auth_required"
        told = [one for one in await host.everything() if one.type == "auth_required"]
    assert [one.data for one in told] == [{"agentId": "codex", "message": "codex: no good: ***"}]
