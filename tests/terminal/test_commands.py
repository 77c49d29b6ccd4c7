"""The commands of people against a gateway that runs: in a script, and in a terminal with somebody at it."""

import argparse
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.terminal.asking import choice
from gateway.terminal.parser import add_commands
from gateway.terminal.screen import clean
from tests.program import Place, command

DOCUMENTED = Path(__file__).parents[2] / "docs" / "cli.md"
SECONDS = 60.0


@pytest.fixture(scope="module")
def place(open_directory: Path) -> Iterator[Place]:
    """A running ``acp-gateway up``."""
    made = Place.make(open_directory / "terminal")
    with made.up():
        yield made


def environ(place: Place, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "TERM": "xterm",
        "ACP_GATEWAY_URL": f"http://127.0.0.1:{place.port}",
        "ACP_GATEWAY_TOKEN": "",
        **more,
    }


def script(place: Place, *arguments: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """A command as a script runs it."""
    return subprocess.run(
        [*command(), *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environ(place, **more),
    )


def told(place: Place, *arguments: str) -> Any:
    done = script(place, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@attrs.define
class Terminal:
    """A command with somebody at its terminal."""

    process: subprocess.Popen[bytes]
    master: int
    shown: str = ""

    def until(self, text: str) -> None:
        end = time.monotonic() + SECONDS
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            self._read()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait(self) -> int:
        while self._read():
            pass
        return self.process.wait(SECONDS)

    def _read(self) -> bool:
        if not select.select([self.master], [], [], SECONDS)[0]:
            raise AssertionError(f"nothing came: {self.shown}")
        try:
            piece = os.read(self.master, 4096)
        except OSError:
            return False
        self.shown += piece.decode("utf-8", "replace")
        return bool(piece)


@contextmanager
def terminal(place: Place, *arguments: str, **more: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*command(), *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environ(place, **more),
        start_new_session=True,
        preexec_fn=_control,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)


def _control() -> None:
    """Ctrl-C typed into the terminal reaches the program."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_the_answer_alone_is_on_standard_output(place: Place) -> None:
    done = script(place, "prompt", "demo", "say hello")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert "session ses_" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_script_gets_each_event_as_a_line_of_json(place: Place) -> None:
    done = script(place, "prompt", "demo", "-", "--json", typed="stream 3")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert [events[0]["type"], events[-1]["type"]] == ["turn_started", "turn_ended"]
    assert [int(event["id"].split("-")[1]) for event in events] == sorted(
        int(event["id"].split("-")[1]) for event in events
    )


def test_a_session_is_gone_on_with(place: Place) -> None:
    session = script(place, "session", "create", "demo", "--title", "mine").stdout.strip()
    assert script(place, "prompt", "demo", "say one", "--session", session).returncode == 0
    assert script(place, "prompt", "demo", "say two", "-c").stdout == "two\n"
    history = script(place, "session", "history", "demo", session)
    assert "one" in history.stdout
    assert "two" in history.stdout
    assert told(place, "session", "get", "demo", session)["title"] == "mine"


def test_a_turn_that_fails_says_why_and_has_a_status_of_its_own(place: Place) -> None:
    done = script(place, "prompt", "demo", "fail for a reason")
    assert done.returncode == 3
    assert "the turn ended as failed" in done.stderr


def test_what_is_refused_is_one_sentence(place: Place) -> None:
    done = script(place, "agent", "list", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "acp-gateway: There is no project 'nothing'.\n"


def test_wrong_usage_has_its_own_status(place: Place) -> None:
    assert script(place, "prompt", "demo", " ").returncode == 2
    assert script(place, "prompt", "demo").returncode == 2
    assert script(place, "project", "list", "--url", "nowhere").returncode == 2


def test_a_gateway_that_is_not_there_is_named(place: Place) -> None:
    done = script(place, "project", "create", "http://127.0.0.1:1", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "No gateway answers at http://127.0.0.1:9" in done.stderr


def test_projects_and_agents_are_listed(place: Place) -> None:
    assert "demo" in [one["id"] for one in told(place, "project", "list")]
    assert "demo" in script(place, "project", "list").stdout
    assert "demo" in [one["id"] for one in told(place, "agent", "list", "demo")]


def test_a_permission_without_a_terminal_waits_and_says_how_to_answer_it(place: Place) -> None:
    process = subprocess.Popen(
        [*command(), "prompt", "demo", "permission"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(place),
    )
    try:
        assert process.stderr is not None
        while "acp-gateway permission answer demo prm_" not in (line := process.stderr.readline()):
            assert line
        permission = line.split("demo ")[1].split()[0]
        assert script(place, "permission", "answer", "demo", permission, "--allow").returncode == 0
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("option", "says"), [("--allow", "allow"), ("--deny", "reject")])
def test_a_script_can_say_beforehand_what_to_answer(place: Place, option: str, says: str) -> None:
    done = script(place, "prompt", "demo", "permission", option)
    assert done.returncode == 0
    assert says in done.stderr


def test_a_permission_is_asked_for_in_the_terminal(place: Place) -> None:
    with terminal(place, "prompt", "demo", "permission") as person:
        person.until("y (allow once) or n (refuse):")
        person.type("\n")
        person.until("Type a number, y or n.")
        person.type("y\n")
        assert person.wait() == 0
        assert "\x1b[" in person.shown


def test_no_colours_where_they_are_not_wanted(place: Place) -> None:
    with terminal(place, "prompt", "demo", "think\nsay plain", NO_COLOR="1") as person:
        assert person.wait() == 0
        assert "\x1b[" not in person.shown


def test_ctrl_c_cancels_the_turn(place: Place) -> None:
    with terminal(place, "prompt", "demo", "stream 3\nslow 60") as person:
        person.until("tok2")
        person.type("\x03")
        assert person.wait() == 130
        assert "cancelling the turn" in person.shown
        assert "the turn ended as cancelled" in person.shown


def test_events_are_followed_until_they_are_enough(place: Place) -> None:
    process = subprocess.Popen(
        [*command(), "events", "demo", "--from-start", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(place),
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"].endswith("-1")
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    finally:
        process.kill()
        process.communicate()


def test_an_account_is_connected_with_a_key_and_taken_away(place: Place) -> None:
    kept = script(place, "auth", "token", "demo", "codex", typed="sk-something-long-enough-0123456789\n")
    assert kept.returncode == 0
    assert told(place, "auth", "status", "demo", "codex")["state"] == "authorized"
    listed = script(place, "auth", "list")
    assert "codex" in listed.stdout
    assert "sk-something" not in listed.stdout
    assert script(place, "auth", "logout", "demo", "codex").returncode == 0


@pytest.mark.parametrize("typed", ["", " ", "ja", "0", "3", "-1", "²", "yy"])
def test_what_is_no_answer_gives_no_permission(typed: str) -> None:
    assert choice(typed, [{"optionId": "a"}, {"optionId": "b"}]) is None


def test_agents_text_cannot_command_the_terminal() -> None:
    assert clean("a\x1b[2Jb\x9bc\r\nd\te\u202e") == "a[2Jbc\nd\te"


def test_the_examples_of_the_documentation_work_when_pasted(place: Place) -> None:
    [examples] = re.findall(r"^```bash\n(.*?)^```", DOCUMENTED.read_text(), re.DOTALL | re.MULTILINE)
    alias = f'acp-gateway() {{ {shlex.join(command())} "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-eu"], input=alias + examples, capture_output=True, text=True, timeout=90, env=environ(place)
    )
    assert done.returncode == 0, done.stderr
    assert "hello\ntok0 tok1 tok2 \n" in done.stdout


def test_each_command_is_documented() -> None:
    parser = argparse.ArgumentParser()
    groups = parser.add_subparsers()
    add_commands(groups)
    text = DOCUMENTED.read_text()
    for name, group in groups.choices.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `acp-gateway {name} "))
        below = [action for action in group._actions if isinstance(action, argparse._SubParsersAction)]
        for command_name in below[0].choices if below else ():
            assert f"{command_name}`" in row, (name, command_name)
