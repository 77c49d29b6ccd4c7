"""What probes ask: whether the gateway lives, and whether it can work, by any address and without an account."""

import asyncio
from contextlib import closing

import attrs
import psycopg2
import pytest

from gateway.config.schema import VaultConfig
from gateway.follow import followers
from gateway.telemetry import readiness
from tests.db.relay import Relay
from tests.fakes.eventually import until
from tests.middleware.conftest import Ports, ask_raw, ports  # noqa: F401 - a fixture
from tests.world import QUICK, Gateway, GatewayProcess

#: A credential whose key nobody here has.
STOLEN = """
    insert into agent_auth_tokens (user_id, agent_id, token_type, key_id, sealed_access_token, fingerprint)
    values ('anna', 'codex', 'api_key', 'lost', 'x', 'x')
"""
ALL_READY = {
    "status": "ready",
    "parts": {name: {"ready": True} for name in ("database", "migrations", "vault", "followers")},
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)


async def ready(gateway: Gateway) -> bool:
    return (await gateway.call("GET", "/readyz")).status == 200


async def until_ready(gateway: Gateway, wanted: bool = True) -> None:
    async def seen() -> bool:
        return await ready(gateway) is wanted

    await until(seen)


async def test_each_part_is_named_and_ready(gateway: Gateway) -> None:
    await until_ready(gateway)
    answer = await gateway.call("GET", "/readyz")
    assert answer.json == ALL_READY
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await gateway.call("GET", "/healthz")).json == {"status": "alive"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_probe_by_an_address_that_is_not_this_machines_is_answered(gateway: Gateway, path: str) -> None:
    await until_ready(gateway)
    answer = await ask_raw(gateway, f"GET {path}", "Host: 10.1.2.3:8080")
    assert answer.status == 200
    assert (await ask_raw(gateway, "GET /api/projects", "Host: 10.1.2.3:8080")).status == 403


async def test_on_a_projects_own_host_the_paths_are_the_containers(ports: Ports) -> None:  # noqa: F811
    for path in ("/healthz", "/readyz"):
        answer = await ports.ask(f"GET {path}", "Host: demo.localhost")
        assert answer.one("Server") == "opencode"


async def test_with_the_database_away_it_lives_and_is_not_ready_until_it_is_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "OVERDUE_SECONDS", 1.5)
    async with Relay(database_url) as relay, GatewayProcess(relay.url, QUICK).run() as gateway:
        await until_ready(gateway)
        await relay.go_away()
        await until_ready(gateway, False)
        parts = (await gateway.call("GET", "/readyz")).json["parts"]
        assert parts["database"]["ready"] is False
        assert "refused" in parts["database"]["reason"]
        assert str(relay.port) not in parts["database"]["reason"]
        assert (await gateway.call("GET", "/healthz")).status == 200

        async def overdue() -> bool:
            parts = (await gateway.call("GET", "/readyz")).json["parts"]
            return parts["followers"]["ready"] is False

        await until(overdue)
        await relay.come_back()
        await until_ready(gateway)


async def test_a_schema_that_is_behind_is_not_ready_and_one_that_is_ahead_is(
    gateway: Gateway, database_url: str
) -> None:
    await until_ready(gateway)
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("insert into _yoyo_migration (migration_hash, migration_id) values ('x', '9999_newer')")
        assert await ready(gateway)
        cursor.execute("delete from _yoyo_migration where migration_id like '0001%' or migration_id = '9999_newer'")
    answer = await gateway.call("GET", "/readyz")
    assert answer.status == 503
    assert answer.json["parts"]["migrations"] == {
        "ready": False,
        "reason": "The database lacks 1 of them (0001_baseline); run acp-gateway migrate.",
    }
    assert answer.json["parts"]["database"] == {"ready": True}


async def test_a_vault_without_a_key_that_something_is_sealed_with_is_not_ready(
    gateway: Gateway, database_url: str
) -> None:
    await until_ready(gateway)
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(STOLEN)
        connection.commit()
    answer = await gateway.call("GET", "/readyz")
    assert answer.status == 503
    assert answer.json["parts"]["vault"] == {"ready": False, "reason": "It lacks the key 'lost'."}


async def test_without_a_vault_key_it_is_ready_and_says_what_it_cannot_do(database_url: str) -> None:
    async with GatewayProcess(database_url, attrs.evolve(QUICK, vault=VaultConfig())).run() as gateway:
        await until_ready(gateway)
        vault = (await gateway.call("GET", "/readyz")).json["parts"]["vault"]
        assert (vault["ready"], "cannot be stored" in vault["note"]) == (True, True)


async def test_a_database_that_hangs_is_told_within_seconds(database_url: str) -> None:
    async with Relay(database_url) as relay, GatewayProcess(relay.url, QUICK).run() as gateway:
        await until_ready(gateway)
        relay.silent = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        await until_ready(gateway, False)
        assert loop.time() - began < 10
        relay.silent = False
