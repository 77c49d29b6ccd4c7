"""``migrations/`` through yoyo: forward at every start, back one at a time.

The numbered files are applied once each. ``functions.sql`` is applied after them, and again whenever its content has
changed; a database that a newer version has migrated keeps that version's functions. A rollback takes the functions
back first, whatever they are: the next ``migrate``, of whichever version, makes its own.

What yoyo 9.0.0 leaves to its caller:

- Its lock is a row; a process that dies while it holds it locks everyone out. Here an advisory lock guards the row. A
  transaction on a connection of its own holds it, and PostgreSQL drops it with either: a session's lock would stay on
  the connection of a pooler. It is polled: a blocking wait is itself what ``CREATE INDEX CONCURRENTLY`` waits for.
- It commits a migration on one connection and notes it as applied on another; a process that dies in between leaves
  tables that the next start tries to create again. Here both are one transaction.
- It notes the name of the operating system's user, which a container's user may not have, and the host's full name,
  which may take a DNS server's timeout to find out.

Everything here blocks: call it in a thread.
"""

import glob
import hashlib
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import attrs
import psycopg2
from psycopg2.errors import DeadlockDetected
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.migrations import Migration, MigrationList, default_migration_table

from gateway.db.errors import INSUFFICIENT_PRIVILEGE, Unusable, not_connected, reason_of, unavailable
from gateway.db.parameters import parameters
from gateway.errors import DatabaseUnavailable, StartError

#: Any number, the same in every gateway: the key of the advisory lock ("acpgate" in ASCII).
GUARD = 0x616370_67617465
_POLL = 0.1
#: How often a migration is begun that loses a race for locks.
_TRIES = 5
_CONNECT_TIMEOUT = 5
#: The file, without its suffix, that holds all functions of the database.
_FUNCTIONS = "functions"
#: The baseline replaces the migrations of before 0.1.0, so many up to this one.
_REPLACED, _LAST_REPLACED = 38, "0130_kinds_of_asked_calls"
#: A commit that has them all.
_COMMIT_BEFORE = "1a098ce"


class MigrationFailed(StartError):
    """The database's schema could not be brought up to date."""

    code = "migration_failed"


@attrs.frozen
class _Target:
    """What yoyo keeps of a database's address; libpq reads URLs better than yoyo's parser does."""

    url: str = attrs.field(repr=False)
    #: yoyo asks for it and does not need it for PostgreSQL.
    database: str = ""


class _Backend(PostgresqlBackend):  # type: ignore[misc]  # yoyo is not typed
    """yoyo's PostgreSQL, connected by libpq's own reading of the URL."""

    def __init__(self, url: str):
        super().__init__(_Target(url), default_migration_table)

    def copy(self) -> "_Backend":
        return type(self)(self.uri.url)

    def connect(self, target: _Target) -> Any:
        return _connect(target.url)

    def get_log_data(self, migration: Migration | None = None, operation: str = "apply") -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration and migration.id,
            "migration_hash": migration and migration.hash,
            "username": "acp-gateway",
            "hostname": socket.gethostname(),
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }

    def step(self, migration: Migration, direction: Literal["apply", "rollback"]) -> None:
        """Run one migration and note it, in one transaction unless the file says ``-- transactional: false``."""
        migration.load()
        if not migration.use_transactions:
            self.apply_one(migration) if direction == "apply" else self.rollback_one(migration)
            return
        with self.transaction():
            # A migration that waits for a table's lock makes everyone behind it wait too: better it fails.
            self.execute("set local lock_timeout = '30s'")
            migration.process_steps(self, direction)
            # Functions are noted with what they were when they were applied.
            self.execute(f"delete from {self.migration_table} where migration_id = :id", {"id": migration.id})
            self.mark_one(migration) if direction == "apply" else self.unmark_one(migration)

    def applied(self) -> frozenset[str]:
        """The names of the migrations that the database has."""
        self.ensure_internal_schema_updated()
        rows = self.execute(f"select migration_id from {self.migration_table}").fetchall()
        return frozenset(name for (name,) in rows)

    def take_over(self, baseline: Migration) -> None:
        """Note the baseline as applied where the migrations that it replaces have made the same schema."""
        applied = self.applied()
        if not applied or baseline.id in applied:
            return
        newest = max(applied)
        if newest != _LAST_REPLACED or len(applied) != _REPLACED:
            raise MigrationFailed(
                f"the database's newest migration is {newest}. Of databases from before 0.1.0 this version takes over "
                f"those that are at {_LAST_REPLACED}: start commit {_COMMIT_BEFORE} of the source on it first"
            )
        with self.transaction():
            self.execute(f"delete from {self.migration_table}")
            self.mark_one(baseline)

    def create_lock_table(self) -> None:
        """As yoyo does, but only where it is missing; a role that may not create it gets a clear error."""
        [[is_there]] = self.execute(f"select to_regclass('{self.lock_table}') is not null").fetchall()
        if not is_there:
            with self.transaction():
                self.execute(self.format_sql(self.create_lock_table_sql))

    def _insert_lock_row(self, pid: int, timeout: float, poll_interval: float = 0.5) -> None:
        """At once: the guard is ours. yoyo would take any failure for somebody else's row, and wait for it."""
        with self.transaction():
            self.execute(f"insert into {self.lock_table} (locked, ctime, pid) values (1, now(), :pid)", {"pid": pid})


def _connect(url: str) -> Any:
    """libpq's own reading of the URL is better than that of yoyo's parser."""
    options: dict[str, Any] = parameters(url, application_name="acp-gateway-migrate")
    try:
        connection = psycopg2.connect(**{**options, "connect_timeout": _CONNECT_TIMEOUT})
    except psycopg2.Error as exc:
        raise not_connected(_reason(exc)) from exc
    connection.autocommit = True
    return connection


def _reason(exc: Exception) -> str:
    """libpq's sentence; the lines after it ask whether the server is running, or quote the statement."""
    lines = str(exc).strip().splitlines() or ["no reason given"]
    return lines[0].rstrip(".")


def migrations_dir() -> Path:
    """Where the ``.sql`` files lie: in the wheel beside the package's rooms, in a checkout beside the package."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def names(directory: Path | None = None) -> frozenset[str]:
    """The migrations that this gateway's code is written for."""
    found = (directory or migrations_dir()).glob("*.sql")
    return frozenset(path.stem for path in found if not path.stem.endswith(".rollback"))


def migrate(url: str, *, directory: Path | None = None, wait: float = 60) -> list[str]:
    """Apply what has not been applied; the names of it, oldest first.

    ``wait`` is how many seconds another process that migrates the same database may take. ``MigrationFailed`` names the
    migration that failed (those before it stay applied), ``DatabaseUnavailable`` that the database does not answer.
    """
    with _guarded(url, wait) as backend:
        found = _read(directory)
        backend.take_over(found[0])
        pending = backend.to_apply(found)
        if backend.applied() - {migration.id for migration in found}:
            pending = pending.filter(lambda migration: migration.id != _FUNCTIONS)
        return _run(backend, pending, "apply")


def rollback(url: str, count: int = 1, *, directory: Path | None = None, wait: float = 60) -> list[str]:
    """Take back the functions and the newest ``count`` migrations; their names, in order. Errors as for ``migrate``."""
    with _guarded(url, wait) as backend:
        applied = backend.applied()
        there = [migration for migration in reversed(_read(directory)) if migration.id in applied]
        functions = [migration for migration in there if migration.id == _FUNCTIONS]
        numbered = [migration for migration in there if migration.id != _FUNCTIONS]
        return _run(backend, [*functions, *numbered[:count]], "rollback")


def _read(directory: Path | None) -> MigrationList:
    found = read_migrations(glob.escape(str(directory or migrations_dir())))
    if not found:
        raise MigrationFailed(f"there are no migrations in {directory or migrations_dir()}")
    for migration in found:
        if migration.id == _FUNCTIONS:  # To yoyo, another content is another migration.
            migration.hash = hashlib.sha256(Path(migration.path).read_bytes()).hexdigest()
    return found


def _run(backend: _Backend, migrations: Iterable[Migration], direction: Literal["apply", "rollback"]) -> list[str]:
    done = []
    for migration in migrations:
        _step(backend, migration, direction)
        done.append(migration.id)
    return done


def _step(backend: _Backend, migration: Migration, direction: Literal["apply", "rollback"]) -> None:
    """One migration, once more where it and a gateway at work had waited for each other: it has changed nothing."""
    for tries_left in reversed(range(_TRIES)):
        try:
            backend.step(migration, direction)
            return
        except backend.DatabaseError as exc:
            if not (isinstance(exc, DeadlockDetected) and migration.use_transactions and tries_left):
                if reason_of(exc.pgcode or "") is not None:
                    raise  # It says nothing of the migration.
                raise MigrationFailed(f"migration {migration.id} failed: {str(exc).strip()}") from exc


@contextmanager
def _guarded(url: str, wait: float) -> Iterator[_Backend]:
    """A backend that is the only one at work on this database; connection errors become ``DatabaseUnavailable``."""
    try:
        with closing(_connect(url)) as guard, _Backend(url) as backend:
            _wait_for_guard(guard, wait)
            backend.create_lock_table()
            backend.break_lock()  # A process that left a row here is dead, as it would hold the guard.
            with backend.lock():
                yield backend
    except psycopg2.Error as exc:
        raise _refusal(exc) from exc


def _wait_for_guard(guard: Any, wait: float) -> None:
    """Take the advisory lock that lets one process migrate at a time, until ``guard`` is closed."""
    deadline = time.monotonic() + wait
    while not _try_guard(guard):
        if time.monotonic() > deadline:
            raise MigrationFailed(f"another process has been migrating this database for over {wait:g} seconds")
        time.sleep(_POLL)


def _try_guard(guard: Any) -> bool:
    with guard.cursor() as cursor:
        cursor.execute("begin; set local idle_in_transaction_session_timeout = 0")
        cursor.execute("select pg_try_advisory_xact_lock(%s)", (GUARD,))
        [[is_ours]] = cursor.fetchall()
        if not is_ours:
            cursor.execute("rollback")
    return bool(is_ours)


def _refusal(exc: psycopg2.Error) -> MigrationFailed | DatabaseUnavailable:
    reason = reason_of(exc.pgcode or "")
    if reason is INSUFFICIENT_PRIVILEGE:
        return MigrationFailed(
            f"the database's role may not do this: {_reason(exc)}. Grant it USAGE and CREATE on the schema, or migrate "
            "with a role that has them (database.direct_url)"
        )
    return unavailable(_reason(exc)) if reason is None else Unusable(reason)
