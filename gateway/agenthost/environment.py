"""What an agent's process finds in its environment, and what must not be told about it."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping

from gateway.agenthost.catalogue import AgentSpec

#: What a program needs to find itself at home; anything else of the host's environment stays with the host.
_PASSED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "COLORTERM", "TZ"),
        *("TMPDIR", "TEMP", "TMP"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    }
)
_PASSED_PREFIXES = ("LC_", "XDG_")
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Shorter values are words that stand in any text; hiding them would garble it and protect nothing.
_SHORTEST_SECRET = 6
_SHORTEST_INNER_SECRET = 16


def is_name(name: str) -> bool:
    """Whether every shell and program takes this as a variable's name."""
    return _NAME.fullmatch(name) is not None


def scrub(host: Mapping[str, str]) -> dict[str, str]:
    """The part of the host's own environment that any program may see."""
    return {
        name: value
        for name, value in host.items()
        # Exported shell functions come as variables; no program needs them from here.
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and not value.startswith("()")
    }


def for_agent(spec: AgentSpec, host: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of an agent's process.

    A credential that is given unsets the agent's other ones: agents prefer one over another by rules of their own,
    and an inherited key would then be billed instead of the user's.
    """
    configured = {**scrub(host), **spec.env}
    if any(given.get(name) for name in spec.credentials):
        configured = {name: value for name, value in configured.items() if name not in spec.credentials}
    env = {**configured, **given}
    for method in spec.authenticate:
        if method.needs and all(env.get(name) for name in method.needs):
            return {**method.env, **env}
    return env


def without_credentials(spec: AgentSpec, env: Mapping[str, str]) -> dict[str, str]:
    """An agent's environment for the commands it has run: they have no business with its keys."""
    return {name: value for name, value in env.items() if name not in spec.credentials}


def find_program(spec: AgentSpec, env: Mapping[str, str]) -> str | None:
    """The agent's program in the PATH of this environment; None where it is not installed."""
    return shutil.which(spec.command[0], path=env.get("PATH", ""))


def has_credential(spec: AgentSpec, env: Mapping[str, str]) -> bool:
    return any(env.get(name) for name in spec.credentials)


def secrets_of(spec: AgentSpec, env: Mapping[str, str]) -> frozenset[str]:
    """The values that must not stand in an error or a log."""
    named = [value for name, value in env.items() if name in spec.credentials or _SECRET_NAME.search(name)]
    return frozenset(text for value in named for text in (value, *_texts_in(value)) if len(text) >= _SHORTEST_SECRET)


def _texts_in(value: str) -> list[str]:
    """The longer texts of a credential that is JSON, as OPENCODE_AUTH_CONTENT is: an agent quotes them one by one."""
    if not value.lstrip().startswith("{"):
        return []
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return []
    texts: list[str] = []
    below = [document]
    while below:
        match below.pop():
            case dict() as members:
                below.extend(members.values())
            case list() as items:
                below.extend(items)
            case str() as text if len(text) >= _SHORTEST_INNER_SECRET:
                texts.append(text)
    return texts


def redact(text: str, secrets: Iterable[str]) -> str:
    # The longest first: one secret may hold another.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
