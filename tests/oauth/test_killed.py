"""A gateway that is killed while it waits for a provider: another one goes on with what it was doing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.fakes.provider import FakeProvider, Hang
from tests.oauth.conftest import Running
from tests.oauth.person import Person
from tests.replica import Replica, replica
from tests.world import QUICK, Project

Victim = Callable[[], AbstractAsyncContextManager[Replica]]


@pytest.fixture
def run_victim(database_url: str, provider: FakeProvider, tmp_path: Path) -> Victim:
    """Starts a gateway process whose people can log in at ``example``, as `run_gateway` does."""

    @asynccontextmanager
    async def run() -> AsyncIterator[Replica]:
        table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in provider.table().items())
        config = tmp_path / "config.toml"
        config.write_text(f"[oauth]\nallow_http_loopback = true\n[providers.example]\n{table}\n")
        settings = {"ACP_GATEWAY_VAULT_KEYS": QUICK.vault.keys}
        async with replica(database_url, tmp_path, settings, options=("--config", str(config))) as running:
            yield running

    return run


@asynccontextmanager
async def connected(run_gateway: Running, container: FakeContainer, provider: FakeProvider) -> AsyncIterator[Person]:
    """A person who has connected an account, at a gateway that runs meanwhile."""
    async with run_gateway() as gateway:
        person = Person(await gateway.register(container.url), provider)
        await person.connected()
        yield person


async def test_tokens_that_it_was_revoking_are_revoked(
    run_gateway: Running,
    run_victim: Victim,
    provider: FakeProvider,
    base_container: FakeContainer,
    database_url: str,
) -> None:
    async with connected(run_gateway, base_container, provider) as person:
        secrets = await person.secrets()
    assert secrets is not None
    async with run_victim() as victim:
        provider.answers["revoke"] = [Hang()]
        asked = asyncio.create_task(Person(Project(victim.gateway, "demo"), provider).call("DELETE", ""))
        await eventually(lambda: provider.calls_of("revoke"))
        await victim.kill()
        with pytest.raises(aiohttp.ClientError):
            await asked
    assert ask(database_url, "update unrevoked_tokens set next_at = now() returning 1") == [(1,)]
    async with run_gateway() as gateway:
        await eventually(lambda: secrets[1] in provider.revoked)
        await eventually(lambda: ask(database_url, "select count(*) from unrevoked_tokens") == [(0,)])
        assert await Person(Project(gateway, "demo"), provider).state() == "none"


async def test_an_account_that_it_was_renewing_is_renewed(
    run_gateway: Running,
    run_victim: Victim,
    provider: FakeProvider,
    base_container: FakeContainer,
    database_url: str,
) -> None:
    async with connected(run_gateway, base_container, provider) as person:
        person.age(expires_in=5)
    provider.answers["token"] = [Hang()]
    async with run_victim() as victim:
        await eventually(lambda: provider.calls_of("token", grant_type="refresh_token"))
        await victim.kill()
    # The gateway that asked may still get the answer, so others wait longer than a test can.
    assert ask(database_url, "update credential_renewals set held_until = now() where asked returning 1") == [(1,)]
    async with run_gateway() as gateway:
        await eventually(lambda: len(provider.calls_of("token", grant_type="refresh_token")) == 2)
        assert (await Person(Project(gateway, "demo"), provider).becomes("authorized"))["credential"]
        renewed = (
            "select 1 from agent_auth_tokens where state = 'authorized' and expires_at > now() + interval '1 minute'"
        )
        await eventually(lambda: ask(database_url, renewed) == [(1,)])


async def test_a_login_that_it_was_asking_about_is_completed(
    run_gateway: Running,
    run_victim: Victim,
    provider: FakeProvider,
    base_container: FakeContainer,
    database_url: str,
) -> None:
    async with run_gateway() as gateway:
        await gateway.register(base_container.url)
    provider.answers["token"] = [Hang()]
    async with run_victim() as victim:
        await Person(Project(victim.gateway, "demo"), provider).start(flow="device")
        await eventually(lambda: provider.calls_of("token"))
        await victim.kill()
    provider.approve()
    assert ask(database_url, "update pending_logins set polled_until = now() returning 1") == [(1,)]
    async with run_gateway() as gateway:
        await Person(Project(gateway, "demo"), provider).becomes("authorized")
