"""Where each agent looks for its token: the variable it reads, and those that would take precedence and must go.

A token under the wrong name is worse than none: an OAuth token as ``ANTHROPIC_API_KEY`` is sent as an API key, and an
inherited key is billed to whoever set it.
"""

import attrs

API_KEY, OAUTH = "api_key", "oauth"

_ANTHROPIC = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_GITHUB = ("COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN")
#: Agent and kind of token → the variable that the agent reads, and all that it might read instead.
_VARIABLES: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("claude-code", API_KEY): ("ANTHROPIC_API_KEY", _ANTHROPIC),
    ("claude-code", OAUTH): ("CLAUDE_CODE_OAUTH_TOKEN", _ANTHROPIC),
    ("codex", API_KEY): ("OPENAI_API_KEY", ("CODEX_API_KEY", "OPENAI_API_KEY", "CODEX_ACCESS_TOKEN")),
    ("gemini", API_KEY): ("GEMINI_API_KEY", ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_ACCESS_TOKEN")),
    ("gemini", OAUTH): ("GOOGLE_CLOUD_ACCESS_TOKEN", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    ("qwen-code", API_KEY): ("OPENAI_API_KEY", ("OPENAI_API_KEY", "DASHSCOPE_API_KEY")),
    ("copilot", OAUTH): ("COPILOT_GITHUB_TOKEN", _GITHUB),
    ("opencode", API_KEY): ("OPENCODE_API_KEY", ("OPENCODE_API_KEY",)),
}


@attrs.frozen(kw_only=True)
class Environment:
    """Variables for an agent's process: what is set, and what must not be inherited."""

    set: dict[str, str] = attrs.field(repr=False)
    unset: tuple[str, ...]


def environment_for(agent_id: str, token_type: str, token: str) -> Environment | None:
    """The variables that give ``token`` to the agent; None where the agent takes no such token from a variable."""
    known = _VARIABLES.get((agent_id, token_type))
    if known is None:
        return None
    name, rivals = known
    return Environment(set={name: token}, unset=tuple(rival for rival in rivals if rival != name))
