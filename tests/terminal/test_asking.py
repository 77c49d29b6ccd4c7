"""Permissions asked for in a terminal: nothing is granted by what was typed before it was shown; each has its turn."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.agenthost.hosts import OPTIONS
from tests.fakes.container import FakeContainer
from tests.handlers.tool_calls import COMMAND, tell
from tests.program import Place, wait_until
from tests.terminal.person import script, terminal, told
from tests.world import Gateway, Project

ASKED = "y (allow once) or n (refuse):"


def test_what_an_agent_told_of_its_change_before_it_asks_stands_in_the_question(place: Place) -> None:
    with terminal(place, "prompt", "demo", "Show me what you can do") as person:
        person.until("? Write demo-note.txt")
        person.until("+++ ")
        person.until(ASKED)
        person.type("n\n")
        assert person.wait() == 0


def test_what_was_typed_before_a_permission_is_asked_for_is_no_answer(place: Place) -> None:
    with terminal(place, "prompt", "demo", _asking_after(place, "line")) as person:
        person.until("session ses_")
        person.type("y\n")
        _go_on(place, "line")
        person.until(ASKED)
        person.type("n\n")
        assert person.wait() == 0
        assert "answered: Reject" in person.shown


def test_a_key_pressed_before_a_permission_is_asked_for_is_no_part_of_the_answer(place: Place) -> None:
    with terminal(place, "prompt", "demo", _asking_after(place, "key")) as person:
        person.until("session ses_")
        person.type("y")
        _go_on(place, "key")
        person.until(ASKED)
        person.type("\n")
        person.until_after("Type a number, y or n.", ASKED)
        person.type("n\n")
        assert person.wait() == 0
        assert "answered: Reject" in person.shown


def test_lines_pasted_behind_a_wrong_answer_do_not_answer_when_it_is_asked_again(place: Place) -> None:
    with terminal(place, "prompt", "demo", "permission") as person:
        person.until(ASKED)
        person.type("rm old\ny\ny\n")
        person.until("Type a number, y or n.")
        person.until_after("Type a number, y or n.", ASKED)
        person.type("n\n")
        assert person.wait() == 0
        assert "answered: Reject" in person.shown


def test_ctrl_d_answers_nothing_and_the_permission_is_asked_for_again(place: Place) -> None:
    with terminal(place, "prompt", "demo", "permission") as person:
        person.until(ASKED)
        person.type("\x04")
        person.until_after("Type a number, y or n.", ASKED)
        person.type("y\n")
        assert person.wait() == 0
        assert "answered: Allow once" in person.shown


async def test_permissions_that_wait_at_once_are_asked_for_in_turn(scripted_project: Project, tmp_path: Path) -> None:
    place, prompt = _place(scripted_project, tmp_path), _asking_at_once("First", "Second")

    def person_at_it() -> None:
        with terminal(place, "prompt", "demo", prompt) as person:
            person.until(ASKED)
            wait_until(lambda: _waiting(place) == ["First", "Second"])
            assert "Second" not in person.shown.partition("? First")[2]
            person.type("y\n")
            person.until_after("? Second", ASKED)
            person.type("n\n")
            assert person.wait() == 0
            assert re.findall(r"answered: (\w+)", person.shown) == ["Yes", "No"]

    await asyncio.to_thread(person_at_it)


async def test_a_permission_that_was_settled_elsewhere_before_its_turn_is_not_asked_for(
    scripted_project: Project, tmp_path: Path
) -> None:
    place, prompt = _place(scripted_project, tmp_path), _asking_at_once("First", "Second", "Third")

    def person_at_it() -> None:
        with terminal(place, "prompt", "demo", prompt) as person:
            person.until(ASKED)
            wait_until(lambda: _waiting(place) == ["First", "Second", "Third"])
            _answer(place, "Second")
            person.until("answered: No")
            person.type("y\n")
            person.until_after("? Third", ASKED)
            person.type("y\n")
            assert person.wait() == 0
            assert "? Second" not in person.shown

    await asyncio.to_thread(person_at_it)


async def test_what_was_typed_for_a_permission_that_somebody_else_settled_does_not_answer_the_next(
    scripted_project: Project, tmp_path: Path
) -> None:
    place, prompt = _place(scripted_project, tmp_path), _asking_at_once("First", "Second")

    def person_at_it() -> None:
        with terminal(place, "prompt", "demo", prompt) as person:
            person.until(ASKED)
            wait_until(lambda: _waiting(place) == ["First", "Second"])
            person.type("y")
            _answer(place, "First")
            person.until_after("? Second", ASKED)
            person.type("\n")
            person.until_after("Type a number, y or n.", ASKED)
            person.type("n\n")
            assert person.wait() == 0
            assert re.findall(r"answered: (\w+)", person.shown) == ["No", "No"]

    await asyncio.to_thread(person_at_it)


async def test_a_request_that_names_its_call_alone_is_asked_for_as_the_command_that_it_is(
    scripted_project: Project, tmp_path: Path
) -> None:
    asked = {"toolCall": {"toolCallId": "v1"}, "options": OPTIONS}
    prompt = json.dumps([["update", COMMAND], ["call", "session/request_permission", asked]])
    place = _place(scripted_project, tmp_path)

    def person_at_it() -> None:
        with terminal(place, "prompt", "demo", prompt) as person:
            person.until("? bash: touch made-by-vibe")
            person.until("execute: /workspace")
            person.until_after("execute: /workspace", "touch made-by-vibe")
            person.until(ASKED)
            person.type("n\n")
            assert person.wait() == 0

    await asyncio.to_thread(person_at_it)


async def test_what_a_container_allows_by_itself_is_said_and_not_asked_for(gateway: Gateway, tmp_path: Path) -> None:
    class TellingContainer(FakeContainer):
        async def prompt(self, request: web.Request) -> Any:
            tell(self, COMMAND)
            [known] = self.sessions
            told = {"toolCall": {"toolCallId": "v1"}, "options": OPTIONS}
            self.emit("permission_request", told, session_id=known)
            return await super().prompt(request)

    async with TellingContainer() as container:
        project = await gateway.register(container.url, defaultAgentId="demo")
        done = await asyncio.to_thread(script, _place(project, tmp_path), "prompt", "demo", "say done")
    assert done.returncode == 0
    assert "allowed by the container itself: bash: touch made-by-vibe" in done.stderr


def _asking_after(place: Place, name: str) -> str:
    """A prompt for the demo agent, which asks for nothing before ``_go_on``."""
    return f"run until [ -e '{place.workspace}/{name}' ]; do sleep 0.05; done\npermission"


def _go_on(place: Place, name: str) -> None:
    (place.workspace / name).touch()


def _place(project: Project, directory: Path) -> Place:
    return Place(directory=directory, port=int(project.gateway.url.rpartition(":")[2]), container_port=0)


def _asking_at_once(*titles: str) -> str:
    """A prompt for the scripted agent; its turn ends with the answer to the last."""
    asked: list[dict[str, Any]] = [
        {"toolCall": {"toolCallId": title, "title": title}, "options": OPTIONS} for title in titles
    ]
    first = [["ask", one] for one in asked[:-1]]
    return json.dumps([*first, ["call", "session/request_permission", asked[-1]]])


def _waiting(place: Place) -> list[str]:
    return [one["toolCall"]["title"] for one in told(place, "permission", "list", "demo")]


def _answer(place: Place, title: str) -> None:
    [permission] = [one["id"] for one in told(place, "permission", "list", "demo") if one["toolCall"]["title"] == title]
    assert script(place, "permission", "answer", "demo", permission, "--deny").returncode == 0
