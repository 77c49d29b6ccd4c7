"""The agents that this host can start: a built-in table, and an operator's file that extends or overrides it.

The file is TOML with one table per agent; for a known id it changes only the named fields:

    [agents.my-agent]
    name = "My Agent"
    command = ["my-agent", "--acp"]
    credentials = ["MY_AGENT_API_KEY"]
    env = { MY_AGENT_TELEMETRY = "off" }

    [[agents.my-agent.authenticate]]
    method_id = "api-key"
    needs = ["MY_AGENT_API_KEY"]
"""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from gateway.errors import ConfigError
from gateway.wire.codec import DecodeError, from_builtins, snake_names


@attrs.frozen(kw_only=True)
class Authenticate:
    """ACP's `authenticate`, called after `initialize` if all of `needs` are set and the agent offers the method."""

    method_id: str
    #: Variables that this method reads. Without them it may open a browser and block for minutes.
    needs: tuple[str, ...] = ()
    meta: dict[str, Any] | None = None
    #: Variables to set in addition to the credential.
    env: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class AgentSpec:
    """How one agent is started and given its credential."""

    id: str
    name: str
    description: str = ""
    #: A program, with arguments, that speaks ACP over stdio.
    command: tuple[str, ...]
    #: Variables for a credential, the preferred one first. One that a request sets unsets all the others.
    credentials: tuple[str, ...] = ()
    requires_auth: bool = True
    authenticate: tuple[Authenticate, ...] = ()
    #: Set for every process of this agent; a request's variables override them.
    env: dict[str, str] = attrs.field(factory=dict)
    #: How to install the program.
    install: str = ""

    @property
    def not_installed(self) -> str:
        return "; ".join(filter(None, (f"{self.id}: program not found in PATH", self.install)))


def _npm(package: str) -> str:
    return f"install it with npm install -g {package}"


# So that the demo runs both installed and from a checkout.
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])

# Codex tries a refused key twelve times in 16 seconds. Only custom providers can be configured to try less, so this
# repeats the built-in one. It is set only with a key: without one, such a provider counts as needing none.
_CODEX_FEW_RETRIES = {
    "CODEX_CONFIG": json.dumps(
        {
            "model_provider": "openai-few-retries",
            "model_providers": {
                "openai-few-retries": {
                    "name": "OpenAI",
                    "wire_api": "responses",
                    "requires_openai_auth": True,
                    "supports_websockets": True,
                    "supports_standalone_web_search": True,
                    "env_http_headers": {
                        "OpenAI-Organization": "OPENAI_ORGANIZATION",
                        "OpenAI-Project": "OPENAI_PROJECT",
                    },
                    # Each stream is opened with four attempts, so short network failures end no turn.
                    "stream_max_retries": 3,
                }
            },
        }
    )
}

_AGENTS = (
    AgentSpec(
        id="opencode",
        name="OpenCode",
        description="Open source coding agent; its free models need no account.",
        command=("opencode", "acp"),
        credentials=(
            *("OPENCODE_AUTH_CONTENT", "OPENCODE_API_KEY"),
            *("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"),
        ),
        requires_auth=False,
        env={"OPENCODE_DISABLE_AUTOUPDATE": "true"},
        install=_npm("opencode-ai"),
    ),
    AgentSpec(
        id="claude-code",
        name="Claude Code",
        description="Anthropic's coding agent, by way of claude-agent-acp.",
        command=("claude-agent-acp",),
        # The agent prefers API_KEY to AUTH_TOKEN to OAUTH_TOKEN, so only the given one may be set.
        credentials=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
        # By default a refused key is silently retried for more than a minute.
        env={"CLAUDE_CODE_MAX_RETRIES": "2"},
        install=_npm("@agentclientprotocol/claude-agent-acp"),
    ),
    AgentSpec(
        id="codex",
        name="Codex",
        description="OpenAI's coding agent, by way of codex-acp.",
        command=("codex-acp",),
        credentials=("OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN"),
        # Only this method reads the key from the environment.
        authenticate=(
            Authenticate(method_id="api-key", needs=("CODEX_API_KEY",), env=_CODEX_FEW_RETRIES),
            Authenticate(method_id="api-key", needs=("OPENAI_API_KEY",), env=_CODEX_FEW_RETRIES),
            # For the older Rust adapter.
            Authenticate(method_id="codex-api-key", needs=("CODEX_API_KEY",)),
            Authenticate(method_id="openai-api-key", needs=("OPENAI_API_KEY",)),
        ),
        env={"NO_BROWSER": "1"},
        install=_npm("@agentclientprotocol/codex-acp"),
    ),
    AgentSpec(
        id="gemini",
        name="Gemini CLI",
        description="Google's coding agent.",
        command=("gemini", "--acp"),
        credentials=("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_ACCESS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"),
        authenticate=(
            Authenticate(method_id="vertex-ai", needs=("GOOGLE_API_KEY",), env={"GOOGLE_GENAI_USE_VERTEXAI": "true"}),
            Authenticate(
                method_id="oauth-personal", needs=("GOOGLE_CLOUD_ACCESS_TOKEN",), env={"GOOGLE_GENAI_USE_GCA": "true"}
            ),
        ),
        install=_npm("@google/gemini-cli"),
    ),
    AgentSpec(
        id="qwen-code",
        name="Qwen Code",
        description="Alibaba's coding agent; needs OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL together.",
        command=("qwen", "--acp"),
        credentials=("OPENAI_API_KEY",),
        install=_npm("@qwen-code/qwen-code"),
    ),
    AgentSpec(
        id="copilot",
        name="GitHub Copilot CLI",
        description="GitHub's coding agent; takes a fine-grained token with the Copilot Requests permission.",
        command=("copilot", "--acp"),
        credentials=(
            *("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"),
            *("COPILOT_PROVIDER_API_KEY", "COPILOT_PROVIDER_BEARER_TOKEN"),
        ),
        install=_npm("@github/copilot"),
    ),
    AgentSpec(
        id="goose",
        name="Goose",
        description="Open source agent for any model; needs GOOSE_PROVIDER and GOOSE_MODEL beside the provider's key.",
        command=("goose", "acp"),
        credentials=(
            *("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY", "DATABRICKS_TOKEN"),
        ),
        install="install it from the releases of github.com/block/goose",
    ),
    AgentSpec(
        id="mistral-vibe",
        name="Mistral Vibe",
        description="Mistral's coding agent.",
        command=("vibe-acp",),
        credentials=("MISTRAL_API_KEY",),
        install="install it with uv tool install mistral-vibe",
    ),
    AgentSpec(
        id="auggie",
        name="Auggie CLI",
        description="Augment Code's coding agent; takes a session as JSON, with accessToken, tenantURL and scopes.",
        command=("auggie", "--acp"),
        credentials=("AUGMENT_SESSION_AUTH", "AUGMENT_API_TOKEN"),
        env={"AUGMENT_DISABLE_AUTO_UPDATE": "1"},
        install=_npm("@augmentcode/auggie"),
    ),
    AgentSpec(
        id="qoder",
        name="Qoder CLI",
        description="Qoder's coding agent.",
        command=("qodercli", "--acp"),
        credentials=("QODER_PERSONAL_ACCESS_TOKEN",),
        install=_npm("@qoder-ai/qodercli"),
    ),
    AgentSpec(
        id="demo",
        name="Demo agent",
        description='Speaks real ACP, needs no account, and does what the prompt says; try "help".',
        command=(sys.executable, "-m", "gateway.agenthost.demo"),
        requires_auth=False,
        env={"PYTHONPATH": _PACKAGE_ROOT},
    ),
)

BUILT_IN: Mapping[str, AgentSpec] = MappingProxyType({spec.id: spec for spec in _AGENTS})


@attrs.frozen(kw_only=True)
class _Entry:
    """One agent of an operator's file; absent fields are taken from the built-in agent of the same id."""

    name: str | None = None
    description: str | None = None
    command: tuple[str, ...] | None = None
    credentials: tuple[str, ...] | None = None
    requires_auth: bool | None = None
    authenticate: tuple[Authenticate, ...] | None = None
    env: dict[str, str] | None = None
    install: str | None = None


@attrs.frozen(kw_only=True)
class _File:
    agents: dict[str, _Entry] = attrs.field(factory=dict)


def load(path: Path, base: Mapping[str, AgentSpec] = BUILT_IN) -> Mapping[str, AgentSpec]:
    """`base` with the agents of an operator's file; a `ConfigError` names the file and the place in it."""
    try:
        entries = from_builtins(_File, tomllib.loads(path.read_text("utf-8")), rename=snake_names).agents
        merged = dict(base)
        for agent_id, entry in entries.items():
            merged[agent_id] = _merge(agent_id, entry, base.get(agent_id))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, DecodeError) as exc:
        raise ConfigError(f"the agent catalogue {path}: {exc}") from exc
    return MappingProxyType(merged)


def _merge(agent_id: str, entry: _Entry, known: AgentSpec | None) -> AgentSpec:
    given = {field.name: value for field in attrs.fields(_Entry) if (value := getattr(entry, field.name)) is not None}
    if given.get("command") == () or (known is None and "command" not in given):
        raise DecodeError(f"$.agents[{agent_id}].command: must name the program")
    if known is not None:
        return attrs.evolve(known, **given)
    return AgentSpec(**{"id": agent_id, "name": agent_id, "requires_auth": bool(given.get("credentials")), **given})
