"""What the agent host and agents write to each other is ACP, as the models of the protocol's package have it."""

import base64
import json
import shlex
from pathlib import Path
from typing import Any

import attrs
from acp import schema
from pydantic import BaseModel

from gateway.agenthost.catalogue import BUILT_IN, AgentSpec
from gateway.agenthost.demo.directives import DIRECTIVES
from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import Host, scripted

#: For each method its parameters and its result.
FROM_HOST: dict[str, tuple[type[BaseModel], type[BaseModel] | None]] = {
    "initialize": (schema.InitializeRequest, schema.InitializeResponse),
    "authenticate": (schema.AuthenticateRequest, schema.AuthenticateResponse),
    "session/new": (schema.NewSessionRequest, schema.NewSessionResponse),
    "session/load": (schema.LoadSessionRequest, schema.LoadSessionResponse),
    "session/resume": (schema.ResumeSessionRequest, schema.ResumeSessionResponse),
    "session/close": (schema.CloseSessionRequest, schema.CloseSessionResponse),
    "session/prompt": (schema.PromptRequest, schema.PromptResponse),
    "session/cancel": (schema.CancelNotification, None),
    "session/set_mode": (schema.SetSessionModeRequest, schema.SetSessionModeResponse),
    "session/set_config_option": (schema.SetSessionConfigOptionSelectRequest, schema.SetSessionConfigOptionResponse),
}
FROM_AGENT: dict[str, tuple[type[BaseModel], type[BaseModel] | None]] = {
    "session/update": (schema.SessionNotification, None),
    "session/request_permission": (schema.RequestPermissionRequest, schema.RequestPermissionResponse),
    "fs/read_text_file": (schema.ReadTextFileRequest, schema.ReadTextFileResponse),
    "fs/write_text_file": (schema.WriteTextFileRequest, schema.WriteTextFileResponse),
    "terminal/create": (schema.CreateTerminalRequest, schema.CreateTerminalResponse),
    "terminal/output": (schema.TerminalOutputRequest, schema.TerminalOutputResponse),
    "terminal/wait_for_exit": (schema.WaitForTerminalExitRequest, schema.WaitForTerminalExitResponse),
    "terminal/kill": (schema.KillTerminalRequest, schema.KillTerminalResponse),
    "terminal/release": (schema.ReleaseTerminalRequest, schema.ReleaseTerminalResponse),
}
#: A prompt for each row of the demo agent's table; none for `crash`, which says nothing.
PROMPTS = {
    "help": "help",
    "say TEXT": "say hello\nsay what is no directive\nnonsense",
    "stream N": "stream 3",
    "think TEXT": "think hm",
    "plan A; B; C": "plan a; b",
    "tool": "tool\ntool",
    "permission": "permission",
    "write PATH TEXT": "write new.txt text\nwrite ../outside.txt text",
    "read PATH": "read hello.txt\nread none.txt",
    "run COMMAND": "run echo out\nrun exit 3\nrun kill $$",
    "ask QUESTION": "ask May I?",
    "slow SECONDS": "slow 0",
    "deaf SECONDS": "deaf 0",
    "env NAME": "env HOME",
    "session": "session",
    "fail TEXT": "fail badly",
    "crash STATUS": None,
    "any other text": "hello there",
}


@attrs.frozen
class Tape:
    """Both directions of each agent process's stdio, as they went over the pipes."""

    directory: Path

    def around(self, spec: AgentSpec) -> AgentSpec:
        here = shlex.quote(str(self.directory))
        taped = f"tee {here}/$$.to-agent | {shlex.join(spec.command)} | tee {here}/$$.from-agent"
        return attrs.evolve(spec, command=("/bin/sh", "-c", taped))

    def check(self) -> set[str]:
        """The methods that were called; fails at the first message that is not ACP."""
        called = set()
        for path in self.directory.glob("*.to-agent"):
            to_agent, from_agent = messages(path), messages(path.with_suffix(".from-agent"))
            called |= _check(to_agent, from_agent, FROM_HOST) | _check(from_agent, to_agent, FROM_AGENT)
        return called


def messages(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _check(
    sent: list[dict[str, Any]],
    received: list[dict[str, Any]],
    methods: dict[str, tuple[type[BaseModel], type[BaseModel] | None]],
) -> set[str]:
    """What one side asked and told, and what the other answered."""
    assert all(message["jsonrpc"] == "2.0" for message in sent)
    answers = {message["id"]: message for message in received if "method" not in message}
    calls = [message for message in sent if "method" in message]
    for call in calls:
        parameters, result = methods[call["method"]]
        fits(call["params"], parameters)
        assert (result is None) == ("id" not in call)
        if result is None or (answer := answers.get(call["id"])) is None:
            continue
        assert ("result" in answer) != ("error" in answer)
        if "error" in answer:
            fits(answer["error"], schema.Error)
        else:
            fits(answer["result"], result)
    return {call["method"] for call in calls}


def fits(value: dict[str, Any], model: type[BaseModel]) -> None:
    """The model takes the value, and knows each of its members: what it does not know it would drop."""
    assert model.model_validate(value).model_dump(mode="json", by_alias=True, exclude_unset=True) == value


async def _granting(host: Host, session: str, prompt: Any) -> None:
    """A whole turn in which everything is allowed."""
    async with host.events(f"/events/{session}") as events:
        answer = await host.post(f"/session/{session}/prompt", {"prompt": prompt}, headers={"Prefer": "respond-async"})
        assert answer.status == 202
        while (told := await events.next()).type != "session_end_turn":
            if told.type == "permission_request":
                await host.post(f"/permission/{told.data['requestId']}", {"granted": True})


async def test_demo_agent_and_host_speak_acp(open_host: OpenHost, tmp_path: Path) -> None:
    assert PROMPTS.keys() == {directive.usage for directive in DIRECTIVES}
    tape = Tape(tmp_path)
    async with open_host(tape.around(BUILT_IN["demo"])) as host:
        session = await host.session("demo")
        for prompt in filter(None, PROMPTS.values()):
            await _granting(host, session, prompt)
        picture = {"mimeType": "image/png", "data": base64.b64encode(b"pixels").decode()}
        resource = {"uri": "file:///a", "text": "some", "mimeType": "text/plain"}
        blocks = [
            {"type": "text", "text": "say seen"},
            {"type": "image", **picture},
            {"type": "audio", **picture},
            {"type": "resource_link", "uri": "file:///a", "name": "a"},
            {"type": "resource", "resource": resource},
        ]
        await _granting(host, session, blocks)
        assert (await host.post(f"/session/{session}/mode", {"modeId": "auto"})).status == 200
        assert (await host.post(f"/session/{session}/mode", {"modeId": "none"})).status == 400
        speed = {"configId": "speed", "value": "normal"}
        assert (await host.post(f"/session/{session}/config", speed)).status == 200
        async with host.events(f"/events/{session}") as events:
            await host.begin(session, "think before\nslow 600")
            await events.until("session_update")
            await host.post(f"/session/{session}/cancel")
            await events.until("session_end_turn")
        await host.post("/agents/demo/stop")
        assert (await host.post(f"/session/{session}/load", {"replay": True})).status == 200
    optional = {"authenticate", "session/resume", "session/close", "terminal/kill"}
    assert tape.check() == (FROM_HOST.keys() | FROM_AGENT.keys()) - optional


async def test_host_speaks_acp_with_an_agent_that_can_do_more(open_host: OpenHost, tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    script = {
        "initialize": {
            "protocolVersion": 1,
            "agentCapabilities": {"sessionCapabilities": {"resume": {}, "close": {}}},
            "authMethods": [{"id": "key", "name": "Key"}],
        },
        "authenticate": {},
        "session/resume": {},
        "session/close": {},
    }
    server = {"name": "files", "command": "/bin/files", "args": ["-v"], "env": [{"name": "A", "value": "b"}]}
    web = {"type": "http", "name": "web", "url": "http://127.0.0.1/", "headers": [{"name": "A", "value": "b"}]}
    credential = {
        "owner": "alice",
        "version": 1,
        "env": {"KEY": "k3y-of-alice"},
        "unset": [],
        "files": [],
        "authenticate": {"methodId": "key", "meta": {"how": "so"}},
    }
    async with open_host(tape.around(scripted("more", script=script))) as host:
        session = await host.session("more", mcpServers=[server, web], credential=credential)
        terminal = await host.answer_of(session, "terminal/create", {"command": "sleep 600"})
        for method in ("terminal/output", "terminal/kill", "terminal/wait_for_exit", "terminal/release"):
            assert "error" not in await host.answer_of(session, method, terminal)
        assert "error" in await host.answer_of(session, "terminal/output", terminal)
        await host.post("/agents/more/stop")
        await host.run(session, ["sleep", 0])
        await host.delete(f"/session/{session}")
    assert tape.check() >= {"authenticate", "session/resume", "session/close", "terminal/kill"}
