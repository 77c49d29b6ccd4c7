"""What of a container's ACP port is reserved: a member's right to the passthrough is none to the others' credentials.

The gateway's own routes have been taken out by their exact spelling. What is left goes to a server that may read it in
another way: Express ignores case and a slash at the end, others decode before they split, ``new URL`` resolves dots and
turns backslashes. So what is not spelled plainly is passed on only where no reading of it could be meant here.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from gateway.errors import Forbidden

_ACCOUNTS: Final = "Accounts are connected by the gateway alone; see /agents/{id}/auth/start."
_CREDENTIALS: Final = "Containers are given credentials by the gateway alone."
#: What is the gateway's alone, whatever the method, and what its caller is told; ``*`` is any one name. What stands
#: below it is meant, too. Below ``session/*`` the rest is for whoever may prompt that session.
#: Not reserved, on purpose: ``health``, ``info`` and ``agents`` tell nothing that a member may not know, and any
#: operator may have an agent stopped or ask for its status.
RESERVED: Final[Mapping[str, str]] = {
    "agents/*/auth": _ACCOUNTS,
    "agents/*/credential": _CREDENTIALS,
    "agents/*/spawn": _CREDENTIALS,
    # As they come, other users' secrets are not masked in them, and they tell how to answer in those users' place.
    "events": "Events are read from the gateway's log, at /events as it is spelled there.",
    # Who has answered, and may, must stand in the log.
    "permission/*": "Permission requests are answered through the gateway alone, by the ids that it has for them.",
    "session/*/cancel": "Turns are cancelled through the gateway alone, by its own ids of sessions.",
    # Takes variables and credentials for whatever conversation of the agent's it names.
    "session/*/load": "Sessions are taken up by the gateway alone; the next prompt does that.",
    # A container may be another project's, too: its sessions are nobody's business here.
    "sessions": "The container's sessions are listed by GET /sessions, those of the project alone.",
    "session/*/prompt": "Prompts are sent through the gateway alone, by its own ids of sessions.",
}
_SESSION: Final = "session"
#: What such a path begins with. All else is the container's.
_FIRST: Final = frozenset(path.partition("/")[0] for path in RESERVED) | {_SESSION}

#: Names that mean the same to every server: no empty ones or dots, and encoded is nothing that has a meaning in paths.
_PLAIN = re.compile(
    r"(?:/(?!\.\.?(?:/|\Z))(?:[\w.~!$&'()*+,=:@-]|%(?:2[0-246-9A-C]|3[ACDE]|40|5[BDE]|60|7[B-D]|[89A-F][0-9A-F]))+)+",
    re.ASCII | re.IGNORECASE,
)
_BETWEEN_NAMES = re.compile(r"[/\\;#?]")
_CONTROLS = re.compile(r"[\x00-\x20\x7f]+")
#: Nobody means a path that is percent-encoded more often.
_MOST_ENCODINGS = 3


def named_session(target: str) -> str | None:
    """The container's session that a target is below, for whose user alone it may be; None where it is anybody's.

    ``Forbidden`` where it is reserved.
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
        f"What is below {listed} is passed on in its plain spelling only: in lower case, without a slash at the end, "
        "empty names, dots, or anything encoded that need not be."
    )


def _decided(names: list[str]) -> str | None:
    first, *rest = names
    patterns = [first, f"{first}/*", *(f"{first}/*/{name.casefold()}" for name in rest[1:2])]
    for pattern in patterns[: len(names)]:
        if pattern in RESERVED:
            raise Forbidden(RESERVED[pattern])
    return rest[0] if first == _SESSION and rest else None


def _could_mean_what_is_reserved(path: str) -> bool:
    """Whether a server could take any of its names, as often as it decodes them, for the first one."""
    for _ in range(_MOST_ENCODINGS):
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    else:
        return True
    names = _BETWEEN_NAMES.split(_CONTROLS.sub("", path))
    return any(name.casefold() in _FIRST for name in names)
