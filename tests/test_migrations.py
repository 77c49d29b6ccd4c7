"""The files in migrations/: what each must look like, and that its rollback takes back all that it did."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.db.migrate import migrate, migrations_dir, rollback
from tests.conftest import administer, with_database
from tests.db.things import ask
from tests.schema import snapshot

ROOT = Path(__file__).parents[1]
FORWARD = sorted(path for path in migrations_dir().glob("*.sql") if not path.stem.endswith(".rollback"))
ALL = sorted(migrations_dir().glob("*.sql"))


@pytest.fixture
def bare_url(server_url: str) -> Iterator[str]:
    name = f"acp_gateway_migrations_{os.getpid()}"
    administer(server_url, "create database {}", name)
    yield with_database(server_url, name)
    administer(server_url, "drop database {} with (force)", name)


def test_each_migration_is_ascii_and_says_what_it_does_in_its_first_line() -> None:
    for path in ALL:
        text = path.read_bytes().decode("ascii")  # yoyo reads it in whatever encoding the machine prefers.
        assert re.match(r"-- [A-Z].*\.\n", text), path.name
        assert re.fullmatch(r"(\d{4}_[a-z0-9_]+|functions)(\.rollback)?", path.stem), path.name


def test_each_migration_has_a_number_of_its_own_and_a_rollback() -> None:
    numbers = [path.name[:4] for path in FORWARD if path.stem != "functions"]
    assert numbers == sorted(set(numbers))
    assert {path.with_suffix(".rollback.sql") for path in FORWARD} == set(ALL) - set(FORWARD)


def test_each_rollback_takes_back_all_that_its_migration_did(bare_url: str, tmp_path: Path) -> None:
    before = [snapshot(bare_url)]
    for path in FORWARD:
        for file in (path, path.with_suffix(".rollback.sql")):
            (tmp_path / file.name).write_bytes(file.read_bytes())
        assert migrate(bare_url, directory=tmp_path) == [path.stem]
        before.append(snapshot(bare_url))
        assert before[-1] != before[-2]
    complete = before.pop()
    for path in reversed(FORWARD):
        assert rollback(bare_url, 0 if path.stem == "functions" else 1) == [path.stem]
        assert snapshot(bare_url) == before.pop(), f"after the rollback of {path.stem}"
    assert migrate(bare_url) == [path.stem for path in FORWARD]
    assert snapshot(bare_url) == complete


def test_nothing_of_its_callers_stands_in_for_a_table_where_a_function_runs_as_its_owner(database_url: str) -> None:
    """A temporary table is found before all others unless the path says otherwise."""
    found = ask(
        database_url,
        "select proname, proconfig[1] from pg_proc where prosecdef and pronamespace = 'public'::regnamespace",
    )
    assert found == [("look_at_timeline", "search_path=public, pg_temp")]


def test_the_wheel_carries_the_migrations_and_finds_them(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, timeout=100, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    found = subprocess.run(
        [sys.executable, "-c", "from gateway.db.migrate import migrations_dir; print(migrations_dir())"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.strip()
    assert Path(found) == tmp_path / "site" / "gateway" / "migrations"
    assert sorted(path.name for path in Path(found).iterdir()) == [path.name for path in ALL]
    assert (tmp_path / "site" / "gateway" / "db" / "queries.sql").is_file()
    assert (tmp_path / "site" / "acp_session_gateway_client" / "py.typed").is_file()
