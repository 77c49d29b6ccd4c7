"""What a base container's broken stream has lost of a real OpenCode's turn is had from OpenCode itself."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs
import pytest
import pytest_asyncio

from tests.conftest import administer, with_database
from tests.fakes.eventually import eventually
from tests.fakes.model import FakeModel
from tests.opencode.base_contract import BaseContract
from tests.opencode.doors import PATIENCE, GatewayDoor, TurnEnd
from tests.opencode.places import agent_host, gateway, opencode_serve, register, serve

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@attrs.frozen(kw_only=True)
class Project:
    model: FakeModel
    container: BaseContract
    door: GatewayDoor
    opencode_url: str
    acp_url: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def project(
    opencode_program: Path, module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Project]:
    """One home for both: OpenCode's own server and the agent share their storage."""
    root = tmp_path_factory.mktemp("shared")
    async with agent_host(opencode_program, root) as (model, _, _, host_url):
        async with BaseContract(host_url) as container, serve(container.app) as (_, acp_url):
            async with opencode_serve(opencode_program, root, model) as opencode_url:
                async with gateway(module_database_url) as http:
                    project_id = await register(http, containerUrl=opencode_url, acpUrl=acp_url)
                    async with GatewayDoor(http, project_id) as door:
                        yield Project(
                            model=model,
                            container=container,
                            door=door,
                            opencode_url=opencode_url,
                            acp_url=acp_url,
                        )


@asynccontextmanager
async def broken(project: Project) -> AsyncIterator[None]:
    project.container.break_streams()
    try:
        yield
    finally:
        project.container.mend()


def reconciliations(project: Project, session: str) -> list[dict]:
    said = [event["data"] for event in project.door.of(session, "container_event")]
    return [one["data"] for one in said if one["event"] == "turn_reconciled"]


async def reconciled(project: Project, session: str) -> dict:
    return (await eventually(lambda: reconciliations(project, session), within=PATIENCE))[-1]


def count_gaps(project: Project) -> int:
    return [event["type"] for event in project.door.events].count("gap")


async def until_stored(project: Project, acp_id: str) -> None:
    """OpenCode's turn is over, and it knows."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession(project.opencode_url) as http:
        finish = None
        while finish != "stop":
            async with http.get(f"/session/{acp_id}/message") as answer:
                finish = (await answer.json())[-1]["info"].get("finish")
            await asyncio.sleep(0.05)


def texts_of(messages: list[dict]) -> list[str]:
    return [block["text"] for one in messages if one["role"] == "assistant" for block in one["content"]]


async def until_said(project: Project, session: str, text: str) -> None:
    await eventually(lambda: project.door.text(session) == text, within=PATIENCE)


async def test_the_end_of_a_turn_that_fell_into_a_break_is_filled_in(project: Project) -> None:
    session = await project.door.create_session()
    turn = await project.door.prompt(session, "say before\nhold\nsay -after\nbash echo kept\nsay closing")
    await until_said(project, session, "before")
    async with broken(project):
        project.model.release()
        assert (await project.door.end(turn)).outcome == "completed"
    told = await reconciled(project, session)
    assert (told["from"], told["uncertain"]) == ("opencode", None)
    assert project.door.text(session) == "before"
    events = [event["data"] for event in project.door.of(session, "history_filled")]
    assert len(events) == told["updates"] == 3
    assert {event["gap"] for event in events} == {told["gap"]}
    assert await project.door.roles(session) == ["user", "assistant", "gap", "container_event"]
    filled = (await project.door.messages(session))[2]["filled"]
    assert [one["role"] for one in filled] == ["assistant", "tool", "assistant"]
    call = filled[1]["toolCall"]
    assert (call["status"], call["kind"], call["rawOutput"]["output"]) == ("completed", "execute", "kept\n")
    assert texts_of(filled) == ["-after", "closing"]


async def test_the_middle_of_a_turn_that_fell_into_a_break_is_filled_in_when_it_is_over(project: Project) -> None:
    session = await project.door.create_session()
    turn = await project.door.prompt(session, "say before\nhold\nsay -lost-\nslow 0.5\nhold\nsay after")
    await until_said(project, session, "before")
    gaps = count_gaps(project)
    async with broken(project):
        project.model.release()
        await eventually(lambda: project.model.holding == 0, within=PATIENCE)
        await eventually(lambda: project.model.holding == 1, within=PATIENCE)
    await eventually(lambda: count_gaps(project) > gaps, within=PATIENCE)
    project.model.release()
    assert (await project.door.end(turn)).outcome == "completed"
    assert (await reconciled(project, session))["uncertain"] is None
    assert project.door.chunks(session) == ["before", "after"]
    before, gap, after = (await project.door.messages(session))[1:4]
    assert [texts_of([before]), texts_of(gap["filled"]), texts_of([after])] == [["before"], ["-lost-"], ["after"]]


async def test_nothing_is_filled_in_where_nothing_is_missing(project: Project) -> None:
    session = await project.door.create_session()
    await project.door.run(session, "say whole")
    for _ in range(2):
        async with broken(project):
            pass
        assert (await project.door.run(session, "say more")).outcome == "completed"
    assert project.door.text(session) == "wholemoremore"
    # A stream that is back only after the next turn has begun leaves a gap in that: then it was looked for, in vain.
    assert all((one["updates"], one["uncertain"]) == (0, None) for one in reconciliations(project, session))


async def test_a_session_that_is_prompted_past_the_gateway_too_keeps_its_gap(project: Project) -> None:
    session = await project.door.create_session()
    await project.door.run(session, "say first")
    acp_id = project.door.of(session, "session_update")[0]["data"]["sessionId"]
    body = {"parts": [{"type": "text", "text": "say foreign"}]}
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{project.opencode_url}/session/{acp_id}/message", json=body) as answer:
            assert answer.status == 200
    turn = await project.door.prompt(session, "say before\nhold\nsay after")
    await eventually(lambda: project.model.holding == 1, within=PATIENCE)
    gaps = count_gaps(project)
    async with broken(project):
        pass
    await eventually(lambda: count_gaps(project) > gaps, within=PATIENCE)
    project.model.release()
    await project.door.end(turn)
    told = await reconciled(project, session)
    assert told["updates"] == 0
    assert "other prompts" in told["uncertain"]
    assert project.door.text(session).endswith("after")


async def test_a_turn_whose_answer_went_to_a_dead_gateway_ends_as_opencode_says(
    project: Project, server_url: str, template_database: str
) -> None:
    name = f"acp_gateway_heirs_{os.getpid()}"
    administer(server_url, "create database {} template {}", name, template_database)
    try:
        url = with_database(server_url, name)
        async with gateway(url) as http:
            mine = await register(http, containerUrl=project.opencode_url, acpUrl=project.acp_url)
            async with GatewayDoor(http, mine) as door:
                session = await door.create_session()
                turn = await door.prompt(session, "say before\nhold\nsay -after")
                await eventually(lambda: door.text(session) == "before", within=PATIENCE)
                acp_id = door.of(session, "session_update")[0]["data"]["sessionId"]
        project.model.release()
        await until_stored(project, acp_id)
        # The next gateway listens only once its stream has brought this, to nobody.
        heard = project.container.heard
        await eventually(lambda: any(acp_id in data and "-after" in data for data in heard), within=PATIENCE)
        async with gateway(url) as http, GatewayDoor(http, mine) as door:
            assert await door.end(turn) == TurnEnd(outcome="completed", stop_reason="end_turn")
            assert door.text(session) == "before"
            filled = door.of(session, "history_filled")
            (ended,) = door.of(session, "turn_ended")
            assert filled
            assert max(map(door.events.index, filled)) < door.events.index(ended)
            assert await door.run(session, "say on") == TurnEnd(outcome="completed")
    finally:
        administer(server_url, "drop database {} with (force)", name)
