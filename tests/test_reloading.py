"""SIGHUP has a running gateway read its configuration again: what may be changed is, and what cannot is told."""

import asyncio
import json
import os
import pty
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from gateway.config.load import load
from gateway.config.load import tables as config_tables
from gateway.config.reload import LIVE, Changes, Reloading, Settings, differences, is_live
from gateway.config.schema import Config, DatabaseConfig
from gateway.server.run import bind
from gateway.server.supervisor import Supervisor
from tests.program import Place, Program, call, run, wait_until
from tests.world import QUICK

READY = "gateway       http"


@pytest.fixture
def place(open_directory: Path) -> Place:
    return Place.make(open_directory / "reloading")


@attrs.define
class Running:
    program: Program
    place: Place
    file: Path

    def reload(self, text: str) -> list[dict[str, Any]]:
        """What it logs of reading this file."""
        before = len(self.program.complained().splitlines())
        self.file.write_text(text)
        self.program.process.send_signal(signal.SIGHUP)

        def told() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in self.program.complained().splitlines()[before:]]
            return [line for line in lines if line["logger"] == "gateway.config.reload"]

        wait_until(told)
        # What needs a restart is told right after.
        time.sleep(0.2)
        return told()


@contextmanager
def serve(place: Place, text: str, workers: int = 1, **popen: Any) -> Iterator[Running]:
    file = place.directory / "config.toml"
    file.write_text(text)
    options = ["--config", str(file), "--port", str(place.port), "--data-dir", str(place.data_dir)]
    with run("serve", *options, "--workers", str(workers), directory=place.directory, **popen) as program:
        program.wait_until_says(READY)
        yield Running(program, place, file)


def status(place: Place) -> int:
    """Of a scrape."""
    try:
        with urllib.request.urlopen(f"{place.url}/metrics", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


JSON = '[logging]\nformat = "json"\n'


@pytest.mark.parametrize("workers", [1, 2])
def test_what_may_be_changed_is_in_every_process_and_the_rest_is_told(place: Place, workers: int) -> None:
    with serve(place, JSON, workers) as running:
        for _ in range(8):
            assert status(place) == 200
        text = f"[server]\nshutdown_timeout = 7\n[metrics]\nallow = []\ntoken = 'secret-token'\n{JSON}access = true\n"
        lines = running.reload(text)
        assert [(line["message"], line.get("changed"), line.get("settings")) for line in lines] == [
            ("configuration reloaded", "logging.access, metrics.allow, metrics.token", None),
            ("settings that need a restart were changed", None, "server.shutdown_timeout"),
        ]
        assert "secret-token" not in running.program.complained()
        # Each is a connection of its own, which the kernel gives to any of the workers.
        wait_until(lambda: [status(place) for _ in range(8)] == [403] * 8)
        assert '"gateway.access"' in running.program.complained()
        if workers > 1:
            # A worker that comes later has them too.
            for process in running.program.descendants():
                # PostgreSQL's come and go.
                with suppress(psutil.NoSuchProcess):
                    if "gateway.server.worker" in process.cmdline():
                        process.kill()
            wait_until(lambda: running.program.complained().count("worker serves") == 4)
            assert [status(place) for _ in range(8)] == [403] * 8


async def test_a_worker_that_is_just_being_started_has_what_is_changed_meanwhile(
    database_url: str, tmp_path: Path
) -> None:
    config = attrs.evolve(QUICK, database=DatabaseConfig(url=database_url))
    sock = bind("127.0.0.1", 0, purpose="the test's gateway", option="")
    port = sock.getsockname()[1]
    supervisor = Supervisor(config, [sock], tmp_path)
    starting = asyncio.create_task(supervisor.start(asyncio.Event()))
    try:
        for _ in range(3):
            await asyncio.sleep(0)
        # Its process is on its way, with the settings as they were.
        assert supervisor.pids == []
        supervisor.change({("metrics", "allow"): ()})
        await starting
        assert await asyncio.to_thread(status, Place(directory=tmp_path, port=port, container_port=0)) == 403
    finally:
        await supervisor.stop()


def test_a_file_that_is_wrong_changes_nothing_and_is_told_with_the_place(place: Place) -> None:
    with serve(place, JSON) as running:
        (line,) = running.reload(f"{JSON}level = 'loud'\n[metrics]\nallow = []\n")
        assert line["level"] == "error"
        assert "logging.level: must be one of" in line["error"]
        assert status(place) == 200
        (line,) = running.reload(f"{JSON}[containers]\nallow = ['not an address!']\n")
        assert "containers.allow" in line["error"]
        (line,) = running.reload(f"{JSON}[metrics]\nallow = []\n")
        assert line["changed"] == "metrics.allow"
        assert status(place) == 403


def test_where_containers_may_be_is_changed_for_the_projects_that_there_are(place: Place) -> None:
    with serve(place, JSON) as running:
        body = {"id": "demo", "containerUrl": "http://127.0.0.1:1"}
        assert call("POST", f"{place.url}/api/projects", body)[0] == 201
        agents = f"{place.url}/api/projects/demo/acp/agents"
        assert call("GET", agents)[1]["code"] == "upstream_refused"
        running.reload(f'{JSON}[containers]\nallow = ["10.0.0.0/8"]\n')
        assert call("GET", agents)[1]["code"] == "upstream_forbidden"
        running.reload(JSON)
        assert call("GET", agents)[1]["code"] == "upstream_refused"


def test_providers_are_changed_together_and_checked_first(place: Place) -> None:
    def auth_modes() -> str:
        return json.dumps(call("GET", f"{place.url}/api/projects/demo/acp/agents/claude-code/auth/status"))

    provider = '[providers.company]\nenabled = true\nagents = ["claude-code"]\nflows = ["pkce"]\nclient_id = "c"\n'
    addresses = 'authorize_url = "https://login.example/a"\ntoken_url = "https://login.example/t"\n'
    with serve(place, JSON) as running:
        assert call("POST", f"{place.url}/api/projects", {"id": "demo", "containerUrl": "http://127.0.0.1:1"})[0] == 201
        before = auth_modes()
        (line,) = running.reload(f"{JSON}{provider}")
        assert line["level"] == "error"
        assert "providers.company" in line["error"]
        assert auth_modes() == before
        (line,) = running.reload(f"{JSON}{provider}{addresses}")
        assert line["changed"] == "providers"
        assert auth_modes() != before


def test_with_a_terminal_the_signal_is_its_closing_and_stops(place: Place) -> None:
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        import fcntl
        import termios

        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    try:
        with serve(place, JSON, preexec_fn=take_terminal, pass_fds=(theirs,)) as running:
            running.program.process.send_signal(signal.SIGHUP)
            assert running.program.wait() == 0
    finally:
        os.close(ours)
        os.close(theirs)


def test_every_setting_that_is_said_to_be_live_exists() -> None:
    tables = {
        table.name: {one.name for one in attrs.fields(type(getattr(Config(), table.name)))} for table in config_tables()
    }
    for name in LIVE - {"providers"}:
        table, _, setting = name.partition(".")
        assert not setting or setting in tables[table]
        assert table in tables


def test_what_waits_for_a_restart_is_told_again_and_what_was_taken_is_not(caplog: pytest.LogCaptureFixture) -> None:
    given: list[Changes] = []
    environ = {"ACP_GATEWAY_SERVER_PORT": "9000", "ACP_GATEWAY_LOGGING_ACCESS": "true"}
    reloading = Reloading(Config(), lambda: load(None, environ), given.append)
    caplog.set_level("INFO", "gateway.config.reload")
    reloading.reload()
    reloading.reload()
    assert given == [{("logging", "access"): True}]
    assert [getattr(record, "changed", None) for record in caplog.records] == ["logging.access", None, "nothing", None]
    assert [getattr(record, "settings", None) for record in caplog.records] == [None, "server.port"] * 2


def test_listeners_are_told_of_the_whole_configuration() -> None:
    settings, told = Settings(Config()), []
    settings.on_change(told.append)
    new = load(None, {"ACP_GATEWAY_LOGGING_LEVEL": "debug"})
    changes = differences(settings.config, new)
    assert changes == {("logging", "level"): "debug"}
    assert all(is_live(*place) for place in changes)
    settings.change(changes)
    assert told == [new] == [settings.config]
