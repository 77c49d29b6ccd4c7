"""Who may register containers: everybody, the users that are named, or nobody but the command line."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.projects.registration import register as register_sidecar
from gateway.projects.store import Projects
from gateway.web.keys import DATABASE, SETTINGS
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import until
from tests.identity.tokens import alter
from tests.program import Ended, run_to_end
from tests.sessions.injecting import ANNS, Hosts, session_of, store, ways
from tests.world import PROXIED, QUICK, Answer, Gateway, GatewayProcess

HERS, ELSEWHERE = {"containerUrl": "http://127.0.0.1:5000"}, {"containerUrl": "http://127.0.0.1:6000"}


@asynccontextmanager
async def running(database_url: str, *creators: str, base: Any = PROXIED) -> AsyncIterator[Gateway]:
    identity = attrs.evolve(base.identity, project_creators=creators)
    async with GatewayProcess(database_url, attrs.evolve(base, identity=identity)).run() as gateway:
        yield gateway


async def register(gateway: Gateway, user_id: str, id: str, **members: Any) -> Answer:
    return await gateway.as_user(user_id).call("POST", "/api/projects", {"id": id, **HERS, **members})


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.json.get("code")


DENIED = (403, "project_creation_denied")


async def test_unless_the_operator_says_otherwise_everybody_may(database_url: str) -> None:
    async with GatewayProcess(database_url, PROXIED).run() as gateway:
        assert (await register(gateway, "anybody", "a")).status == 201


async def test_users_who_are_named_may_and_nobody_else(database_url: str) -> None:
    async with running(database_url, "alice", "*x") as gateway:
        for stranger in ("mallory", "Alice", "*", "x"):
            refused = await register(gateway, stranger, "mine")
            assert told(refused) == DENIED
            assert stranger in refused.json["detail"]
        assert (await register(gateway, "alice", "hers")).status == 201


async def test_to_move_a_project_is_to_register_a_container(database_url: str) -> None:
    async with running(database_url, "alice") as gateway:
        assert (await register(gateway, "alice", "hers", acpUrl="http://127.0.0.1:5009")).status == 201
        await gateway.as_user("alice").call("PUT", "/api/projects/hers/members/ada", {"role": "admin"})
        ada = gateway.as_user("ada")
        for change in (ELSEWHERE, {"acpUrl": "http://127.0.0.1:6009"}, {"acpUrl": None}, {**HERS, "acpUrl": None}):
            assert told(await ada.call("PATCH", "/api/projects/hers", change)) == DENIED
        # What she sees she may send back, and the rest is an admin's.
        seen = (await ada.call("GET", "/api/projects/hers")).json
        same = {"containerUrl": seen["containerUrl"], "acpUrl": seen["acpUrl"], "name": "renamed"}
        assert (await ada.call("PATCH", "/api/projects/hers", same)).status == 200
        assert (await gateway.as_user("alice").call("PATCH", "/api/projects/hers", ELSEWHERE)).status == 200


async def test_the_local_user_is_no_exception(database_url: str) -> None:
    async with running(database_url, base=QUICK) as gateway:
        assert told(await gateway.call("POST", "/api/projects", HERS)) == DENIED


async def test_a_change_of_who_may_counts_at_once(database_url: str) -> None:
    async with running(database_url) as gateway:
        assert told(await register(gateway, "alice", "hers")) == DENIED
        gateway.app[SETTINGS].change({("identity", "project_creators"): ("alice",)})
        assert (await register(gateway, "alice", "hers")).status == 201


async def test_a_user_owns_so_many_projects_and_no_more_whatever_comes_at_once(database_url: str) -> None:
    config = attrs.evolve(PROXIED, limits=attrs.evolve(PROXIED.limits, projects_per_user=3))
    async with GatewayProcess(database_url, config).run() as one, GatewayProcess(database_url, config).run() as other:
        answers = await asyncio.gather(
            *(register((one, other)[number % 2], "alice", f"p{number}") for number in range(10))
        )
        assert sorted(answer.status for answer in answers) == [201] * 3 + [409] * 7
        refused = next(answer for answer in answers if answer.status == 409)
        assert (refused.json["code"], refused.json["limit"]) == ("too_many_projects", 3)
        assert alter(database_url, "select count(*) from projects") == [(3,)]
        # Others have theirs, and one that is gone leaves its place.
        assert (await register(one, "bob", "his", containerUrl="http://127.0.0.1:7000")).status == 201
        made = next(answer.json["id"] for answer in answers if answer.status == 201)
        assert (await one.as_user("alice").call("DELETE", f"/api/projects/{made}")).status == 204
        assert (await register(one, "alice", "again")).status == 201
        told_by = [(await gateway.call("GET", "/metrics")).body.decode() for gateway in (one, other)]
        counted = re.findall(r'limit_refusals_total\{limit="projects_per_user"\} (\d+)', "".join(told_by))
        assert sum(map(int, counted)) == 7


# On the command line.


class Commands:
    """``acp-gateway project …`` on a database."""

    def __init__(self, url: str, directory: Path) -> None:
        self._environ = {"ACP_GATEWAY_DATABASE_URL": url}
        self._directory = directory

    async def run(self, *arguments: str, **environ: str) -> Ended:
        return await asyncio.to_thread(
            run_to_end, "project", *arguments, directory=self._directory, environ={**self._environ, **environ}
        )

    async def json(self, *arguments: str, **environ: str) -> Mapping[str, Any]:
        ended = await self.run(*arguments, "--json", **environ)
        assert (ended.status, ended.stderr) == (0, ""), ended.stderr
        told: Mapping[str, Any] = json.loads(ended.stdout)
        return told


@pytest.fixture
def on_command_line(database_url: str, tmp_path: Path) -> Commands:
    return Commands(database_url, tmp_path)


async def test_nobody_but_the_command_line(
    database_url: str, on_command_line: Commands, base_container: FakeContainer
) -> None:
    async with running(database_url) as gateway:
        assert told(await register(gateway, "alice", "hers")) == DENIED
        url = base_container.url
        made = await on_command_line.json(
            *("register", "http://127.0.0.1:5000", "--acp-url", url, "--owner", "alice", "--id", "hers"),
            *("--name", "Hers", "--agent", "demo"),
        )
        assert made == {"id": "hers", "ownerId": "alice", "containerUrl": "http://127.0.0.1:5000", "acpUrl": url}
        alice = gateway.as_user("alice")
        seen = (await alice.call("GET", "/api/projects/hers")).json
        assert (seen["name"], seen["defaultAgentId"], seen["role"]) == ("Hers", "demo", "admin")
        assert (await alice.call("POST", "/api/projects/hers/acp/session", {})).status == 201
        assert told(await alice.call("PATCH", "/api/projects/hers", ELSEWHERE)) == DENIED
        moved = await on_command_line.json("move", "hers", "http://127.0.0.1:6000")
        assert (moved["containerUrl"], moved["acpUrl"]) == ("http://127.0.0.1:6000", None)
        # Of a sidecar, too.
        await register_sidecar(Projects(gateway.app[DATABASE]), "default", "http://127.0.0.1:8000", owner="alice")
        assert (await alice.call("GET", "/api/projects/default")).status == 200


async def test_what_the_command_line_refuses_and_with_which_words(on_command_line: Commands) -> None:
    hers = await on_command_line.json("register", "http://127.0.0.1:5000", "--owner", "alice", "--id", "hers")
    assert hers["id"] == "hers"
    for arguments, words in (
        (("register", "http://localhost:5000", "--owner", "bob"), "another project's container"),
        (("register", "http://127.0.0.1:7000", "--owner", "bob", "--id", "hers"), "exists already"),
        (("register", "http://8.8.8.8", "--owner", "bob"), "containers.allow"),
        (("register", "http://169.254.169.254", "--owner", "bob"), "never connects"),
        (("register", "ftp://127.0.0.1", "--owner", "bob"), "must begin with http"),
        (("register", "http://127.0.0.1:65535", "--owner", "bob"), "--acp-url"),
        (("register", "http://127.0.0.1:7000", "--owner", "rule"), "--owner 'rule'"),
        (("register", "http://127.0.0.1:7000", "--owner", "bob", "--id", "No"), "must be 1 to 64"),
        (("move", "nothing", "http://127.0.0.1:7000"), "no project 'nothing'"),
    ):
        ended = await on_command_line.run(*arguments)
        assert ended.status == 1, arguments
        assert words in ended.sentence()
    shared = await on_command_line.json(
        "register", "http://localhost:5000", "--owner", "bob", ACP_GATEWAY_CONTAINERS_SHARED="true"
    )
    assert shared["ownerId"] == "bob"


async def test_a_sidecars_container_is_its_operators_whoever_was_first(database_url: str) -> None:
    async with GatewayProcess(database_url, PROXIED).run() as gateway:
        assert (await register(gateway, "mallory", "mine")).status == 201
        await register_sidecar(Projects(gateway.app[DATABASE]), "default", "http://localhost:5000", owner="alice")
        assert (await gateway.as_user("alice").call("GET", "/api/projects/default")).status == 200


async def test_the_container_that_is_left_gives_back_what_it_was_given(
    database_url: str, on_command_line: Commands, tmp_path: Path
) -> None:
    async with Hosts(tmp_path).run() as url:
        config = attrs.evolve(PROXIED, credentials=ways(tmp_path))
        async with GatewayProcess(database_url, config).run() as gateway:
            project = await gateway.as_user("ann").register(url)
            await store(gateway, "ann", ANNS)
            await session_of(project, "ann")
            agents = (await project.call("GET", "/agents")).json["agents"]
            assert {"keyed": "running"}.items() <= {one["id"]: one["status"] for one in agents}.items()
            key = config.vault.keys
            await on_command_line.json("move", "demo", "http://127.0.0.1:6000", ACP_GATEWAY_VAULT_KEYS=key)

            async def are_stopped() -> bool:
                async with gateway.http.get(f"{url}/agents") as answer:
                    listed = (await answer.json())["data"]["agents"]
                return {one["status"] for one in listed} == {"stopped"}

            await until(are_stopped)
