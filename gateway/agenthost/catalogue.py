"""The agents that this host can start: a built-in table, and an operator's file that extends or overrides it.

The file is TOML with one table per agent; for a known id it changes only the named fields:

    [agents.my-agent]
    name = "My Agent"
    command = ["my-agent", "--acp"]
    credentials = ["MY_AGENT_API_KEY"]
    start_mode = "ask"
    asks_in = ["ask", "plan"]
    env = { MY_AGENT_TELEMETRY = "off" }

    [[agents.my-agent.authenticate]]
    method_id = "api-key"
    needs = ["MY_AGENT_API_KEY"]
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
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
class Refusal:
    """How an agent says that its account is refused: an error with this code, this text in it, or both."""

    code: int | None = None
    #: A regular expression that is searched, regardless of case, in the error's message and in its data.
    text: str = ""

    def fits(self, code: int, texts: Iterable[str]) -> bool:
        if self.code not in (None, code):
            return False
        return not self.text or any(re.search(self.text, text, re.IGNORECASE) for text in texts)


#: Characters of an error that are searched.
_SEARCHED = 10_000
#: For every agent. -32000 is ACP's; some agents use their provider's HTTP status as the code, or only quote its words.
REFUSALS = (
    *(Refusal(code=code) for code in (-32000, 401, 403)),
    Refusal(text=r"^401\b|\bunauthori[sz]ed\b.{0,20}\b401\b|\b401\b.{0,20}\bunauthori[sz]ed\b"),
    Refusal(text=r"\b(incorrect|invalid|expired|missing|no) (api[ -]?key|x-api-key|access token|credentials)\b"),
    Refusal(text=r"\bapi[ -]?key\b[^.]{0,40}\b(not valid|invalid|expired|incorrect)\b|\bno auth credentials\b"),
    Refusal(text=r"^(\w[\w ]{0,40}: )?unauthori[sz]ed\b.?$"),
    Refusal(text=r"\b(api_key_invalid|invalid_api_key|authentication_error|unauthenticated|invalid authentication)\b"),
)


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
    #: ACP's method of a login that the agent runs itself with a person; empty: it has none that works in a container.
    login: str = ""
    #: How it says that its account is refused, beside `REFUSALS`.
    refusals: tuple[Refusal, ...] = ()
    #: ACP's mode that its sessions begin in; empty: the agent's own choice.
    start_mode: str = ""
    #: ACP's configuration options that its sessions begin with, where the agent has them.
    start_options: dict[str, str | bool] = attrs.field(factory=dict)
    #: Modes in which it asks for permission before it acts. In any other mode it decides by itself.
    asks_in: tuple[str, ...] = ()
    #: False for an agent that never asks, whatever its mode.
    asks: bool = True
    #: Set for every process of this agent; a request's variables override them.
    env: dict[str, str] = attrs.field(factory=dict)
    #: How to install the program.
    install: str = ""
    #: The oldest major version of Node.js that it runs on; 0: it is not known to need one.
    node: int = 0

    @property
    def not_installed(self) -> str:
        return "; ".join(filter(None, (f"{self.id}: program not found in PATH", self.install)))

    def is_refusal(self, code: int, *texts: str) -> bool:
        """Whether an error of the agent's means that its account is refused, or missing."""
        beginnings = [text[:_SEARCHED] for text in texts]
        return any(one.fits(code, beginnings) for one in (*REFUSALS, *self.refusals))


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

# Copilot's modes have addresses for ids.
_MODES = "https://agentclientprotocol.com/protocol/session-modes"
# Of edits, commands and fetched pages; by itself OpenCode asks for nothing in its directory.
_OPENCODE_ASKS = json.dumps({"edit": "ask", "bash": "ask", "webfetch": "ask"})

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
        asks_in=("build", "plan"),
        env={"OPENCODE_DISABLE_AUTOUPDATE": "true", "OPENCODE_PERMISSION": _OPENCODE_ASKS},
        install=_npm("opencode-ai"),
    ),
    AgentSpec(
        id="claude-code",
        name="Claude Code",
        description="Anthropic's coding agent, by way of claude-agent-acp.",
        command=("claude-agent-acp",),
        # The agent prefers API_KEY to AUTH_TOKEN to OAUTH_TOKEN, so only the given one may be set.
        credentials=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
        start_mode="default",
        asks_in=("default", "plan"),
        # By default a refused key is silently retried for more than a minute.
        env={"CLAUDE_CODE_MAX_RETRIES": "2"},
        node=22,
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
        # It starts in `agent`, in which a reviewer of its own decides.
        start_mode="read-only",
        asks_in=("read-only",),
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
        start_mode="default",
        asks_in=("default", "plan"),
        node=20,
        install=_npm("@google/gemini-cli"),
    ),
    AgentSpec(
        id="qwen-code",
        name="Qwen Code",
        description="Alibaba's coding agent; needs OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL together.",
        command=("qwen", "--acp"),
        credentials=("OPENAI_API_KEY",),
        start_mode="default",
        asks_in=("default", "plan"),
        node=22,
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
        start_mode=f"{_MODES}#agent",
        asks_in=(f"{_MODES}#agent", f"{_MODES}#plan"),
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
        start_mode="approve",
        asks_in=("approve", "chat"),
        # Otherwise it begins in `auto`.
        env={"GOOSE_MODE": "approve"},
        install="install it from the releases of github.com/block/goose",
    ),
    AgentSpec(
        id="mistral-vibe",
        name="Mistral Vibe",
        description="Mistral's coding agent.",
        command=("vibe-acp",),
        credentials=("MISTRAL_API_KEY",),
        refusals=(Refusal(code=-31002),),
        # By itself it begins in `accept-edits`.
        start_mode="ask",
        asks_in=("ask",),
        install="install it with uv tool install mistral-vibe",
    ),
    AgentSpec(
        id="auggie",
        name="Auggie CLI",
        description="Augment Code's coding agent; takes a session as JSON, with accessToken, tenantURL and scopes.",
        command=("auggie", "--acp"),
        credentials=("AUGMENT_SESSION_AUTH", "AUGMENT_API_TOKEN"),
        start_mode="default",
        asks_in=("default", "ask"),
        env={"AUGMENT_DISABLE_AUTO_UPDATE": "1"},
        node=20,
        install=_npm("@augmentcode/auggie"),
    ),
    AgentSpec(
        id="qoder",
        name="Qoder CLI",
        description="Qoder's coding agent.",
        command=("qodercli", "--acp"),
        credentials=("QODER_PERSONAL_ACCESS_TOKEN",),
        node=20,
        install=_npm("@qoder-ai/qodercli"),
    ),
    AgentSpec(
        id="factory-droid",
        name="Factory Droid",
        description="Factory's coding agent.",
        command=("droid", "exec", "--output-format", "acp"),
        credentials=("FACTORY_API_KEY",),
        authenticate=(Authenticate(method_id="factory-api-key", needs=("FACTORY_API_KEY",)),),
        start_mode="normal",
        asks_in=("normal", "spec"),
        env={"DROID_DISABLE_AUTO_UPDATE": "true", "FACTORY_DROID_AUTO_UPDATE_ENABLED": "false"},
        install=_npm("droid"),
    ),
    AgentSpec(
        id="grok",
        name="Grok",
        description="xAI's coding agent.",
        command=("grok", "agent", "stdio"),
        credentials=("XAI_API_KEY",),
        # It runs what it takes for harmless without asking, commands that write files among it.
        asks=False,
        install=_npm("@xai-official/grok"),
    ),
    AgentSpec(
        id="kilo",
        name="Kilo Code",
        description="Open source coding agent, made from OpenCode; its free models need no account.",
        command=("kilo", "acp"),
        credentials=("KILO_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"),
        requires_auth=False,
        asks_in=("code", "ask", "debug", "orchestrator", "plan"),
        env={"KILO_DISABLE_AUTOUPDATE": "true", "KILO_PERMISSION": _OPENCODE_ASKS},
        install=_npm("@kilocode/cli"),
    ),
    AgentSpec(
        id="pi",
        name="Pi",
        description="Open source coding agent, by way of pi-acp; it never asks for permission.",
        command=("pi-acp",),
        credentials=("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY"),
        asks=False,
        node=22,
        install=_npm("pi-acp @earendil-works/pi-coding-agent"),
    ),
    AgentSpec(
        id="fast-agent",
        name="fast-agent",
        description="Open source agent for any model; FAST_AGENT_MODEL or its own configuration names the model.",
        command=("fast-agent", "acp", "-x"),
        asks_in=("agent",),
        credentials=("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY"),
        requires_auth=False,
        # By default a refused key is retried for 31 seconds. Its clients still retry what is transient.
        env={"LLM_RETRIES": "0"},
        install="install it with uv tool install fast-agent-mcp",
    ),
    AgentSpec(
        id="cline",
        name="Cline",
        description="Open source coding agent; works with an account of Cline, to which it logs its person in itself.",
        command=("cline", "--acp"),
        requires_auth=False,
        login="cline",
        node=22,
        install=_npm("cline"),
    ),
    AgentSpec(
        id="demo",
        name="Demo agent",
        description='Speaks real ACP, needs no account, and does what the prompt says; try "help".',
        command=(sys.executable, "-m", "gateway.agenthost.demo"),
        requires_auth=False,
        asks_in=("ask",),
        env={"PYTHONPATH": _PACKAGE_ROOT},
    ),
)

#: Other names of these agents: of the ACP registry, and of other containers.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "gemini-cli": "gemini",
        **dict.fromkeys(("claude-acp", "claude-code-acp", "claude-agent-acp"), "claude-code"),
        "codex-acp": "codex",
        "qwen": "qwen-code",
        **dict.fromkeys(("github-copilot-cli", "github-copilot-acp"), "copilot"),
        "droid": "factory-droid",
        "grok-build": "grok",
        "pi-acp": "pi",
    }
)


def canonical(agent_id: str) -> str:
    """The catalogue's id of an agent that others call so."""
    return ALIASES.get(agent_id, agent_id)


def has_aliases(agent_id: str) -> bool:
    """Whether an agent may have this name and another."""
    return agent_id in ALIASES or agent_id in ALIASES.values()


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
    login: str | None = None
    refusals: tuple[Refusal, ...] | None = None
    start_mode: str | None = None
    start_options: dict[str, str | bool] | None = None
    asks_in: tuple[str, ...] | None = None
    asks: bool | None = None
    env: dict[str, str] | None = None
    install: str | None = None
    node: int | None = None


@attrs.frozen(kw_only=True)
class _File:
    agents: dict[str, _Entry] = attrs.field(factory=dict)


def load(path: Path, base: Mapping[str, AgentSpec] = BUILT_IN) -> Mapping[str, AgentSpec]:
    """`base` with the agents of an operator's file; a `ConfigError` names the file and the place in it."""
    try:
        entries = from_builtins(_File, tomllib.loads(path.read_text("utf-8")), rename=snake_names).agents
        merged = dict(base)
        for name, entry in entries.items():
            agent_id = canonical(name)
            if agent_id != name and agent_id in entries:
                raise DecodeError(f"$.agents[{name}]: is {agent_id}, which is there, too")
            merged[agent_id] = _merge(agent_id, entry, base.get(agent_id))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, DecodeError) as exc:
        raise ConfigError(f"the agent catalogue {path}: {exc}") from exc
    return MappingProxyType(merged)


def named_in(path: Path) -> set[str]:
    """The ids of the agents in an operator's file."""
    load(path)
    return set(map(canonical, tomllib.loads(path.read_text("utf-8")).get("agents", {})))


def _merge(agent_id: str, entry: _Entry, known: AgentSpec | None) -> AgentSpec:
    given = {field.name: value for field in attrs.fields(_Entry) if (value := getattr(entry, field.name)) is not None}
    if given.get("command") == () or (known is None and "command" not in given):
        raise DecodeError(f"$.agents[{agent_id}].command: must name the program")
    for index, refusal in enumerate(entry.refusals or ()):
        if refusal.code is None and not refusal.text:
            raise DecodeError(f"$.agents[{agent_id}].refusals[{index}]: must have a code or a text")
        try:
            re.compile(refusal.text)
        except re.error as exc:
            raise DecodeError(f"$.agents[{agent_id}].refusals[{index}].text: {exc}") from exc
    if known is not None:
        given["env"] = {**known.env, **given.get("env", {})}
        return attrs.evolve(known, **given)
    return AgentSpec(**{"id": agent_id, "name": agent_id, "requires_auth": bool(given.get("credentials")), **given})
