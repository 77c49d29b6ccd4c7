"""A provider that cannot be told that tokens are over is told again, whoever lives then, and not for ever."""

import pytest

from gateway.oauth import revoke, unrevoked
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.fakes.provider import Answer, FakeProvider
from tests.oauth.conftest import Running
from tests.oauth.person import Person
from tests.world import Project

AWAY = Answer({}, 503)
KEPT = "select count(*) from unrevoked_tokens"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoke, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(unrevoked, "PAUSES", (0.1, 0.1, 0.1))


async def taken_away(person: Person) -> tuple[str, str | None]:
    """The tokens of an account that was taken away while its provider could not be told."""
    await person.connected()
    secrets = await person.secrets()
    assert secrets is not None
    person.provider.answers["revoke"] = [AWAY]
    answer = await person.call("DELETE", "")
    assert answer.json["revocation"]["outcome"] == "retrying"
    assert "told again" in answer.json["revocation"]["message"]
    return secrets


async def test_it_is_told_again_and_nothing_is_left(person: Person, database_url: str) -> None:
    _, refresh = await taken_away(person)
    await eventually(lambda: refresh in person.provider.revoked)
    await eventually(lambda: ask(database_url, KEPT) == [(0,)])


async def test_it_is_told_by_a_gateway_that_was_started_later(
    run_gateway: Running,
    provider: FakeProvider,
    base_container: FakeContainer,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unrevoked, "PAUSES", (60.0, 0.1))
    async with run_gateway() as gateway:
        access, refresh = await taken_away(Person(await gateway.register(base_container.url), provider))
    [(row,)] = ask(database_url, "select unrevoked_tokens::text from unrevoked_tokens")
    assert refresh is not None
    for secret in (access, refresh):
        assert secret not in row
        assert secret.encode().hex() not in row
    ask(database_url, "update unrevoked_tokens set next_at = now() returning 1")
    async with run_gateway() as gateway:
        await eventually(lambda: refresh in provider.revoked)
        await eventually(lambda: ask(database_url, KEPT) == [(0,)])
        assert await Person(Project(gateway, "demo"), provider).state() == "none"


async def test_two_gateways_tell_it_once(
    run_gateway: Running, provider: FakeProvider, base_container: FakeContainer, database_url: str
) -> None:
    async with run_gateway() as gateway, run_gateway():
        await taken_away(Person(await gateway.register(base_container.url), provider))
        await eventually(lambda: ask(database_url, KEPT) == [(0,)])
        # The first time, which failed, and then the refresh token and the access token.
        assert len(provider.calls_of("revoke")) == 3


async def test_a_provider_that_stays_away_is_left_and_the_log_says_so(
    person: Person, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await person.connected()
    person.provider.answers["revoke"] = [AWAY] * 20
    assert (await person.call("DELETE", "")).json["revocation"]["outcome"] == "retrying"
    await eventually(lambda: "told in vain" in caplog.text)
    assert ask(database_url, KEPT) == [(0,)]
    assert len(person.provider.calls_of("revoke")) == 1 + len(unrevoked.PAUSES)


async def test_what_a_gateway_died_over_is_not_tried_for_ever(
    person: Person, database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unrevoked, "PAUSES", (60.0, 0.1, 0.1))
    await taken_away(person)
    ask(database_url, "update unrevoked_tokens set attempts = 3, next_at = now() returning 1")
    await eventually(lambda: ask(database_url, KEPT) == [(0,)])
    await eventually(lambda: "told in vain" in caplog.text)
    assert len(person.provider.calls_of("revoke")) == 1


async def test_a_provider_that_refuses_is_not_asked_again(person: Person, database_url: str) -> None:
    await person.connected()
    person.provider.answers["revoke"] = [AWAY, Answer({"error": "invalid_client"}, 401), Answer({"error": "x"}, 400)]
    await person.call("DELETE", "")
    await eventually(lambda: ask(database_url, KEPT) == [(0,)])
    assert len(person.provider.calls_of("revoke")) == 3
