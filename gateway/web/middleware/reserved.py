"""Paths of a container's ACP port that are not forwarded, because they would give members other users' credentials.

The gateway's own routes match by exact spelling. Servers differ: Express ignores case and a trailing slash, others
decode before they split, ``new URL`` resolves dots and converts backslashes. So an unusual spelling is forwarded only
if no reading of it could mean a reserved path.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from gateway.errors import Forbidden

_ACCOUNTS: Final = "Accounts are connected by the gateway alone; see /agents/{id}/auth/start."
_CREDENTIALS: Final = "Containers are given credentials by the gateway alone."
#: Reserved paths, for any method and with everything below them, and the error's text; ``*`` is any one name.
#: The rest of ``session/*`` is for those who may prompt that session.
#: Not reserved: ``health``, ``info`` and ``agents``, which members may read, and stopping agents, which operators may.
RESERVED: Final[Mapping[str, str]] = {
    "agents/*/auth": _ACCOUNTS,
    "agents/*/credential": _CREDENTIALS,
    "agents/*/spawn": _CREDENTIALS,
    # Unmasked secrets of other users, and the ids with which to answer in their place.
    "events": "Events are read from the gateway's log, at /events in exactly this spelling.",
    # Answers must be authorized and logged.
    "permission/*": "Permission requests are answered through the gateway alone, by the gateway's ids for them.",
    "session/*/cancel": "Turns are cancelled through the gateway alone, by the gateway's ids of sessions.",
    # It takes variables and credentials for any conversation of the agent.
    "session/*/load": "Sessions are loaded by the gateway alone; the next prompt does that.",
    # A container may serve several projects.
    "sessions": "GET /sessions lists the container's sessions that belong to the project.",
    "session/*/prompt": "Prompts are sent through the gateway alone, by the gateway's ids of sessions.",
}
_SESSION: Final = "session"
_BELOW_SESSION = re.compile(r"(/session/)[^/?]*")
#: The first names of paths that need a look.
_FIRST: Final = frozenset(path.partition("/")[0] for path in RESERVED) | {_SESSION}

#: Spellings that all servers read alike: no empty names, no dots, and nothing encoded that has a meaning in paths.
_PLAIN = re.compile(
    r"(?:/(?!\.\.?(?:/|\Z))(?:[\w.~!$&'()*+,=:@-]|%(?:2[0-246-9A-C]|3[ACDE]|40|5[BDE]|60|7[B-D]|[89A-F][0-9A-F]))+)+",
    re.ASCII | re.IGNORECASE,
)
_BETWEEN_NAMES = re.compile(r"[/\\;#?]")
_CONTROLS = re.compile(r"[\x00-\x20\x7f]+")
#: Paths that are percent-encoded more often are refused.
_MOST_ENCODINGS = 3


def named_session(target: str) -> str | None:
    """The container's session that a target is below, which only its user may access; None if there is none.

    ``Forbidden`` if the target is reserved.
    """
    path = target.partition("?")[0]
    if _PLAIN.fullmatch(path):
        names = [unquote(name) for name in path[1:].split("/")] if "%" in path else path[1:].split("/")
        if names[0].casefold() not in _FIRST:
            return None
        if names[0] in _FIRST:
            return _decided(names)
    elif not _could_mean_what_is_reserved(path):
        return None
    listed = ", ".join(sorted(_FIRST))
    raise Forbidden(
        f"Paths below {listed} are forwarded in plain spelling only: lower case, no trailing slash, no empty names, no "
        "dots, and no unnecessary percent-encoding."
    )


def with_session(target: str, session: str) -> str:
    """A target that is below a session, below another one."""
    named = _BELOW_SESSION.match(target)
    assert named is not None
    return f"{named[1]}{quote(session, safe='')}{target[named.end() :]}"


def _decided(names: list[str]) -> str | None:
    first, *rest = names
    patterns = [first, f"{first}/*", *(f"{first}/*/{name.casefold()}" for name in rest[1:2])]
    for pattern in patterns[: len(names)]:
        if pattern in RESERVED:
            raise Forbidden(RESERVED[pattern])
    return rest[0] if first == _SESSION and rest else None


def _could_mean_what_is_reserved(path: str) -> bool:
    """Whether any server, however often it decodes, could read a reserved first name in it."""
    for _ in range(_MOST_ENCODINGS):
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    else:
        return True
    names = _BETWEEN_NAMES.split(_CONTROLS.sub("", path))
    return any(name.casefold() in _FIRST for name in names)
