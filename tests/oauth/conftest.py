"""A gateway whose people can log in at a provider that does what the test says."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import pytest

from gateway.config.schema import Config, OAuthConfig, ProviderConfig
from gateway.wire.codec import from_builtins, snake_names
from tests.fakes.container import FakeContainer
from tests.fakes.provider import FakeProvider
from tests.oauth.person import Person
from tests.world import QUICK, Gateway, GatewayProcess

#: Short enough for a provider that hangs to be told soon.
TIMEOUT = 1.5


def with_providers(config: Config = QUICK, **tables: Any) -> Config:
    """``config`` with these providers, as a file would have them."""
    providers = {name: from_builtins(ProviderConfig, table, rename=snake_names) for name, table in tables.items()}
    return attrs.evolve(config, providers=providers, oauth=OAuthConfig(timeout=TIMEOUT, allow_http_loopback=True))


Running = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        yield running


@pytest.fixture
def run_gateway(database_url: str, provider: FakeProvider) -> Running:
    """Starts gateways on one database whose people can log in at ``example``; what is named changes that."""

    def run(config: Config = QUICK, **changes: Any) -> AbstractAsyncContextManager[Gateway]:
        return GatewayProcess(database_url, with_providers(config, example=provider.table(**changes))).run()

    return run


@pytest.fixture
async def person(run_gateway: Running, provider: FakeProvider, base_container: FakeContainer) -> AsyncIterator[Person]:
    """Somebody with a project of their own, who connects an account for its agent."""
    async with run_gateway() as gateway:
        yield Person(await gateway.register(base_container.url), provider)
