"""Whose container is where: another owner's is refused, whatever spelling, at whatever moment."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
from aiohttp import web

from gateway.config.schema import ContainersConfig
from gateway.db.pool import Database
from gateway.errors import AddressTaken, ProjectNotFound, UpstreamForbidden
from gateway.projects.addresses import LOOPBACK, Addresses, meanings
from gateway.projects.store import NewProject, Projects
from gateway.proxy.client import Client
from gateway.proxy.policy import AddressPolicy
from gateway.proxy.resolver import MAX_ADDRESSES, PolicyResolver, system_lookup
from gateway.proxy.upstream import Timeouts, Upstream
from tests.fakes.container import FakeContainer
from tests.identity.tokens import alter
from tests.proxy.peers import serve
from tests.world import PROXIED, Answer, Gateway, GatewayProcess

ALICE, MALLORY = "alice", "mallory"
BRIEF = Timeouts(connect=2, headers=2, idle=2)
#: Where alice's containers are. ``a.example`` and ``b.example`` are names that the tests' own name server knows.
HERS = {"containerUrl": "http://127.0.0.1:5000"}
#: Other ways to the same two ports, 5000 and 5001.
SPELLINGS: list[dict[str, Any]] = [
    {"containerUrl": "http://127.0.0.1:5000"},
    {"containerUrl": "HTTP://LocalHost:5000/"},
    {"containerUrl": "https://localhost.:5000/some/path"},
    {"containerUrl": "http://127.0.0.2:5000"},
    {"containerUrl": "http://[::1]:5000"},
    {"containerUrl": "http://[0:0::1]:5000"},
    {"containerUrl": "http://[::ffff:127.0.0.1]:5000"},
    {"containerUrl": "http://[::ffff:7f00:1]:05000"},
    {"containerUrl": "http://[64:ff9b::7f00:1]:5000"},
    # Hers for ACP is mine for OpenCode, and the other way round.
    {"containerUrl": "http://127.0.0.1:5001"},
    {"containerUrl": "http://127.0.0.1:4999"},
    {"containerUrl": "http://127.0.0.1:6000", "acpUrl": "http://localhost:5001/acp"},
    {"containerUrl": "http://127.0.0.1:6000", "acpUrl": "http://127.0.0.1:5000"},
]
#: What is an address in the eyes of a C library alone is no address here.
NO_ADDRESSES = ["http://2130706433:5000", "http://0x7f000001:5000", "http://127.1:5000", "http://0177.0.0.1:5000"]
ANYWHERE = attrs.evolve(PROXIED, containers=attrs.evolve(PROXIED.containers, allow=("0.0.0.0/0", "::/0")))


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, ANYWHERE).run() as running:
        yield running


async def create(gateway: Gateway, user_id: str, id: str, **members: Any) -> Answer:
    return await gateway.as_user(user_id).call("POST", "/api/projects", {"id": id, **members})


def told(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.json.get("code")


async def test_another_owners_container_is_refused_in_every_spelling(gateway: Gateway, database_url: str) -> None:
    assert (await create(gateway, ALICE, "hers", **HERS)).status == 201
    assert (await create(gateway, MALLORY, "mine", containerUrl="http://127.0.0.1:7000")).status == 201
    kept = alter(database_url, "select * from projects order by id")
    for spelling in SPELLINGS:
        refused = [
            await create(gateway, MALLORY, "second", **spelling),
            await gateway.as_user(MALLORY).call("PATCH", "/api/projects/mine", spelling),
        ]
        for answer in refused:
            assert told(answer) == (409, "address_taken"), spelling
            assert not any(word in answer.body for word in (b"alice", b"hers")), "it is not told whose"
    for text in NO_ADDRESSES:
        assert told(await create(gateway, MALLORY, "second", containerUrl=text)) == (400, "invalid_body"), text
    assert alter(database_url, "select * from projects order by id") == kept
    # Where her container is not anybody may have theirs, and she may have another project at hers.
    assert (await create(gateway, MALLORY, "second", containerUrl="http://127.0.0.1:5002")).status == 201
    assert (await create(gateway, ALICE, "again", containerUrl="http://localhost:5000")).status == 201


async def test_this_machines_other_addresses_are_this_machine(gateway: Gateway) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but its loopback's")
        own = sock.getsockname()[0]
    assert not meanings(own).isdisjoint(meanings("127.0.0.1"))
    assert meanings("192.0.2.1") == {"192.0.2.1"}
    assert (await create(gateway, ALICE, "hers", **HERS)).status == 201
    refused = await create(gateway, MALLORY, "mine", containerUrl=f"http://{own}:5000")
    assert told(refused) == (409, "address_taken")


async def test_an_admin_does_not_move_a_project_to_a_container_that_is_not_theirs_to_administer(
    gateway: Gateway,
) -> None:
    """The owner of both may; who administers one of them alone would read the other's container by it."""
    alice = gateway.as_user(ALICE)
    for id, port in (("open", 5000), ("closed", 6000)):
        assert (await create(gateway, ALICE, id, containerUrl=f"http://127.0.0.1:{port}")).status == 201
    await alice.call("PUT", f"/api/projects/open/members/{MALLORY}", {"role": "admin"})
    move = {"containerUrl": "http://127.0.0.1:6000"}
    assert told(await gateway.as_user(MALLORY).call("PATCH", "/api/projects/open", move)) == (409, "address_taken")
    assert (await alice.call("PATCH", "/api/projects/open", move)).status == 200


async def test_an_address_is_free_again_once_its_project_is_gone_or_elsewhere(gateway: Gateway) -> None:
    assert (await create(gateway, ALICE, "hers", **HERS)).status == 201
    move = {"containerUrl": "http://127.0.0.1:6000"}
    assert (await gateway.as_user(ALICE).call("PATCH", "/api/projects/hers", move)).status == 200
    assert (await create(gateway, MALLORY, "mine", **HERS)).status == 201
    assert (await gateway.as_user(ALICE).call("PATCH", "/api/projects/hers", HERS)).status == 409
    assert (await gateway.as_user(MALLORY).call("DELETE", "/api/projects/mine")).status == 204
    assert (await gateway.as_user(ALICE).call("PATCH", "/api/projects/hers", HERS)).status == 200


async def test_what_is_no_move_is_never_refused(gateway: Gateway, database_url: str) -> None:
    """Two owners had one container when that was still taken: both go on."""
    assert (await create(gateway, ALICE, "hers", **HERS)).status == 201
    assert (await create(gateway, MALLORY, "mine", containerUrl="http://127.0.0.1:7000")).status == 201
    alter(database_url, "update projects set container_url = 'http://127.0.0.1:5000'")
    same = {"containerUrl": "http://127.0.0.1:5000", "name": "same"}
    assert (await gateway.as_user(MALLORY).call("PATCH", "/api/projects/mine", same)).status == 200


async def test_of_those_who_register_one_container_at_once_one_owner_has_it(database_url: str) -> None:
    users = [f"user-{number}" for number in range(12)]
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(GatewayProcess(database_url, ANYWHERE).run()) for _ in range(2)]
        answers = await asyncio.gather(
            *(create(gateways[number % 2], user, user, **SPELLINGS[number]) for number, user in enumerate(users))
        )
    assert sorted(answer.status for answer in answers) == [201] + [409] * (len(users) - 1)
    assert alter(database_url, "select count(*) from projects") == [(1,)]


async def test_the_operator_may_let_owners_share_a_container(database_url: str) -> None:
    shared = attrs.evolve(ANYWHERE, containers=attrs.evolve(ANYWHERE.containers, shared=True))
    async with GatewayProcess(database_url, shared).run() as gateway:
        assert (await create(gateway, ALICE, "hers", **HERS)).status == 201
        assert (await create(gateway, MALLORY, "mine", **HERS)).status == 201


# Names, which may lead elsewhere tomorrow.


class Names:
    """A name server whose answers can be changed; what it does not know does not exist."""

    def __init__(self, **answers: str) -> None:
        self.answers = {f"{name}.example": answer for name, answer in answers.items()}

    async def __call__(self, host: str) -> list[tuple[int, str]]:
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        if not self.answers[host]:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, one) for one in self.answers[host].split()]


class World:
    """Projects and a client that look names up there."""

    def __init__(self, database: Database, names: Names) -> None:
        self.names = names
        self.addresses = Addresses(database, lookup=names)
        self.projects = Projects(database, config=ContainersConfig(), addresses=self.addresses)

    async def register(self, owner: str, address: str) -> None:
        id = f"{owner}-{len(address)}-{abs(hash(address)) % 10**6}"
        await self.projects.create(owner, NewProject(id=id, container_url=address))

    async def is_refused(self, url: str) -> bool:
        """Whether a connection is, before anything is sent."""
        policy = AddressPolicy.parse(["127.0.0.0/8", "10.0.0.0/8"])
        async with Client(policy, lookup=self.names, guard=self.addresses.guard) as client:
            try:
                async with client.open("GET", Upstream.parse(url), "/", timeouts=BRIEF) as response:
                    assert response.status == 200
            except UpstreamForbidden as exc:
                assert "another project" in str(exc)  # noqa: PT017 - either way is right
                return True
        return False


async def test_of_a_name_with_many_addresses_the_same_few_are_compared_and_connected_to(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many as one answer over TCP holds.
    many = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(4000)]

    async def getaddrinfo(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        random.shuffle(many)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in many]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    addresses, compared = Addresses(database), []

    async def guard(host: str, port: int, found: Sequence[str]) -> list[str]:
        compared.extend(found)
        return await addresses.guard(host, port, found)

    resolver = PolicyResolver(AddressPolicy.parse(["10.0.0.0/8"]), system_lookup, guard)
    connected = {one["host"] for one in await resolver.resolve("many.example", 80)}
    assert connected == set(compared)
    assert 1 < len(connected) <= MAX_ADDRESSES
    [location] = await addresses.locate([Upstream.parse("http://many.example")])
    assert location.addresses == connected


async def test_names_are_compared_by_what_they_lead_to(database: Database) -> None:
    world = World(database, Names(a="10.0.0.5", b="10.0.0.9 10.0.0.5", c="10.0.0.6"))
    await world.register(ALICE, "http://a.example")
    for address in ("http://b.example", "http://10.0.0.5:4096", "http://A.example.:4095", "http://[::ffff:a00:5]"):
        with pytest.raises(AddressTaken):
            await world.register(MALLORY, address)
    await world.register(MALLORY, "http://c.example")


async def test_a_name_that_is_not_known_yet_is_taken_by_name(database: Database) -> None:
    world = World(database, Names())
    await world.register(ALICE, "http://later.example")
    with pytest.raises(AddressTaken):
        await world.register(MALLORY, "http://LATER.example.")


async def test_a_name_that_comes_to_lead_to_anothers_container_is_not_connected_to(database: Database) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async with serve(answer) as upstream:
        port = upstream.port
        names = Names(evil="10.0.0.9", hers="127.0.0.1")
        world = World(database, names)
        await world.register(ALICE, f"http://hers.example:{port}")
        await world.register(MALLORY, f"http://evil.example:{port}")
        names.answers["evil.example"] = "127.0.0.1"
        assert await world.is_refused(f"http://evil.example:{port}")
        assert asked == []
        # What it may not be it does not take from its owner either.
        assert not await world.is_refused(f"http://hers.example:{port}")
        with pytest.raises(AddressTaken):
            await world.register("bob", f"http://127.0.0.1:{port}")


async def test_a_container_that_moves_below_its_name_takes_its_new_address_and_leaves_the_old_one(
    database: Database,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    async with serve(answer) as upstream:
        port = upstream.port
        names = Names(a="10.0.0.5", b="10.0.0.6")
        world = World(database, names)
        await world.register(ALICE, f"http://a.example:{port}")
        names.answers["a.example"] = "127.0.0.1"
        assert not await world.is_refused(f"http://a.example:{port}")
        with pytest.raises(AddressTaken):
            await world.register("bob", f"http://127.0.0.1:{port}")
        await world.register("bob", f"http://10.0.0.5:{port}")


@pytest.mark.parametrize(("former", "is_free"), [("10.0.0.7", True), (None, False), ("", False)])
async def test_a_name_in_the_way_is_looked_up_again(database: Database, former: str | None, is_free: bool) -> None:
    """Where it leads elsewhere by now it has left; not where it does not exist just now, or cannot be looked up."""
    names = Names(a="10.0.0.5")
    world = World(database, names)
    await world.register(ALICE, "http://a.example")
    if former is None:
        del names.answers["a.example"]
    else:
        names.answers["a.example"] = former
    if is_free:
        await world.register(MALLORY, "http://10.0.0.5")
    else:
        with pytest.raises(AddressTaken):
            await world.register(MALLORY, "http://10.0.0.5")


async def test_a_container_whose_name_is_gone_while_it_is_stopped_is_nobody_elses_meanwhile(database: Database) -> None:
    """Neither by a registration nor by a name of another project that comes to lead there."""
    names = Names(hers="10.0.0.5", evil="10.0.0.9")
    world = World(database, names)
    await world.register(ALICE, "http://hers.example")
    await world.register(MALLORY, "http://evil.example")
    del names.answers["hers.example"]
    names.answers["evil.example"] = "10.0.0.5"
    with pytest.raises(AddressTaken):
        await world.register(MALLORY, "http://10.0.0.5")
    assert await world.addresses.guard("evil.example", 4096, ["10.0.0.5"]) == []
    names.answers["hers.example"] = "10.0.0.5"
    assert await world.addresses.guard("hers.example", 4096, ["10.0.0.5"]) == ["10.0.0.5"]


async def test_while_the_database_is_away_what_was_allowed_before_still_is(database_url: str) -> None:
    async with await Database.open(database_url) as database:
        world = World(database, Names(a="10.0.0.5"))
        await world.register(ALICE, "http://a.example")
        assert await world.addresses.guard("a.example", 80, ["10.0.0.5"]) == ["10.0.0.5"]
    assert await world.addresses.guard("A.example.", 80, ["10.0.0.5", "10.0.0.6"]) == ["10.0.0.5"]
    with pytest.raises(OSError, match="cannot be looked up"):
        await world.addresses.guard("a.example", 80, ["10.0.0.6"])


async def test_projects_from_before_are_known_after_the_start_and_shared_ones_are_named(
    database: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    projects = Projects(database)
    await projects.create(ALICE, NewProject(id="hers", container_url="http://127.0.0.1:5000"))
    await projects.create(MALLORY, NewProject(id="mine", container_url="http://127.0.0.1:7000"))
    alter(database_url, "update projects set container_url = 'http://localhost:5000' where id = 'mine'")
    alter(database_url, "delete from container_addresses where project_id = 'hers'")
    await projects.settle_addresses()
    with pytest.raises(AddressTaken):
        await projects.create("bob", NewProject(id="his", container_url=f"http://{LOOPBACK}:5001"))
    [warning] = [one for one in caplog.records if "different owners" in one.message]
    assert {warning.project, warning.other} == {"hers", "mine"}  # type: ignore[attr-defined]
    # With other ports configured a container is elsewhere.
    await Projects(database, config=ContainersConfig(acp_port=4196)).settle_addresses()
    known = alter(database_url, "select distinct port from container_addresses where project_id = 'hers' order by 1")
    assert known == [(5000,), (5100,)]


async def test_a_project_that_is_deleted_while_it_moves_stays_away(database: Database) -> None:
    projects = Projects(database)
    with pytest.raises(ProjectNotFound):
        await projects.update(ALICE, "gone", {"container_url": "http://127.0.0.1:5000"})


async def test_a_container_is_reached_by_its_name_as_before(gateway: Gateway, base_container: FakeContainer) -> None:
    address = base_container.url.replace("127.0.0.1", "localhost")
    project = await gateway.as_user(ALICE).register(address, containerUrl=address)
    for _ in range(2):
        assert (await project.call("GET", "/agents")).status == 200
