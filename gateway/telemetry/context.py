"""What the present work is about, for its log lines: a request, and ids. Tasks inherit it from whoever starts them."""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

_REQUEST: ContextVar[str | None] = ContextVar("request", default=None)
_IDS: ContextVar[Mapping[str, str]] = ContextVar("ids")
#: By the names that they have in routes.
_NAMES: Final = {"project_id": "project", "session_id": "session", "turn_id": "turn"}
#: What a path says in the place of an id may be anything.
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def begin_request(request_id: str, parts: Mapping[str, str]) -> None:
    """From now on the work is about this request; ``parts`` are those of its path that its route names."""
    _REQUEST.set(request_id)
    _IDS.set(parts)


def about(**ids: str) -> None:
    """From now on, in this task and those that it starts, the work is about these: ``project_id``, ``turn_id`` …"""
    _IDS.set({**_IDS.get({}), **ids})


def present() -> dict[str, str]:
    """What the work is about, by the names that log lines use."""
    ids = _IDS.get({})
    found = {name: ids[key] for key, name in _NAMES.items() if key in ids and _ID.fullmatch(ids[key])}
    request = _REQUEST.get()
    return {"request": request, **found} if request else found
