"""The settings of PostgreSQL under which our statements run.

A session that is ours alone gets them once. A connection through a pooler (PgBouncer and its like) has a session only
for as long as a transaction lasts, and others have it afterwards: there each transaction sets them for itself. It is
a pooler where the process that answers is another one than the handshake named.

Nothing of this is sent as ``options`` in the handshake: poolers refuse them, or drop them without a word.
"""

from collections.abc import Iterable, Mapping

from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.errors import INSUFFICIENT_PRIVILEGE, Unusable
from gateway.db.parameters import settings_in
from gateway.db.sending import send

# client_connection_check_interval: a statement whose client is gone ends within a second (PostgreSQL 14 and later).
# idle_in_transaction_session_timeout: a gateway that is paused in an append holds the log's head no longer than this.
# jit: a statement of ours takes milliseconds, and compiling it takes hundreds where many rows are expected.
_LIMITS = {
    "client_connection_check_interval": "1000",
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "5000",
    "jit": "off",
}
#: What PostgreSQL writes into its own log of our sessions: no statement that failed, and no values. The driver puts
#: parameters into the statement's text. What is secret is sealed before it gets there, but prompts and answers are
#: users' own affair too. A superuser, and a role that was granted it, may set this; for others an administrator has to.
#: https://www.postgresql.org/docs/current/runtime-config-logging.html; for DETAIL, which quotes rows, the verbosity.
QUIET = {
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
_ASK = "select quote_ident(current_user) as role, " + ", ".join(
    f"current_setting('{name}') as {name}" for name in QUIET
)


class SessionSettings:
    """Gives them to each new connection; the quiet ones until PostgreSQL says that this role may not."""

    def __init__(self, parameters: Mapping[str, str], *, statement_timeout: float) -> None:
        """``statement_timeout`` is in seconds. What the URL's own ``options`` name is left alone."""
        ours = {**_LIMITS, "statement_timeout": str(round(statement_timeout * 1000))}
        named = settings_in(parameters.get("options", ""))
        self._limits = {name: value for name, value in ours.items() if name not in named}
        self._may_be_quiet = True

    async def apply(self, connection: MendedConnection, limit: float) -> None:
        """``ConnectionLost`` or ``DatabaseUnavailable`` if that fails; ``limit`` is in seconds."""
        if self._may_be_quiet:
            try:
                await self._set(connection, {**self._limits, **QUIET}, limit)
                return
            except Unusable as exc:
                if exc.reason is not INSUFFICIENT_PRIVILEGE:
                    raise
            self._may_be_quiet = False
        await self._set(connection, self._limits, limit)

    async def _set(self, connection: MendedConnection, settings: Mapping[str, str], limit: float) -> None:
        pooled = f"pg_backend_pid() <> {connection.raw.get_backend_pid()}"
        # Through a pooler they last until the end of this statement, which shows whether the role may set them.
        result = await send(connection, f"select {pooled} as is_pooled, {_calls(settings, pooled)}", {}, limit)
        (row,) = result.rows
        connection.preamble = f"select {_calls(settings, 'true')}; " if row["is_pooled"] else ""


def _calls(settings: Mapping[str, str], is_local: str) -> str:
    return ", ".join(f"set_config('{name}', '{value}', {is_local})" for name, value in settings.items())


async def advice(connection: MendedConnection, limit: float) -> str | None:
    """What an administrator has to run so that PostgreSQL's log stays quiet; None where it is."""
    result = await send(connection, connection.preamble + _ASK, {}, limit)
    (row,) = result.rows
    return alter_role(row["role"], [name for name, value in QUIET.items() if row[name] != value])


def alter_role(role: str, names: Iterable[str]) -> str | None:
    return " ".join(f"ALTER ROLE {role} SET {name} = {QUIET[name]};" for name in names) or None
