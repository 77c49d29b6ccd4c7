"""A permission request in the terminal shows what it is about, whatever the agent's tool call looks like."""

from typing import Any

import pytest

from gateway.cli.terminal.asked import MOST_LINES, call_title, lines_of


def test_a_change_is_shown_with_its_path_and_lines() -> None:
    change = {"type": "diff", "path": "/w/a.py", "oldText": "one\ntwo\n", "newText": "one\n2\n"}
    shown = lines_of({"kind": "edit", "locations": [{"path": "/w/a.py"}], "content": [change]})
    assert shown[0] == "edit: /w/a.py"
    assert {"-two", "+2"} <= set(shown)


def test_a_new_file_is_shown_as_added_and_a_long_one_is_cut_with_a_word() -> None:
    change = {"type": "diff", "path": "b", "oldText": None, "newText": "\n".join(map(str, range(100)))}
    shown = lines_of({"content": [change]})
    assert len(shown) == MOST_LINES + 1
    assert shown[-1] == "… 83 more lines"


@pytest.mark.parametrize("command", ["rm -rf build", ["rm", "-rf", "build"]])
def test_a_command_is_shown(command: Any) -> None:
    assert lines_of({"kind": "execute", "rawInput": {"command": command}}) == ["execute", "rm -rf build"]


@pytest.mark.parametrize(
    "tool_call", [None, 5, [], "x", {"kind": 5, "locations": 3, "content": [None], "rawInput": []}]
)
def test_a_tool_call_of_another_shape_is_no_fault(tool_call: Any) -> None:
    assert lines_of(tool_call) == []
    assert call_title(tool_call) is None


def test_what_is_too_long_is_named_and_said_where_it_is() -> None:
    told = lines_of({"kind": "edit", "_meta": {"acp-gateway/omitted": ["content", 5]}})
    assert told == ["edit", "too long to be shown here: content, 5; the session's history has it"]
    for meta in (None, 5, {"acp-gateway/omitted": "content"}):
        assert lines_of({"kind": "edit", "_meta": meta}) == ["edit"]


@pytest.mark.parametrize("title", [None, 5, ["a"], {}])
def test_a_title_that_is_no_text_is_none(title: Any) -> None:
    assert call_title({"title": title}) is None
    assert call_title({"title": "Run"}) == "Run"
