"""Credentials that people bring themselves: what each agent takes, and whether what was pasted can be that.

A credential of the wrong kind is not refused by the agent but sent in the wrong place, and its person sees a failure
minutes later that says nothing. So what can be told apart is told apart here.
"""

import json
import re
from collections.abc import Sequence

from gateway.credentials.store import API_KEY, TOKEN
from gateway.errors import CredentialRefused

MAX_PASTED = 32_768
_ONE_WORD = re.compile(r"[\x21-\x7e]+")

#: What people are asked for.
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
#: How such a credential begins, and what else it is likely to be.
_BEGINNINGS = {
    ("claude-code", API_KEY): ("sk-ant-oat", "a token of `claude setup-token`; give it with tokenType token"),
    ("claude-code", TOKEN): ("sk-ant-api", "an API key; give it with tokenType api_key"),
    ("copilot", TOKEN): ("ghp_", "a classic token, which Copilot CLI does not take; make a fine-grained one"),
    ("copilot", API_KEY): ("ghp_", "a classic token, which Copilot CLI does not take; make a fine-grained one"),
}


def asked_for(agent_id: str, token_type: str) -> str:
    """What a person is asked for."""
    general = "an API key of the agent's provider" if token_type == API_KEY else "a token that the agent takes"
    return _ASKED.get((agent_id, token_type), general)


def kind_of(agent_id: str, pasted: str, token_type: str | None, kinds: Sequence[str]) -> str:
    """The kind of what was pasted, of those that people can bring; ``CredentialRefused`` where it is none."""
    known = [kind for kind in kinds if kind in (API_KEY, TOKEN)]
    if not known:
        raise CredentialRefused(f"This gateway knows no API key and no token that it could give to {agent_id}.")
    if token_type is None:
        fitting = (kind for kind in known if not _is_another(agent_id, kind, pasted))
        return next(fitting, known[0])
    if token_type not in known:
        # Without what it is: who mixes members up has put the credential there.
        raise CredentialRefused(f"$.tokenType: {agent_id} takes {' or '.join(known)}, and not what stands there.")
    return token_type


def checked(agent_id: str, token_type: str, pasted: str) -> str:
    """The credential without the spaces around it; ``CredentialRefused`` says why it can be none."""
    token = pasted.strip()
    if not token or len(token) > MAX_PASTED:
        raise CredentialRefused(f"$.token: must have 1 to {MAX_PASTED} characters.")
    if not _ONE_WORD.fullmatch(token) and not _is_json(token):
        raise CredentialRefused("$.token: has spaces or characters that no key has; copy it again, in one piece.")
    if _is_another(agent_id, token_type, token):
        raise CredentialRefused(f"$.token: this is {_BEGINNINGS[agent_id, token_type][1]}.")
    return token


def _is_another(agent_id: str, token_type: str, pasted: str) -> bool:
    beginning = _BEGINNINGS.get((agent_id, token_type))
    return beginning is not None and pasted.strip().startswith(beginning[0])


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
