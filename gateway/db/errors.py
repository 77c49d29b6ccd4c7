"""What a statement can fail with, and which SQLSTATE means which.

    DatabaseUnavailable (gateway.errors)  not applied; try again later
    ├── Unusable                          not applied: the database answers, and says why it refuses
    ├── QueryTimeout                      not applied: it took too long, or waited too long for a lock
    └── LostRace                          not applied: others held what it needed and wanted what it held
    OutcomeUnknown                        the connection went while PostgreSQL may have been committing
    UniqueViolation, ForeignKeyViolation  with the constraint's name
    RaisedByDatabase                      RAISE … USING ERRCODE = 'AGxxx' in one of our functions
    UnstorableText                        text that PostgreSQL cannot hold
    StatementFailed                       anything else; a bug of ours

None of them carries a value of the statement: PostgreSQL's DETAIL and LINE quote what was sent, tokens included.
"""

from typing import Final

import attrs

from gateway.errors import BadRequest, Conflict, DatabaseUnavailable, GatewayError

#: Seconds after which a client may ask again; a restart of PostgreSQL takes about that long.
RETRY_AFTER = {"Retry-After": "2"}
#: Without the value, which has a password in it.
MALFORMED_URL = (
    "database.url (or ACP_GATEWAY_DATABASE_URL) is not of the form postgresql://user:password@host:port/name"
)


@attrs.frozen
class Reason:
    """Why a database that answers is of no use: a word for programs, and a clause for people."""

    word: str
    clause: str


READ_ONLY: Final = Reason("read_only", "it takes no changes: it is a standby, or set to read only")
INSUFFICIENT_PRIVILEGE: Final = Reason("insufficient_privilege", "the gateway's role lacks a privilege in it")
TOO_MANY_CONNECTIONS: Final = Reason(
    "too_many_connections", "it gives the gateway no more connections (raise its limit, or lower database.pool_size)"
)
SYNCHRONOUS_STANDBY: Final = Reason(
    "synchronous_standby", "commits wait for a synchronous standby that does not answer (synchronous_standby_names)"
)
# https://www.postgresql.org/docs/current/errcodes-appendix.html, by SQLSTATE or its class
_REASONS: Final = {
    "25006": READ_ONLY,
    "42501": INSUFFICIENT_PRIVILEGE,
    "53100": Reason("disk_full", "its disk is full"),
    "53200": Reason("out_of_memory", "it is out of memory"),
    "53300": TOO_MANY_CONNECTIONS,
    "53": Reason("out_of_resources", "a limit of it is reached"),
    "08": Reason("connection_lost", "the connection failed"),
    "28": Reason("access_denied", "it refuses the gateway's role"),
    "3D": Reason("access_denied", "the database is not there"),
    "57": Reason("stopping", "it is being stopped or started"),
    "58": Reason("system_error", "it cannot use its files"),
}
# In the handshake libpq passes on the sentence alone.
_SENTENCES: Final = {
    "too many clients": TOO_MANY_CONNECTIONS,
    "too many connections": TOO_MANY_CONNECTIONS,
    "remaining connection slots": TOO_MANY_CONNECTIONS,
    "no more connections allowed": TOO_MANY_CONNECTIONS,
    "session is read-only": READ_ONLY,
}


class Unusable(DatabaseUnavailable):
    """The database answers, and refuses to work."""

    def __init__(self, reason: Reason):
        super().__init__(
            f"The database cannot be used right now: {reason.clause}.", headers=RETRY_AFTER, reason=reason.word
        )
        self.reason = reason


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


def not_connected(sentence: str) -> DatabaseUnavailable:
    """The error for a handshake that ended with this sentence, without an address."""
    known = next((reason for words, reason in _SENTENCES.items() if words in sentence), None)
    return unavailable(sentence) if known is None else Unusable(known)


def outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(headers=RETRY_AFTER)


def because(exc: QueryTimeout | OutcomeUnknown, reason: Reason) -> QueryTimeout | OutcomeUnknown:
    """The same, with what was behind it."""
    return type(exc)(f"{exc.title().rstrip('.')}: {reason.clause}.", headers=RETRY_AFTER, reason=reason.word)


def query_timeout(reason: str | None = None) -> QueryTimeout:
    return QueryTimeout(reason, headers=RETRY_AFTER)


_TIMEOUTS = {"57014", "55P03", "25P03", "25P04"}  # cancelled, lock not available, idle in transaction, transaction
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
    reason = reason_of(state)
    return StatementFailed(sqlstate) if reason is None else Unusable(reason)


def reason_of(sqlstate: str) -> Reason | None:
    """Why the database is of no use, by its SQLSTATE; None if that says something of the statement."""
    return _REASONS.get(sqlstate) or _REASONS.get(sqlstate[:2])
