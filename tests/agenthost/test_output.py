"""What an agent writes that is not as the protocol has it: mended and marked, or told to be lost; never passed over."""

import asyncio
import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.agenthost.stdio import REPAIRED, recover
from gateway.agenthost.workspace import Workspace
from gateway.wire.events import FileWritten
from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import OPTIONS, Host, Told, chunk, scripted, text_in
from tests.fakes.eventually import eventually

SAID = b'{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"$SESSION","update":{"sessionUpdate":'
SAID += b'"agent_message_chunk","content":{"type":"text","text":"%b"}}}}'


def raw(data: bytes) -> list[str]:
    return ["bytes", base64.b64encode(data).decode()]


async def told_of(host: Host, *steps: Any) -> list[Told]:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, *steps)
        return await events.until("session_end_turn")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"Loading... " + SAID % b"hello", "hello"),
        (b"\x1b[2K\r 50% \r" + SAID % b"hello", "hello"),
        (b"note {a: 1} [x] " + SAID % b"hello" + b" done", "hello"),
        (SAID % b"hel" + SAID % b"lo", "hello"),
        (SAID % b"hel" + b", then " + SAID % b"lo", "hello"),
        (SAID % b"tab\tand \x01", "tab\tand \x01"),
        (b"\xef\xbb\xbf" + SAID % b"hello", "hello"),
        (b"\xff\xfe " + SAID % b"hello", "hello"),
        (b"[" + SAID % b"hel" + b"," + SAID % b"lo" + b"]", "hello"),
        (SAID % b"hello" + b"\0", "hello"),
        (SAID.replace(b'"method"', b'"id":null,"method"') % b"hello", "hello"),
        (SAID.replace(b'"method"', b'"id":77,"method"') % b"hello", "hello"),
        (SAID.replace(b'"jsonrpc":"2.0",', b"") % b"hello", "hello"),
    ],
)
async def test_a_message_is_found_among_what_else_stands_in_its_line(host: Host, line: bytes, text: str) -> None:
    assert text_in(await told_of(host, raw(line + b"\n"))) == text


@pytest.mark.parametrize("odd", [b"\xff", b"\xc3", b"caf\xe9", b"\xed\xa0\xbd", b"\xf0\x9f\x98"])
async def test_bytes_that_are_no_utf_8_are_replaced_and_the_update_is_marked(host: Host, odd: bytes) -> None:
    told = await told_of(host, raw(SAID % (b"before " + odd + b" after") + b"\n"), chunk("!"))
    assert text_in(told) == f"before {odd.decode('utf-8', 'replace')} after!"
    assert [one.data.get("_meta") for one in told[:2]] == [{REPAIRED: "it was not UTF-8"}, None]


async def test_only_what_was_not_utf_8_itself_is_marked(host: Host) -> None:
    told = await told_of(host, raw(b"\xff " + SAID % "a\ufffd".encode() + SAID % b"b\xe9" + b"\n"))
    assert text_in(told) == "a\ufffdb\ufffd"
    assert [one.data.get("_meta") for one in told[:2]] == [None, {REPAIRED: "it was not UTF-8"}]


async def test_a_message_in_a_long_line_is_mended_as_in_a_short_one(host: Host) -> None:
    told = await told_of(host, raw(b"$LARGE\xff" + SAID % b"hello\xff" + b"\n"))
    assert text_in(told) == "hello\ufffd"


@pytest.mark.parametrize("indent", [0, 1, 4])
async def test_a_message_over_many_lines_is_one(host: Host, indent: int) -> None:
    update = json.dumps(json.loads(SAID % b"hello"), indent=indent)
    answer = '{"jsonrpc": "2.0", "id": 0, "result": {"stopReason": "end_turn", "_meta": {"a": []}}}'
    end = json.dumps(json.loads(answer), indent=indent).replace('"id": 0', '"id": $ID')
    told = await told_of(host, raw(f"{update}\n{end}\n".encode()), ["no-answer"])
    assert text_in(told) == "hello"
    assert told[-1].data["stopReason"] == "end_turn"


async def test_a_bracket_that_begins_nothing_costs_no_message(host: Host) -> None:
    told = await told_of(host, raw(b"{\n  level: info\n" + SAID % b"hello" + b"\n{\n}\n{\n"))
    assert text_in(told) == "hello"
    assert [one.type for one in told] == ["session_update", "session_end_turn"]


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (b'{"jsonrpc":"2.0","id":"$ID","result":{"stopReason":"end_turn"}}\n', "end_turn"),
        (b'{"jsonrpc":"2.0","id":$ID.0,"result":{"stopReason":"end_turn"}}\n', "end_turn"),
        (b'{"jsonrpc":"2.0","id":null,"result":{"stopReason":"end_turn"}}\n', "end_turn"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}\n', "Parse error"),
        (b'{"jsonrpc":"2.0","result":{"stopReason":"end_turn"}}\n', "end_turn"),
        (b'{"jsonrpc":"2.0","error":{"code":-32603,"message":"It broke"}}\n', "It broke"),
        (b'{"id":$ID,"result":null,"error":{"code":-32603,"message":"It broke"}}\n', "It broke"),
        (b'{"id":$ID,"result":{"stopReason":"end_turn"},"error":null}\n', "end_turn"),
        (b'{"jsonrpc":"2.0","id":$ID,"result":{"stopReason":"end_turn","_meta":{"x":"\xff"}}}\n', "end_turn"),
        (b'{"jsonrpc":"2.0","id":$ID,"result":{"stopReason":"end_turn","_meta":{"x":"a\nb"}}}\n', "could not be read"),
        (b'{"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"no \xff"}}\n', "no \ufffd"),
        (b'done {"jsonrpc":"2.0","id":$ID,"result":{"stopReason":"end_turn"}}\n', "end_turn"),
        (b'{"jsonrpc":"2.0","id":$ID,"result":{"stopReason":"end_turn"\n', "could not be read"),
        (b'{"jsonrpc":"2.0","id":$ID,"result":{"stopReason":oops}}\n', "could not be read"),
    ],
)
async def test_a_turn_does_not_wait_for_an_answer_that_has_come(host: Host, answer: bytes, end: str) -> None:
    told = await told_of(host, raw(answer), ["no-answer"])
    ended = told[-1].data
    assert end in (ended.get("stopReason") or ended["error"]["message"])


async def test_an_answer_without_its_line_end_counts_when_the_agent_exits(host: Host) -> None:
    answer = b'{"jsonrpc":"2.0","id":$ID,"result":{"stopReason":"end_turn"}}'
    told = await told_of(host, raw(SAID % b"all" + b"\n"), raw(answer), ["exit", 0])
    assert (text_in(told), told[-1].data["stopReason"]) == ("all", "end_turn")


async def test_a_message_that_is_cut_off_by_the_agents_end_is_told_to_be_lost(host: Host) -> None:
    told = await told_of(host, raw((SAID % b"half of it, and of what was to come")[:-20]), ["exit", 3])
    [lost] = [one for one in told if one.type == "agent_output_lost"]
    assert lost.envelope["agentId"] == "scripted"
    assert lost.envelope["sessionId"] == told[-1].envelope["sessionId"]
    assert "half of it" in lost.data["text"]
    assert lost.data["bytes"] > 100
    assert told[-1].data["error"]["code"] == "agent_died"


async def test_what_is_told_of_a_lost_message_has_no_secrets_in_it(open_host: OpenHost) -> None:
    secret = "sk-secret-0123456789abcdef"
    agent = scripted("keyed", credentials=("A_KEY",), env={"A_KEY": secret})
    async with open_host(agent, environment={"A_KEY": secret}) as host:
        for place in range(440, 520, 7):
            session = await host.session("keyed")
            broken = b'{"jsonrpc":"2.0",'.ljust(place, b"x") + secret.encode() + b" " * 100 + b"\n"
            async with host.events() as events:
                await host.begin(session, raw(broken))
                told = await events.until("session_end_turn")
            [lost] = [one for one in told if one.type == "agent_output_lost"]
            for size in range(9, len(secret)):
                assert secret[:size] not in lost.data["text"], place


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":"q","method":"fs/read_text_file","params":{"path":oops}}\n', "q"),
        (b'{"jsonrpc":"2.0","method":"fs/read_text_file","params":{"path":oops},"id":41}\n', 41),
        (b'{"jsonrpc":"2.0","id":7,"method":"session/request_permission","params":{"toolCall":\n', 7),
    ],
)
async def test_an_agent_does_not_wait_for_the_answer_to_a_request_that_cannot_be_read(
    open_host: OpenHost, tmp_path: Path, line: bytes, request_id: Any
) -> None:
    log = tmp_path / "log"
    async with open_host(scripted(script={"log": str(log)})) as host:
        told = await told_of(host, raw(line))
        await eventually(lambda: '"error"' in log.read_text())
    assert "agent_output_lost" in [one.type for one in told]
    [answer] = [one for one in map(json.loads, log.read_text().splitlines()) if "error" in one]
    assert (answer["id"], answer["error"]["code"]) == (request_id, -32700)


@pytest.mark.parametrize("answer_id", ["99", "-1", "[]", "{}", "true", '"r1"'])
async def test_an_answer_that_nobody_waits_for_is_told_to_be_lost(host: Host, answer_id: str) -> None:
    line = f'{{"jsonrpc":"2.0","id":{answer_id},"result":{{"text":"said"}}}}\n'
    told = await told_of(host, raw(line.encode()))
    assert [one.type for one in told] == ["agent_output_lost", "session_end_turn"]
    assert "said" in told[0].data["text"]


async def test_banners_and_warnings_are_no_loss(host: Host) -> None:
    told = await told_of(host, *(raw(line + b"\n") for line in (b"Welcome!", b"{}", b'{"level":"info"}', b"\xff\xff")))
    assert [one.type for one in told] == ["session_end_turn"]


async def test_an_agent_takes_its_question_back(host: Host) -> None:
    session = await host.session()
    asked = {"toolCall": {"toolCallId": "c"}, "options": OPTIONS}
    back = {"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"id": "r1"}}
    async with host.events() as events:
        await host.begin(session, ["ask", asked], raw(json.dumps(back).encode() + b"\n"), ["sleep", 0.2], chunk("."))
        told = await events.until("session_end_turn")
    [resolved] = [one for one in told if one.type == "permission_resolved"]
    assert (resolved.data["outcome"], resolved.data["reason"]) == ({"outcome": "cancelled"}, "withdrawn")
    answer = await host.post(f"/permission/{resolved.data['requestId']}", {"optionId": "yes"})
    assert answer.status == 409


async def test_an_agent_takes_another_request_back(host: Host) -> None:
    session = await host.session()
    made = await host.answer_of(session, "terminal/create", {"command": "sleep", "args": ["600"]})
    wait = {"jsonrpc": "2.0", "id": "w", "method": "terminal/wait_for_exit", "params": made}
    back = {"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"id": "w"}}
    lines = [raw(json.dumps(one).encode() + b"\n") for one in (wait, back)]
    # What the host answers to it the agent does not tell: but it goes on, and takes nothing back twice.
    assert (await host.run(session, *lines, lines[1], ["sleep", 0.2])).status == 200


async def test_what_is_written_is_told_even_if_the_agent_takes_the_request_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, write_text = threading.Event(), threading.Event(), Workspace.write_text

    def slowly(self: Workspace, path: str, content: str) -> FileWritten:
        begun.set()
        go.wait()
        return write_text(self, path, content)

    monkeypatch.setattr(Workspace, "write_text", slowly)
    session, path, resume = await host.session(), host.workspace / "told.txt", host.workspace / "resume"
    write = ["request", "fs/write_text_file", {"path": str(path), "content": "told"}]
    back = raw(b'{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":"r1"}}\n')
    async with host.events() as events:
        await host.begin(session, write, ["until", str(resume)], back, chunk("taken back"))
        await eventually(begun.is_set)
        resume.touch()
        await events.until("session_end_turn")
        go.set()
        written = (await events.until("file_written"))[-1]
    assert (path.read_text(), written.data["path"]) == ("told", str(path))


async def test_a_request_has_one_answer_however_often_it_is_taken_back(open_host: OpenHost, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with open_host(scripted("logger", script={"log": str(log)})) as host:
        session = await host.session("logger")
        made = await host.answer_of(session, "terminal/create", {"command": "sleep", "args": ["600"]})
        wait = {"jsonrpc": "2.0", "id": "w", "method": "terminal/wait_for_exit", "params": made}
        back = {"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"id": "w"}}
        lines = b"".join(json.dumps(one).encode() + b"\n" for one in (wait, back, back))
        await host.run(session, raw(lines), ["call", "terminal/output", made])
    answers = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["error"]["code"] for one in answers if one.get("id") == "w"] == [-32800]


async def test_a_request_is_answered_once_that_is_taken_back_while_the_answer_waits_to_be_read(
    open_host: OpenHost, workspace: Path, tmp_path: Path
) -> None:
    log, answered, resume = (tmp_path / name for name in ("log", "answered", "resume"))
    (workspace / "large").write_text("x" * 1_000_000)
    # While it is asked for its mode the agent reads nothing, and more is on the way to it than a pipe holds.
    steps: list[Any] = [
        ["request", "fs/read_text_file", {"path": str(workspace / "large")}],
        ["until", str(answered)],
        ["raw", '{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":"r1"}}\n'],
        chunk("taken back"),
        ["until", str(resume)],
    ]
    script = {"log": str(log), "before_session/set_mode": steps, "session/set_mode": {}}
    async with open_host(scripted("slow", script=script)) as host, host.events() as events:
        session = await host.session("slow")
        changing = asyncio.create_task(host.post(f"/session/{session}/mode", {"modeId": "any"}))
        await events.until("file_read")
        answered.touch()
        await events.until("session_update")
        resume.touch()
        assert (await changing).status == 200
        await host.run(session, chunk("."))
    answers = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one.keys() & {"result", "error"} for one in answers if one.get("id") == "r1"] == [{"result"}]


def test_what_is_looked_for_in_a_line_is_bounded() -> None:
    assert recover(b'{"id":' * 1_000_000).messages == []
    assert len(recover(b'{"method":"x"}' * 1000).messages) == 20
