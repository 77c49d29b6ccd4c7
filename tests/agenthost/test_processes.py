"""Agents' processes: what they are given, how they end, and that nothing of them is left."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import SCRIPTED, Answer, Host, alive, chunk, scripted, text_in, until
from tests.agenthost.processes import environment_of, pid_of
from tests.fakes.eventually import eventually


async def test_agent_finds_a_scrubbed_environment(open_host: OpenHost) -> None:
    host_environment = {
        "LANG": "C.UTF-8",
        "LC_TIME": "C",
        "XDG_CACHE_HOME": "/cache",
        "TMPDIR": "/tmp",
        "ACP_HOST_TOKEN": "the host's",
        "ACP_GATEWAY_MASTER_KEY": "the gateway's",
        "ANTHROPIC_API_KEY": "the container's",
        "AWS_SECRET_ACCESS_KEY": "the cloud's",
        "BASH_FUNC_x%%": "() { echo; }",
    }
    async with open_host(scripted("agent", env={"FROM_CATALOGUE": "1"}), environment=host_environment) as host:
        session = await host.session("agent", env={"FROM_REQUEST": "2"})
        env = environment_of(await pid_of(host, session))
    assert env.keys() == {
        *("PATH", "HOME", "LANG", "LC_TIME", "XDG_CACHE_HOME", "TMPDIR", "SCRIPT"),
        *("FROM_CATALOGUE", "FROM_REQUEST"),
    }


async def test_given_credential_unsets_the_agent_s_other_ones(open_host: OpenHost) -> None:
    spec = scripted("keyed", credentials=("A_KEY", "B_TOKEN"), env={"A_KEY": "the operator's", "PLAIN": "x"})
    async with open_host(spec) as host:
        env = environment_of(await pid_of(host, await host.session("keyed", env={"B_TOKEN": "the user's"})))
        assert (env.get("A_KEY"), env["B_TOKEN"], env["PLAIN"]) == (None, "the user's", "x")
        env = environment_of(await pid_of(host, await host.session("keyed")))
        assert (env["A_KEY"], env.get("B_TOKEN")) == ("the operator's", None)


async def test_sessions_share_a_process_and_one_with_env_has_its_own(host: Host) -> None:
    first, second = await host.session(), await host.session()
    own = await host.session(env={"A": "1"})
    assert await pid_of(host, first) == await pid_of(host, second)
    own_pid = await pid_of(host, own)
    assert own_pid != await pid_of(host, first)
    await host.delete(f"/session/{own}")
    await eventually(lambda: not alive(own_pid))
    assert alive(await pid_of(host, first))


async def test_spawn_s_environment_is_the_shared_process_s(host: Host) -> None:
    await host.post("/agents/scripted/spawn", {"env": {"A": "1"}})
    session = await host.session()
    pid = await pid_of(host, session)
    assert environment_of(pid)["A"] == "1"
    await host.post("/agents/scripted/spawn", {"env": {"A": "1"}})
    assert alive(pid)
    await host.post("/agents/scripted/spawn", {"env": {"A": "2"}})
    assert not alive(pid)
    await host.run(session, chunk("again"))
    assert environment_of(await pid_of(host, session))["A"] == "2"


async def test_process_that_runs_a_turn_is_not_replaced(host: Host) -> None:
    session = await host.session()
    await host.begin(session, ["until-cancel"])
    assert (await host.post("/agents/scripted/spawn", {"env": {"A": "1"}})).status == 409


async def test_agents_spawned_at_once_share_one_process(host: Host) -> None:
    sessions = await asyncio.gather(*(host.session() for _ in range(5)))
    assert len({await pid_of(host, session) for session in sessions}) == 1


async def test_token_is_in_the_process_that_follows(open_host: OpenHost) -> None:
    async with open_host(scripted("keyed", credentials=("A_KEY", "B_TOKEN"))) as host:
        session = await host.session("keyed")
        await host.post("/agents/keyed/auth/token", {"token": "secret-value"})
        await host.run(session, chunk("x"))
        assert environment_of(await pid_of(host, session))["A_KEY"] == "secret-value"
        own = await host.session("keyed", env={"B_TOKEN": "other"})
        assert "A_KEY" not in environment_of(await pid_of(host, own))


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (["exit", 3], "scripted: ended with exit status 3"),
        (["exit", 0], "scripted: ended with exit status 0"),
        (["kill", signal.SIGKILL], "scripted: was killed by signal 9"),
        (["kill", signal.SIGSEGV], "scripted: was killed by signal 11"),
        (["close"], "scripted: ended with exit status 0"),
    ],
)
async def test_agent_that_dies_ends_its_turn_with_the_reason(host: Host, step: list[Any], told: str) -> None:
    session = await host.session()
    async with host.events() as events:
        turn = await host.begin(session, chunk("last word"), step)
        seen = await events.until("session_end_turn")
    assert text_in(seen) == "last word"
    assert [(one.data["status"], one.data["error"]) for one in seen if one.type == "agent_status"] == [("error", told)]
    assert seen[-1].data == {"turnId": turn, "error": {"code": "agent_died", "message": told}}
    assert (await host.get("/agents/scripted/status")).body["status"] == "error"
    assert (await host.get(f"/session/{session}")).body["status"] == "error"


async def test_last_words_of_a_dead_agent_are_told_without_its_secrets(open_host: OpenHost) -> None:
    async with open_host(scripted("keyed", credentials=("KEYED",))) as host:
        session = await host.session("keyed", env={"KEYED": "sk-12345678", "OTHER_SECRET": "hush-hush"})
        answer = await host.run(session, ["stderr", "x" * 100_000 + "bad key sk-12345678, hush-hush\n"], ["exit", 1])
    assert answer.body["error"].endswith("xbad key ***, ***")
    assert len(answer.body["error"]) < 10_000


async def test_secret_that_is_cut_where_the_last_words_begin_is_not_told(open_host: OpenHost) -> None:
    secret = "0123456789abcdef" * 4
    async with open_host(scripted("keyed", credentials=("KEYED",))) as host:
        session = await host.session("keyed", env={"KEYED": secret})
        answer = await host.run(session, ["stderr", "x" * 9000 + secret + "y" * (8 * 1024 - 40)], ["exit", 1])
    assert "cdef" not in answer.body["error"]


async def test_texts_of_a_credential_that_is_json_are_secrets_too(open_host: OpenHost) -> None:
    document = json.dumps({"github": {"type": "oauth", "access": "gho_0123456789abcdef"}})
    async with open_host(scripted("keyed", credentials=("KEYED",))) as host:
        session = await host.session("keyed", env={"KEYED": document})
        answer = await host.run(session, ["stderr", "oauth: no such token gho_0123456789abcdef"], ["exit", 1])
    assert answer.body["error"].endswith("oauth: no such token ***")


async def test_session_deleted_while_it_moves_leaves_no_process(open_host: OpenHost) -> None:
    async with open_host(scripted("slow", script={"before_new": [["sleep", 0.2]]})) as host:
        session = await host.session("slow", env={"A": "1"})
        await host.run(session, ["exit", 1])
        moving = asyncio.create_task(host.post(f"/session/{session}/mode", {"modeId": "x"}))
        await until(lambda: has_status(host, "running", "slow"))
        await host.delete(f"/session/{session}")
        await moving
        assert (await host.get("/info")).body["runningAgents"] == 0


async def test_agent_that_dies_at_start_is_told_with_its_last_words(open_host: OpenHost) -> None:
    script = {"exit": 2, "stderr": "no longer maintained, use something else\n"}
    async with open_host(scripted("tombstone", script=script)) as host:
        for path, body in (("/agents/tombstone/spawn", {}), ("/session", {"agentId": "tombstone"})):
            answer = await host.post(path, body)
            assert answer.status == 502
            assert answer.body["error"] == (
                "tombstone: ended with exit status 2; its last words: no longer maintained, use something else"
            )
        assert (await host.get("/agents/tombstone/status")).body["status"] == "error"


async def test_agent_that_does_not_answer_at_start_is_ended(open_host: OpenHost) -> None:
    async with open_host(scripted("mute", script={"hang": "initialize"}), start_timeout=0.3) as host:
        answer = await host.post("/session", {"agentId": "mute"})
        assert (answer.status, answer.body["code"]) == (504, "agent_timeout")
        assert (await host.get("/info")).body["runningAgents"] == 0


async def test_agent_of_another_protocol_version_is_refused(open_host: OpenHost) -> None:
    async with open_host(scripted("future", script={"initialize": {"protocolVersion": 9}})) as host:
        answer = await host.post("/agents/future/spawn")
        assert "version 9 of ACP" in answer.body["error"]


async def test_session_of_a_dead_agent_begins_anew_with_its_next_prompt(host: Host) -> None:
    session = await host.session()
    before = await pid_of(host, session)
    await host.run(session, ["exit", 1])
    async with host.events() as events:
        await host.begin(session, chunk("back"))
        told = await events.until("session_end_turn")
    assert text_in(told) == "back"
    assert await pid_of(host, session) != before
    assert [one.data["how"] for one in told if one.type == "session_restored"] == ["new"]


async def test_session_of_a_dead_agent_is_loaded_where_the_agent_can_and_its_history_not_told_again(
    open_host: OpenHost,
) -> None:
    commands = ["update", {"sessionUpdate": "available_commands_update", "availableCommands": []}]
    script = {
        "initialize": {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}},
        "load": {},
        "before_load": [chunk("history"), commands],
    }
    async with open_host(scripted("keeper", script=script)) as host:
        session = await host.session("keeper")
        acp_id = (await host.get(f"/session/{session}")).body["acpSessionId"]
        await host.run(session, ["exit", 1])
        async with host.events() as events:
            await host.begin(session, chunk("back"))
            told = await events.until("session_end_turn")
        assert (await host.get(f"/session/{session}")).body["acpSessionId"] == acp_id
    assert text_in(told) == "back"
    assert [one.data["how"] for one in told if one.type == "session_restored"] == ["load"]
    kinds = [one.data["update"]["sessionUpdate"] for one in told if one.type == "session_update"]
    assert kinds == ["available_commands_update", "agent_message_chunk"]


async def test_session_is_resumed_where_the_agent_can_only_do_that(open_host: OpenHost) -> None:
    capabilities = {"sessionCapabilities": {"resume": {}, "close": {}}}
    script = {
        "initialize": {"protocolVersion": 1, "agentCapabilities": capabilities},
        "session/resume": {},
        "session/close": {},
    }
    async with open_host(scripted("keeper", script=script)) as host:
        session = await host.session("keeper")
        await host.run(session, ["exit", 1])
        async with host.events() as events:
            await host.begin(session, chunk("back"))
            told = await events.until("session_end_turn")
        assert (await host.delete(f"/session/{session}")).status == 200
    assert [one.data["how"] for one in told if one.type == "session_restored"] == ["resume"]


async def test_session_that_cannot_be_loaded_begins_anew(open_host: OpenHost) -> None:
    script = {
        "initialize": {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}},
        "load": {"error": {"code": -32603, "message": "lost"}},
    }
    async with open_host(scripted("loser", script=script)) as host:
        session = await host.session("loser")
        await host.run(session, ["exit", 1])
        async with host.events() as events:
            await host.begin(session, chunk("back"))
            told = await events.until("session_end_turn")
    assert text_in(told) == "back"
    assert [one.data["how"] for one in told if one.type == "session_restored"] == ["new"]


async def test_turn_whose_agent_cannot_be_started_again_fails(open_host: OpenHost, tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    program = tmp_path / "agent.sh"
    program.write_text(f"#!/bin/sh\ntest -e {flag} && exit 9\nexec {sys.executable} -I -S {SCRIPTED}\n")
    program.chmod(0o755)
    async with open_host(scripted("fragile", command=(str(program),))) as host:
        session = await host.session("fragile")
        await host.run(session, ["exit", 1])
        flag.touch()
        async with host.events() as events:
            await host.begin(session, chunk("x"))
            ended = (await events.until("session_end_turn"))[-1]
        assert ended.data["error"]["message"] == "fragile: ended with exit status 9"
        flag.unlink()
        assert (await host.run(session, chunk("x"))).status == 200


async def test_stopped_agent_s_turn_says_so_and_its_sessions_go_on(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, ["until-cancel"])
        await host.post("/agents/scripted/stop")
        ended = (await events.until("session_end_turn"))[-1]
    assert ended.data["error"] == {"code": "agent_stopped", "message": "scripted: stopped"}
    assert (await host.run(session, chunk("x"))).status == 200


@pytest.mark.parametrize("env", [{}, {"OF_ITS_OWN": "1"}])
async def test_an_agent_that_leaves_the_catalogue_ends_with_its_turn_and_is_not_started_again(
    open_host: OpenHost, env: dict[str, str]
) -> None:
    async with open_host(scripted("leaver"), scripted("stayer")) as host:
        session, stopped = await host.session("leaver", env=env), await host.session("stayer", env=env)
        pids = [await pid_of(host, one) for one in (session, stopped)]
        async with host.events() as events:
            await host.begin(session, ["until", str(host.workspace / "done")], chunk("said"))
            await host.begin(stopped, ["until-cancel"])
            host.learn({name: spec for name, spec in host.config.catalogue.items() if name not in ("leaver", "stayer")})
            assert await host.post("/agents/stayer/stop") == Answer(200, {"id": "stayer", "status": "stopped"})
            (host.workspace / "done").touch()
            told = await events.until("session_end_turn", lambda one: one.envelope["sessionId"] == session)
            assert text_in(told) == "said"
            again = await host.run(session, chunk("x"))
        assert again.body["data"]["error"]["code"] == "agent_not_found"
        for one in (session, stopped):
            assert (await host.delete(f"/session/{one}")).status == 200
        await eventually(lambda: not any(map(alive, pids)))


async def test_an_agent_that_has_left_the_catalogue_ends_with_the_host(open_host: OpenHost) -> None:
    async with open_host(scripted("leaver")) as host:
        session = await host.session("leaver")
        pid = await pid_of(host, session)
        await host.begin(session, ["until-cancel"])
        host.learn({})
        assert alive(pid)
    assert not alive(pid)


async def test_agent_that_ignores_every_request_to_leave_is_killed(open_host: OpenHost) -> None:
    async with open_host(scripted("deaf", script={"deaf": True}), stop_timeout=0.2) as host:
        pid = await pid_of(host, await host.session("deaf"))
        await host.post("/agents/deaf/stop")
        assert not alive(pid)


async def test_agent_that_leaves_at_the_end_of_input_is_not_signalled(open_host: OpenHost, tmp_path: Path) -> None:
    mark = tmp_path / "left"
    program = tmp_path / "agent.sh"
    program.write_text(f"#!/bin/sh\n{sys.executable} -I -S {SCRIPTED}\necho politely > {mark}\n")
    program.chmod(0o755)
    async with open_host(scripted("polite", command=(str(program),)), stop_timeout=10) as host:
        await host.session("polite")
        await host.post("/agents/polite/stop")
        assert mark.read_text() == "politely\n"


async def test_what_an_agent_has_detached_ends_with_it(host: Host) -> None:
    session = await host.session()
    file = host.workspace / "orphan"
    await host.run(session, ["orphan", str(file)])
    orphan = int(file.read_text())
    assert alive(orphan)
    await host.run(session, ["exit", 1])
    assert not alive(orphan)


async def test_all_agents_end_with_the_host(open_host: OpenHost) -> None:
    async with open_host() as host:
        sessions = [await host.session(), await host.session(env={"A": "1"})]
        pids = [await pid_of(host, session) for session in sessions]
        assert all(map(alive, pids))
    assert not any(map(alive, pids))


async def test_agents_of_a_host_that_is_killed_are_not_left_behind(tmp_path: Path) -> None:
    """Not even those that read neither their input nor their signals, nor what they have detached."""
    script = json.dumps({"deaf": True})
    program = f"""
import asyncio, sys
from aiohttp.test_utils import TestClient, TestServer
from pathlib import Path
from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.agenthost.catalogue import AgentSpec

async def main():
    spec = AgentSpec(id="deaf", name="deaf", requires_auth=False, env={{"SCRIPT": {script!r}}},
                     command=(sys.executable, "-I", "-S", {str(SCRIPTED)!r}))
    config = AgentHostConfig(workspace=Path({str(tmp_path)!r}), catalogue={{"deaf": spec}})
    client = TestClient(TestServer(build_app(config)))
    await client.start_server()
    made = await (await client.post("/session", json={{"agentId": "deaf"}})).json()
    prompt = '[["orphan", "{tmp_path}/orphan"]]'
    await client.post(f"/session/{{made['data']['id']}}/prompt", json={{"prompt": prompt}})
    print(made["data"]["acpSessionId"].split("-")[1], flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    host = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert host.stdout is not None
    agent = int(await asyncio.wait_for(host.stdout.readline(), 30))
    orphan = int((tmp_path / "orphan").read_text())
    assert alive(agent)
    assert alive(orphan)
    host.kill()
    await host.wait()
    await eventually(lambda: not alive(agent) and not alive(orphan))


async def test_guard_that_is_killed_takes_its_agent_with_it(host: Host) -> None:
    session = await host.session()
    pid = await pid_of(host, session)
    os.kill(_parent(pid), signal.SIGKILL)
    await eventually(lambda: not alive(pid))
    await until(lambda: has_status(host, "error"))
    assert (await host.run(session, chunk("x"))).status == 200


async def has_status(host: Host, status: str, agent: str = "scripted") -> bool:
    return bool((await host.get(f"/agents/{agent}/status")).body["status"] == status)


async def test_agent_is_in_a_process_group_of_its_own(host: Host) -> None:
    pid = await pid_of(host, await host.session())
    assert os.getpgid(pid) == pid
    assert os.getsid(pid) != os.getsid(0)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_session_from_before_the_host_is_resumed_where_the_agent_can_only_do_that(open_host: OpenHost) -> None:
    capabilities = {"sessionCapabilities": {"resume": {}}}
    script = {"initialize": {"protocolVersion": 1, "agentCapabilities": capabilities}, "session/resume": {}}
    body = {"agentId": "keeper", "acpSessionId": "from-before"}
    async with open_host(scripted("keeper", script=script)) as host:
        taken = await host.post("/session/mine/load", body)
        assert (taken.status, taken.body["how"], taken.body["acpSessionId"]) == (200, "resume", "from-before")
        async with host.events() as events:
            await host.begin("mine", chunk("back"))
            assert text_in(await events.until("session_end_turn")) == "back"


async def test_session_from_before_the_host_of_an_agent_that_can_neither_is_501(host: Host) -> None:
    body = {"agentId": "scripted", "acpSessionId": "from-before"}
    assert (await host.post("/session/mine/load", body)).status == 501
    assert (await host.get("/session/mine")).status == 404


async def test_session_that_is_taken_up_again_under_another_id_is_that_one_alone(open_host: OpenHost) -> None:
    """Its client died before it could remember the first id."""
    capabilities = {"sessionCapabilities": {"resume": {}}}
    script = {"initialize": {"protocolVersion": 1, "agentCapabilities": capabilities}, "session/resume": {}}
    body = {"agentId": "keeper", "acpSessionId": "from-before"}
    async with open_host(scripted("keeper", script=script)) as host:
        for name in ("first", "second"):
            assert (await host.post(f"/session/{name}/load", body)).status == 200
        assert (await host.get("/session/first")).status == 404
        async with host.events() as events:
            await host.begin("second", chunk("heard"), ["until-cancel"])
            told = await events.until("session_update")
            assert told[-1].envelope["sessionId"] == "second"
            assert (await host.post("/session/third/load", body)).status == 409
            await host.post("/session/second/cancel")
