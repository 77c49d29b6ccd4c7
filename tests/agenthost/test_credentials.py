"""Credentials of owners: whose process has which, how they are renewed and taken back, and that none is told."""

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import Host, alive, chunk, scripted, text_in, until
from tests.agenthost.processes import environment_of, pid_of
from tests.fakes.eventually import eventually

LOADS = {"initialize": {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}, "load": {}}
KEY = "sk-0123456789abcdef-of-ann"


def credential(owner: str = "ann", version: int = 1, **members: Any) -> dict[str, Any]:
    return {"owner": owner, "version": version, "env": {"A_KEY": f"key-{version}-of-{owner}"}, **members}


async def environment_in(host: Host, session: str) -> dict[str, str]:
    return environment_of(await pid_of(host, session))


async def test_owners_never_share_a_process(host: Host) -> None:
    ann, ann_again = [await host.session(credential=credential("ann")) for _ in range(2)]
    bob = await host.session(credential=credential("bob"))
    nobody = await host.session()
    pids = [await pid_of(host, session) for session in (ann, ann_again, bob, nobody)]
    assert pids[0] == pids[1]
    assert len(set(pids)) == 3
    keys = [environment_of(pid).get("A_KEY") for pid in pids]
    assert keys == ["key-1-of-ann", "key-1-of-ann", "key-1-of-bob", None]


async def test_owners_that_come_at_once_get_a_process_each(host: Host) -> None:
    owners = ["ann", "bob", "cid"] * 3
    sessions = await asyncio.gather(*(host.session(credential=credential(owner)) for owner in owners))
    keys = [(await environment_in(host, session))["A_KEY"] for session in sessions]
    assert keys == [f"key-1-of-{owner}" for owner in owners]
    assert len({await pid_of(host, session) for session in sessions}) == 3


async def test_session_with_env_and_a_credential_has_a_process_of_its_own_with_both(host: Host) -> None:
    shared = await host.session(credential=credential())
    own = await host.session(env={"B": "2"}, credential=credential())
    env = await environment_in(host, own)
    assert (env["A_KEY"], env["B"]) == ("key-1-of-ann", "2")
    assert await pid_of(host, own) != await pid_of(host, shared)
    await host.post("/agents/scripted/credential", credential(version=2))
    await host.run(own, chunk("x"))
    assert (await environment_in(host, own))["A_KEY"] == "key-2-of-ann"


async def test_unset_takes_a_variable_away_wherever_it_comes_from(open_host: OpenHost) -> None:
    spec = scripted("keyed", credentials=("A_KEY", "B_TOKEN"), env={"B_TOKEN": "the operator's", "C": "catalogue"})
    async with open_host(spec, environment={"XDG_KEY": "inherited"}) as host:
        given = credential(unset=["B_TOKEN", "C", "XDG_KEY", "D"])
        env = await environment_in(host, await host.session("keyed", env={"D": "request", "E": "e"}, credential=given))
        assert env["A_KEY"] == "key-1-of-ann"
        assert env["E"] == "e"
        assert not env.keys() & {"B_TOKEN", "C", "XDG_KEY", "D"}


async def test_spawn_starts_the_owner_s_process_that_sessions_then_use(host: Host) -> None:
    assert (await host.post("/agents/scripted/spawn", {"credential": credential()})).status == 200
    session = await host.session(credential=credential())
    assert (await environment_in(host, session))["A_KEY"] == "key-1-of-ann"
    started = [one for one in await host.everything() if one.data.get("status") == "starting"]
    assert len(started) == 1


async def test_files_stand_outside_the_workspace_for_nobody_else_and_go_with_the_process(open_host: OpenHost) -> None:
    files = [
        {"variable": "AGENT_HOME", "path": "auth.json", "content": json.dumps({"access_token": KEY})},
        {"variable": "AGENT_HOME", "path": "conf/config.toml", "content": "store = 1", "mode": "0400"},
    ]
    async with open_host() as host:
        session = await host.session(credential=credential(files=files))
        home = Path((await environment_in(host, session))["AGENT_HOME"])
        assert not home.is_relative_to(host.workspace)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (home.parent.parent, home.parent, home)] == [0o700] * 3
        assert json.loads((home / "auth.json").read_text()) == {"access_token": KEY}
        modes = [stat.S_IMODE((home / name).stat().st_mode) for name in ("auth.json", "conf/config.toml")]
        assert modes == [0o600, 0o400]
        (home / "sessions.db").write_text("the agent's own")
        await host.post("/agents/scripted/stop")
        assert not (home / "auth.json").exists()
        assert not (home / "conf/config.toml").exists()
        await host.run(session, chunk("x"))
        assert (home / "auth.json").exists()
        assert (home / "sessions.db").read_text() == "the agent's own"
    assert not (home / "auth.json").exists()


async def test_two_owners_files_are_apart(host: Host) -> None:
    homes = []
    for owner in ("ann", "bob"):
        files = [{"variable": "AGENT_HOME", "path": "auth", "content": f"token of {owner}"}]
        session = await host.session(credential=credential(owner, files=files))
        homes.append(Path((await environment_in(host, session))["AGENT_HOME"]))
    assert [(home / "auth").read_text() for home in homes] == ["token of ann", "token of bob"]


async def test_files_of_a_host_that_was_killed_are_cleared_away_by_the_next(open_host: OpenHost) -> None:
    files = [{"variable": "AGENT_HOME", "path": "auth", "content": "token"}]
    async with open_host() as host:
        session = await host.session(credential=credential(files=files))
        home = Path((await environment_in(host, session))["AGENT_HOME"])
        left = (home.parent / ".written").read_bytes()
    home.mkdir(exist_ok=True)  # noqa: ASYNC240 - one small directory
    (home / "auth").write_text("token")
    (home.parent / ".written").write_bytes(left)
    async with open_host():
        assert not (home / "auth").exists()


async def test_renewal_replaces_an_idle_process_at_once_and_its_session_is_taken_up(open_host: OpenHost) -> None:
    async with open_host(scripted("loader", script=LOADS)) as host:
        session = await host.session("loader", credential=credential())
        before = await pid_of(host, session)
        renewed = await host.post("/agents/loader/credential", credential(version=2))
        assert renewed.body == {"owner": "ann", "version": 2, "process": "replaced"}
        assert not alive(before)
        async with host.events() as events:
            await host.begin(session, chunk("again"))
            told = await events.until("session_end_turn")
        restored = [one.data for one in told if one.type == "session_restored"]
        assert [(one["how"], one["reason"]) for one in restored] == [("load", "credential_renewed")]
        assert text_in(told) == "again"


async def test_renewal_lets_a_turn_end_on_the_old_process(host: Host) -> None:
    session, other = [await host.session(credential=credential()) for _ in range(2)]
    pid = await pid_of(host, session)
    async with host.events() as events:
        await host.begin(session, ["until-cancel"])
        renewed = await host.post("/agents/scripted/credential", credential(version=2))
        assert renewed.body["process"] == "after_turn"
        # Another session need not wait for that turn: it gets a process with the new one.
        await host.run(other, chunk("x"))
        assert (await environment_in(host, other))["A_KEY"] == "key-2-of-ann"
        assert alive(pid)
        await host.post(f"/session/{session}/cancel")
        told = await events.until("session_end_turn", lambda one: one.data.get("stopReason") == "cancelled")
    assert told[-1].envelope["sessionId"] == session
    await eventually(lambda: not alive(pid))
    await host.run(session, chunk("x"))
    assert await pid_of(host, session) == await pid_of(host, other)


async def test_renewal_is_of_its_owner_alone(host: Host) -> None:
    ann, bob = [await host.session(credential=credential(owner)) for owner in ("ann", "bob")]
    nobody = await host.session()
    before = [await pid_of(host, session) for session in (bob, nobody)]
    await host.post("/agents/scripted/credential", credential("ann", version=2))
    for session in (ann, bob, nobody):
        await host.run(session, chunk("x"))
    assert [await pid_of(host, session) for session in (bob, nobody)] == before


async def test_older_credential_never_takes_a_newer_one_s_place(host: Host) -> None:
    session = await host.session(credential=credential(version=3))
    pid = await pid_of(host, session)
    late = await host.post("/agents/scripted/credential", credential(version=2))
    assert late.body["process"] == "known"
    second = await host.session(credential=credential(version=1))
    assert await pid_of(host, second) == pid
    assert (await environment_in(host, second))["A_KEY"] == "key-3-of-ann"


async def test_credential_that_comes_before_any_process_is_kept_for_it(host: Host) -> None:
    kept = await host.post("/agents/scripted/credential", credential(version=2))
    assert kept.body["process"] == "kept"
    session = await host.session(credential=credential(version=1))
    assert (await environment_in(host, session))["A_KEY"] == "key-2-of-ann"


async def test_credential_that_is_taken_back_ends_its_processes_and_turns(host: Host) -> None:
    session, bob = [await host.session(credential=credential(owner)) for owner in ("ann", "bob")]
    pid, bobs = [await pid_of(host, one) for one in (session, bob)]
    async with host.events() as events:
        await host.begin(session, ["until-cancel"])
        taken = await host.delete("/agents/scripted/credential/ann")
        assert taken.body == {"owner": "ann", "withdrawn": True}
        assert not alive(pid)
        assert alive(bobs)
        told = await events.until("session_end_turn")
        assert told[-1].data["error"]["code"] == "agent_stopped"
        await host.begin(session, chunk("x"))
        told = await events.until("session_end_turn")
    assert told[-1].data["error"]["code"] == "auth_required"
    assert [one.data["owner"] for one in told if one.type == "auth_required"] == ["ann"]
    again = await host.delete("/agents/scripted/credential/ann")
    assert again.body["withdrawn"] is False


async def test_one_owner_s_refused_credential_is_no_matter_of_the_others(open_host: OpenHost) -> None:
    refuses = {"new": {"error": {"code": -32000, "message": f"Bad key {KEY}"}}}
    async with open_host(scripted("refusing", script=refuses)) as host:
        async with host.events() as events:
            answer = await host.post("/session", {"agentId": "refusing", "credential": credential(env={"A_KEY": KEY})})
            assert answer.status == 403
            assert answer.body["code"] == "auth_required"
            assert KEY not in json.dumps(answer.body)
            told = await events.until("auth_required")
        assert told[-1].data["owner"] == "ann"
        assert (await host.get("/agents/refusing/status")).body["status"] != "auth_required"


async def test_session_of_an_owner_is_loaded_by_that_owner_alone(host: Host) -> None:
    session = await host.session(credential=credential("ann"))
    answer = await host.post(f"/session/{session}/load", {"credential": credential("bob")})
    assert answer.status == 409


async def test_session_from_before_the_start_is_loaded_with_its_owner_s_credential(open_host: OpenHost) -> None:
    async with open_host(scripted("loader", script=LOADS)) as host:
        place = {"agentId": "loader", "acpSessionId": f"acp-{os.getpid()}-1", "credential": credential()}
        loaded = await host.post("/session/from-before/load", place)
        assert loaded.status == 200
        own = await host.session("loader", credential=credential())
        assert (await environment_in(host, own))["A_KEY"] == "key-1-of-ann"
        started = [one for one in await host.everything() if one.data.get("status") == "starting"]
        assert len(started) == 1


async def test_authenticate_is_called_with_the_credential_s_method_and_meta(
    open_host: OpenHost, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    offers = {"protocolVersion": 1, "agentCapabilities": {}, "authMethods": [{"id": "api-key"}, {"id": "other"}]}
    script = {"initialize": offers, "authenticate": {}, "log": str(log)}
    async with open_host(scripted("asks", script=script)) as host:
        call = {"methodId": "api-key", "meta": {"api-key": {"apiKey": KEY}}}
        session = await host.session("asks", credential=credential(authenticate=call))
        await host.run(session, chunk(f"my key is {KEY}!"))
        messages = [json.loads(line) for line in log.read_text().splitlines()]
        called = [one["params"] for one in messages if one.get("method") == "authenticate"]
        assert called == [{"methodId": "api-key", "_meta": {"api-key": {"apiKey": KEY}}}]
        assert text_in(await host.everything()) == "my key is ***!"


async def test_secret_is_masked_wherever_the_agent_tells_it(open_host: OpenHost) -> None:
    tool = {"sessionUpdate": "tool_call_update", "toolCallId": "t", "rawOutput": {"stdout": f"A_KEY={KEY}\n"}}
    options = [{"optionId": "no", "name": "No", "kind": "reject_once"}]
    ask = {"toolCall": {"toolCallId": "t", "title": f"curl -H 'x-api-key: {KEY}'"}, "options": options}
    async with open_host(permission_timeout=0.1) as host:
        session = await host.session(credential=credential(env={"A_KEY": KEY}))
        await host.run(
            session,
            chunk(KEY[:5]),
            chunk(KEY[5:]),
            ["update", tool],
            ["raw", json.dumps({"jsonrpc": "2.0", "method": "_x", "params": {"key": KEY}}) + "\n"],
            ["call", "session/request_permission", ask],
            ["answer", {"stopReason": "end_turn", "_meta": {"env": KEY}}],
        )
        failed = await host.run(session, ["error", {"code": -32603, "message": f"401: {KEY}"}])
        told = await host.everything()
        assert KEY not in json.dumps([one.envelope for one in told])
        assert KEY not in json.dumps(failed.body)
        assert text_in(told).startswith("sk-01***")


async def test_environment_that_an_agent_prints_is_masked(open_host: OpenHost) -> None:
    async with open_host() as host:
        session = await host.session(credential=credential(env={"A_KEY": KEY}))
        await host.run(session, ["environment"])
        said = text_in(await host.everything())
    assert '"A_KEY": "***"' in said
    assert KEY not in said


async def test_commands_that_the_agent_has_run_do_not_find_the_credential(host: Host) -> None:
    given = credential(env={"A_KEY": KEY, "REGION": "eu"})
    session = await host.session(credential=given)
    command = {"command": "sh", "args": ["-c", 'echo "$A_KEY-$REGION"']}
    made = await host.answer_of(session, "terminal/create", command)

    async def output() -> str:
        said = await host.answer_of(session, "terminal/output", {"terminalId": made["terminalId"]})
        return str(said["output"])

    assert await until(output) == "-eu\n"


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"owner": ""}, "$.credential.owner"),
        ({"owner": "a/b"}, "$.credential.owner"),
        ({"version": -1}, "$.credential.version"),
        ({"version": "1"}, "$.credential.version"),
        ({"env": {"A B": "x"}}, "$.credential.env"),
        ({"env": {"A": "x\0"}}, "$.credential.env.A"),
        ({"unset": ["A=B"]}, "$.credential.unset"),
        ({"files": [{"variable": "H", "path": "../x", "content": ""}]}, "$.credential.files[0].path"),
        ({"files": [{"variable": "H", "path": "/etc/x", "content": ""}]}, "$.credential.files[0].path"),
        ({"files": [{"variable": "H", "path": "x", "content": "", "mode": "0644"}]}, "$.credential.files[0].mode"),
        ({"files": [{"variable": "1", "path": "x", "content": ""}]}, "$.credential.files[0].variable"),
        ({"authenticate": {"meta": {}}}, "$.credential.authenticate.methodId"),
        ({"more": 1}, "$.credential.more"),
    ],
)
async def test_credential_that_cannot_be_given_is_refused_with_its_place(
    host: Host, members: dict[str, Any], place: str
) -> None:
    answer = await host.post("/session", {"agentId": "scripted", "credential": {**credential(), **members}})
    assert answer.status == 400
    assert answer.body["error"].startswith(f"{place}: ")
    assert (await host.get("/agents/scripted/status")).body["status"] == "stopped"
