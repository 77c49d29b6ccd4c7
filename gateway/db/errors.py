"""What a statement can fail with, and which SQLSTATE means which.

    DatabaseUnavailable (gateway.errors)  not applied; try again later
    ├── QueryTimeout                      not applied: it took too long, or waited too long for a lock
    └── LostRace                          not applied: others held what it needed and wanted what it held
    OutcomeUnknown                        the connection went while PostgreSQL may have been committing
    UniqueViolation, ForeignKeyViolation  with the constraint's name
    RaisedByDatabase                      RAISE … USING ERRCODE = 'AGxxx' in one of our functions
    UnstorableText                        text that PostgreSQL cannot hold
    StatementFailed                       anything else; a bug of ours

None of them carries a value of the statement: PostgreSQL's DETAIL and LINE quote what was sent, tokens included.
"""

from gateway.errors import BadRequest, Conflict, DatabaseUnavailable, GatewayError

#: Seconds after which a client may ask again; a restart of PostgreSQL takes about that long.
RETRY_AFTER = {"Retry-After": "2"}
#: Without the value, which has a password in it.
MALFORMED_URL = (
    "database.url (or ACP_GATEWAY_DATABASE_URL) is not of the form postgresql://user:password@host:port/name"
)


class QueryTimeout(DatabaseUnavailable):
    """The database did not finish in time."""

    code = "database_timeout"


class LostRace(DatabaseUnavailable):
    """The database gave up this change for others that were made at the same time."""


class OutcomeUnknown(GatewayError):
    """The connection to the database was lost before it said whether the change was stored."""

    status, code = 503, "database_outcome_unknown"


class UniqueViolation(Conflict):
    """Something with this name exists already."""

    def __init__(self, constraint_name: str):
        super().__init__()
        self.constraint_name = constraint_name


class ForeignKeyViolation(Conflict):
    """Something that this refers to does not exist."""

    def __init__(self, constraint_name: str):
        super().__init__()
        self.constraint_name = constraint_name


class RaisedByDatabase(GatewayError):
    """A function in the database refused."""

    def __init__(self, sqlstate: str, message: str):
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message


class UnstorableText(BadRequest):
    """Text with a NUL character or half a surrogate pair cannot be stored."""

    code = "unstorable_text"


class StatementFailed(GatewayError):
    """The database refused a statement."""

    code = "statement_failed"

    def __init__(self, sqlstate: str | None):
        super().__init__(f"The database refused a statement (SQLSTATE {sqlstate}).")
        self.sqlstate = sqlstate


def unavailable(reason: str | None = None) -> DatabaseUnavailable:
    """``reason`` is a clause without values of the statement: "connection refused"."""
    return DatabaseUnavailable(reason and f"The database cannot be used right now: {reason}.", headers=RETRY_AFTER)


def outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(headers=RETRY_AFTER)


def query_timeout(reason: str | None = None) -> QueryTimeout:
    return QueryTimeout(reason, headers=RETRY_AFTER)


# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TIMEOUTS = {"57014", "55P03", "25P03", "25P04"}  # cancelled, lock not available, idle in transaction, transaction
_AWAY_CLASSES = ("08", "53", "28", "3D", "57")  # connection, resources, authorization, no such database, operator
_AWAY = {"25006"}  # read-only (a standby)
_LOST_RACES = {"40001", "40P01"}  # serialization failure, deadlock
_UNSTORABLE = {"22P05", "22021"}  # \u0000 in jsonb, a byte sequence that is not UTF-8


def from_sqlstate(sqlstate: str | None, message: str | None, constraint: str | None) -> GatewayError:
    """The error for a statement that PostgreSQL refused on a connection that still lives."""
    state = sqlstate or ""
    if state == "23505":
        return UniqueViolation(constraint or "")
    if state == "23503":
        return ForeignKeyViolation(constraint or "")
    if state.startswith("AG"):
        return RaisedByDatabase(state, message or "")
    if state in _TIMEOUTS:
        return query_timeout()
    if state in _LOST_RACES:
        return LostRace(headers=RETRY_AFTER)
    if state in _UNSTORABLE:
        return UnstorableText()
    if state in _AWAY or state.startswith(_AWAY_CLASSES):
        return unavailable()
    return StatementFailed(sqlstate)
