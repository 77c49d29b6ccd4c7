"""What each agent is given for each kind of credential, by the table alone; real agents are asked elsewhere."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.agenthost.catalogue import BUILT_IN as HOST_AGENTS
from gateway.credentials.catalogue import API_KEY, BUILT_IN, OAUTH, TOKEN, Authenticate, Catalogue, Injection, load
from gateway.errors import ConfigError

SECRET = 'tok-"quoted\\-0123456789'


def injected(agent: str, token_type: str, *, provider: str | None = None, token: str = SECRET) -> Injection:
    given = Catalogue().injection(agent, token_type, token, provider=provider)
    assert given is not None
    return given


@pytest.mark.parametrize(
    ("agent", "token_type", "provider", "variable"),
    [
        ("claude-code", API_KEY, None, "ANTHROPIC_API_KEY"),
        ("claude-code", OAUTH, "anthropic", "CLAUDE_CODE_OAUTH_TOKEN"),
        ("claude-code", TOKEN, None, "CLAUDE_CODE_OAUTH_TOKEN"),
        ("codex", API_KEY, "openai", "CODEX_API_KEY"),
        ("codex", TOKEN, None, "CODEX_ACCESS_TOKEN"),
        ("gemini", API_KEY, None, "GEMINI_API_KEY"),
        ("gemini", API_KEY, "google-vertex", "GOOGLE_API_KEY"),
        ("gemini", OAUTH, "google", "GOOGLE_CLOUD_ACCESS_TOKEN"),
        ("qwen-code", API_KEY, None, "OPENAI_API_KEY"),
        ("copilot", OAUTH, "github", "COPILOT_GITHUB_TOKEN"),
        ("copilot", TOKEN, None, "COPILOT_GITHUB_TOKEN"),
        ("goose", API_KEY, "openrouter", "OPENROUTER_API_KEY"),
        ("mistral-vibe", API_KEY, None, "MISTRAL_API_KEY"),
        ("auggie", TOKEN, None, "AUGMENT_SESSION_AUTH"),
        ("qoder", TOKEN, None, "QODER_PERSONAL_ACCESS_TOKEN"),
    ],
)
def test_token_stands_in_the_one_variable_that_the_agent_reads(
    agent: str, token_type: str, provider: str | None, variable: str
) -> None:
    given = injected(agent, token_type, provider=provider)
    assert [name for name, value in given.env.items() if SECRET in value] == [variable]
    assert variable not in given.unset
    assert not given.env.keys() & set(given.unset)


@pytest.mark.parametrize("agent", sorted({way.agent for way in BUILT_IN}))
def test_each_way_unsets_all_that_the_other_ways_of_its_agent_set(agent: str) -> None:
    ways = [way for way in BUILT_IN if way.agent == agent]
    secret = {name for way in ways for name, text in way.env.items() if "{token" in text}
    for way in ways:
        assert secret <= {*way.unset, *way.env}


@pytest.mark.parametrize("way", BUILT_IN, ids=lambda way: f"{way.agent}-{way.token_type}-{way.provider}")
def test_each_way_is_for_an_agent_that_the_host_knows_and_covers_its_variables(way) -> None:
    spec = HOST_AGENTS[way.agent]
    assert set(spec.credentials) <= {*way.unset, *way.env}


def test_claude_gives_up_a_refused_key_soon() -> None:
    assert injected("claude-code", API_KEY).env["CLAUDE_CODE_MAX_RETRIES"] == "1"


def test_codex_keeps_a_key_in_memory_and_reads_it_by_authenticate() -> None:
    given = injected("codex", API_KEY)
    assert given.authenticate == Authenticate(method_id="api-key")
    assert [(file.variable, file.path, file.content) for file in given.files] == [
        ("CODEX_HOME", "config.toml", 'cli_auth_credentials_store = "ephemeral"\n')
    ]
    alone = given.variables_alone()
    assert alone is not None
    assert json.loads(alone["DEFAULT_AUTH_REQUEST"]) == {"methodId": "api-key"}
    assert alone["CODEX_API_KEY"] == SECRET
    assert alone["OPENAI_API_KEY"] == ""


def test_codex_reads_a_chatgpt_login_from_a_file_without_a_refresh_token() -> None:
    claims = {"https://api.openai.com/auth": {"chatgpt_account_id": "acct-1"}}
    token = "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".c2ln"
    given = injected("codex", OAUTH, token=token)
    auth = json.loads(next(file.content for file in given.files if file.path == "auth.json"))
    assert auth["tokens"] == {"id_token": token, "access_token": token, "refresh_token": "", "account_id": "acct-1"}
    assert auth["auth_mode"] == "chatgpt"
    assert given.variables_alone() is None


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "a." + base64.b64encode(b"[1]").decode() + ".c"])
def test_token_that_names_no_account_is_given_all_the_same(token: str) -> None:
    auth = json.loads(injected("codex", OAUTH, token=token).files[1].content)
    assert auth["tokens"]["account_id"] == ""


def test_gemini_s_login_is_two_variables_and_a_call_which_variables_alone_cannot_say() -> None:
    given = injected("gemini", OAUTH)
    assert given.env == {"GOOGLE_CLOUD_ACCESS_TOKEN": SECRET, "GOOGLE_GENAI_USE_GCA": "true"}
    assert given.authenticate == Authenticate(method_id="oauth-personal")
    assert given.variables_alone() is None


def test_qwen_gets_the_three_variables_that_it_wants_together() -> None:
    assert injected("qwen-code", API_KEY).env.keys() == {"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"}


@pytest.mark.parametrize(
    ("token_type", "provider", "content"),
    [
        (API_KEY, "anthropic", {"anthropic": {"type": "api", "key": SECRET}}),
        (API_KEY, None, {"opencode": {"type": "api", "key": SECRET}}),
        (OAUTH, "github", {"github-copilot": {"type": "oauth", "refresh": SECRET, "access": SECRET, "expires": 0}}),
    ],
)
def test_opencode_gets_a_whole_auth_json_in_a_variable(token_type: str, provider: str | None, content: object) -> None:
    given = injected("opencode", token_type, provider=provider)
    assert json.loads(given.env["OPENCODE_AUTH_CONTENT"]) == content


def test_opencode_s_chatgpt_login_ends_when_the_token_does() -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    given = Catalogue().injection("opencode", OAUTH, SECRET, provider="openai", expires_at=end)
    assert given is not None
    assert json.loads(given.env["OPENCODE_AUTH_CONTENT"])["openai"] == {
        "type": "oauth",
        "refresh": "",
        "access": SECRET,
        "accountId": "",
        "expires": int(end.timestamp() * 1000),
    }


def test_agent_that_takes_no_such_token_is_given_none() -> None:
    assert Catalogue().injection("gemini", TOKEN, SECRET) is None
    assert Catalogue().injection("demo", API_KEY, SECRET) is None
    assert Catalogue().kinds("gemini") == [API_KEY, OAUTH]


def test_operator_s_ways_stand_before_the_built_in_ones(tmp_path: Path) -> None:
    path = tmp_path / "ways.toml"
    path.write_text(
        """
        [[ways]]
        agent = "my-agent"
        token_type = "api_key"
        env = { MY_KEY = "{token}" }
        unset = ["MY_SESSION"]
        authenticate = { method_id = "key", meta = { key = "{token}" } }
        files = [{ variable = "MY_HOME", path = "auth.json", content = '{"t":"{token:json}"}' }]

        [[ways]]
        agent = "qwen-code"
        token_type = "api_key"
        env = { OPENAI_API_KEY = "{token}", OPENAI_BASE_URL = "https://models.example/v1", OPENAI_MODEL = "ours" }
        """
    )
    catalogue = load(path)
    given = catalogue.injection("my-agent", API_KEY, SECRET)
    assert given is not None
    assert (given.env, given.unset) == ({"MY_KEY": SECRET}, ("MY_SESSION",))
    assert given.authenticate == Authenticate(method_id="key", meta={"key": SECRET})
    assert json.loads(given.files[0].content) == {"t": SECRET}
    assert given.variables_alone() is None
    qwen = catalogue.injection("qwen-code", API_KEY, SECRET)
    assert qwen is not None
    assert qwen.env["OPENAI_MODEL"] == "ours"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[ways]]\nagent = "a"', "token_type: missing"),
        ('[[ways]]\nagent = "a"\ntoken_type = "key"', "must be api_key, oauth or token"),
        ('[[ways]]\nagent = "a"\ntoken_type = "oauth"\nvariable = "X"', "variable: unknown"),
        ("[[", "ways.toml"),
    ],
)
def test_mistake_in_an_operator_s_file_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "ways.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(path)
