"""An agent's own mode decides before anybody is asked, so sessions begin in one that asks, and say which decides."""

from pathlib import Path
from typing import Any

import pytest

from gateway.agenthost.catalogue import AgentSpec
from tests.agenthost.hosts import scripted
from tests.story.conftest import Session
from tests.story.hosting import hosting
from tests.world import Gateway, data_of

MODES = {
    "modes": {
        "currentModeId": "auto",
        "availableModes": [{"id": mode, "name": mode.title()} for mode in ("ask", "plan", "auto")],
    }
}
#: How newer agents tell modes.
OPTIONS = {
    "configOptions": [
        {
            "id": "permission-mode",
            "name": "Mode",
            "category": "mode",
            "type": "select",
            "currentValue": "auto",
            "options": [{"value": mode, "name": mode.title()} for mode in ("ask", "plan", "auto")],
        },
        {
            "id": "effort",
            "name": "Effort",
            "category": "thought_level",
            "type": "select",
            "currentValue": "low",
            "options": [{"group": "all", "name": "All", "options": [{"value": "low"}, {"value": "high"}]}],
        },
        {"id": "fast", "name": "Fast", "type": "boolean", "currentValue": False},
    ]
}
CAREFUL = {"start_mode": "ask", "asks_in": ("ask", "plan")}
TAKES = {"session/set_mode": {}, "session/set_config_option": {}}


def agent(script: dict[str, Any], **members: Any) -> AgentSpec:
    return scripted("moody", script=script, **members)


async def state(session: Session) -> tuple[Any, Any]:
    answer = await session.project.call("GET", f"/session/{session.id}")
    return answer.json["agentMode"], answer.json["permissions"]


@pytest.mark.parametrize("told", [MODES, OPTIONS], ids=["modes", "options"])
async def test_session_begins_in_a_mode_that_asks_before_its_first_prompt(
    told: dict[str, Any], gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    log = tmp_path / "log"
    moody = agent(
        {"new": told, "log": str(log), **TAKES}, **CAREFUL, start_options={"effort": "high", "fast": True, "none": "x"}
    )
    async with hosting(tmp_path, workspace, moody) as url:
        project = await gateway.register(url)
        session = Session(project, await project.create_session(agentId="moody"))
        assert await state(session) == ("ask", "ask")
        await session.events_of(["say", "hello", 1])
    said = log.read_text()
    assert said.index("ask") < said.index("session/prompt")
    assert ("fast" in said) is (told is OPTIONS)
    assert ("high" in said) is (told is OPTIONS)


async def test_session_of_an_agent_that_stays_in_a_mode_of_its_own_says_that_the_agent_decides(
    gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    refused = {"error": {"code": -32603, "message": "not now"}}
    moody = agent({"new": MODES, "session/set_mode": refused}, **CAREFUL)
    async with hosting(tmp_path, workspace, moody) as url:
        project = await gateway.register(url)
        session = Session(project, await project.create_session(agentId="moody"))
        assert await state(session) == ("auto", "agent")


async def test_agent_that_never_asks_decides_by_itself(gateway: Gateway, tmp_path: Path, workspace: Path) -> None:
    async with hosting(tmp_path, workspace, agent({}, asks=False)) as url:
        project = await gateway.register(url)
        assert await state(Session(project, await project.create_session(agentId="moody"))) == (None, "agent")


async def test_change_of_mode_by_the_agent_is_told_and_kept(gateway: Gateway, tmp_path: Path, workspace: Path) -> None:
    moody = agent({"new": MODES, **TAKES}, **CAREFUL)
    update = {"sessionUpdate": "current_mode_update", "currentModeId": "auto"}
    async with hosting(tmp_path, workspace, moody) as url:
        project = await gateway.register(url)
        session = Session(project, await project.create_session(agentId="moody"))
        events = await session.events_of(["update", update])
        [told] = [event for event in events if event.event == "session_mode"]
        assert data_of(told) == {"mode": "auto", "agentDecides": True}
        assert await state(session) == ("auto", "agent")


@pytest.mark.parametrize("loads", [True, False])
async def test_mode_that_a_client_has_chosen_is_kept_when_the_agent_host_is_restarted(
    gateway: Gateway, tmp_path: Path, workspace: Path, loads: bool
) -> None:
    can = {"initialize": {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}, "load": MODES}
    moody = agent({"new": MODES, **(can if loads else {}), **TAKES}, **CAREFUL)
    async with hosting(tmp_path, workspace, moody) as url:
        project = await gateway.register(url)
        session = Session(project, await project.create_session(agentId="moody"))
        chosen = await project.call("POST", f"/session/{session.id}/mode", {"modeId": "plan"})
        assert (chosen.status, chosen.json["data"]["modeId"]) == (200, "plan")
        await session.events_of(["say", "in the first host", 1])
        assert await state(session) == ("plan", "ask")
    async with hosting(tmp_path, workspace, moody, port=int(url.rpartition(":")[2])):
        [restored] = [one for one in await session.events_of(["say", "x", 1]) if one.event == "session_restored"]
        assert data_of(restored)["how"] == ("load" if loads else "new")
        assert await state(session) == ("plan", "ask")


async def test_session_of_the_container_is_called_by_its_own_id_or_the_gateways(
    gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    async with hosting(tmp_path, workspace, agent({"new": MODES, **TAKES}, **CAREFUL)) as url:
        project = await gateway.register(url)
        session = await project.create_session(agentId="moody")
        [listed] = (await project.call("GET", "/sessions")).json["data"]["sessions"]
        for name in (session, listed["id"]):
            answer = await project.call("POST", f"/session/{name}/mode", {"modeId": "plan"})
            assert answer.json["data"] == {"id": listed["id"], "modeId": "plan"}
        assert (await project.call("POST", "/session/nobodys/mode", {"modeId": "plan"})).status == 404


async def test_mode_is_kept_when_another_process_takes_the_session_up(
    gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    log = tmp_path / "log"
    moody = agent({"new": MODES, "log": str(log), **TAKES}, **CAREFUL)
    update = {"sessionUpdate": "current_mode_update", "currentModeId": "plan"}
    async with hosting(tmp_path, workspace, moody) as url:
        project = await gateway.register(url)
        session = Session(project, await project.create_session(agentId="moody"))
        await session.events_of(["update", update])
        await session.events_of(["exit", 3])
        await session.events_of(["say", "again", 1])
        assert await state(session) == ("plan", "ask")
    assert log.read_text().rindex('"modeId": "plan"') > log.read_text().rindex("session/new")
