"""Turns: what an agent says arrives as it came and in its order, and every turn ends once."""

import asyncio
import base64
import json
import signal
from pathlib import Path

import pytest

from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import Host, chunk, scripted, text_in, text_of


async def test_prompt_is_answered_at_once_for_a_client_that_prefers_it(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        async with host.http.post(
            f"/session/{session}/prompt",
            json={"prompt": '[["until-cancel"]]'},
            headers={"Prefer": "wait=5, Respond-Async; x=1"},
        ) as response:
            assert response.status == 202
            assert response.headers["Preference-Applied"] == "respond-async"
            turn = (await response.json())["data"]["turnId"]
        await host.post(f"/session/{session}/cancel")
        ended = (await events.until("session_end_turn"))[-1]
    assert ended.data == {"turnId": turn, "stopReason": "cancelled"}
    assert ended.envelope["sessionId"] == session
    assert ended.envelope["agentId"] == "scripted"


async def test_a_turn_s_beginning_is_told_with_its_prompt_unless_that_is_long(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        for step, is_long in ((chunk("hello"), False), (chunk("x" * 70_000), True)):
            turn = await host.begin(session, step)
            [begun] = await events.until("session_begin_turn")
            prompt = None if is_long else [{"type": "text", "text": text_of((step,))}]
            assert begun.data == {"turnId": turn, "prompt": prompt}
            assert begun.envelope["sessionId"] == session
            await events.until("session_end_turn")


async def test_everything_said_before_the_answer_stands_before_the_end_in_order(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, *(chunk(f"{number} ") for number in range(2000)))
        told = await events.until("session_end_turn")
    assert text_in(told).split() == [str(number) for number in range(2000)]
    assert [one.number for one in told] == list(range(told[0].number, told[0].number + len(told)))


async def test_two_sessions_of_one_process_are_told_apart(host: Host) -> None:
    first, second = await host.session(), await host.session()
    async with host.events(f"/events/{first}") as of_first, host.events(f"/events/{second}") as of_second:
        await asyncio.gather(
            host.run(first, *[chunk("a")] * 50),
            host.run(second, *[chunk("b")] * 50),
        )
        assert text_in(await of_first.until("session_end_turn")) == "a" * 50
        assert text_in(await of_second.until("session_end_turn")) == "b" * 50


async def test_second_prompt_in_a_busy_session_is_refused(host: Host) -> None:
    session = await host.session()
    await host.begin(session, ["until-cancel"])
    answer = await host.run(session, chunk("no"))
    assert (answer.status, answer.body["code"]) == (409, "session_busy")


async def test_prompt_sent_again_under_its_turn_s_id_is_run_once(host: Host) -> None:
    session = await host.session()
    body = {"prompt": json.dumps([chunk("once")]), "turnId": "trn_1"}
    async with host.events() as events:
        for _ in range(2):
            answer = await host.post(f"/session/{session}/prompt", body, headers={"Prefer": "respond-async"})
            assert (answer.status, answer.body["turnId"]) == (202, "trn_1")
        await events.until("session_end_turn")
        again = await host.post(f"/session/{session}/prompt", body)
        assert again.body["stopReason"] == "end_turn"
    assert text_in(await host.everything()) == "once"


async def test_stop_reason_and_unknown_members_of_the_answer_are_in_the_end(host: Host) -> None:
    session = await host.session()
    answer = await host.run(session, ["answer", {"stopReason": "max_tokens", "usage": {"totalTokens": 7}}])
    assert (answer.body["stopReason"], answer.body["usage"]) == ("max_tokens", {"totalTokens": 7})


async def test_error_of_the_agent_is_the_end_of_the_turn(host: Host) -> None:
    session = await host.session()
    error = {"code": -32603, "message": "Internal error", "data": {"details": "no such model"}}
    async with host.events() as events:
        turn = await host.begin(session, ["error", error])
        ended = (await events.until("session_end_turn"))[-1]
    told = {"code": "agent_error", "message": "scripted: Internal error: no such model", "rpcCode": -32603}
    assert ended.data == {"turnId": turn, "error": told}
    assert (await host.run(session, chunk("fine"))).status == 200


@pytest.mark.parametrize("error", ["plain text", {"code": "x", "message": {}}, 5])
async def test_error_that_is_not_as_it_should_be_ends_the_turn_all_the_same(host: Host, error: object) -> None:
    session = await host.session()
    answer = await host.run(session, ["error", error])
    assert answer.status == 502
    assert answer.body["data"]["error"]["code"] == "agent_error"


async def test_agent_that_wants_a_credential_is_told_of(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, ["error", {"code": -32000, "message": "Authentication required"}])
        told = await events.until("session_end_turn")
    assert told[-1].data["error"]["code"] == "auth_required"
    assert [one.data["agentId"] for one in told if one.type == "auth_required"] == ["scripted"]
    assert (await host.get("/agents/scripted/status")).body["status"] == "auth_required"


async def test_session_that_needs_a_credential_is_refused_with_403(open_host: OpenHost) -> None:
    refused = {"error": {"code": -32000, "message": "Authentication required"}}
    async with open_host(scripted("closed", script={"new": refused})) as host:
        answer = await host.post("/session", {"agentId": "closed"})
        assert (answer.status, answer.body["code"]) == (403, "auth_required")
        assert (await host.get("/sessions")).body["sessions"] == []


async def test_update_is_passed_on_with_kinds_and_members_nobody_knows(host: Host) -> None:
    session = await host.session()
    update = {"sessionUpdate": "dream", "of": [1, 2.5, None, {"deep": "é☃"}], "_meta": {"x": 10**30}}
    async with host.events() as events:
        await host.begin(session, ["update", update])
        (told, _) = await events.until("session_end_turn")
    assert told.data["update"] == update
    assert told.data["sessionId"].startswith("acp-")


async def test_update_keeps_the_bytes_of_its_numbers(host: Host) -> None:
    session = await host.session()
    line = '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"$SESSION","update":{"n":1.50e3}}}\n'
    async with host.http.get("/events") as response:
        await host.begin(session, ["raw", line])
        seen = b""
        while b"session_end_turn" not in seen:
            seen += await response.content.readany()
    assert b'"update":{"n":1.50e3}}' in seen


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc":"2.0",\r"method":"session/update","params":{\r"sessionId":"$SESSION","update":{"a":1}}}\r\n',
        '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"$SESSION","update":{"a":"\\ud83d"}}}\n',
    ],
    ids=["carriage returns", "half an emoji"],
)
async def test_update_of_an_odd_shape_arrives_as_one_event(host: Host, line: str) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, ["raw", line], chunk("after"))
        told = await events.until("session_end_turn")
    assert [one.envelope.get("sessionId") for one in told] == [session] * 3
    assert told[0].data["update"]["a"] in (1, "\ud83d")


async def test_what_is_not_json_rpc_is_passed_over(host: Host) -> None:
    session = await host.session()
    noise = ["Welcome!\n", "[]\n", "\n", "null\n", '{"method":5}\n', '{"id":[],"result":1}\n', '{"id":99,"result":1}\n']
    steps = [["raw", line] for line in noise]
    async with host.events() as events:
        await host.begin(session, *steps, ["raw", '{"method":"session/update"}\n'], chunk("fine"))
        told = await events.until("session_end_turn")
    assert text_in([one for one in told if one.data]) == "fine"


async def test_notification_of_another_kind_is_an_event_too(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, ["raw", '{"jsonrpc":"2.0","method":"_auth/status","params":{"kind":"none"}}\n'])
        told = (await events.until("agent_notification"))[-1]
    assert told.data == {"method": "_auth/status", "params": {"kind": "none"}}


async def test_what_is_told_before_the_session_has_its_id_is_the_session_s(open_host: OpenHost) -> None:
    commands = ["update", {"sessionUpdate": "available_commands_update", "availableCommands": []}]
    async with open_host(scripted("hasty", script={"before_new": [commands]})) as host:
        session = await host.session("hasty")
        (told,) = [one for one in await host.everything() if one.type == "session_update"]
    assert told.envelope["sessionId"] == session


async def test_request_the_host_does_not_know_is_refused(host: Host) -> None:
    session = await host.session()
    refused = await host.answer_of(session, "elicitation/create", {"message": "?"})
    assert refused["error"]["code"] == -32601


async def test_line_that_is_too_long_ends_the_agent_with_a_sentence(open_host: OpenHost) -> None:
    async with open_host(line_limit=100_000) as host:
        session = await host.session()
        answer = await host.run(session, ["long", 200_000])
        assert "a line of more than 100000 bytes" in answer.body["error"]
        assert (await host.run(session, chunk("fine"))).status == 200


async def test_large_line_is_taken(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, ["say", "x", 3_000_000])
        assert len(text_in(await events.until("session_end_turn"))) == 3_000_000


async def test_deleted_session_s_turn_is_cancelled_and_told(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, ["until-cancel"])
        await host.delete(f"/session/{session}")
        assert (await events.until("session_end_turn"))[-1].data["stopReason"] == "cancelled"


async def test_agent_that_ignores_cancel_is_told_to_be_still_processing(open_host: OpenHost) -> None:
    async with open_host(cancel_timeout=0.1) as host:
        session = await host.session()
        await host.begin(session, ["sleep", 600])
        assert (await host.post(f"/session/{session}/cancel")).body["status"] == "processing"
        await host.post("/agents/scripted/stop")
        assert (await host.get(f"/session/{session}")).body["status"] == "error"


async def test_deeply_nested_line_is_passed_over(host: Host) -> None:
    session = await host.session()
    nested = "[" * 100_000 + "]" * 100_000
    line = f'{{"method":"session/update","params":{{"sessionId":"$SESSION","update":{nested}}}}}\n'
    async with host.events() as events:
        await host.begin(session, ["raw", line], chunk("fine"))
        told = await events.until("session_end_turn")
    assert text_in([one for one in told if one.type == "session_update"]) == "fine"


async def test_cancel_of_an_agent_that_does_not_read_is_answered(open_host: OpenHost) -> None:
    async with open_host(cancel_timeout=0.2) as host:
        stopped, waiting = await host.session(), await host.session()
        await host.begin(stopped, ["kill", signal.SIGSTOP])
        # More than a pipe holds, so that nothing can be written after it.
        await host.begin(waiting, "x" * 500_000)
        assert (await host.post(f"/session/{waiting}/cancel")).body["status"] == "processing"
        await host.post("/agents/scripted/stop")
        assert (await host.get(f"/session/{waiting}")).body["status"] == "error"


async def test_mcp_servers_are_passed_on_as_they_are(open_host: OpenHost, tmp_path: Path) -> None:
    log = tmp_path / "log"
    servers = [{"name": "x", "command": "/bin/x", "args": [], "env": [{"name": "A", "value": "b"}], "_meta": {"y": 1}}]
    async with open_host(scripted("noted", script={"log": str(log)})) as host:
        await host.session("noted", mcpServers=servers)
    (new,) = [one for one in map(json.loads, log.read_text().splitlines()) if one.get("method") == "session/new"]
    assert new["params"] == {"cwd": str(host.workspace.resolve()), "mcpServers": servers}


async def test_image_reaches_the_agent(open_host: OpenHost) -> None:
    pixels = base64.b64encode(b"\x89PNG" * 100).decode()
    async with open_host() as host:
        session = await host.session("demo")
        blocks = [{"type": "image", "data": pixels, "mimeType": "image/png"}, {"type": "text", "text": "say seen"}]
        async with host.events() as events:
            await host.post(f"/session/{session}/prompt", {"prompt": blocks})
            told = text_in(await events.until("session_end_turn"))
    assert told == "I got an image (image/png, 400 bytes).\nseen"
