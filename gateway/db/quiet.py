"""What PostgreSQL writes into its own log of our sessions: no statement that failed, and no values.

The driver puts parameters into the statement's text. What is secret is sealed before it gets there, but prompts and
answers are users' own affair too. A superuser, and a role that was granted it, may set this for its session; for any
other its administrator has to.
"""

from collections.abc import Sequence

from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.errors import StatementFailed
from gateway.db.sending import Result, send

#: https://www.postgresql.org/docs/current/runtime-config-logging.html; for DETAIL, which quotes rows, the verbosity.
SETTINGS = {
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
_SET = "select " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in SETTINGS.items())
_ASK = "select quote_ident(current_user) as role, " + ", ".join(
    f"current_setting('{name}') as {name}" for name in SETTINGS
)
_PERMISSION_DENIED = "42501"


class Quiet:
    """Sets it for each new connection, until PostgreSQL says that this role may not."""

    def __init__(self) -> None:
        self._may = True

    async def apply(self, connection: MendedConnection, limit: float) -> None:
        if not self._may:
            return
        try:
            await send(connection, _SET, {}, limit)
        except StatementFailed as exc:
            if exc.sqlstate != _PERMISSION_DENIED:
                raise
            self._may = False


async def advice(connection: MendedConnection, limit: float) -> str | None:
    """What an administrator has to run so that the log stays quiet; None where it is."""
    result: Result = await send(connection, _ASK, {}, limit)
    (row,) = result.rows
    return alter_role(row["role"], [name for name, value in SETTINGS.items() if row[name] != value])


def alter_role(role: str, names: Sequence[str]) -> str | None:
    return " ".join(f"ALTER ROLE {role} SET {name} = {SETTINGS[name]};" for name in names) or None
