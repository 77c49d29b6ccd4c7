"""Lists for people: headings, columns that stand under each other, and what to do where there is nothing."""

from itertools import pairwise

import pytest

from gateway.cli.terminal.table import Column, table
from tests.program import Place
from tests.terminal.person import script, told


def rows(said: str, *headings: str) -> list[list[str]]:
    """What stands under these headings, which are all that there are; cut where the headings begin."""
    first, *others = said.splitlines()
    starts = [first.index(heading) for heading in headings]
    assert [part.strip() for part in _cut(first, starts)] == list(headings)
    assert all(line[start - 1] == " " for line in others for start in starts[1:] if len(line) > start)
    return [[part.strip() for part in _cut(line, starts)] for line in others]


def _cut(line: str, starts: list[int]) -> list[str]:
    return [line[start:end] for start, end in pairwise([*starts, len(line)])]


@pytest.fixture(scope="module")
def empty_project(place: Place) -> str:
    """A project without sessions."""
    return str(told(place, "project", "create", f"http://127.0.0.1:{place.container_port}", "--id", "empty")["id"])


def test_projects_have_headings(place: Place, empty_project: str) -> None:
    listed = rows(script(place, "project", "list").stdout, "ID", "ROLE", "DEFAULT AGENT", "CONTAINER", "NAME")
    container = f"http://127.0.0.1:{place.container_port}"
    assert ["demo", "admin", "demo", container, "demo"] in listed
    assert ["empty", "admin", "-", container, "empty"] in listed


def test_agents_that_are_not_installed_say_so_and_come_last(place: Place) -> None:
    nowhere = script(place, "agent", "list", "demo")
    listed = rows(nowhere.stdout, "ID", "STATUS", "ACCOUNT", "NAME", "WHY")
    assert listed[0][0] == "demo"
    assert listed[0][2:] == ["not needed", "Demo agent", "-"]
    missing = {row[0]: row for row in listed if row[1] == "not installed"}
    assert [row[0] for row in listed][-len(missing) :] == list(missing)
    known = {one["id"] for one in told(place, "agent", "list", "demo") if "not found in PATH" in (one["error"] or "")}
    assert set(missing) == known
    assert all("install it" in row[4] for row in missing.values())


def test_times_of_sessions_are_those_of_the_clock_on_the_wall(place: Place) -> None:
    script(place, "prompt", "demo", "say hello", "--title", "at what time")
    here = script(place, "session", "list", "demo", TZ="UTC")
    there = script(place, "session", "list", "demo", TZ="UTC-5:45")
    session = told(place, "session", "list", "demo")[0]
    [first, *_] = rows(here.stdout, "ID", "STATUS", "AGENT", "UPDATED", "TITLE")
    assert first == [session["id"], "idle", "demo", session["updatedAt"][:19].replace("T", " "), "at what time"]
    minutes = [int(done.stdout.splitlines()[1].split()[4][3:5]) for done in (here, there)]
    assert (minutes[1] - minutes[0]) % 60 == 45


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["session", "list", "empty"], 'There are no open sessions. Begin one: acp-gateway prompt empty "what to do"'),
        (["session", "list", "empty", "--all"], "There are no sessions. Begin one: acp-gateway prompt empty"),
        (["permission", "list", "empty"], "No agent waits for an answer"),
        (["auth", "list"], "No account is connected. Connect one: acp-gateway auth login PROJECT AGENT"),
    ],
)
def test_an_empty_list_says_so_and_what_to_do_next(
    place: Place, empty_project: str, arguments: list[str], says: str
) -> None:
    done = script(place, *arguments)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(says)
    assert told(place, *arguments) == []


def test_a_project_whose_opencode_is_recorded_says_so(place: Place) -> None:
    for options, recorded in (([], False), (["--record-opencode-events"], True)):
        told(place, "project", "create", "http://127.0.0.1:9", "--id", "recorded", *options)
        assert told(place, "project", "get", "recorded")["recordOpencodeEvents"] is recorded
        script(place, "project", "delete", "recorded")


def test_what_is_deleted_ended_or_cancelled_is_said(place: Place) -> None:
    told(place, "project", "create", "http://127.0.0.1:9", "--id", "gone")
    assert script(place, "project", "delete", "gone").stderr.startswith("gone is deleted")
    session = script(place, "session", "create", "demo").stdout.strip()
    assert script(place, "session", "cancel", "demo", session).stderr == "No turn runs: nothing to cancel\n"
    assert f"acp-gateway session history demo {session}" in script(place, "session", "end", "demo", session).stderr


def test_cells_are_one_line_each_and_cannot_break_the_table() -> None:
    lines = table(
        [Column("A", "a"), Column("B", lambda row: row["b"])],
        [{"a": "one\ntwo\x1b[2J", "b": None}, {"a": True, "b": [1]}, {"a": "", "b": "ü"}],
    )
    assert lines == ["A           B", "one two[2J  -", "yes         [1]", "-           ü"]
