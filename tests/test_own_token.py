"""``acp-gateway serve`` whose operator has not said who asks: it wants a token, which agents beside it do not have."""

import json
import os
import re
import shlex
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.cli.local_access import ADDRESS_FILE, TOKEN_FILE
from gateway.cli.own_token import have_own_token
from gateway.config.schema import Config, DatabaseConfig
from gateway.db.pool import Database
from gateway.errors import StartError
from gateway.identity.tokens import NewToken, Tokens
from gateway.projects.addresses import leads_here
from tests.program import READY, UNSAID, Ended, Place, Program, call, own_token, run, run_to_end

#: Somebody else on this machine, as whom an agent's container might run.
NOBODY = 65534
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None or shutil.which("curl") is None,
    reason="it takes root to run an agent as somebody else, and util-linux and curl",
)


@attrs.frozen
class Here:
    """A gateway's place, and what is said to it and to the commands of its user beside that."""

    place: Place
    environ: dict[str, str]

    @property
    def url(self) -> str:
        return self.place.url

    @property
    def data_dir(self) -> Path:
        return self.place.data_dir

    @property
    def token(self) -> dict[str, str]:
        return own_token(self.data_dir)

    @contextmanager
    def serve(self, *options: str, **environ: str) -> Iterator[Program]:
        at = ["--port", str(self.place.port), "--data-dir", str(self.data_dir)]
        environ = {**UNSAID, **self.environ, **environ}
        with run("serve", *at, *options, directory=self.place.directory, environ=environ) as program:
            program.wait_until_says(READY)
            yield program

    def command(self, *arguments: str, **environ: str) -> Ended:
        """A command of the same user's, that looks for the gateway in its data directory."""
        found = {"ACP_GATEWAY_EMBEDDED_DATA_DIR": str(self.data_dir), "ACP_GATEWAY_URL": self.url}
        environ = {**UNSAID, **self.environ, **found, **environ}
        return run_to_end(*arguments, directory=self.place.directory, environ=environ)

    def sign_in(self, link: str) -> tuple[int, Any]:
        return call("POST", f"{self.url}/api/sign-in", {"link": link})

    def run_as_agent(self, command: str) -> str:
        """What is printed by a command that a prompt has the agent run, as somebody else than the gateway's user."""
        acp = f"{self.url}/api/projects/default/acp"
        _, session = call("POST", f"{acp}/session", {"agentId": "demo"}, self.token)
        path = f"{acp}/session/{session['id']}"
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "sh", "-c"]
        prompt = {"prompt": f"run {shlex.join([*as_nobody, f'{command}; true'])}"}
        status, turn = call("POST", f"{path}/prompt", prompt, {"Prefer": "wait=60", **self.token})
        assert (status, turn["turn"]["state"]) == (200, "completed"), turn
        return json.dumps(call("GET", f"{path}/messages", headers=self.token)[1]["messages"])


def link_of(program: Program) -> str:
    found = re.search(r"console       (http\S+)#sign-in=(\S+)\n", program.said())
    assert found is not None, program.said()
    return found[2]


@pytest.fixture
def here(open_directory: Path, database_url: str) -> Here:
    """On a PostgreSQL that is there, so that a start takes little."""
    place = Place.make(open_directory / "own-token")
    return Here(place, {"ACP_GATEWAY_DATABASE_URL": database_url})


@pytest.fixture(scope="module")
def sidecar(module_directory: Path) -> Iterator[tuple[Here, Program]]:
    """A gateway beside one container, as the image runs it, and an agent host on the same loopback."""
    place = Place.make(module_directory / "own-token-sidecar")
    secret = "between-the-two"
    host = ["--port", str(place.container_port + 1), "--workspace", str(place.workspace)]
    container = ["--container", f"http://127.0.0.1:{place.container_port}"]
    here = Here(place, {})
    with run("agent-host", *host, directory=place.directory, environ={"ACP_HOST_TOKEN": secret}) as agents:
        agents.wait_until_says("agent host")
        with here.serve(*container, ACP_GATEWAY_CONTAINERS_TOKEN=secret) as gateway:
            yield here, gateway


def test_nothing_is_answered_without_the_token_and_all_with_it(sidecar: tuple[Here, Program]) -> None:
    here, program = sidecar
    project = f"{here.url}/api/projects/default"
    for method, url, body in (
        ("GET", project, None),
        ("PATCH", project, {"permissionMode": "full-auto"}),
        ("GET", f"{project}/acp/events", None),
        ("GET", f"{project}/acp/info", None),
        ("GET", f"{project}/opencode/session", None),
        ("POST", f"{here.url}/api/projects", {"containerUrl": "http://127.0.0.1:1"}),
        ("GET", f"{here.url}/api/credentials", None),
        ("DELETE", f"{here.url}/api/sign-in", None),
    ):
        assert call(method, url, body)[0] == 401, url
    for host in (f"default.localhost:{here.place.port}", "localhost", f"[::1]:{here.place.port}"):
        assert call("GET", f"{project}/acp/info", headers={"Host": host})[0] == 401
    token = here.token
    assert call("PATCH", project, {"name": "Mine"}, token)[0] == 200
    assert call("GET", project, headers=token)[1]["ownerId"] == "local"
    assert call("GET", f"{here.url}/readyz")[0] == call("GET", f"{here.url}/healthz")[0] == 200
    assert token["Authorization"].partition(" ")[2] not in program.said() + program.complained()


@as_root
def test_an_agent_as_another_user_neither_changes_its_project_nor_reads_what_would_let_it(
    sidecar: tuple[Here, Program],
) -> None:
    here, _ = sidecar
    url, files = f"{here.url}/api/projects/default", here.data_dir
    change = """-H 'Content-Type: application/json' -d '{"permissionMode": "full-auto"}'"""
    said = here.run_as_agent(f"id -u; curl -s -w '%{{http_code}}' -X PATCH {url} {change}")
    assert str(NOBODY) in said
    assert "unauthenticated" in said
    for file in (TOKEN_FILE, ADDRESS_FILE, "vault.keys", "postgres/PG_VERSION", "run"):
        said = here.run_as_agent(f"cat {files}/{file} 2>&1 || ls {files}/{file}")
        assert "Permission denied" in said, file
    for process in ("environ", "cmdline"):
        said = here.run_as_agent(f"cat /proc/[0-9]*/{process} 2>/dev/null | tr -c '[:print:]' ' '")
        assert here.token["Authorization"].partition(" ")[2] not in said
    _, project = call("GET", url, headers=here.token)
    assert project["permissionMode"] == "ask"


def test_commands_of_the_same_user_find_the_token(sidecar: tuple[Here, Program]) -> None:
    here, _ = sidecar
    listed = here.command("project", "list", "--json")
    assert (listed.status, json.loads(listed.stdout)[0]["id"]) == (0, "default"), listed.stderr
    assert here.command("prompt", "default", "say hello", "--agent", "demo").stdout == "hello\n"
    # One that is given is what counts, right or wrong.
    wrong = here.command("project", "list", ACP_GATEWAY_TOKEN="acpgw_wrong")
    assert (wrong.status, "unknown" in wrong.stderr) == (1, True)
    elsewhere = here.command("project", "list", ACP_GATEWAY_EMBEDDED_DATA_DIR=str(here.place.directory))
    assert "local.token" in elsewhere.sentence()


def test_where_commands_do_not_look_they_are_told_where_to(sidecar: tuple[Here, Program], here: Here) -> None:
    beside, program = sidecar
    [line] = [line for line in program.said().splitlines() if line.startswith("token  ")]
    name, _, file = line.partition("export ")[2].removesuffix(")").partition("=")
    assert file == str(beside.data_dir / TOKEN_FILE)
    elsewhere = {"ACP_GATEWAY_EMBEDDED_DATA_DIR": str(beside.place.directory)}
    assert beside.command("project", "list", **{name: file}, **elsewhere).status == 0
    with here.serve(ACP_GATEWAY_EMBEDDED_DATA_DIR=str(here.data_dir)) as found:
        assert f"token         {here.data_dir / TOKEN_FILE} (commands find it there)\n" in found.said()


def test_a_link_is_printed_and_another_can_be(sidecar: tuple[Here, Program]) -> None:
    here, program = sidecar
    status, signed_in = here.sign_in(link_of(program))
    assert (status, signed_in["userId"]) == (201, "local")
    status, refused = here.sign_in(link_of(program))
    assert (status, refused["code"]) == (410, "sign_in_link_gone")
    [hint] = [line for line in program.said().splitlines() if "acp-gateway token link" in line]
    again = here.command(*hint.partition("acp-gateway ")[2].split())
    address, _, link = again.stdout.strip().partition("#sign-in=")
    assert address == f"{here.url}/console"
    assert here.sign_in(link)[0] == 201
    shown = json.loads(here.command("token", "link", "--json", "--url", "https://x.example/").stdout)
    assert shown["url"].startswith("https://x.example/console#sign-in=")


def test_the_files_are_their_owners_alone(sidecar: tuple[Here, Program]) -> None:
    here, _ = sidecar
    for name in (TOKEN_FILE, ADDRESS_FILE):
        assert stat.S_IMODE((here.data_dir / name).stat().st_mode) == 0o600


def test_the_token_outlives_a_restart_and_browsers_do_not(here: Here) -> None:
    with here.serve() as first:
        token, unused = here.token, link_of(first)
        link = here.command("token", "link").stdout.strip().partition("#sign-in=")[2]
        browser = {"Authorization": f"Bearer {here.sign_in(link)[1]['token']}"}
    with here.serve() as second:
        assert here.token == token
        assert call("GET", f"{here.url}/api/projects", headers=token)[0] == 200
        status, refused = call("GET", f"{here.url}/api/projects", headers=browser)
        assert (status, "revoked" in refused["detail"]) == (401, True)
        assert here.sign_in(unused)[0] == 410
        assert here.sign_in(link_of(second))[0] == 201


def test_a_token_that_others_may_have_read_or_that_is_good_no_more_is_replaced(here: Here) -> None:
    with here.serve():
        first = here.token
    (here.data_dir / TOKEN_FILE).chmod(0o644)
    with here.serve():
        second = here.token
        assert call("GET", f"{here.url}/api/projects", headers=first)[0] == 401
        assert call("GET", f"{here.url}/api/projects", headers=second)[0] == 200
        assert stat.S_IMODE((here.data_dir / TOKEN_FILE).stat().st_mode) == 0o600
        [mine] = [one for one in json.loads(here.command("token", "list", "--json").stdout)["tokens"]
                  if one["revokedAt"] is None]  # fmt: skip
        assert here.command("token", "revoke", mine["id"]).status == 0
    (here.data_dir / TOKEN_FILE).write_text("acpgw_nothing\n")
    with here.serve("--workers", "2"):
        third = here.token
        assert len({str(first), str(second), str(third)}) == 3
        for _ in range(6):
            assert call("GET", f"{here.url}/api/projects", headers=third)[0] == 200


async def test_of_a_data_directory_no_more_than_one_token_is_good(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    config = Config(database=DatabaseConfig(url=database_url))
    here, other = tmp_path / "here", tmp_path / "other"
    tokens = Tokens(database)
    mine, _ = await tokens.create(NewToken(user_id="local", name="ci"))

    async def good() -> set[str]:
        return {token.id for token in await tokens.list_all("local") if token.flaw() is None} - {mine.id}

    for directory in (here, other):
        directory.mkdir()
        await have_own_token(config, directory)
    both = await good()
    assert len(both) == 2
    file = here / TOKEN_FILE
    for spoil in (file.unlink, lambda: file.write_text("acpgw_nothing\n"), lambda: file.chmod(0o644)):
        spoil()
        await have_own_token(config, here)
        before, both = both, await good()
        assert (len(both), len(both & before)) == (2, 1)
        found = await Tokens(database).find(file.read_text().strip())
        assert found is not None
        assert found.id in both - before
    # One that cannot be written down is not made.
    with pytest.raises(StartError, match="cannot be written"):
        await have_own_token(config, tmp_path / "nowhere")
    file.unlink()
    file.mkdir()
    with pytest.raises(StartError, match=TOKEN_FILE):
        await have_own_token(config, here)
    assert await good() == both


def test_a_token_is_sent_to_the_gateway_that_runs_and_to_nobody_else_on_its_machine(here: Here) -> None:
    with here.serve(), listener(0) as (port, heard):
        token = here.token["Authorization"]
        here.command("project", "list", ACP_GATEWAY_URL=f"http://127.0.0.1:{port}")
        here.command("project", "list", ACP_GATEWAY_URL=f"http://localhost:{here.place.port}")
        assert heard
    # Whoever has its port while it is gone.
    with listener(here.place.port) as (_, later):
        assert here.command("project", "list").status == 1
        assert later
    assert not any(token.encode() in request or b"uthorization" in request for request in (*heard, *later))


def test_two_gateways_do_not_keep_their_tokens_in_one_place(here: Here) -> None:
    with here.serve():
        options = ["--port", str(here.place.container_port), "--data-dir", str(here.data_dir)]
        environ = {**UNSAID, **here.environ}
        sentence = run_to_end("serve", *options, directory=here.place.directory, environ=environ).sentence()
        assert "has its token in" in sentence
        assert call("GET", f"{here.url}/api/projects", headers=here.token)[0] == 200


def test_where_it_is_said_to_be_open_it_is_and_says_what_that_means(here: Here) -> None:
    with here.serve(ACP_GATEWAY_IDENTITY_MODES="local") as program:
        assert call("GET", f"{here.url}/api/projects")[0] == 200
        assert "identity      local: every program on this machine, agents too," in program.said()
        assert not (here.data_dir / TOKEN_FILE).exists()


@pytest.mark.parametrize(
    ("host", "found", "is_here"),
    [
        ("LocalHost.", None, True),
        ("agents.localhost", None, True),
        ("this-machine.example", "127.0.1.1", True),
        ("[::1]", "::1", True),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1", True),
        ("0.0.0.0", "0.0.0.0", True),
        ("agents.example", "192.0.2.1", False),
        ("nobody.example", None, False),
    ],
)
async def test_this_machine_is_known_in_every_spelling(host: str, found: str | None, is_here: bool) -> None:
    async def lookup(name: str) -> list[tuple[int, str]]:
        if found is None:
            raise OSError(f"{name} is unknown")
        return [(socket.AF_UNSPEC, found)]

    assert await leads_here(host, lookup) is is_here


def test_where_agents_would_be_users_it_does_not_start(here: Here) -> None:
    options = ["--container", "http://localhost.:4097", "--port", str(here.place.port)]
    environ = {**here.environ, "ACP_GATEWAY_IDENTITY_MODES": "local"}
    ended = run_to_end("serve", *options, directory=here.place.directory, environ=environ)
    assert "its agents would be the gateway's one user" in ended.sentence()


@contextmanager
def listener(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """Somebody who answers 200 to anything, and what they are sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", port)) as sock:

        def listen() -> None:
            while True:
                try:
                    client, _ = sock.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(10)
                    heard.append(client.recv(65536))
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield sock.getsockname()[1], heard
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(10)
