"""What an agent has its container do is in every history: its commands with what they wrote, and its files."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.story.conftest import Session
from tests.world import data_of


def command(script: str) -> list[Any]:
    return ["call", "terminal/create", {"command": "sh", "args": ["-c", script]}]


WAIT = ["call", "terminal/wait_for_exit", {"terminalId": "$TERMINAL"}]
KILL = ["call", "terminal/kill", {"terminalId": "$TERMINAL"}]
RELEASE = ["call", "terminal/release", {"terminalId": "$TERMINAL"}]


async def messages(session: Session, role: str) -> list[Any]:
    """Those of one role, after all histories were seen to agree."""
    found = await session.project.messages(session.id)
    snapshot = (await session.project.call("GET", f"/session/{session.id}/snapshot")).json
    assert snapshot["messages"] == found
    lines = (await export(session, "jsonl")).splitlines()
    assert [json.loads(line) for line in lines] == found
    return [one for one in found if one["role"] == role]


async def export(session: Session, form: str) -> str:
    return (await session.project.call("GET", f"/session/{session.id}/export?format={form}")).body.decode()


async def test_what_a_command_wrote_and_how_it_ended_is_kept(session: Session, workspace: Path) -> None:
    await session.events_of(command("echo out $((6*7)); echo err >&2; exit 3"), WAIT, RELEASE)
    [shown] = await messages(session, "terminal")
    terminal = shown["terminal"]
    assert (terminal["output"], terminal["omittedBytes"]) == ("out 42\nerr\n", 0)
    assert (terminal["command"], terminal["cwd"]) == ("sh", str(workspace))
    assert terminal["exitStatus"] == {"exitCode": 3, "signal": None}
    text = await export(session, "markdown")
    assert "$ sh -c echo out $((6*7)); echo err >&2; exit 3\nout 42\nerr\n" in text
    assert "*It ended with exit status 3.*" in text


async def test_a_command_that_is_killed_is_told_as_that(session: Session, workspace: Path) -> None:
    steps = command("echo begun; exec sleep 600"), ["until", f"{workspace}/told"], KILL, WAIT
    async with session.project.events(session.id) as stream:
        await session.project.prompt(session.id, json.dumps(steps), wait=None)
        await stream.until("terminal_output")
        (workspace / "told").touch()
        await stream.until("turn_ended")
    [shown] = await messages(session, "terminal")
    assert shown["terminal"]["output"] == "begun\n"
    assert shown["terminal"]["exitStatus"] == {"exitCode": None, "signal": "SIGKILL"}
    assert "*It was ended by SIGKILL.*" in await export(session, "markdown")


async def test_a_command_is_told_of_while_it_runs_and_after_its_turn(session: Session, workspace: Path) -> None:
    wait = f"echo begun; until test -e {workspace}/go; do sleep 0.02; done; echo gone"
    async with session.project.events(session.id) as stream:
        await session.project.prompt(session.id, json.dumps([command(wait)]))
        begun = data_of((await stream.until("terminal_output"))[-1])
        assert begun["text"] == "begun\n"
        [running] = await messages(session, "terminal")
        assert (running["terminal"]["output"], running["terminal"]["exitStatus"]) == ("begun\n", None)
        (workspace / "go").touch()
        await stream.until("terminal_ended")
    [shown] = await messages(session, "terminal")
    assert shown["terminal"]["output"] == "begun\ngone\n"
    assert shown["terminal"]["exitStatus"] == {"exitCode": 0, "signal": None}
    assert shown["id"] == running["id"]


async def test_of_a_command_that_writes_without_end_the_beginning_and_the_end_are_kept(session: Session) -> None:
    events = await session.events_of(command("seq 1 2000000"), WAIT)
    [shown] = await messages(session, "terminal")
    terminal = shown["terminal"]
    assert terminal["output"].startswith("1\n2\n3\n")
    assert terminal["outputEnd"].endswith("\n1999999\n2000000\n")
    whole = len("".join(f"{number}\n" for number in range(1, 2_000_001)))
    assert len(terminal["output"]) + terminal["omittedBytes"] + len(terminal["outputEnd"]) == whole
    assert sum(len(event.data) for event in events) < 600_000
    assert f"({terminal['omittedBytes']} bytes were too many to keep)" in await export(session, "markdown")


@pytest.mark.parametrize("name", ["terminal_output", "terminal_output_delta"])
async def test_a_command_that_an_agent_runs_itself_and_shows_is_kept_as_well(session: Session, name: str) -> None:
    def call(kind: str, **meta: Any) -> list[Any]:
        return ["update", {"sessionUpdate": kind, "toolCallId": "c", "title": "make", "_meta": meta}]

    def shown(number: int) -> list[list[Any]]:
        return [
            call("tool_call", terminal_info={"terminal_id": "c", "cwd": "/project"}),
            call("tool_call_update", **{name: {"terminal_id": "c", "data": f"one {number}\n"}}),
            call("tool_call_update", **{name: {"data": "two\n"}}),
            call("tool_call_update", terminal_exit={"terminal_id": "c", "exit_code": number, "signal": None}),
        ]

    await session.events_of(*shown(0), *shown(2))
    terminals = [one["terminal"] for one in await messages(session, "terminal")]
    assert [(one["command"], one["output"], one["exitStatus"]["exitCode"]) for one in terminals] == [
        ("make", "one 0\ntwo\n", 0),
        ("make", "one 2\ntwo\n", 2),
    ]


async def test_files_that_an_agent_reads_and_writes_are_told_in_their_places(session: Session, workspace: Path) -> None:
    path = f"{workspace}/notes.txt"
    (workspace / "notes.txt").write_text("one\ntwo\n")
    await session.events_of(
        ["call", "fs/read_text_file", {"path": path, "line": 2, "limit": 1}],
        ["call", "fs/write_text_file", {"path": path, "content": "one\n2\n"}],
        ["call", "fs/write_text_file", {"path": f"{workspace}/new.txt", "content": "new"}],
        ["call", "fs/read_text_file", {"path": f"{workspace}/missing.txt"}],
    )
    told = [(one["event"], one["data"]) for one in await messages(session, "event")]
    assert told == [
        ("file_read", {"path": path, "size": 4, "line": 2, "limit": 1}),
        ("file_written", {"path": path, "size": 6, "oldText": "one\ntwo\n", "newText": "one\n2\n", "omitted": []}),
        (
            "file_written",
            {"path": f"{workspace}/new.txt", "size": 3, "oldText": None, "newText": "new", "omitted": []},
        ),
    ]
    text = await export(session, "markdown")
    assert "\n one\n-two\n+2\n" in text
    assert "notes.txt from line 2 on, at most 1 lines (4 bytes).*" in text


async def test_a_text_that_is_too_large_or_none_is_named_in_the_place_of_itself(
    session: Session, workspace: Path
) -> None:
    (workspace / "binary").write_bytes(b"\xff\xfe\0")
    large = "x" * 300_000
    await session.events_of(
        ["call", "fs/write_text_file", {"path": f"{workspace}/binary", "content": "text"}],
        ["call", "fs/write_text_file", {"path": f"{workspace}/large", "content": large}],
        ["call", "fs/write_text_file", {"path": f"{workspace}/large", "content": ""}],
    )
    told = [one["data"] for one in await messages(session, "event")]
    assert [(one["size"], one["oldText"], one["newText"], one["omitted"]) for one in told] == [
        (4, None, "text", ["oldText"]),
        (300_000, None, None, ["newText"]),
        (0, None, "", ["oldText"]),
    ]
    assert "The new text is too large to be shown, or is no text." in await export(session, "markdown")
