"""A request that names no more than its call: rules and people see what the log knows of that call."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.db.pool import Database
from gateway.log.ids import LogId
from gateway.permissions.merging import MOST_BYTES, OMITTED
from gateway.upkeep.packing import Packing
from tests.agenthost.hosts import OPTIONS as AGENTS_OPTIONS
from tests.fakes.container import FakeContainer
from tests.handlers.asking import AskingContainer, requested, state
from tests.handlers.policies import OPTIONS, resolved, set_policy
from tests.handlers.tool_calls import COMMAND, tell
from tests.program import Place
from tests.terminal.person import script
from tests.world import QUICK, EventStream, Gateway, GatewayProcess, Project, data_of

WHOLE = {name: value for name, value in COMMAND.items() if name != "sessionUpdate"}
NO_COMMANDS = [{"kind": "execute", "action": "reject"}]


@pytest.fixture
async def container() -> AsyncIterator[AskingContainer]:
    async with AskingContainer() as running:
        yield running


@pytest.fixture
async def project(gateway: Gateway, container: AskingContainer) -> Project:
    return await gateway.register(container.url)


@pytest.fixture
async def stream(project: Project) -> AsyncIterator[EventStream]:
    session = await project.create_session()
    async with project.events(session) as opened:
        yield opened


def changed(**members: Any) -> dict[str, Any]:
    return {"sessionUpdate": "tool_call_update", "toolCallId": "v1", **members}


async def test_a_command_whose_request_names_its_call_alone_is_rejected_as_a_command(
    gateway: Gateway, scripted_host: str
) -> None:
    """A real process over stdio, behind the agent host."""
    project = await gateway.register(scripted_host, defaultAgentId="scripted")
    await set_policy(project, permissionMode="full-auto", permissionRules=NO_COMMANDS)
    session = await project.create_session(agentId="scripted")
    asked = {"toolCall": {"toolCallId": "v1"}, "options": AGENTS_OPTIONS}
    steps = [["update", COMMAND], ["call", "session/request_permission", asked]]
    async with project.events(session) as stream:
        done = await project.prompt(session, json.dumps(steps))
        request = await requested(stream)
        told = await resolved(stream)
    assert done["turn"]["state"] == "completed"
    assert request["toolCall"] == WHOLE
    assert (told["outcome"], told["optionId"], told["rule"]) == ("selected", "no", NO_COMMANDS[0])
    [said] = [one["content"][0]["text"] for one in await project.messages(session) if one["role"] == "assistant"]
    assert json.loads(said)["outcome"] == {"outcome": "selected", "optionId": "no"}


async def test_what_is_asked_is_shown_whole_wherever_it_is_shown(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    tell(container, COMMAND, changed(title="Run touch", status="in_progress"))
    container.ask(requestId="r1", toolCall={"toolCallId": "v1", "content": None}, options=OPTIONS)
    request = await requested(stream)
    whole = WHOLE | {"title": "Run touch"}
    assert request["toolCall"] == whole
    [listed] = (await project.call("GET", "/permission")).json["permissions"]
    assert listed["toolCall"] == whole
    assert (await project.call("GET", f"/permission/{request['permissionId']}")).json == listed
    snapshot = (await project.call("GET", f"/session/{listed['sessionId']}/snapshot")).json
    assert snapshot["permissions"] == [listed]
    place = Place(directory=Path(), port=int(project.gateway.url.rpartition(":")[2]), container_port=0)
    shown = await asyncio.to_thread(script, place, "permission", "list", "demo")
    assert "Run touch" in shown.stdout, shown.stderr


async def test_what_the_request_itself_says_wins(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    tell(container, COMMAND)
    own = {"toolCallId": "v1", "title": "Look", "kind": "read", "rawInput": {}, "content": [], "_meta": {"a": 1}}
    container.ask(requestId="r1", toolCall=own, options=OPTIONS)
    assert (await requested(stream))["toolCall"] == own | {"locations": WHOLE["locations"]}


async def test_a_container_that_allows_by_itself_tells_of_the_whole_call(
    base_project: Project, base_container: FakeContainer
) -> None:
    session = await base_project.create_session()
    async with base_project.events(session) as stream:
        tell(base_container, COMMAND)
        [known] = base_container.sessions
        asked = {"toolCall": {"toolCallId": "v1"}, "options": OPTIONS}
        base_container.emit("permission_request", asked, session_id=known)
        request = await requested(stream)
    assert (request["toolCall"], request["resolvedBy"]) == (WHOLE, "container")


EXECUTE_IS_REJECTED = [
    # What the agent tells of its call before, and in its request.
    ([COMMAND], {"toolCallId": "v1"}),
    ([COMMAND], {"toolCallId": "v1", "kind": "read"}),
    ([COMMAND, changed(kind="read")], {"toolCallId": "v1"}),
    ([COMMAND, {**COMMAND, "kind": "read"}], {"toolCallId": "v1"}),
    ([{**COMMAND, "kind": "read"}, changed(kind="execute"), changed(kind="read")], {"toolCallId": "v1"}),
    ([{**COMMAND, "kind": "read"}], {"toolCallId": "v1", "kind": "execute"}),
]


@pytest.mark.parametrize("mode", ["ask", "accept-edits", "full-auto"])
async def test_a_call_that_was_ever_called_a_command_is_rejected_as_one(
    project: Project, container: AskingContainer, mode: str
) -> None:
    await set_policy(project, permissionMode=mode, permissionRules=[*NO_COMMANDS, {"kind": "read", "action": "allow"}])
    async with project.events() as stream:
        for updates, tool_call in EXECUTE_IS_REJECTED:
            await project.create_session()
            tell(container, *updates)
            container.ask(list(container.sessions)[-1], requestId="r1", toolCall=tool_call, options=OPTIONS)
            assert (await resolved(stream))["optionId"] == "no", (updates, tool_call)
            container.settled.clear()


UNKNOWN: list[tuple[list[Any], Any]] = [
    ([], {"toolCallId": "v1"}),
    ([{**COMMAND, "kind": None}], {"toolCallId": "v1"}),
    ([{**COMMAND, "kind": "Execute"}], {"toolCallId": "v1"}),
    ([{**COMMAND, "kind": "read"}], {"toolCallId": "v2"}),
    ([{**COMMAND, "kind": "read"}], {"toolCallId": "v1", "kind": 5}),
    ([{**COMMAND, "kind": "read"}], {}),
    ([{**COMMAND, "kind": "read"}], {"kind": "read"}),
    ([{**COMMAND, "kind": "read"}], None),
]


async def test_what_may_be_a_command_is_asked_about_in_full_auto_where_commands_are_rejected(
    project: Project, container: AskingContainer
) -> None:
    strict = [*NO_COMMANDS, {"kind": "*", "action": "allow"}]
    async with project.events() as stream:
        for updates, tool_call in UNKNOWN:
            await project.create_session()
            known = list(container.sessions)[-1]
            await set_policy(project, permissionMode="full-auto", permissionRules=NO_COMMANDS)
            tell(container, *updates)
            container.ask(known, requestId="r1", toolCall=tool_call, options=OPTIONS)
            waiting = await requested(stream)
            assert await state(project, waiting) == ("waiting", None, None), (updates, tool_call)
            await set_policy(project, permissionMode="ask", permissionRules=strict)
            container.ask(known, requestId="r2", toolCall=tool_call, options=OPTIONS)
            assert (await resolved(stream))["optionId"] == "no", (updates, tool_call)
            assert container.settled.pop("r2") == {"outcome": "selected", "optionId": "no"}
    assert container.settled == {}


async def test_a_call_is_of_its_turn(project: Project, container: AskingContainer) -> None:
    await set_policy(project, permissionMode="full-auto", permissionRules=NO_COMMANDS)
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "slow 30", wait=None)
        await stream.until("turn_started")
        tell(container, {**COMMAND, "kind": "read"})
        container.ask(requestId="r1", toolCall={"toolCallId": "v1"}, options=OPTIONS)
        assert (await resolved(stream))["optionId"] == "once"
        await project.call("POST", f"/session/{session}/cancel")
        await stream.until("turn_ended")
        # Behind it, and in the next one, the same id may be any other call.
        container.ask(requestId="r2", toolCall={"toolCallId": "v1"}, options=OPTIONS)
        assert (await requested(stream))["resolvedBy"] is None
        await project.prompt(session, "slow 30", wait=None)
        await stream.until("turn_started")
        container.ask(requestId="r3", toolCall={"toolCallId": "v1"}, options=OPTIONS)
        assert (await requested(stream))["toolCall"] == {"toolCallId": "v1"}
        tell(container, COMMAND)
        container.ask(requestId="r4", toolCall={"toolCallId": "v1"}, options=OPTIONS)
        assert (await resolved(stream))["optionId"] == "no"


async def test_a_call_of_long_ago_is_found_in_packs_by_a_gateway_that_has_never_heard_of_it(
    database: Database, database_url: str, container: AskingContainer
) -> None:
    long = COMMAND | {"rawInput": {"command": "x" * 1000}}
    chunk = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "x"}}
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url, permissionMode="full-auto", permissionRules=NO_COMMANDS)
        session = await project.create_session()
        async with project.events(session) as stream:
            await project.prompt(session, "slow 30", wait=None)
            tell(container, long, *[chunk] * 1500, changed(title="Run it"))
            while data_of((await stream.until("session_update"))[-1])["update"].get("title") != "Run it":
                pass
        assert await Packing(database, pack_after=0).pack(LogId(project.id)) == 1500
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = Project(gateway, project.id)
        async with project.events(session) as stream:
            await container.wait_for_streams()
            container.ask(requestId="r1", toolCall={"toolCallId": "v1", "title": "Run it at last"}, options=OPTIONS)
            request = await requested(stream)
    assert request["toolCall"] == WHOLE | {"title": "Run it at last", "rawInput": long["rawInput"]}


async def test_what_was_told_while_nobody_heard_it_may_have_been_a_command(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    await set_policy(project, permissionMode="full-auto", permissionRules=NO_COMMANDS)
    tell(container, {**COMMAND, "kind": "read"})
    await stream.until("session_update")
    container.drop_streams()
    await stream.until("gap")
    container.ask(requestId="r1", toolCall={"toolCallId": "v1"}, options=OPTIONS)
    request = await requested(stream)
    assert (request["toolCall"]["kind"], request["resolvedBy"]) == ("read", None)
    container.ask(requestId="r2", toolCall={"toolCallId": "v1", "kind": "edit"}, options=OPTIONS)
    assert (await resolved(stream))["optionId"] == "once"


async def test_a_call_that_is_too_long_to_be_told_again_is_named(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    tell(container, {**COMMAND, "content": [{"type": "diff", "path": "/a", "newText": "x" * MOST_BYTES}]})
    container.ask(requestId="r1", toolCall={"toolCallId": "v1", "_meta": {"own": 1}}, options=OPTIONS)
    request = await requested(stream)
    short = {name: value for name, value in WHOLE.items() if name != "content"}
    assert request["toolCall"] == short | {"_meta": {"own": 1, OMITTED: ["content"]}}


async def test_no_rule_speaks_for_a_session_that_nobody_knows(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    await set_policy(project, permissionMode="full-auto", permissionRules=[{"kind": "*", "action": "allow"}])
    async with project.events() as everything:
        container.ask("somebody-elses", requestId="r1", options=OPTIONS)
        container.ask(requestId="r2", options=OPTIONS)
        assert (await resolved(stream))["optionId"] == "once"
        # The other one is not even told of.
        assert (await requested(everything))["resolvedBy"] == "rule"
    assert set(container.settled) == {"r2"}
