"""The request and ids that log lines are about. Tasks inherit them from their parent."""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

_REQUEST: ContextVar[str | None] = ContextVar("request", default=None)
_IDS: ContextVar[Mapping[str, str]] = ContextVar("ids")
#: By their names in routes.
_NAMES: Final = {"project_id": "project", "session_id": "session", "turn_id": "turn"}
#: A path may have anything in the place of an id.
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def begin_request(request_id: str, parts: Mapping[str, str]) -> None:
    """Begin work about this request; ``parts`` are the variables of its route."""
    _REQUEST.set(request_id)
    _IDS.set(parts)


def about(**ids: str) -> None:
    """Add ids for this task and its children: ``project_id``, ``turn_id`` …"""
    _IDS.set({**_IDS.get({}), **ids})


def present() -> dict[str, str]:
    """The current ids, by their names in log lines."""
    ids = _IDS.get({})
    found = {name: ids[key] for key, name in _NAMES.items() if key in ids and _ID.fullmatch(ids[key])}
    request = _REQUEST.get()
    return {"request": request, **found} if request else found
