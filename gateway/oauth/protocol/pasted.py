"""Credentials that users paste: what each agent accepts, and whether a text can be that.

Agents do not refuse a credential of the wrong kind, but send it to the wrong place, and the user gets an obscure
failure later. So it is checked here.
"""

import json
import re
from collections.abc import Sequence

from gateway.credentials.store import API_KEY, TOKEN
from gateway.errors import CredentialRefused
from gateway.identity.tokens import PREFIX
from gateway.wire.masking import MASK

MAX_PASTED = 32_768
_ONE_WORD = re.compile(r"[\x21-\x7e]+")

#: What users are asked for.
_ASKED = {
    ("claude-code", API_KEY): "an API key of the Claude console (sk-ant-api…)",
    ("claude-code", TOKEN): "the token that `claude setup-token` prints where you are logged in (sk-ant-oat…)",
    ("codex", API_KEY): "an API key of the OpenAI platform (sk-…)",
    ("codex", TOKEN): "an access token that your ChatGPT workspace has issued for Codex",
    ("gemini", API_KEY): "an API key of Google AI Studio",
    ("qwen-code", API_KEY): "an API key of Alibaba Cloud Model Studio (DashScope)",
    ("copilot", TOKEN): "a fine-grained GitHub token with the permission Copilot Requests (github_pat_…)",
    ("copilot", API_KEY): "a fine-grained GitHub token with the permission Copilot Requests (github_pat_…)",
    ("opencode", TOKEN): "the content of an auth.json of OpenCode",
    ("auggie", TOKEN): "the session that `auggie token print` shows, as JSON",
}
#: Credentials that are recognised by a prefix, longest first.
_KNOWN = {
    "sk-svcacct-": "an API key of the OpenAI platform",
    "github_pat_": "a fine-grained GitHub token",
    "sk-ant-oat": "a token of `claude setup-token`",
    "sk-ant-api": "an API key of the Claude console",
    "sk-proj-": "an API key of the OpenAI platform",
    PREFIX: "an API token of this gateway",
    "AIza": "an API key of Google",
    "ghp_": "a classic GitHub token",
    "gho_": "a token of a GitHub OAuth app",
}
#: Which of them an agent accepts as which kind. Unrecognised ones may be of any provider, and are stored.
_TAKES: dict[tuple[str, str], tuple[str, ...]] = {
    ("claude-code", API_KEY): ("sk-ant-api",),
    ("claude-code", TOKEN): ("sk-ant-oat",),
    ("codex", API_KEY): ("sk-proj-", "sk-svcacct-"),
    ("codex", TOKEN): (),
    ("gemini", API_KEY): ("AIza",),
    ("copilot", API_KEY): ("github_pat_", "gho_"),
    ("copilot", TOKEN): ("github_pat_", "gho_"),
}
#: A shorter text, or one with fewer different characters, is not a key but a word, which masking would remove
#: everywhere.
_SHORTEST, _DIFFERENT = 12, 6
#: Letters alone are a word below this length; the shortest known keys are twelve longer.
_SHORTEST_OF_LETTERS = 20


def asked_for(agent_id: str, token_type: str) -> str:
    """What a person is asked for."""
    general = "an API key of the agent's provider" if token_type == API_KEY else "a token that the agent takes"
    return _ASKED.get((agent_id, token_type), general)


def kind_of(agent_id: str, pasted: str, token_type: str | None, kinds: Sequence[str]) -> str:
    """The kind of the pasted credential; ``CredentialRefused`` if it cannot be one."""
    known = [kind for kind in kinds if kind in (API_KEY, TOKEN)]
    if not known:
        raise CredentialRefused(f"This gateway knows no API key and no token that it could give to {agent_id}.")
    if token_type is None:
        fitting = (kind for kind in known if not _is_another(agent_id, kind, pasted))
        return next(fitting, known[0])
    if token_type not in known:
        # Without quoting the value, which may be the credential itself.
        raise CredentialRefused(f"$.tokenType: {agent_id} takes {' or '.join(known)}, and not what stands there.")
    return token_type


def checked(agent_id: str, token_type: str, pasted: str) -> str:
    """The stripped credential; ``CredentialRefused`` says why it cannot be one."""
    token = pasted.strip()
    if not token or len(token) > MAX_PASTED:
        raise CredentialRefused(f"$.token: must have 1 to {MAX_PASTED} characters.")
    if not _ONE_WORD.fullmatch(token) and not _is_json(token):
        raise CredentialRefused("$.token: has spaces or characters that no key has; copy it again, in one piece.")
    if _is_another(agent_id, token_type, token):
        raise CredentialRefused(f"$.token: this is {_what_it_is(agent_id, token_type, token)}")
    if reason := _too_plain(token):
        raise CredentialRefused(f"$.token: {reason} Copy all of {asked_for(agent_id, token_type)}.")
    return token


def _is_another(agent_id: str, token_type: str, pasted: str) -> bool:
    """Whether its prefix shows that it is something else."""
    known = _beginning(pasted)
    if known is None:
        return False
    return known == PREFIX or known not in _TAKES.get((agent_id, token_type), _KNOWN)


def _beginning(pasted: str) -> str | None:
    return next(filter(pasted.strip().startswith, _KNOWN), None)


def _what_it_is(agent_id: str, token_type: str, token: str) -> str:
    """What it is, and what would be right."""
    known = _beginning(token)
    assert known is not None
    kinds = [kind for agent, kind in _TAKES if agent == agent_id] or [token_type]
    for kind in kinds:
        if known in _TAKES.get((agent_id, kind), ()):
            return f"{_KNOWN[known]}; give it with tokenType {kind}."
    wanted = dict.fromkeys(asked_for(agent_id, kind) for kind in kinds)
    return f"{_KNOWN[known]}, which {agent_id} does not take; give {', or '.join(wanted)}."


def _too_plain(token: str) -> str:
    """Why this cannot be a key, or "".

    Stored credentials are masked in agents' output, so a plain word would be masked everywhere.
    """
    if len(token) < _SHORTEST:
        return f"has {len(token)} characters, and no key has fewer than {_SHORTEST}."
    if MASK in token:
        return "has *** in it: this is what is shown in the place of a key."
    if len(set(token)) < _DIFFERENT:
        return "is the same few characters over and over, and no key."
    if not any(map(str.isalpha, token)):
        return "has no letters, and no key is a number."
    if len(token) < _SHORTEST_OF_LETTERS and not any(map(str.isdigit, token)):
        return "is a word or a name, and no key."
    return ""


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
