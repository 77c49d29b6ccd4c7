"""When credentials are renewed, and what becomes of a renewal that nobody brings to its end."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.credentials.room import CREDENTIALS
from gateway.credentials.store import AgentAuthToken
from gateway.credentials.vault import Sealed
from gateway.errors import AuthRequired, ReauthRequired
from gateway.oauth import due
from gateway.oauth.due import LEAST_AGE, backoff, due_at
from gateway.oauth.room import OAUTH
from tests.fakes.eventually import until
from tests.fakes.provider import Answer
from tests.oauth.person import Person
from tests.oauth.samples import NOW


def token(lifetime: float | None, version: int = 1, user: str = "u") -> AgentAuthToken:
    return AgentAuthToken(
        user_id=user,
        agent_id="a",
        token_type="oauth",
        sealed_access_token=Sealed(b""),
        expires_at=None if lifetime is None else NOW + timedelta(seconds=lifetime),
        version=version,
        fingerprint="",
        created_at=NOW,
        updated_at=NOW,
    )


@given(st.floats(0, 10**8), st.integers(0, 10**6), st.text(max_size=5))
def test_a_token_is_due_ahead_of_its_end_by_a_tenth_or_a_minute(lifetime: float, version: int, user: str) -> None:
    at = due_at(token(lifetime, version, user), skew=60)
    assert at is not None
    left = (NOW + timedelta(seconds=lifetime) - at).total_seconds()
    lead = min(max(60, lifetime / 10), lifetime / 2)
    if lifetime > 20:
        assert lead - 1 <= left <= lead * 1.25 + 1
    # Never the moment that it was given, so that one which is over when it arrives is not renewed without end.
    assert at >= NOW + LEAST_AGE


def test_not_all_are_due_at_once_and_each_at_the_same_time_wherever_it_is_asked() -> None:
    times = [due_at(token(3600, version), skew=60) for version in range(100)]
    assert len(set(times)) > 90
    assert times == [due_at(token(3600, version), skew=60) for version in range(100)]


def test_a_token_without_an_end_is_never_due() -> None:
    assert due_at(token(None), skew=60) is None


def test_a_provider_that_does_not_answer_is_asked_less_and_less_often() -> None:
    waits = [backoff(attempts, None) for attempts in range(20)]
    assert 4 <= waits[0] <= 6
    assert all(later > earlier for earlier, later in pairwise(waits[:6]))
    assert max(waits) <= 360
    assert backoff(0, 500.0) == 500.0


async def test_who_has_connected_nothing_is_told_so(person: Person) -> None:
    with pytest.raises(AuthRequired, match="connected no account"):
        await person.fresh()


async def test_a_gateway_that_dies_while_it_renews_leaves_the_truth_behind(person: Person) -> None:
    await person.connected()
    person.age(expires_in=1)
    # It has asked the provider, which has renewed, and is gone before it could store anything.
    _, refresh = await person.secrets() or ("", "")
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    async with person.gateway.http.post(f"{person.provider.url}/token", data=form) as response:
        assert response.status == 200
    held(person, "dead", seconds=-1)
    with pytest.raises(ReauthRequired, match="was lost on its way"):
        await person.fresh()
    assert await person.state() == "needs_reauth"


async def test_whoever_needs_a_credential_waits_for_the_gateway_that_renews_it(person: Person) -> None:
    await person.connected()
    person.age(expires_in=1)
    held(person, "other", seconds=1)
    before = await person.secrets()
    await person.fresh()
    # The other one has not come back, so this one has done it.
    assert await person.secrets() != before


async def test_what_has_ended_and_cannot_be_renewed_wants_its_person(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.oauth.refresh.REVIEW_SECONDS", 0.1)
    person.agent = "claude-code"
    ends = {"token": "sk-ant-api-1", "expiresAt": "2099-01-01T00:00:00Z"}
    assert (await person.call("POST", "/token", ends)).json["state"] == "authorized"
    person.age(expires_in=-1)
    with pytest.raises(ReauthRequired, match="cannot be renewed"):
        await person.fresh()
    assert (await person.status())["state"] == "needs_reauth"


async def test_each_try_to_renew_is_counted_by_how_it_ended(person: Person) -> None:
    await person.connected()
    person.age(expires_in=1)
    person.provider.answers["token"] = [Answer({}, 503)]
    await person.fresh()
    await person.connected()
    person.age(expires_in=1)
    await person.fresh()
    figures = (await person.gateway.call("GET", "/metrics")).body.decode()
    assert 'acp_gateway_credential_refreshes_total{outcome="postponed"} 1' in figures
    assert 'acp_gateway_credential_refreshes_total{outcome="renewed"} 1' in figures


async def test_who_listens_is_told_of_each_renewal(person: Person) -> None:
    heard: list[tuple[str, str]] = []

    async def listen(user_id: str, agent_id: str) -> None:
        heard.append((user_id, agent_id))

    person.gateway.app[OAUTH].refresher.on_renewed(listen)
    await person.connected()
    person.age(expires_in=1)
    await person.fresh()
    await until(lambda: _is(heard, [("local", "demo")]))
    await person.fresh()
    assert heard == [("local", "demo")]


async def test_a_refusal_that_is_the_operators_to_mend_costs_nobody_their_account(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "MIN_BACKOFF", 0.05)
    await person.connected()
    person.age(expires_in=1)
    person.provider.answers["token"] = [Answer({"error": "invalid_client"}, 401)] * 2
    before = await person.secrets()
    for _ in range(2):
        await person.fresh()
    assert await person.state() == "authorized"

    async def renewed() -> bool:
        await person.fresh()
        return await person.secrets() != before

    await until(renewed)


async def test_the_new_refresh_token_is_stored_before_anybody_has_the_access_token(person: Person) -> None:
    await person.connected()
    person.age(expires_in=1)
    given = await person.fresh()
    row = person.rows("select version from agent_auth_tokens where agent_id = %s", "demo")
    assert row == [(given.version,)]
    assert person.gateway.app[CREDENTIALS].store.open_refresh_token(given) in person.provider.grants.values()


def held(person: Person, holder: str, *, seconds: float) -> None:
    """Another gateway has begun to renew, and holds that for so long."""
    person.rows(
        "insert into credential_renewals (user_id, agent_id, version, holder, held_until, asked) "
        "select user_id, agent_id, version, %s, clock_timestamp() + make_interval(secs => %s), true "
        "from agent_auth_tokens returning 1",
        holder,
        seconds,
    )


async def _is(heard: Any, expected: Any) -> bool:
    return bool(heard == expected)
