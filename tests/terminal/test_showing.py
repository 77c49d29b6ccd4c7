"""How a turn looks: the answer alone on standard output, word for word; and what else happens does not cut it up."""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.agenthost.hosts import chunk
from tests.program import Place
from tests.terminal.person import script, terminal, told
from tests.world import Project

#: What a terminal would obey, or turn round: an agent may say it, and a script is to have it.
WILD = "abc \u202bdef\u2066 \u0084 \u007f \u009b31m end"


def thought(text: str) -> list[Any]:
    return ["update", {"sessionUpdate": "agent_thought_chunk", "content": {"type": "text", "text": text}}]


def tool(status: str, kind: str = "tool_call_update") -> list[Any]:
    return ["update", {"sessionUpdate": kind, "toolCallId": "t1", "title": "Read it", "status": status}]


AMID = [tool("pending", "tool_call"), chunk("The conclu"), tool("completed"), chunk("sion.")]


async def test_a_thought_that_comes_in_pieces_is_one_text(scripted_project: Project, tmp_path: Path) -> None:
    pieces = [thought(text) for text in ("I", " should", " look", " at the file.\n", "Then", " write")]
    done = await _run(scripted_project, tmp_path, [*pieces, tool("pending", "tool_call"), thought("Good"), chunk("Hi")])
    assert done.stderr.splitlines()[1:] == [
        "I should look at the file.", "Then write", "○ Read it (pending)", "Good",
    ]  # fmt: skip
    assert done.stdout == "Hi\n"


async def test_what_happens_amid_a_message_adds_nothing_to_standard_output(
    scripted_project: Project, tmp_path: Path
) -> None:
    done = await _run(scripted_project, tmp_path, AMID)
    assert (done.stdout, "● Read it (completed)\n" in done.stderr) == ("The conclusion.\n", True)


async def test_messages_with_something_between_them_are_lines_of_their_own(
    scripted_project: Project, tmp_path: Path
) -> None:
    done = await _run(scripted_project, tmp_path, [chunk("First."), tool("pending", "tool_call"), chunk("Last.")])
    assert done.stdout == "First.\nLast.\n"


async def test_what_happens_amid_a_message_has_a_line_of_its_own_in_a_terminal(
    scripted_project: Project, tmp_path: Path
) -> None:
    def person_at_it() -> list[str]:
        with terminal(_place(scripted_project, tmp_path), "prompt", "demo", json.dumps(AMID), NO_COLOR="1") as person:
            assert person.wait() == 0
            return person.shown.splitlines()[1:]

    assert await asyncio.to_thread(person_at_it) == [
        "○ Read it (pending)", "The conclu", "● Read it (completed)", "sion.",
    ]  # fmt: skip


def test_a_history_as_json_has_all_that_was_said_and_nothing_that_a_terminal_would_obey(place: Place) -> None:
    assert script(place, "prompt", "demo", f"say {WILD}").returncode == 0
    session = told(place, "session", "list", "demo")[0]["id"]
    history = script(place, "session", "history", "demo", session, "--json").stdout
    messages = [json.loads(line) for line in history.splitlines()]
    assert messages[-1]["content"] == [{"type": "text", "text": WILD}]
    assert not set(WILD) - set("abc def 31m end") & set(history)


def _place(project: Project, directory: Path) -> Place:
    return Place(directory=directory, port=int(project.gateway.url.rpartition(":")[2]), container_port=0)


async def _run(project: Project, directory: Path, steps: list[Any]) -> Any:
    done = await asyncio.to_thread(script, _place(project, directory), "prompt", "demo", json.dumps(steps))
    assert done.returncode == 0, done.stderr
    return done
