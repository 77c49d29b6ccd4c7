"""The commands of people against a gateway that runs: in a script, and in a terminal with somebody at it."""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.commands.options import NOT_GIVEN
from gateway.cli.main import COMMANDS
from gateway.cli.terminal.asking import choice
from gateway.cli.terminal.text import clean
from tests.program import Place, command
from tests.terminal.person import SECONDS, environ, script, terminal, told

DOCUMENTED = Path(__file__).parents[2] / "docs" / "cli.md"


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
    # A newer one that nobody has used since.
    script(place, "session", "create", "demo")
    assert script(place, "prompt", "demo", "say one", "--session", session).returncode == 0
    assert script(place, "prompt", "demo", "say two", "-c").stdout == "two\n"
    history = script(place, "session", "history", "demo", session)
    assert "one" in history.stdout
    assert "two" in history.stdout
    assert told(place, "session", "get", "demo", session)["title"] == "mine"


def test_a_session_that_a_prompt_begins_is_called_by_its_first_line(place: Place) -> None:
    first = f"say {'word ' * 20}"
    script(place, "prompt", "demo", f"\n  {first}\nsay more")
    newest = told(place, "session", "list", "demo")[0]
    assert newest["title"] == f"{first[:60]}…"


def test_a_session_that_a_prompt_begins_gets_the_title_that_is_given(place: Place) -> None:
    script(place, "prompt", "demo", "say x", "--title", "A name of mine")
    assert told(place, "session", "list", "demo")[0]["title"] == "A name of mine"
    refused = script(place, "prompt", "demo", "say x", "-c", "--title", "Another")
    assert (refused.returncode, "--title is for a new session" in refused.stderr) == (2, True)


def test_a_plan_is_told_once_and_then_what_changes_in_it(place: Place) -> None:
    done = script(place, "prompt", "demo", "what can you do?", "--deny")
    lines = [line for line in done.stderr.splitlines() if line.endswith("Read the prompt")]
    assert lines == ["  ◐ Read the prompt", "  ● Read the prompt"]


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


@pytest.mark.parametrize("token", ["acpgw_a\nb", "acpgw_a\rb", "a b", "\xfc", "\udc80"])
def test_a_token_that_no_header_can_hold_is_named_by_its_place_and_not_shown(
    place: Place, tmp_path: Path, token: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(os.fsencode(token))
    for done, said in (
        (script(place, "project", "list", ACP_GATEWAY_TOKEN=token), "ACP_GATEWAY_TOKEN"),
        (script(place, "project", "list", ACP_GATEWAY_TOKEN_FILE=str(file)), str(file)),
        (script(place, "project", "list", "--token-file", str(file)), str(file)),
    ):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert said in done.stderr
        assert "acpgw_a" not in done.stderr


def test_a_line_end_behind_a_token_does_no_harm(place: Place, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("acpgw_whatever\n")
    assert script(place, "project", "list", "--token-file", str(tmp_path / "token")).returncode == 0
    assert script(place, "project", "list", ACP_GATEWAY_TOKEN="acpgw_whatever\r\n").returncode == 0


@pytest.mark.parametrize(
    "url",
    ["http://a b", "http://a\nb", "http://[::1", "http://x:99999", "http://x:y", "http://", "http://a..b",
     f"http://{'a' * 64}", "http://user:secret@x", "http://x?y", "ftp://x", "http://\udc80"],
)  # fmt: skip
def test_what_is_no_address_of_a_gateway_is_one_sentence(place: Place, url: str) -> None:
    for done in (
        script(place, "project", "list", "--url", url),
        script(place, "project", "list", ACP_GATEWAY_URL=url),
    ):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert "secret" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("project", "get", "\udc80"), ("prompt", "demo", "\udc80"), ("session", "get", "demo", "\udc80"),
     ("events", "demo", "--after", "1-1\n"), ("events", "demo", "--after", "\udc80")],
)  # fmt: skip
def test_what_no_request_can_hold_is_one_sentence(place: Place, arguments: tuple[str, ...]) -> None:
    done = script(place, *arguments)
    assert (done.returncode in (1, 2), done.stdout, done.stderr.count("\n")) == (True, "", 1), done.stderr


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


@pytest.mark.parametrize(("option", "says"), [("--allow", "Allow once"), ("--deny", "Reject")])
def test_a_script_can_say_beforehand_what_to_answer(place: Place, option: str, says: str) -> None:
    done = script(place, "prompt", "demo", "permission", option)
    assert done.returncode == 0
    assert f"answered: {says} (local)" in done.stderr


def test_a_permission_is_asked_for_in_the_terminal(place: Place) -> None:
    with terminal(place, "prompt", "demo", "permission") as person:
        person.until("y (allow once) or n (refuse):")
        person.type("\n")
        person.until_after("Type a number, y or n.", "y (allow once) or n (refuse):")
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
    text = DOCUMENTED.read_text()
    documented = []
    for name, parser in commands():
        if parser.get_default("person"):
            group, _, one = name.partition(" ")
            rows = [line for line in text.splitlines() if line.startswith(f"| `acp-gateway {group} ")]
            assert any(re.search(rf"[` ]{one}[` ]", row) for row in rows), name
            documented.append(name)
    assert len(documented) > 20


def test_a_command_has_the_options_that_its_function_takes() -> None:
    called = [(name, parser) for name, parser in commands() if isinstance(parser.get_default("run"), partial)]
    assert len(called) > 10
    for name, parser in called:
        module, function = parser.get_default("run").args
        taken = list(signature(getattr(import_module(module), function)).parameters)
        options = {action.dest for action in parser._actions} - NOT_GIVEN - {"help"}
        assert (taken[:2], set(taken[2:])) == (["config", "say"], options), name


def commands(group: Any = None, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each with its name, such as ``token create``."""
    if group is None:
        group = argparse.ArgumentParser().add_subparsers()
        for module in COMMANDS:
            module.add(group)
    for word, parser in group.choices.items():
        below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if below:
            yield from commands(below[0], word)
        else:
            yield f"{name} {word}".strip(), parser
