"""migrate(): many at once, after a crash, against a database that is away."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg2
import pytest

from gateway.db.migrate import GUARD, MigrationFailed, migrate, migrations_dir, rollback
from gateway.errors import ConfigError, DatabaseUnavailable
from tests.conftest import administer, with_database
from tests.db.things import ask, soon

_NUMBERS = count(1)
_MIGRATE = "import sys; from gateway.db.migrate import migrate; print(','.join(migrate(sys.argv[1])))"
_MIGRATE_FROM = (
    "import sys, pathlib; from gateway.db.migrate import migrate;"
    "migrate(sys.argv[1], directory=pathlib.Path(sys.argv[2]))"
)


@pytest.fixture
def bare_url(server_url: str) -> Iterator[str]:
    """A database with nothing in it."""
    name = f"acp_gateway_bare_{os.getpid()}_{next(_NUMBERS)}"
    administer(server_url, "create database {}", name)
    yield with_database(server_url, name)
    administer(server_url, "drop database {} with (force)", name)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two migrations; the path is one that a careless glob would not find."""
    path = tmp_path / "with [brackets] and blank"
    path.mkdir()
    for name, forward, back in (
        ("0001_one", "create table one (a text);", "drop table one;"),
        ("0002_two", "create table two (a text);\ninsert into two values ('50%');", "drop table two;"),
    ):
        (path / f"{name}.sql").write_text(f"-- A table.\n{forward}\n")
        (path / f"{name}.rollback.sql").write_text(f"-- Forgets it.\n{back}\n")
    return path


def names() -> list[str]:
    return sorted(path.stem for path in migrations_dir().glob("*.sql") if not path.stem.endswith(".rollback"))


def test_what_was_applied_is_named_and_applied_once(bare_url: str, directory: Path) -> None:
    assert migrate(bare_url, directory=directory) == ["0001_one", "0002_two"]
    assert migrate(bare_url, directory=directory) == []
    assert ask(bare_url, "select a from two") == [("50%",)]


def test_the_newest_is_rolled_back_first(bare_url: str, directory: Path) -> None:
    migrate(bare_url, directory=directory)
    assert rollback(bare_url, directory=directory) == ["0002_two"]
    assert migrate(bare_url, directory=directory) == ["0002_two"]
    assert rollback(bare_url, 2, directory=directory) == ["0002_two", "0001_one"]


def test_a_migration_that_fails_is_named_and_leaves_nothing_of_itself(bare_url: str, directory: Path) -> None:
    (directory / "0002_two.sql").write_text("-- A table.\ncreate table two (a text);\nselect nonsense;\n")
    with pytest.raises(MigrationFailed, match='0002_two failed: column "nonsense" does not exist'):
        migrate(bare_url, directory=directory)
    assert ask(bare_url, "select to_regclass('one')::text, to_regclass('two')::text") == [("one", None)]
    (directory / "0002_two.sql").write_text("-- A table.\ncreate table two (a text);\n")
    assert migrate(bare_url, directory=directory) == ["0002_two"]


def test_a_migration_outside_of_a_transaction_is_applied(bare_url: str, directory: Path) -> None:
    (directory / "0003_index.sql").write_text(
        "-- An index, made while others write.\n-- transactional: false\ncreate index concurrently one_a on one (a);\n"
    )
    assert migrate(bare_url, directory=directory)[-1] == "0003_index"


def test_a_migration_and_others_that_wait_for_each_other_both_come_to_their_end(bare_url: str, directory: Path) -> None:
    migrate(bare_url, directory=directory)
    (directory / "0003_more.sql").write_text(
        "-- Takes one table after the other.\nalter table one add column b text;\nalter table two add column b text;\n"
    )
    with closing(psycopg2.connect(bare_url)) as other, other.cursor() as cursor:
        cursor.execute("insert into two values ('other')")
        migrating = threading.Thread(target=migrate, args=(bare_url,), kwargs={"directory": directory})
        migrating.start()
        soon(lambda: ask(bare_url, "select 1 from pg_locks where not granted"))
        cursor.execute("insert into one values ('other')")
        other.commit()
        migrating.join()
    assert ask(bare_url, "select a, b from one") == [("other", None)]
    assert ("0003_more",) in ask(bare_url, "select migration_id from _yoyo_migration")


@pytest.fixture
def functions(directory: Path) -> Path:
    """A third file: that of the functions."""
    file = directory / "functions.sql"
    write_function(file, says=1)
    file.with_suffix(".rollback.sql").write_text("-- Forgets it.\ndrop function if exists says();\n")
    return file


def write_function(file: Path, *, says: int) -> None:
    file.write_text(f"-- A function.\ncreate or replace function says() returns int language sql as 'select {says}';\n")


def test_functions_are_made_last_and_again_once_they_have_changed(
    bare_url: str, directory: Path, functions: Path
) -> None:
    assert migrate(bare_url, directory=directory) == ["0001_one", "0002_two", "functions"]
    assert migrate(bare_url, directory=directory) == []
    former = functions.read_bytes()
    write_function(functions, says=2)
    assert migrate(bare_url, directory=directory) == ["functions"]
    assert ask(bare_url, "select says()") == [(2,)]
    functions.write_bytes(former)
    assert migrate(bare_url, directory=directory) == ["functions"]
    assert ask(bare_url, "select says()") == [(1,)]
    assert migrate(bare_url, directory=directory) == []


def test_a_version_leaves_the_functions_of_a_newer_one_alone(bare_url: str, directory: Path, functions: Path) -> None:
    (directory / "0003_three.sql").write_text("-- A table.\ncreate table three (a text);\n")
    (directory / "0003_three.rollback.sql").write_text("-- Forgets it.\ndrop table three;\n")
    write_function(functions, says=3)
    migrate(bare_url, directory=directory)
    newer = (directory / "0003_three.sql").rename(directory / "0003_three.newer")
    write_function(functions, says=1)
    assert migrate(bare_url, directory=directory) == []
    assert ask(bare_url, "select says()") == [(3,)]

    newer.rename(directory / "0003_three.sql")
    assert rollback(bare_url, directory=directory) == ["functions", "0003_three"]
    assert ask(bare_url, "select 1 from pg_proc where proname = 'says'") == []
    (directory / "0003_three.sql").unlink()
    assert migrate(bare_url, directory=directory) == ["functions"]
    assert ask(bare_url, "select says()") == [(1,)]


def test_eight_processes_at_once_apply_each_migration_once(bare_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _MIGRATE, bare_url], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    applied = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert [line for lines in applied for line in lines] == [",".join(names())]


def test_a_lock_that_a_dead_migrator_left_stops_nobody(bare_url: str, directory: Path) -> None:
    migrate(bare_url, directory=directory)
    ask(bare_url, "insert into yoyo_lock (locked, ctime, pid) values (1, now(), 4242)")
    rollback(bare_url, directory=directory)
    ask(bare_url, "insert into yoyo_lock (locked, ctime, pid) values (1, now(), 4242)")
    assert migrate(bare_url, directory=directory) == ["0002_two"]


def test_a_migrator_killed_in_the_middle_leaves_nothing_half_done(bare_url: str, directory: Path) -> None:
    (directory / "0002_two.sql").write_text("-- A table.\ncreate table two (a text);\nselect pg_sleep(30);\n")
    process = subprocess.Popen([sys.executable, "-c", _MIGRATE_FROM, bare_url, str(directory)])
    sleeping = "select pid from pg_stat_activity where query like 'select pg_sleep(%' and datname = current_database()"
    [[backend]] = soon(lambda: ask(bare_url, sleeping))
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    # PostgreSQL does not look at its client while it sleeps; a real statement would come to its end.
    ask(bare_url, "select pg_terminate_backend(%(pid)s)", pid=backend)
    (directory / "0002_two.sql").write_text("-- A table.\ncreate table two (a text);\n")
    assert migrate(bare_url, directory=directory) == ["0002_two"]


def test_waiting_for_another_migrator_has_a_limit(bare_url: str, directory: Path) -> None:
    other = psycopg2.connect(bare_url)
    other.cursor().execute("select pg_advisory_lock(%s)", (GUARD,))
    with pytest.raises(MigrationFailed, match="another process has been migrating this database"):
        migrate(bare_url, directory=directory, wait=0.2)
    other.close()


def test_a_directory_without_migrations_is_named(bare_url: str, tmp_path: Path) -> None:
    with pytest.raises(MigrationFailed, match="there are no migrations in"):
        migrate(bare_url, directory=tmp_path)


def test_a_database_that_is_away_is_said_to_be(server_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="No such file or directory"):
        migrate("postgresql://postgres@/postgres?host=/nonexistent")
    with pytest.raises(DatabaseUnavailable, match='database "gone" does not exist'):
        migrate(with_database(server_url, "gone"))


def test_a_bad_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError, match=r"database\.url .* ACP_GATEWAY_DATABASE_URL") as caught:
        migrate("postgresql://user:hunter2@host/db?nosuch=1")
    assert "hunter2" not in str(caught.value)
