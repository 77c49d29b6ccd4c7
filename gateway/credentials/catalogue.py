"""What each agent is given for each kind of credential: exactly what it reads, with its rivals gone.

Data and pure functions. A token under the wrong name is worse than none: an OAuth token as ``ANTHROPIC_API_KEY`` is
sent as an API key, and a key that is inherited from somewhere is billed to whoever set it. So each way names all
variables that the agent might read instead, and they are taken out of its process.

An operator's own entries (``credentials.catalogue``) come as a TOML file and stand before these:

    [[ways]]
    agent = "my-agent"
    token_type = "api_key"
    env = { MY_AGENT_API_KEY = "{token}" }
    unset = ["MY_AGENT_SESSION"]
    authenticate = { method_id = "api-key" }
"""

import base64
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from gateway.agenthost.catalogue import canonical
from gateway.errors import ConfigError
from gateway.wire.codec import DecodeError, from_builtins, snake_names

#: Kinds of credential: an API key, an OAuth token, a token that the user pasted.
API_KEY, OAUTH, TOKEN = "api_key", "oauth", "token"
_PLACE = re.compile(r"\{(token|provider|account|expires_ms|now)(:json)?\}")
#: OpenAI's OAuth tokens name the account in this claim.
_OPENAI_CLAIM = "https://api.openai.com/auth"


@attrs.frozen(kw_only=True)
class Authenticate:
    """ACP's ``authenticate``, called once the process is initialised."""

    method_id: str
    #: ``_meta`` of the call, if the agent takes its key there.
    meta: dict[str, Any] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class File:
    """A file below the directory that a variable names, which the process has for itself."""

    variable: str
    path: str
    content: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Injection:
    """What gives a user's credential to an agent's process."""

    env: dict[str, str] = attrs.field(repr=False)
    unset: tuple[str, ...] = ()
    authenticate: Authenticate | None = None
    files: tuple[File, ...] = ()
    #: The same for a container that takes only variables; None if it needs more.
    alone: dict[str, str] | None = attrs.field(default=None, repr=False)

    def variables_alone(self) -> dict[str, str] | None:
        """For a container of the base contract. It cannot unset a variable; empty is the nearest."""
        if self.alone is None:
            return None
        return {**dict.fromkeys(self.unset, ""), **self.env, **self.alone}


@attrs.frozen(kw_only=True)
class Way:
    """How one agent takes one kind of credential.

    In texts ``{token}`` is the token, ``{provider}`` its provider's name, ``{account}`` the account in an OpenAI token,
    ``{expires_ms}`` its expiry in milliseconds since 1970 and ``{now}`` the time; ``{token:json}`` and the like are
    escaped for a JSON string.
    """

    agent: str
    token_type: str
    #: Only for this provider's tokens; None: for all.
    provider: str | None = None
    env: dict[str, str] = attrs.field(factory=dict)
    unset: tuple[str, ...] = ()
    authenticate: Authenticate | None = None
    files: tuple[File, ...] = ()
    #: Variables in place of ``authenticate`` and ``files``, for containers that take only variables.
    alone: dict[str, str] | None = None

    def fits(self, agent_id: str, token_type: str, provider: str | None) -> bool:
        return (self.agent, self.token_type) == (agent_id, token_type) and self.provider in (None, provider)

    def filled(self, values: Mapping[str, str]) -> Injection:
        """With a token's values filled in."""
        fill = _Filler(values)
        alone = self.alone
        if alone is None and self.authenticate is None and not self.files:
            alone = {}
        call = self.authenticate
        return Injection(
            env={name: fill.text(text) for name, text in self.env.items()},
            unset=tuple(name for name in self.unset if name not in self.env),
            authenticate=None if call is None else attrs.evolve(call, meta=fill.value(call.meta)),
            files=tuple(attrs.evolve(file, content=fill.text(file.content)) for file in self.files),
            alone=None if alone is None else {name: fill.text(text) for name, text in alone.items()},
        )


class _Filler:
    """Fills a token's values into texts."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, text: str) -> str:
        return _PLACE.sub(self._found, text)

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self.value(member) for name, member in value.items()}
        return self.text(value) if isinstance(value, str) else value

    def _found(self, match: re.Match[str]) -> str:
        value = self._values.get(match[1], "")
        return json.dumps(value)[1:-1] if match[2] else value


class Catalogue:
    """All ways, an operator's first. An agent that has none is given its credential as its container declares it.

    ``declared``: the variables that the container says the agent reads credentials from, the preferred one first.
    """

    def __init__(self, ways: Iterable[Way] = ()) -> None:
        # Ways for one provider come before general ones.
        self._ways = [*sorted(ways, key=_is_general), *sorted(BUILT_IN, key=_is_general)]

    def injection(
        self,
        agent_id: str,
        token_type: str,
        token: str,
        *,
        provider: str | None = None,
        expires_at: datetime | None = None,
        declared: Sequence[str] = (),
    ) -> Injection | None:
        """How to give the token to the agent; None if the agent does not take it."""
        for way in self._ways_of(agent_id, declared):
            if way.fits(way.agent, token_type, provider):
                return way.filled(_values(token, provider, expires_at))
        return None

    def kinds(self, agent_id: str, declared: Sequence[str] = ()) -> list[str]:
        """The kinds of credential that the agent takes."""
        return list(dict.fromkeys(way.token_type for way in self._ways_of(agent_id, declared)))

    def _ways_of(self, agent_id: str, declared: Sequence[str]) -> list[Way]:
        # By the container's name for it first, which an operator may have written down.
        for name in (agent_id, canonical(agent_id)):
            if ways := [way for way in self._ways if way.agent == name]:
                return ways
        if not declared:
            return []
        return [_variable(agent_id, kind, declared[0], tuple(declared[1:])) for kind in (API_KEY, TOKEN)]


@attrs.frozen(kw_only=True)
class _File:
    ways: tuple[Way, ...] = ()


def load(path: Path) -> Catalogue:
    """The catalogue with an operator's file; a ``ConfigError`` names the file and the place in it."""
    try:
        ways = from_builtins(_File, tomllib.loads(path.read_text("utf-8")), rename=snake_names).ways
        for index, way in enumerate(ways):
            if way.token_type not in (API_KEY, OAUTH, TOKEN):
                raise DecodeError(f"$.ways[{index}].token_type: must be {API_KEY}, {OAUTH} or {TOKEN}")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, DecodeError) as exc:
        raise ConfigError(f"the catalogue of credentials {path}: {exc}") from exc
    return Catalogue(ways)


def _is_general(way: Way) -> bool:
    return way.provider is None


def _values(token: str, provider: str | None, expires_at: datetime | None) -> dict[str, str]:
    end = 0 if expires_at is None else int(expires_at.timestamp() * 1000)
    return {
        "token": token,
        "provider": provider or "",
        "account": _openai_account(token),
        "expires_ms": str(end),
        "now": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _openai_account(token: str) -> str:
    """Not verified: the agent only sends it back to the issuer."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        account = claims[_OPENAI_CLAIM]["chatgpt_account_id"]
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        return ""
    return account if isinstance(account, str) else ""


# Variables that any of an agent's ways sets, or that would override it or be sent with it.
_ANTHROPIC = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_CLAUDE = (*_ANTHROPIC, "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "AWS_BEARER_TOKEN_BEDROCK")
_CODEX = ("CODEX_API_KEY", "OPENAI_API_KEY", "CODEX_ACCESS_TOKEN")
_GEMINI = (
    *("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_ACCESS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA"),
)
_COPILOT = (
    *("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"),
    *("COPILOT_PROVIDER_API_KEY", "COPILOT_PROVIDER_BEARER_TOKEN", "COPILOT_PROVIDER_BASE_URL"),
)
_OPENCODE = (
    *("OPENCODE_AUTH_CONTENT", "OPENCODE_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"),
)
_GOOSE = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY", "DATABRICKS_TOKEN")
_QWEN = ("OPENAI_API_KEY", "DASHSCOPE_API_KEY")

# Otherwise a refused key is silently retried for more than a minute.
_FEW_RETRIES = {"CLAUDE_CODE_MAX_RETRIES": "1"}
# Codex writes credentials into its home directory; this keeps them in memory, or read-only.
_CODEX_IN_MEMORY = File(variable="CODEX_HOME", path="config.toml", content='cli_auth_credentials_store = "ephemeral"\n')
_CODEX_FROM_FILE = File(variable="CODEX_HOME", path="config.toml", content='cli_auth_credentials_store = "file"\n')
# Without a refresh token, because only the gateway refreshes. Codex requires an id token, for claims that the access
# token has, too.
_CODEX_AUTH = File(
    variable="CODEX_HOME",
    path="auth.json",
    content='{"auth_mode":"chatgpt","OPENAI_API_KEY":null,"tokens":{"id_token":"{token:json}","access_token":'
    '"{token:json}","refresh_token":"","account_id":"{account:json}"},"last_refresh":"{now}"}',
)
_OPENCODE_API = '{"{provider:json}":{"type":"api","key":"{token:json}"}}'
_OPENCODE_ZEN = '{"opencode":{"type":"api","key":"{token:json}"}}'
_OPENCODE_GITHUB = '{"github-copilot":{"type":"oauth","refresh":"{token:json}","access":"{token:json}","expires":0}}'
_OPENCODE_CHATGPT = (
    '{"openai":{"type":"oauth","refresh":"","access":"{token:json}","expires":{expires_ms},'
    '"accountId":"{account:json}"}}'
)
#: Providers that OpenCode knows by these names, and takes a key for.
_OPENCODE_PROVIDERS = ("anthropic", "openai", "openrouter", "google", "groq", "mistral", "deepseek", "xai")
_GOOSE_PROVIDERS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "google": "GOOGLE_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
}
_QWEN_DEFAULTS = {
    "OPENAI_BASE_URL": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "OPENAI_MODEL": "qwen3-coder-plus",
}


def _claude(token_type: str, variable: str) -> Way:
    env = {variable: "{token}", **_FEW_RETRIES}
    return Way(agent="claude-code", token_type=token_type, env=env, unset=_CLAUDE)


def _variable(agent: str, token_type: str, variable: str, unset: tuple[str, ...] = ()) -> Way:
    return Way(agent=agent, token_type=token_type, env={variable: "{token}"}, unset=unset)


def _opencode(provider: str | None, token_type: str, content: str) -> Way:
    env = {"OPENCODE_AUTH_CONTENT": content}
    return Way(agent="opencode", token_type=token_type, provider=provider, env=env, unset=_OPENCODE)


def _goose(provider: str, variable: str) -> Way:
    env = {"GOOSE_PROVIDER": provider, variable: "{token}"}
    return Way(agent="goose", token_type=API_KEY, provider=provider, env=env, unset=_GOOSE)


BUILT_IN: tuple[Way, ...] = (
    _claude(API_KEY, "ANTHROPIC_API_KEY"),
    _claude(OAUTH, "CLAUDE_CODE_OAUTH_TOKEN"),
    # What `claude setup-token` prints.
    _claude(TOKEN, "CLAUDE_CODE_OAUTH_TOKEN"),
    Way(
        agent="codex",
        token_type=API_KEY,
        env={"CODEX_API_KEY": "{token}"},
        unset=_CODEX,
        # Only this method reads the variable.
        authenticate=Authenticate(method_id="api-key"),
        files=(_CODEX_IN_MEMORY,),
        alone={"DEFAULT_AUTH_REQUEST": '{"methodId":"api-key"}'},
    ),
    Way(agent="codex", token_type=OAUTH, unset=_CODEX, files=(_CODEX_FROM_FILE, _CODEX_AUTH)),
    # An access token of a Business or Enterprise workspace.
    _variable("codex", TOKEN, "CODEX_ACCESS_TOKEN", _CODEX),
    Way(
        agent="gemini",
        token_type=API_KEY,
        env={"GEMINI_API_KEY": "{token}"},
        unset=_GEMINI,
        # Overrides an older choice in the agent's own settings.
        authenticate=Authenticate(method_id="gemini-api-key"),
        alone={},
    ),
    Way(
        agent="gemini",
        token_type=API_KEY,
        provider="google-vertex",
        env={"GOOGLE_API_KEY": "{token}", "GOOGLE_GENAI_USE_VERTEXAI": "true"},
        unset=_GEMINI,
        authenticate=Authenticate(method_id="vertex-ai"),
    ),
    Way(
        agent="gemini",
        token_type=OAUTH,
        env={"GOOGLE_CLOUD_ACCESS_TOKEN": "{token}", "GOOGLE_GENAI_USE_GCA": "true"},
        unset=_GEMINI,
        # Never without the variables: it would open a browser and wait for minutes.
        authenticate=Authenticate(method_id="oauth-personal"),
    ),
    Way(agent="qwen-code", token_type=API_KEY, env={"OPENAI_API_KEY": "{token}", **_QWEN_DEFAULTS}, unset=_QWEN),
    *(_opencode(provider, API_KEY, _OPENCODE_API) for provider in _OPENCODE_PROVIDERS),
    _opencode(None, API_KEY, _OPENCODE_ZEN),
    _opencode("github", OAUTH, _OPENCODE_GITHUB),
    _opencode("openai", OAUTH, _OPENCODE_CHATGPT),
    # A whole auth.json.
    _opencode(None, TOKEN, "{token}"),
    *(_variable("copilot", token_type, "COPILOT_GITHUB_TOKEN", _COPILOT) for token_type in (OAUTH, TOKEN, API_KEY)),
    *(_goose(provider, variable) for provider, variable in _GOOSE_PROVIDERS.items()),
    _variable("mistral-vibe", API_KEY, "MISTRAL_API_KEY"),
    # A session, as JSON with accessToken, tenantURL and scopes.
    _variable("auggie", TOKEN, "AUGMENT_SESSION_AUTH", ("AUGMENT_API_TOKEN", "AUGMENT_API_URL")),
    *(_variable("qoder", token_type, "QODER_PERSONAL_ACCESS_TOKEN") for token_type in (TOKEN, API_KEY)),
)
