"""The environment of agents' processes, and which of its values are secret."""

import re
import shutil
from collections.abc import Collection, Mapping

from gateway.agenthost.catalogue import AgentSpec
from gateway.errors import InvalidBody
from gateway.wire.masking import secrets_in

#: Variables of the host that every process gets; all others are kept from them.
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


def is_name(name: str) -> bool:
    """Whether it is a portable variable name."""
    return _NAME.fullmatch(name) is not None


def check_variables(env: Mapping[str, str], place: str) -> None:
    """InvalidBody, with the place, for a name or value that no process can have."""
    for name, value in env.items():
        if not is_name(name):
            raise InvalidBody(f"{place}: {name!r} cannot be a variable's name")
        if "\0" in value:
            raise InvalidBody(f"{place}.{name}: a value cannot hold a NUL character")


def scrub(host: Mapping[str, str]) -> dict[str, str]:
    """The part of the host's environment that any program may see."""
    return {
        name: value
        for name, value in host.items()
        # Exported shell functions are variables, too.
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and not value.startswith("()")
    }


def for_agent(spec: AgentSpec, host: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The environment of an agent's process.

    A given credential unsets the agent's other ones. Otherwise the agent might prefer an inherited key, which would be
    billed instead of the user's.
    """
    configured = {**scrub(host), **spec.env}
    if any(given.get(name) for name in spec.credentials):
        configured = {name: value for name, value in configured.items() if name not in spec.credentials}
    env = {**configured, **given}
    for method in spec.authenticate:
        if method.needs and all(env.get(name) for name in method.needs):
            return {**method.env, **env}
    return env


def without_credentials(spec: AgentSpec, env: Mapping[str, str], given: Collection[str] = ()) -> dict[str, str]:
    """The environment of commands that an agent runs, without its credentials and those `given`."""
    return {name: value for name, value in env.items() if name not in spec.credentials and name not in given}


def find_program(spec: AgentSpec, env: Mapping[str, str]) -> str | None:
    """The agent's program in the PATH of this environment, or None."""
    return shutil.which(spec.command[0], path=env.get("PATH", ""))


def has_credential(spec: AgentSpec, env: Mapping[str, str]) -> bool:
    return any(env.get(name) for name in spec.credentials)


def secrets_of(spec: AgentSpec, env: Mapping[str, str]) -> frozenset[str]:
    """The values to mask in errors, logs and events."""
    named = [value for name, value in env.items() if name in spec.credentials or is_secret(name)]
    return frozenset(secret for value in named for secret in secrets_in(value))


def is_secret(name: str) -> bool:
    """Whether a variable probably holds a secret, by its name."""
    return _SECRET_NAME.search(name) is not None
