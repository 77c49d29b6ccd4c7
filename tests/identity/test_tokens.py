"""API tokens: made on the command line, shown once, limited, expiring, revocable."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.config.schema import IdentityConfig
from tests.identity.conftest import Commands
from tests.identity.tokens import alter
from tests.program import Place, run_to_end
from tests.world import QUICK, Answer, Gateway, GatewayProcess

TOKENS = attrs.evolve(QUICK, identity=IdentityConfig(modes=("tokens",)))


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, TOKENS).run() as running:
        yield running


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["code"]


def bearing(gateway: Gateway, token: str) -> Gateway:
    return gateway.sending(Authorization=f"Bearer {token}")


async def test_a_token_is_its_user(gateway: Gateway, commands: Commands) -> None:
    made = commands.json("create", "--user", "alice", "--name", "laptop")
    assert made["token"].startswith("acpgw_")
    assert (made["userId"], made["name"], made["maxRole"], made["projects"]) == ("alice", "laptop", "admin", None)
    alice = bearing(gateway, made["token"])
    await alice.register("http://127.0.0.1:1")
    assert (await alice.call("GET", "/api/projects/demo")).json["ownerId"] == "alice"
    bob = bearing(gateway, commands.json("create", "--user", "bob")["token"])
    assert told(await bob.call("GET", "/api/projects/demo")) == (404, "project_not_found")


async def test_nothing_of_a_token_is_kept_that_would_open_with_it(commands: Commands, database_url: str) -> None:
    made = commands.json("create", "--user", "alice")
    [(row,)] = alter(database_url, "select to_jsonb(t)::text from api_tokens t")
    assert made["token"].removeprefix("acpgw_") not in row
    listed = commands.run("list").stdout + commands.run("list", "--json").stdout
    assert made["id"] in listed
    assert "acpgw_" not in listed


WRONG = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer acpgw_"},
    {"Authorization": "Bearer acpgw_canary-canary-canary"},
    {"Authorization": "Bearer acpgw_" + "x" * 5000},
    {"Authorization": "Bearer acpgw_\udcff"},
    {"Authorization": "Basic YTpi"},
    {"Authorization": "acpgw_canary"},
    {"X-Forwarded-User": "alice"},
]


async def test_what_is_no_token_opens_nothing_and_is_not_repeated(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    for headers in WRONG:
        answer = await gateway.call("GET", "/api/projects", headers=headers)
        assert told(answer) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert b"canary" not in answer.body
        if not headers:
            assert "an API token" in answer.json["detail"]
    assert "canary" not in caplog.text


async def test_a_token_allows_no_more_than_its_role(gateway: Gateway, commands: Commands) -> None:
    owner = bearing(gateway, commands.json("create", "--user", "alice")["token"])
    await owner.register("http://127.0.0.1:1")
    viewer = bearing(gateway, commands.json("create", "--user", "alice", "--role", "viewer")["token"])
    assert (await viewer.call("GET", "/api/projects/demo")).json["role"] == "viewer"
    assert [one["role"] for one in (await viewer.call("GET", "/api/projects")).json["projects"]] == ["viewer"]
    for method, path, body in (
        ("PATCH", "/api/projects/demo", {"name": "x"}),
        ("DELETE", "/api/projects/demo", None),
        ("POST", "/api/projects", {"containerUrl": "http://127.0.0.1:1"}),
        ("POST", "/api/projects/demo/acp/session", {"agentId": "demo"}),
        ("GET", "/api/projects/demo/opencode/", None),
    ):
        assert told(await viewer.call(method, path, body)) == (403, "insufficient_role"), path
    await owner.call("PUT", "/api/projects/demo/members/olga", {"role": "operator"})
    olga = bearing(gateway, commands.json("create", "--user", "olga", "--role", "viewer")["token"])
    assert told(await olga.call("DELETE", "/api/projects/demo/members/olga")) == (403, "insufficient_role")


async def test_a_token_for_some_projects_sees_no_others(gateway: Gateway, commands: Commands) -> None:
    owner = bearing(gateway, commands.json("create", "--user", "alice")["token"])
    for name in ("one", "two"):
        await owner.register("http://127.0.0.1:1", id=name)
    limited = bearing(gateway, commands.json("create", "--user", "alice", "--project", "two")["token"])
    assert [one["id"] for one in (await limited.call("GET", "/api/projects")).json["projects"]] == ["two"]
    assert (await limited.call("GET", "/api/projects/two")).status == 200
    assert told(await limited.call("GET", "/api/projects/one")) == (404, "project_not_found")
    assert told(await limited.call("GET", "/api/projects?after=one")) == (400, "invalid_parameter")
    assert told(await limited.call("POST", "/api/projects", {"containerUrl": "http://h"})) == (403, "token_limited")


async def test_a_revoked_token_opens_nothing_after_a_second(gateway: Gateway, commands: Commands) -> None:
    made = commands.json("create", "--user", "alice")
    alice = bearing(gateway, made["token"])
    assert (await alice.call("GET", "/api/projects")).status == 200
    revoked = commands.json("revoke", made["id"])
    assert revoked["revokedAt"]
    async with asyncio.timeout(3):
        while (answer := await alice.call("GET", "/api/projects")).status == 200:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.1)
    assert told(answer) == (401, "unauthenticated")
    assert "was revoked" in answer.json["detail"]
    assert commands.json("revoke", made["id"])["revokedAt"] == revoked["revokedAt"]


async def test_an_expired_token_opens_nothing(gateway: Gateway, commands: Commands, database_url: str) -> None:
    made = commands.json("create", "--user", "alice", "--expires", "90m")
    left = datetime.fromisoformat(made["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=89) < left <= timedelta(minutes=90)
    alter(database_url, "update api_tokens set expires_at = now() - interval '1 second'")
    answer = await bearing(gateway, made["token"]).call("GET", "/api/projects")
    assert told(answer) == (401, "unauthenticated")
    assert "expired at" in answer.json["detail"]


async def test_when_a_token_was_used_last_is_known_but_not_written_each_time(
    gateway: Gateway, commands: Commands, database_url: str
) -> None:
    made = commands.json("create", "--user", "alice")
    assert commands.json("list")["tokens"][0]["lastUsedAt"] is None
    for _ in range(3):
        await bearing(gateway, made["token"]).call("GET", "/api/projects")
    used = alter(database_url, "select last_used_at, xmin from api_tokens")
    assert used[0][0] is not None
    async with GatewayProcess(database_url, TOKENS).run() as other:
        await bearing(other, made["token"]).call("GET", "/api/projects")
    assert alter(database_url, "select last_used_at, xmin from api_tokens") == used


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "--user", "rule"], "--user 'rule': "),
        (["create", "--user", ""], "--user '': "),
        (["create", "--user", "a", "--expires", "soon"], "--expires 'soon': must be a time such as 90m"),
        (["create", "--user", "a", "--expires", "0d"], "--expires '0d': "),
        (["create", "--user", "a", "--project", "nothing"], "--project 'nothing': there is no such project"),
        (["create", "--user", "a", "--name", "\t"], "--name: "),
        (["revoke", "tok_000000000000"], "There is no token 'tok_000000000000'"),
        (["revoke", "nonsense"], "There is no token 'nonsense'"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(commands: Commands, arguments: list[str], said: str) -> None:
    ended = commands.run(*arguments)
    assert (ended.status, ended.stdout) == (1, "")
    assert said in ended.stderr


def test_a_person_is_shown_the_token_and_how_to_send_it(commands: Commands) -> None:
    said = commands.run("create", "--user", "alice", "--role", "operator", "--expires", "never").stdout
    assert "acpgw_" in said
    assert "alice, at most operator in all projects; does not expire\n" in said
    assert "Authorization: Bearer" in said


def test_tokens_are_listed_under_headings_and_an_empty_list_says_how_one_is_made(commands: Commands) -> None:
    assert commands.run("list").stdout == "There are no tokens. Make one: acp-gateway token create --user NAME\n"
    commands.run("create", "--user", "alice", "--role", "operator", "--expires", "never", "--name", "a laptop")
    heading, row = commands.run("list").stdout.splitlines()
    assert re.split("  +", heading) == ["ID", "USER", "AT MOST", "PROJECTS", "STATE", "LAST USED", "NAME"]
    assert re.split("  +", row)[1:] == ["alice", "operator", "all", "does not expire", "never", "a laptop"]
    revoked = commands.run("revoke", row.split()[0]).stdout
    assert re.search(r"; revoked \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n$", revoked)


def test_tokens_are_made_while_a_gateway_runs_on_the_embedded_database_and_while_none_does(
    open_directory: Path,
) -> None:
    place = Place.make(open_directory / "tokens")
    options = ["--data-dir", str(place.data_dir)]

    def make() -> Any:
        return run_to_end(
            *("token", "create", "--user", "local", "--json", *options),
            directory=place.directory,
            environ={"ACP_GATEWAY_IDENTITY_MODES": "tokens"},
        )

    nowhere = make()
    assert nowhere.status == 1
    assert f"There is no database in {place.data_dir}: set the gateway's with --config" in nowhere.stderr
    with place.up():
        made = [make()]
    made.append(make())
    listed = run_to_end("token", "list", *options, directory=place.directory).stdout
    for ended in made:
        assert ended.status == 0, ended.stderr
        assert json.loads(ended.stdout)["id"] in listed
