"""Commands that an agent has the host run."""

from typing import Any

import pytest

from gateway.agenthost import terminals
from gateway.agenthost.terminals import Output
from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import Host, alive, scripted, text_in, until
from tests.fakes.eventually import eventually


class Shell:
    """An agent's terminal calls, each in a turn of its own."""

    def __init__(self, host: Host, session: str) -> None:
        self._host = host
        self._session = session
        self.id = ""

    async def call(self, method: str, **params: Any) -> Any:
        return await self._host.answer_of(self._session, f"terminal/{method}", {"terminalId": self.id, **params})

    async def create(self, command: str, *args: str, **params: Any) -> None:
        answer = await self.call("create", command=command, args=list(args), **params)
        self.id = answer["terminalId"]

    async def finish(self) -> tuple[str, Any]:
        """The output and the exit status of the command."""
        status = await self.call("wait_for_exit")
        output = await self.call("output")
        assert output["exitStatus"] == status
        return output["output"], status

    async def begun(self) -> Any:
        """The first output of a command that goes on."""

        async def some() -> Any:
            output = await self.call("output")
            return output if output["output"] else None

        return await until(some)


async def open_shell(host: Host, agent: str = "scripted", **members: Any) -> Shell:
    return Shell(host, await host.session(agent, **members))


async def test_both_outputs_and_the_exit_status_are_told(host: Host) -> None:
    shell = await open_shell(host)
    await shell.create("sh", "-c", "echo out; echo err >&2; exit 3")
    assert await shell.finish() == ("out\nerr\n", {"exitCode": 3, "signal": None})


async def test_a_signal_without_a_name_is_told_by_its_number(host: Host) -> None:
    shell = await open_shell(host)
    await shell.create("sh", "-c", "echo before; kill -40 $$")
    assert await shell.finish() == ("before\n", {"exitCode": None, "signal": "SIG40"})


async def test_command_line_without_arguments_is_for_the_shell(host: Host) -> None:
    shell = await open_shell(host)
    await shell.create("echo one && echo two")
    assert (await shell.finish())[0] == "one\ntwo\n"


async def test_output_can_be_read_while_the_command_runs(host: Host) -> None:
    shell = await open_shell(host)
    await shell.create("sh", "-c", "echo begun; sleep 600")
    assert await shell.begun() == {"output": "begun\n", "truncated": False}


async def test_killed_command_keeps_its_output_until_it_is_released(host: Host) -> None:
    shell = await open_shell(host)
    await shell.create("sh", "-c", "echo begun; exec sleep 600")
    await shell.begun()
    assert await shell.call("kill") == {}
    assert await shell.finish() == ("begun\n", {"exitCode": None, "signal": "SIGKILL"})
    assert await shell.call("release") == {}
    assert (await shell.call("output"))["error"]["code"] == -32002


async def test_release_ends_the_command_and_what_it_has_started(host: Host) -> None:
    shell = await open_shell(host)
    pids = host.workspace / "pids"
    await shell.create("sh", "-c", f"sleep 600 & echo $! > {pids}; setsid sleep 600 & echo $! >> {pids}; wait")
    await eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    running = [int(pid) for pid in pids.read_text().split()]
    await shell.call("release")
    await eventually(lambda: not any(alive(pid) for pid in running))


async def test_output_is_cut_from_the_beginning(host: Host) -> None:
    shell = await open_shell(host)
    await shell.create("sh", "-c", "seq 1 1000", outputByteLimit=9)
    await shell.call("wait_for_exit")
    assert (await shell.call("output"))["output"] == "999\n1000\n"
    assert (await shell.call("output"))["truncated"]


async def test_output_of_all_commands_together_is_bounded_and_the_oldest_is_cut_first(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminals, "KEPT_TOGETHER", 10)
    shell = await open_shell(host)
    await shell.create("sh", "-c", "printf running; exec sleep 600")
    await shell.begun()
    running = shell.id
    for text in ("a", "bc", "def"):
        await shell.create("printf", text)
        await shell.call("wait_for_exit")
        said = await shell.call("output")
        assert (said["output"], said["truncated"]) == (text, False)
    await shell.create("printf", "ghijk")
    await shell.call("wait_for_exit")
    assert (await shell.call("output"))["output"] == "ghijk"
    # What has ended makes room first.
    assert await shell.call("output", terminalId=running) == {"output": "nning", "truncated": True}
    told = [one.data["text"] for one in await host.everything() if one.type == "terminal_output"]
    assert told == ["running", "a", "bc", "def", "ghijk"]


def test_output_is_cut_between_characters() -> None:
    output = Output(4)
    output.add("a☃b☃".encode())
    assert output.text(final=True) == "b☃"
    assert output.dropped == 4


def test_character_that_has_come_in_part_is_left_for_later() -> None:
    output = Output(100)
    snowman = "☃".encode()
    output.add(b"a" + snowman[:1])
    assert output.text(final=False) == "a"
    output.add(snowman[1:])
    assert output.text(final=False) == "a☃"


async def test_directory_is_the_session_s_and_stays_inside_the_workspace(host: Host) -> None:
    (host.workspace / "inner").mkdir()
    shell = await open_shell(host, workingDirectory="inner")
    await shell.create("pwd")
    assert (await shell.finish())[0] == f"{host.workspace.resolve()}/inner\n"
    await shell.create("pwd", cwd=str(host.workspace))
    assert (await shell.finish())[0] == f"{host.workspace.resolve()}\n"
    refused = await shell.call("create", command="pwd", cwd="/")
    assert "outside the workspace" in refused["error"]["message"]


async def test_command_gets_its_own_variables_and_not_the_agent_s_credentials(open_host: OpenHost) -> None:
    spec = scripted("keyed", credentials=("KEYED_TOKEN",))
    async with open_host(spec) as host:
        shell = await open_shell(host, "keyed", env={"KEYED_TOKEN": "secret-value", "OTHER": "kept"})
        await shell.create("sh", "-c", "echo [$KEYED_TOKEN] $OTHER $MINE", env=[{"name": "MINE", "value": "given"}])
        assert (await shell.finish())[0] == "[] kept given\n"


async def test_program_that_does_not_exist_ends_with_127(host: Host) -> None:
    shell = await open_shell(host)
    await shell.create("no-such-program", "argument")
    output, status = await shell.finish()
    assert (output, status["exitCode"]) == ("no-such-program: No such file or directory\n", 127)


async def test_terminals_end_with_their_agent(host: Host) -> None:
    shell = await open_shell(host)
    pid = host.workspace / "pid"
    await shell.create("sh", "-c", f"echo $$ > {pid}; exec sleep 600")
    await eventually(lambda: pid.exists() and pid.read_text().strip())
    await host.post("/agents/scripted/stop")
    await eventually(lambda: not alive(int(pid.read_text())))


async def test_slot_is_free_when_its_command_has_ended_and_the_output_is_told(host: Host) -> None:
    shell = await open_shell(host)
    # More than may run at a time, and than are remembered once they have ended.
    for number in range(140):
        await shell.create("echo", str(number))
        await shell.call("wait_for_exit")
    assert (await shell.finish())[0] == "139\n"
    told = [one.data["text"] for one in await host.everything() if one.type == "terminal_output"]
    assert told == [f"{number}\n" for number in range(140)]


async def test_no_more_than_some_commands_run_at_a_time(host: Host) -> None:
    session = await host.session()
    wait = ["call", "terminal/create", {"command": "sleep", "args": ["600"]}]
    async with host.events() as events:
        await host.begin(session, *[wait] * 65)
        said = text_in(await events.until("session_end_turn"))
    assert said.count("terminalId") == 64
    assert "64 commands run already" in said


@pytest.mark.parametrize("cut", [1, 4, 12, 25])
async def test_secret_is_masked_that_is_written_in_two_pieces(open_host: OpenHost, cut: int) -> None:
    secret = "sk-secret-0123456789abcdef"
    spec = scripted("keyed", credentials=("A_KEY",), env={"A_KEY": secret})
    async with open_host(spec, environment={"A_KEY": secret}) as host:
        shell = await open_shell(host, "keyed")
        script = f"printf 'key {secret[:cut]}'; sleep 0.3; echo '{secret[cut:]} end'"
        await shell.create("sh", "-c", script)
        await shell.call("wait_for_exit")
        told = [one.data["text"] for one in await host.everything() if one.type == "terminal_output"]
    output = "".join(told)
    assert output.startswith("key ")
    assert output.endswith(" end\n")
    assert all(secret[start : start + 12] not in output for start in range(len(secret) - 12))


async def test_secret_at_the_cut_of_a_long_output_is_not_told(open_host: OpenHost) -> None:
    secret = "sk-secret-0123456789abcdef"
    spec = scripted("keyed", credentials=("A_KEY",), env={"A_KEY": secret})
    async with open_host(spec, environment={"A_KEY": secret}) as host:
        shell = await open_shell(host, "keyed")
        for rest in range(64 * 1024 - 30, 64 * 1024, 5):
            await shell.create("sh", "-c", f"head -c 600000 /dev/zero; printf {secret}; head -c {rest} /dev/zero")
            await shell.call("wait_for_exit")
        told = [one.data["text"] for one in await host.everything() if one.type == "terminal_output"]
    assert all(secret[start : start + 9] not in text for text in told for start in range(len(secret) - 9))


async def test_malformed_call_is_an_error(host: Host) -> None:
    shell = await open_shell(host)
    for params in ({}, {"command": 5}, {"command": "x", "args": "y"}, {"command": "x", "env": 5}):
        assert (await shell.call("create", **params))["error"]["code"] == -32602
    assert (await shell.call("output", terminalId="unknown"))["error"]["code"] == -32002
