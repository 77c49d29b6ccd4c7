"""What a container's permission requests mean: the rows and events that they become, and how they are settled there."""

import hashlib
import secrets
from collections import OrderedDict
from typing import Any

from gateway.container.client import ContainerInfo
from gateway.db.pool import Database, Row
from gateway.log.store import Effect, NewEvent
from gateway.sessions.endings import permission_resolved
from gateway.sessions.said import Said
from gateway.wire.codec import dump_foreign_json, storable
from gateway.wire.events import PermissionRequest

#: Who settled a permission request that nobody here answered.
CONTAINER = "container"
#: An agent host's reasons to take a request back because nobody waits for its answer any more.
_GONE = {"turn_cancelled", "turn_ended", "agent_died", "agent_stopped"}
_MAX_REMEMBERED = 1_000


class Asking:
    """Permission requests of all containers that this process follows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: (project, request key) → the row of a request that may not be stored yet: its outcome can come in the same
        #: read, before what was read is appended.
        self._asked: OrderedDict[tuple[str, str], Row] = OrderedDict()

    def requested(self, said: Said, info: ContainerInfo) -> NewEvent:
        request_id = _request_id(said)
        request_key = _request_key(info, said, request_id) if request_id else secrets.token_hex(32)
        event_key = f"permission_request:{request_key}" if request_id else None
        # Without the capability the container tells of requests and allows them by itself.
        asks = info.asks_permission
        data = PermissionRequest(
            permission_id=f"prm_{secrets.token_hex(10)}",
            tool_call=said.member("toolCall"),
            options=said.member("options"),
            resolved_by=None if asks else CONTAINER,
        )
        if said.session_id is None:
            return NewEvent.of(data, key=event_key, **said.common)
        row = {
            "project_id": said.project_id,
            "id": data.permission_id,
            "container_request_id": request_id or f"unnamed-{request_key}",
            "container_boot_id": info.boot_id,
            "request_key": request_key,
            "session_id": said.session_id,
            "agent_id": said.agent_id,
            "tool_call": dump_foreign_json(data.tool_call),
            "options": dump_foreign_json(data.options),
            "state": "waiting" if asks else "selected",
            "resolved_by": data.resolved_by,
        }
        self._remember({**row, "turn_id": None, "option_id": None})
        return NewEvent.of(data, key=event_key, effects=(Effect("insert_permission", row),), **said.common)

    async def resolved(self, said: Said, info: ContainerInfo) -> NewEvent | None:
        """The outcome of a request; None where nobody has heard of it."""
        request_key = _request_key(info, said, _request_id(said) or "")
        permission = await self._database.fetch_one(
            "find_permission", project_id=said.project_id, request_key=request_key
        ) or self._asked.get((said.project_id, request_key))
        if permission is None:
            return None
        outcome = said.member("outcome")
        chosen = outcome.get("optionId") if isinstance(outcome, dict) else None
        option_id = storable(chosen) if isinstance(chosen, str) else None
        answered_here = permission["state"] == "answering" and option_id == permission["option_id"]
        return permission_resolved(
            permission,
            outcome="cancelled" if option_id is None else "selected",
            option_id=option_id,
            resolved_by=permission["resolved_by"] if answered_here else CONTAINER,
            gone=not answered_here and option_id is None and said.member("reason") in _GONE,
        )

    def _remember(self, row: dict[str, Any]) -> None:
        self._asked[row["project_id"], row["request_key"]] = row
        if len(self._asked) > _MAX_REMEMBERED:
            self._asked.popitem(last=False)


def _request_id(said: Said) -> str | None:
    """The container's id for a permission request, under whichever name; None where it has given none."""
    for name in ("requestId", "permissionId", "id"):
        value = said.member(name)
        if value != "" and isinstance(value, str | int) and not isinstance(value, bool):
            return storable(str(value))
    return None


def _request_key(info: ContainerInfo, said: Said, request_id: str) -> str:
    """Which request this is: a container that starts anew may count its requests from 1 again.

    A digest, because an index takes no more than some 2,700 bytes.
    """
    scope = (info.boot_id or "", said.container_session_id or "", request_id)
    return hashlib.sha256("\0".join(scope).encode()).hexdigest()
