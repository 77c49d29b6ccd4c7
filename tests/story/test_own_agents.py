"""An agent of an operator's own is one entry in one place: its account, its names and its login follow from that."""

import json
from pathlib import Path
from typing import Any

import attrs

from gateway.agenthost.catalogue import BUILT_IN
from tests.agenthost.hosts import scripted
from tests.story.conftest import Session
from tests.story.hosting import hosting
from tests.world import Gateway, Project, data_of, text_of

KEY = "mine-0123456789-abcdef"
LOGIN = {"protocolVersion": 1, "agentCapabilities": {}, "authMethods": [{"id": "web", "name": "In a browser"}]}
PRINTED = "\x1b[1mOpen https://login.example/device?x=1 and enter WDJB-MJHT\x1b[0m\n"


async def begun(project: Project, agent: str) -> Any:
    answer = await project.call("POST", f"/agents/{agent}/auth/start", {"flow": "agent"})
    assert answer.status == 200, answer.json
    return answer.json


async def test_credential_of_an_entry_is_connected_and_given_without_a_second_file(
    gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    mine = scripted("mine", requires_auth=True, credentials=("MINE_KEY", "MINE_TOKEN"))
    async with hosting(tmp_path, workspace, mine) as url:
        project = await gateway.register(url)
        refused = await project.call("POST", "/session", {"agentId": "mine"})
        assert (refused.status, refused.json["code"]) == (401, "auth_required")
        ways = (await project.call("GET", "/agents/mine/auth/status")).json["ways"]
        assert [way["flow"] for way in ways] == ["api_key", "paste_token", "agent"]
        stored = await project.call("POST", "/agents/mine/auth/token", {"token": KEY})
        assert stored.status == 200, stored.json
        session = Session(project, await project.create_session(agentId="mine"))
        found = json.loads(text_of(await session.events_of(["environment"])))
        assert found["MINE_KEY"] == "***"


async def test_agent_is_found_by_its_other_names(gateway: Gateway, tmp_path: Path, workspace: Path) -> None:
    gemini = attrs.evolve(BUILT_IN["gemini"], command=scripted().command)
    async with hosting(tmp_path, workspace, gemini) as url:
        project = await gateway.register(url, defaultAgentId="gemini-cli")
        stored = await project.call("POST", "/agents/gemini-cli/auth/token", {"token": f"AIza{KEY}"})
        assert stored.status == 200, stored.json
        assert (await project.call("GET", "/agents/gemini/auth/status")).json["state"] == "authorized"
        made = await project.call("POST", "/session", {})
        assert made.status == 201, made.json
        assert made.json["agentId"] == "gemini"


async def test_what_a_login_of_an_agent_prints_and_its_end_are_told(
    gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    before = [["stderr", PRINTED], ["until", str(tmp_path / "done")]]
    script = {"initialize": LOGIN, "before_authenticate": before, "authenticate": {}}
    async with hosting(tmp_path, workspace, scripted("web", script=script, login="web")) as url:
        project = await gateway.register(url)
        async with project.events() as stream:
            login = await begun(project, "web")
            assert login["authorizeUrl"] == "https://login.example/device?x=1"
            assert login["userCode"] == "WDJB-MJHT"
            assert "Open https://login.example" in login["message"]
            assert "\x1b" not in login["message"]
            # Everybody in the project reads it.
            assert data_of((await stream.until("auth_required"))[-1]) == {"agentId": "web"}
            status = (await project.call("GET", "/agents/web/auth/status")).json
            assert status["state"] == "pending"
            assert status["login"]["userCode"] == login["userCode"]
            (tmp_path / "done").touch()
            await stream.until("auth_complete")
        assert (await project.call("GET", "/agents/web/auth/status")).json["state"] == "authorized"


async def test_address_and_code_that_an_agent_shows_later_are_told_to_the_person_who_logs_in(
    gateway: Gateway, tmp_path: Path, workspace: Path
) -> None:
    before = [["stderr", "Open https://login.example/device\n"], ["until", str(tmp_path / "asked")]]
    before += [["stderr", "Enter LATE-CODE\n"], ["until", str(tmp_path / "done")]]
    script = {"initialize": LOGIN, "before_authenticate": before, "authenticate": {}}
    async with hosting(tmp_path, workspace, scripted("web", script=script, login="web")) as url:
        project = await gateway.register(url)
        async with project.events() as stream:
            assert (await begun(project, "web")).get("userCode") is None
            (tmp_path / "asked").touch()
            await stream.until("auth_required")
            await stream.until("auth_required")
            login = (await project.call("GET", "/agents/web/auth/status")).json["login"]
            assert (login["userCode"], login["verificationUri"]) == ("LATE-CODE", "https://login.example/device")
            assert "Enter LATE-CODE" in login["message"]
            (tmp_path / "done").touch()
            told = [*await stream.until("auth_complete")]
        assert "LATE-CODE" not in str(told)


async def test_login_of_an_agent_that_fails_is_told(gateway: Gateway, tmp_path: Path, workspace: Path) -> None:
    failed = {"error": {"code": -32603, "message": "Internal error", "data": "the code was not entered"}}
    script = {"initialize": LOGIN, "authenticate": failed}
    async with hosting(tmp_path, workspace, scripted("web", script=script, login="web")) as url:
        project = await gateway.register(url)
        async with project.events() as stream:
            await begun(project, "web")
            told = data_of((await stream.until("auth_required"))[-1])
            assert "the code was not entered" in told["message"]
        status = (await project.call("GET", "/agents/web/auth/status")).json
        assert status["state"] == "failed"
        assert "the code was not entered" in status["login"]["detail"]


async def test_a_login_that_breaks_has_not_succeeded(gateway: Gateway, tmp_path: Path, workspace: Path) -> None:
    odd = {"protocolVersion": 1, "agentCapabilities": {}, "authMethods": 5}
    async with hosting(tmp_path, workspace, scripted("web", script={"initialize": odd}, login="web")) as url:
        project = await gateway.register(url)
        async with project.events() as stream:
            await begun(project, "web")
            await stream.until("auth_required")
        assert (await project.call("GET", "/agents/web/auth/status")).json["state"] == "failed"


async def test_old_node_is_told_before_an_agent_is_used(gateway: Gateway, tmp_path: Path, workspace: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("node", "#!/bin/sh\necho v20.19.1\n"), ("modern", "#!/usr/bin/env node\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    modern = attrs.evolve(scripted("modern"), command=("modern",), node=22, env={"PATH": f"{programs}:/usr/bin:/bin"})
    async with hosting(tmp_path, workspace, modern) as url:
        project = await gateway.register(url)
        listed = (await project.call("GET", "/agents")).json["agents"]
        warnings = {agent["id"]: agent["warning"] for agent in listed}
        assert "needs Node.js 22 or newer" in warnings["modern"]
        assert "20.19.1" in warnings["modern"]
        assert warnings["demo"] is None
