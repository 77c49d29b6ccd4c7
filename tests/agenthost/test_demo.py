"""The demo agent, over real ACP, and with it modes, options and loading."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.agenthost.demo.directives import DIRECTIVES
from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import Events, Host, Told, alive, text_in, until

PACKAGE_ROOT = Path(gateway.__file__).parents[1]


def updates(told: list[Told], kind: str) -> list[Any]:
    mine = [one.data["update"] for one in told if one.type == "session_update"]
    return [update for update in mine if update["sessionUpdate"] == kind]


async def direct(host: Host, session: str, events: Events, prompt: str) -> list[Told]:
    """All that happens in a turn that asks nothing."""
    await host.begin(session, prompt)
    return await events.until("session_end_turn")


async def test_newcomer_sees_a_thought_a_plan_an_answer_and_a_question(open_host: OpenHost) -> None:
    async with open_host() as host:
        session = await host.session("demo")
        async with host.events() as events:
            await host.begin(session, "hello there")
            told = await events.until("permission_request")
            assert not (host.workspace / "demo-note.txt").exists()
            plan = [entry["status"] for entry in updates(told, "plan")[-1]["entries"]]
            assert plan == ["completed", "completed", "in_progress"]
            await host.post(f"/permission/{told[-1].data['requestId']}", {"granted": True})
            told += await events.until("session_end_turn")
        assert (host.workspace / "demo-note.txt").read_text() == "You said: hello there\n"
    assert updates(told, "agent_thought_chunk")
    assert {entry["status"] for entry in updates(told, "plan")[-1]["entries"]} == {"completed"}
    assert "`help`" in text_in(told)
    (request,) = [one.data for one in told if one.type == "permission_request"]
    assert [option["kind"] for option in request["options"]] == ["allow_once", "allow_always", "reject_once"]
    assert request["toolCall"]["content"][0]["type"] == "diff"
    statuses = [update["status"] for update in updates(told, "tool_call") + updates(told, "tool_call_update")]
    assert statuses == ["pending", "in_progress", "completed"]


async def test_every_directive_does_what_the_table_says(open_host: OpenHost) -> None:
    """One process for all of them: it takes a second to start."""
    async with open_host() as host:
        session = await host.session("demo")
        async with host.events(f"/events/{session}") as events:
            told = text_in(await direct(host, session, events, "help"))
            assert [line.split("  ")[0] for line in told.splitlines()] == [one.usage for one in DIRECTIVES]

            told = text_in(await direct(host, session, events, "stream 2000"))
            assert told == "".join(f"tok{number} " for number in range(2000))

            seen = await direct(host, session, events, "think hm\nplan a; b")
            assert updates(seen, "agent_thought_chunk")[0]["content"]["text"] == "hm"
            plans = [[entry["status"] for entry in plan["entries"]] for plan in updates(seen, "plan")]
            assert plans == [["in_progress", "pending"], ["completed", "in_progress"], ["completed", "completed"]]

            seen = await direct(host, session, events, "tool")
            assert (host.workspace / "hello.txt").read_text() == "hello\n"
            assert len(updates(seen, "tool_call") + updates(seen, "tool_call_update")) == 3

            assert text_in(await direct(host, session, events, "read hello.txt")) == "hello\n"
            assert "outside the workspace" in text_in(await direct(host, session, events, "read ../x"))
            assert text_in(await direct(host, session, events, "run echo $((6 * 7))")) == "42\n"
            assert text_in(await direct(host, session, events, "say one\nsay two")) == "onetwo"
            assert text_in(await direct(host, session, events, "env NOTHING")) == "NOTHING is not set\n"

            failed = (await direct(host, session, events, "fail badly"))[-1]
            assert failed.data["error"]["message"] == "demo: badly"

            await host.begin(session, "slow 600")
            await host.post(f"/session/{session}/cancel")
            assert (await events.until("session_end_turn"))[-1].data["stopReason"] == "cancelled"

            for granted, text in ((True, "allowed\n"), (False, "rejected\n")):
                await host.begin(session, "ask May I?")
                request = (await events.until("permission_request"))[-1]
                await host.post(f"/permission/{request.data['requestId']}", {"granted": granted})
                assert text_in(await events.until("session_end_turn")) == text

            await host.begin(session, "write no.txt never")
            request = (await events.until("permission_request"))[-1]
            await host.post(f"/permission/{request.data['requestId']}", {"granted": False})
            assert text_in(await events.until("session_end_turn")) == "I did not write no.txt.\n"
            assert not (host.workspace / "no.txt").exists()


async def test_cancelled_turn_ends_the_command_it_runs(open_host: OpenHost) -> None:
    async with open_host() as host:
        session = await host.session("demo")
        async with host.events() as events:
            await host.begin(session, "run echo $$ > pid; exec sleep 600")
            file = host.workspace / "pid"
            await until(lambda: _true(file.exists() and file.read_text()))
            await host.post(f"/session/{session}/cancel")
            assert (await events.until("session_end_turn"))[-1].data["stopReason"] == "cancelled"
        await until(lambda: _true(not alive(int(file.read_text()))))


async def _true(value: Any) -> Any:
    return value


async def test_crash_is_told_and_the_session_goes_on_where_it_was(open_host: OpenHost) -> None:
    async with open_host() as host:
        session = await host.session("demo")
        async with host.events() as events:
            ended = (await direct(host, session, events, "say last\ncrash 7"))[-1]
            assert ended.data["error"]["code"] == "agent_died"
            assert "exit status 7" in ended.data["error"]["message"]
            told = await direct(host, session, events, "session")
    assert "prompts=2 " in text_in(told)
    assert [one.data["how"] for one in told if one.type == "session_restored"] == ["load"]


async def test_mode_and_option_are_set_and_kept(open_host: OpenHost) -> None:
    async with open_host() as host:
        answer = await host.post("/session", {"agentId": "demo"})
        session = answer.body["id"]
        assert answer.body["modes"]["currentModeId"] == "ask"
        assert [option["id"] for option in answer.body["configOptions"]] == ["speed"]

        assert (await host.post(f"/session/{session}/mode", {"modeId": "auto"})).body["modeId"] == "auto"
        assert (await host.post(f"/session/{session}/mode", {"modeId": "no such"})).status == 400
        changed = await host.post(f"/session/{session}/config", {"configId": "speed", "value": "normal"})
        assert changed.body["configOptions"][0]["currentValue"] == "normal"
        assert (await host.post(f"/session/{session}/config", {"configId": "speed", "value": "x"})).status == 400
        assert (await host.post(f"/session/{session}/config", {"configId": "speed", "value": 5})).status == 400

        async with host.events() as events:
            told = await direct(host, session, events, "permission")
            assert "permission_request" not in [one.type for one in told]
            await host.post("/agents/demo/stop")
            loaded = await host.post(f"/session/{session}/load", {"replay": True})
            told = await events.until("agent_status", lambda one: one.data["status"] == "running")
            await host.begin(session, "say x")
            told += await events.until("session_end_turn")
    assert loaded.body["modes"]["currentModeId"] == "auto"
    assert updates(told, "user_message_chunk")[0]["content"]["text"] == "permission"


async def test_session_from_before_the_host_is_loaded_under_its_id(open_host: OpenHost) -> None:
    async with open_host() as host:
        session = await host.session("demo")
        acp_id = (await host.get(f"/session/{session}")).body["acpSessionId"]
        await host.run(session, "say first")
    async with open_host() as host:
        body = {"agentId": "demo", "acpSessionId": acp_id}
        assert (await host.post(f"/session/{session}/load", {})).status == 404
        loaded = await host.post(f"/session/{session}/load", body)
        assert (loaded.status, loaded.body["id"], loaded.body["acpSessionId"]) == (200, session, acp_id)
        async with host.events() as events:
            assert "prompts=2 " in text_in(await direct(host, session, events, "session"))
        assert (await host.post("/session/other/load", {**body, "acpSessionId": "demo-0"})).status == 400


@pytest.mark.parametrize(
    ("call", "body"),
    [("mode", {"modeId": "x"}), ("config", {"configId": "x", "value": True}), ("load", {})],
)
async def test_what_the_agent_does_not_have_is_501(host: Host, call: str, body: dict[str, Any]) -> None:
    session = await host.session()
    answer = await host.post(f"/session/{session}/{call}", body)
    assert (answer.status, answer.body["code"]) == (501, "not_implemented")


def exchange(*lines: str) -> list[dict[str, Any]]:
    """What a process of its own answers to these lines; it finds nothing but the standard library and this package."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "gateway.agenthost.demo"],
        input="".join(f"{line}\n" for line in lines),
        env={"PYTHONPATH": str(PACKAGE_ROOT), "XDG_STATE_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def asks(method: str, params: Any = None) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": "a", "method": method, "params": params})


def test_the_standard_library_is_enough() -> None:
    [answer] = exchange(asks("initialize", {"protocolVersion": 1}))
    assert answer["result"]["agentInfo"]["name"] == "demo"


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("nonsense", -32700, "not a JSON-RPC message: Expecting value: line 1 column 1 (char 0)"),
        ("[1]", -32700, "not a JSON-RPC message: not an object"),
        (asks("session/list", {}), -32601, "there is no method session/list"),
        (asks("authenticate", {"methodId": "x"}), -32602, "there is no method x: this agent needs no account"),
        (asks("session/new", {}), -32602, "cwd must be a string"),
        (asks("session/new", [1]), -32602, "cwd must be a string"),
        (asks("session/load", {"sessionId": "demo-../a", "cwd": "/"}), -32602, "there is no session demo-../a"),
        (asks("session/load", {"sessionId": "demo-" + "a" * 999, "cwd": "/"}), -32602, None),
        (asks("session/set_mode", {"sessionId": ["x"], "modeId": "ask"}), -32602, "there is no session ['x']"),
    ],
)
def test_what_is_not_in_order_is_refused_and_the_agent_goes_on(line: str, code: int, message: str | None) -> None:
    refused, answered = exchange('{"method": "session/cancel"}', line, asks("initialize"))
    assert refused["error"]["code"] == code
    assert message is None or refused["error"]["message"] == message
    assert "result" in answered
