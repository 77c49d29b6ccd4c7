"""What each real agent must send for each kind of credential, and how it fails where that is refused."""

import base64
import json
from collections.abc import Callable

import attrs

from gateway.agenthost.catalogue import BUILT_IN
from gateway.credentials.catalogue import API_KEY, OAUTH, TOKEN

KEY = "sk-tests-0123456789abcdefABCDEF"
ACCOUNT = "acct-0123456789"
OPERATORS = "operators-own-0123456789"
#: ACP's reason for the end of a turn that failed and is no error for its agent.
REFUSAL = "refusal"


def jwt(claims: dict[str, object]) -> str:
    """A token that reads like one of OpenAI's; nobody here checks its signature."""
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.c2ln"


CHATGPT = jwt(
    {
        "exp": 4102444800,
        "https://api.openai.com/auth": {"chatgpt_account_id": ACCOUNT, "chatgpt_plan_type": "plus"},
        "https://api.openai.com/profile": {"email": "ann@example.org", "email_verified": True},
    }
)


@attrs.frozen(kw_only=True)
class Row:
    """One row of the catalogue, held against the agent."""

    agent: str
    token_type: str
    provider: str | None = None
    token: str = KEY
    #: What leads the agent to the provider of the tests, beside the credential.
    env: Callable[[str], dict[str, str]] = lambda url: {}
    #: Set in the container as an operator may have; it must go.
    rivals: tuple[str, ...] = ()
    #: Where it asks, and what it must send there.
    path: str
    headers: dict[str, str]
    #: Must not be among the headers there.
    without: tuple[str, ...] = ()
    #: Whether a session cannot even be made with a credential that is refused.
    at_once: bool = False
    #: The class of the failure that its turn ends with, or REFUSAL.
    failure: str = "auth_required"
    #: Given as a container of the base contract is: by variables alone.
    alone: bool = False
    #: Within so many seconds its first turn must have ended.
    seconds: float = 60.0
    #: Files in its home that it writes the credential to all the same.
    leaves: tuple[str, ...] = ()

    def __str__(self) -> str:
        kind = f"{self.provider}-{self.token_type}" if self.provider else self.token_type
        return f"{self.agent}-{kind}" + ("-alone" if self.alone else "")


def _codex(url: str) -> dict[str, str]:
    return {
        "CODEX_CONFIG": json.dumps({"openai_base_url": f"{url}/v1", "chatgpt_base_url": f"{url}/backend-api"}),
        "CODEX_REFRESH_TOKEN_URL_OVERRIDE": f"{url}/refresh",
    }


def _codex_with_few_retries(url: str) -> dict[str, str]:
    """What it is given with a key, led to the provider of the tests."""
    (given,) = {json.dumps(method.env) for method in BUILT_IN["codex"].authenticate if method.env}
    config = json.loads(json.loads(given)["CODEX_CONFIG"])
    config["model_providers"][config["model_provider"]]["base_url"] = f"{url}/v1"
    return {"CODEX_CONFIG": json.dumps(config)}


def _opencode(provider: str, model: str, path: str, *, plugins: bool = False) -> Callable[[str], dict[str, str]]:
    def env(url: str) -> dict[str, str]:
        config = {
            "provider": {provider: {"options": {"baseURL": url + path}, "models": {model: {"name": "Model"}}}},
            "enabled_providers": [provider],
            "model": f"{provider}/{model}",
            "small_model": f"{provider}/{model}",
            "autoupdate": False,
            "share": "disabled",
        }
        return {
            "OPENCODE_CONFIG_CONTENT": json.dumps(config),
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "npm_config_offline": "true",
            **({} if plugins else {"OPENCODE_DISABLE_DEFAULT_PLUGINS": "1"}),
        }

    return env


_CLAUDE_RIVALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_CODEX_RIVALS = ("CODEX_API_KEY", "OPENAI_API_KEY")
_GEMINI_RIVALS = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_ACCESS_TOKEN")
_OPENCODE_RIVALS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENCODE_API_KEY")


def _claude(url: str) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": url}


def _gemini(url: str) -> dict[str, str]:
    return {"GOOGLE_GEMINI_BASE_URL": url, "GOOGLE_VERTEX_BASE_URL": url, "CODE_ASSIST_ENDPOINT": url}


def _qwen(url: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{url}/v1"}


def _vibe(url: str) -> dict[str, str]:
    provider = {"name": "mistral", "api_base": f"{url}/v1", "api_key_env_var": "MISTRAL_API_KEY", "backend": "mistral"}
    return {"VIBE_PROVIDERS": json.dumps([provider]), "VIBE_ENABLE_TELEMETRY": "false"}


def _fast_agent(url: str) -> dict[str, str]:
    return {"FAST_AGENT_MODEL": "claude-sonnet-4-5", "ANTHROPIC_BASE_URL": url}


_BEARER = {"authorization": f"Bearer {KEY}"}

ROWS = (
    Row(
        agent="claude-code",
        token_type=API_KEY,
        env=_claude,
        rivals=_CLAUDE_RIVALS,
        path="/v1/messages",
        headers={"x-api-key": KEY},
        without=("authorization",),
    ),
    *(
        Row(
            agent="claude-code",
            token_type=token_type,
            env=_claude,
            rivals=_CLAUDE_RIVALS,
            path="/v1/messages",
            headers={**_BEARER, "anthropic-beta": "oauth-2025-04-20"},
            without=("x-api-key",),
        )
        for token_type in (OAUTH, TOKEN)
    ),
    Row(
        agent="codex",
        token_type=API_KEY,
        env=_codex_with_few_retries,
        # It takes 3 on two cores, and 16 with the retries that it has by itself.
        seconds=10.0,
        rivals=_CODEX_RIVALS,
        path="/v1/responses",
        headers=_BEARER,
        without=("chatgpt-account-id",),
    ),
    Row(
        agent="codex",
        token_type=API_KEY,
        env=_codex,
        path="/v1/responses",
        headers=_BEARER,
        alone=True,
        leaves=(".codex/auth.json",),
    ),
    Row(
        agent="codex",
        token_type=OAUTH,
        token=CHATGPT,
        env=_codex,
        rivals=_CODEX_RIVALS,
        path="/v1/responses",
        headers={"authorization": f"Bearer {CHATGPT}", "chatgpt-account-id": ACCOUNT},
    ),
    Row(
        agent="gemini",
        token_type=API_KEY,
        env=_gemini,
        rivals=_GEMINI_RIVALS,
        path="/v1beta/models/",
        headers={"x-goog-api-key": KEY},
        without=("authorization",),
    ),
    Row(
        agent="gemini",
        token_type=API_KEY,
        env=_gemini,
        path="/v1beta/models/",
        headers={"x-goog-api-key": KEY},
        alone=True,
    ),
    Row(
        agent="gemini",
        token_type=API_KEY,
        provider="google-vertex",
        env=_gemini,
        rivals=_GEMINI_RIVALS,
        path="/v1beta1/publishers/google/models/",
        headers={"x-goog-api-key": KEY},
    ),
    Row(
        agent="gemini",
        token_type=OAUTH,
        env=_gemini,
        rivals=_GEMINI_RIVALS,
        path="/v1internal:loadCodeAssist",
        headers=_BEARER,
        without=("x-goog-api-key",),
        at_once=True,
    ),
    Row(
        agent="qwen-code",
        token_type=API_KEY,
        env=_qwen,
        rivals=("OPENAI_API_KEY", "DASHSCOPE_API_KEY"),
        path="/v1/chat/completions",
        headers=_BEARER,
    ),
    Row(
        agent="mistral-vibe",
        token_type=API_KEY,
        env=_vibe,
        rivals=("MISTRAL_API_KEY",),
        path="/v1/chat/completions",
        headers=_BEARER,
    ),
    Row(
        agent="fast-agent",
        token_type=API_KEY,
        env=_fast_agent,
        rivals=BUILT_IN["fast-agent"].credentials,
        path="/v1/messages",
        headers={"x-api-key": KEY},
        without=("authorization",),
        # It takes 2 seconds on two cores, and 31 more with the retries that it has by itself.
        seconds=30.0,
        failure=REFUSAL,
    ),
    Row(
        agent="opencode",
        token_type=API_KEY,
        provider="anthropic",
        env=_opencode("anthropic", "claude-sonnet-4-5", "/v1"),
        rivals=_OPENCODE_RIVALS,
        path="/v1/messages",
        headers={"x-api-key": KEY},
    ),
    Row(
        agent="opencode",
        token_type=API_KEY,
        provider="openai",
        env=_opencode("openai", "gpt-5", "/v1"),
        rivals=_OPENCODE_RIVALS,
        path="/v1/responses",
        headers=_BEARER,
    ),
    Row(
        agent="opencode",
        token_type=API_KEY,
        env=_opencode("opencode", "claude-sonnet-4-5", "/zen/v1"),
        rivals=_OPENCODE_RIVALS,
        path="/zen/v1/",
        headers={"x-api-key": KEY},
    ),
    Row(
        agent="opencode",
        token_type=OAUTH,
        provider="github",
        env=_opencode("github-copilot", "gpt-4.1", "/copilot", plugins=True),
        rivals=_OPENCODE_RIVALS,
        path="/copilot/",
        headers=_BEARER,
    ),
)
