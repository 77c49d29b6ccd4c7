"""What an agent asks right behind its answer to `session/new`, or before it, is asked in that session."""

from pathlib import Path

import pytest

from tests.agenthost.hosts import OPTIONS, scripted
from tests.fakes.eventually import eventually
from tests.story.hosting import hosting
from tests.world import Gateway, data_of

CALL = {"toolCallId": "index", "title": "Index the workspace", "kind": "read"}
ASK = ["ask", {"toolCall": CALL, "options": OPTIONS}]
UPDATE = ["update", {"sessionUpdate": "tool_call", **CALL}]


@pytest.mark.parametrize("place", ["before_new", "after_new"])
async def test_request_around_the_answer_to_a_new_session_is_asked(
    place: str, gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    log = tmp_path / "log"
    eager = scripted("eager", script={place: [UPDATE, ASK], "log": str(log)})
    async with hosting(tmp_path, workspace, eager) as url:
        project = await gateway.register(url)
        async with project.events() as stream:
            session_id = await project.create_session(agentId="eager")
            events = await stream.until("permission_request")
            asked = data_of(events[-1])
            assert asked["toolCall"]["title"] == CALL["title"]
            kinds = [event.event for event in events if event.event in ("session_update", "permission_request")]
            assert kinds == ["session_update", "permission_request"]
            answer = await project.call("POST", f"/permission/{asked['permissionId']}", {"optionId": "yes"})
            assert answer.status == 200, answer.json
            await stream.until("permission_resolved")
        listed = await project.call("GET", f"/session/{session_id}/snapshot")
        assert listed.json["permissions"] == []
    assert '"optionId": "yes"' in log.read_text()


async def test_terminal_right_behind_the_answer_to_a_new_session_is_in_its_directory(
    gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    (workspace / "inner").mkdir()
    create = ["request", "terminal/create", {"command": "touch", "args": ["here"]}]
    eager = scripted("eager", script={"after_new": [create]})
    async with hosting(tmp_path, workspace, eager) as url:
        project = await gateway.register(url)
        await project.create_session(agentId="eager", workingDirectory="inner")
        await eventually((workspace / "inner" / "here").exists)
