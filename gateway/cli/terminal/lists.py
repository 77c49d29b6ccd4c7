"""The columns of commands' lists."""

from collections.abc import Iterable
from typing import Any, Final

from gateway.cli.terminal.asked import call_title
from gateway.cli.terminal.table import Column, Row
from gateway.cli.terminal.text import local_time, shortened

ACCOUNT_STATES: Final = {
    "none": "not connected",
    "pending": "being connected",
    "authorized": "connected",
    "needs_reauth": "to be connected again",
    "expired": "expired",
    "denied": "refused",
    "failed": "failed",
}
TOKEN_TYPES: Final = {"api_key": "API key", "token": "token", "oauth": "login"}


def _time(member: str) -> Any:
    return lambda row: local_time(row.get(member))


PROJECTS: Final = (
    Column("ID", "id"),
    Column("ROLE", "role"),
    Column("DEFAULT AGENT", "defaultAgentId"),
    Column("CONTAINER", "containerUrl"),
    Column("NAME", "name"),
)
SESSIONS: Final = (
    Column("ID", "id"),
    Column("STATUS", "status"),
    Column("AGENT", "agentId"),
    Column("UPDATED", _time("updatedAt")),
    Column("TITLE", lambda row: shortened(row.get("title"))),
)
PERMISSIONS: Final = (
    Column("ID", "id"),
    Column("SESSION", "sessionId"),
    Column("REFUSED AT", _time("expiresAt")),
    Column("WHAT", lambda row: shortened(call_title(row.get("toolCall")))),
)
ACCOUNTS: Final = (
    Column("AGENT", "agentId"),
    Column("KIND", lambda row: TOKEN_TYPES.get(str(row.get("tokenType")), row.get("tokenType"))),
    Column("STATE", lambda row: ACCOUNT_STATES.get(str(row.get("state")), row.get("state"))),
    Column("PROVIDER", "provider"),
    Column("FINGERPRINT", "fingerprint"),
    Column("EXPIRES", lambda row: local_time(row["expiresAt"]) if row.get("expiresAt") else "never"),
)


def is_missing(agent: Row) -> bool:
    """Whether it is not installed; its error says what to do."""
    return agent.get("status") == "stopped" and bool(agent.get("error"))


def agents(found: Iterable[Row]) -> list[Row]:
    """Installed agents first."""
    return sorted(found, key=is_missing)


def _status(agent: Row) -> Any:
    return "not installed" if is_missing(agent) else str(agent.get("status")).replace("_", " ")


def _account(agent: Row) -> str:
    if not agent.get("requiresAuth"):
        return "not needed"
    return "connected" if agent.get("authenticated") else "not connected"


def _reason(agent: Row) -> Any:
    """Its error, without its id."""
    return str(agent.get("error") or "").removeprefix(f"{agent.get('id')}: ")


AGENTS: Final = (
    Column("ID", "id"),
    Column("STATUS", _status),
    Column("ACCOUNT", _account),
    Column("NAME", "name"),
    Column("WHY", _reason),
)


def answer(permission: Row) -> str:
    """How a permission request was answered, and by whom."""
    return answer_words(permission, permission.get("options"))


def answer_words(resolved: Row, options: Any) -> str:
    """``resolved`` has the option's id or the outcome; ``options`` are the agent's."""
    known = [one for one in options if isinstance(one, dict)] if isinstance(options, list) else []
    chosen = resolved.get("optionId")
    named = next((one.get("name") for one in known if one.get("optionId") == chosen), None) if chosen else None
    return f"{named or chosen or resolved.get('outcome') or resolved.get('state')} ({resolved.get('resolvedBy')})"
