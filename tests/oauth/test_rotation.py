"""Logins that are under way while the vault's keys are changed."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
import pytest

from gateway.config.schema import VaultConfig
from gateway.credentials.keyring import KeyRing, read_file, write_file
from gateway.errors import ConfigError
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.fakes.provider import Answer, FakeProvider
from tests.oauth.conftest import Running
from tests.oauth.person import Person
from tests.operator import Operator
from tests.world import QUICK, Gateway, Project


@pytest.fixture
def operator(tmp_path: Path, database_url: str) -> Operator:
    environ = {
        "ACP_GATEWAY_DATABASE_URL": database_url,
        "ACP_GATEWAY_VAULT_KEY_FILE": str(tmp_path / "vault.keys"),
    }
    made = Operator(tmp_path, environ)
    assert made.key("new").status == 0
    return made


def gateway_of(run_gateway: Running, operator: Operator) -> AbstractAsyncContextManager[Gateway]:
    return run_gateway(attrs.evolve(QUICK, vault=VaultConfig(key_file=str(operator.file))))


def keep_current_key_only(operator: Operator) -> None:
    write_file(operator.file, KeyRing([read_file(operator.file).current]))


def rotate(operator: Operator) -> str:
    assert operator.key("new").status == 0
    rotated = operator.key("rotate")
    assert rotated.status == 0, rotated.stderr
    return rotated.stdout


async def test_a_login_in_the_browser_is_completed_after_a_rotation(
    run_gateway: Running, operator: Operator, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with gateway_of(run_gateway, operator) as gateway:
        begun = await Person(await gateway.register(base_container.url), provider).start(flow="pkce")
    assert operator.listed() == [(True, 1)]
    assert "sealed again  1" in rotate(operator)
    assert operator.listed() == [(False, 0), (True, 1)]
    keep_current_key_only(operator)
    async with gateway_of(run_gateway, operator) as gateway:
        person = Person(Project(gateway, "demo"), provider)
        back = provider.log_in(begun["authorizeUrl"]).partition("/api")[2]
        assert "Example is connected" in (await person.browse(f"{gateway.url}/api{back}")).text
        assert await person.state() == "authorized"


async def test_a_login_with_a_code_is_completed_after_a_rotation(
    run_gateway: Running, operator: Operator, provider: FakeProvider, base_container: FakeContainer
) -> None:
    async with gateway_of(run_gateway, operator) as gateway:
        await Person(await gateway.register(base_container.url), provider).start(flow="device")
    rotate(operator)
    keep_current_key_only(operator)
    provider.approve()
    async with gateway_of(run_gateway, operator) as gateway:
        await Person(Project(gateway, "demo"), provider).becomes("authorized")


async def test_tokens_that_are_to_be_revoked_are_revoked_after_a_rotation(
    run_gateway: Running, operator: Operator, provider: FakeProvider, base_container: FakeContainer, database_url: str
) -> None:
    async with gateway_of(run_gateway, operator) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        await person.connected()
        secrets = await person.secrets()
        assert secrets is not None
        provider.answers["revoke"] = [Answer({}, 503)]
        assert (await person.call("DELETE", "")).json["revocation"]["outcome"] == "retrying"
    assert operator.listed() == [(True, 1)]
    rotate(operator)
    keep_current_key_only(operator)
    ask(database_url, "update unrevoked_tokens set next_at = now() returning 1")
    async with gateway_of(run_gateway, operator):
        await eventually(lambda: secrets[1] in provider.revoked)


async def test_a_key_that_a_login_under_way_needs_is_missed_until_that_is_over_or_the_key_forgotten(
    run_gateway: Running, operator: Operator, provider: FakeProvider, base_container: FakeContainer, database_url: str
) -> None:
    lost = read_file(operator.file).current.id
    async with gateway_of(run_gateway, operator) as gateway:
        person = Person(await gateway.register(base_container.url), provider)
        await person.start(flow="pkce")
    assert operator.key("forget", lost).status == 1, "it is not lost"
    operator.key("new")
    write_file(operator.file, KeyRing([read_file(operator.file).newest]))
    with pytest.raises(ConfigError, match=lost):
        async with gateway_of(run_gateway, operator):
            pass
    forgotten = operator.key("forget", lost)
    assert "deleted       1 rows" in forgotten.stdout
    async with gateway_of(run_gateway, operator) as gateway:
        person = Person(Project(gateway, "demo"), provider)
        assert await person.state() == "expired"
        assert "authorizeUrl" in await person.start(flow="pkce")
    # And the next one's, once nobody can complete it any more.
    ask(database_url, "update pending_logins set expires_at = now() where state = 'pending' returning 1")
    write_file(operator.file, KeyRing([attrs.evolve(read_file(operator.file).current, id="k-other")]))
    async with gateway_of(run_gateway, operator):
        assert operator.listed() == [(True, 0)]
