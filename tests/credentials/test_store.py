"""Credentials as rows, and where agents look for them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from gateway.credentials.store import API_KEY, NEEDS_REAUTH, OAUTH, AgentAuthToken, Credentials
from gateway.credentials.vault import Sealed
from gateway.db.pool import Database
from gateway.errors import SecretUnreadable
from tests.db.things import ask

ANN = ("ann", "claude-code")
LATER, PAST = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
TOKENS: Mapping[str, Any] = {"token_type": OAUTH, "access_token": "access-1", "refresh_token": "refresh-1"}


async def stored(credentials: Credentials, **changes: Any) -> AgentAuthToken:
    return await credentials.save_agent_auth_token(*ANN, **{**TOKENS, **changes})


async def test_a_saved_credential_comes_back_for_its_user_and_agent_only(credentials: Credentials) -> None:
    saved = await stored(credentials, scopes=["a", "b"], expires_at=LATER, provider_id="anthropic", subject="ann@x")
    assert await credentials.get_agent_auth_token(*ANN) == saved
    assert (saved.scopes, saved.expires_at, saved.provider_id, saved.subject) == (
        ("a", "b"),
        LATER,
        "anthropic",
        "ann@x",
    )
    assert credentials.open_access_token(saved) == "access-1"
    assert credentials.open_refresh_token(saved) == "refresh-1"
    assert await credentials.get_agent_auth_token("bob", "claude-code") is None
    assert await credentials.get_agent_auth_token("ann", "codex") is None
    assert await credentials.page("ann", after=None, limit=2) == [saved]
    assert await credentials.page("bob", after=None, limit=2) == []


async def test_nothing_readable_is_in_the_row(credentials: Credentials, database_url: str) -> None:
    await stored(credentials)
    [(row,)] = ask(
        database_url,
        "select encode(sealed_access_token || sealed_refresh_token, 'escape') || t::text from agent_auth_tokens t",
    )
    assert "access-1" not in row
    assert "refresh-1" not in row


async def test_saving_again_replaces_all_of_it(credentials: Credentials) -> None:
    first = await stored(credentials, expires_at=LATER)
    assert await credentials.mark_needs_reauth(first, "invalid_grant")
    newer = await stored(credentials, access_token="access-2", refresh_token=None)
    found = await credentials.get_agent_auth_token(*ANN)
    assert found == newer
    assert (newer.state, newer.state_reason, newer.expires_at) == ("authorized", None, None)
    assert credentials.open_access_token(newer) == "access-2"
    assert credentials.open_refresh_token(newer) is None
    assert newer.version > first.version
    assert newer.fingerprint != first.fingerprint


async def test_a_refresh_replaces_what_it_had_read(credentials: Credentials) -> None:
    token = await stored(credentials, scopes=["a"])
    assert await credentials.replace_tokens(token, "access-2", "refresh-2", LATER)
    found = await credentials.get_agent_auth_token(*ANN)
    assert found is not None
    assert credentials.open_access_token(found) == "access-2"
    assert credentials.open_refresh_token(found) == "refresh-2"
    assert (found.expires_at, found.scopes) == (LATER, ("a",))


async def test_a_refresh_without_a_new_refresh_token_keeps_the_old_one(credentials: Credentials) -> None:
    token = await stored(credentials, refresh_expires_at=LATER)
    assert await credentials.replace_tokens(token, "access-2", None, LATER, ["b"])
    found = await credentials.get_agent_auth_token(*ANN)
    assert found is not None
    assert credentials.open_refresh_token(found) == "refresh-1"
    assert (found.refresh_expires_at, found.scopes) == (LATER, ("b",))


@pytest.mark.parametrize("meanwhile", ["saved", "refreshed", "marked", "deleted", "deleted and saved"])
async def test_a_refresh_overwrites_nothing_newer_than_what_it_had_read(
    credentials: Credentials, meanwhile: str
) -> None:
    token = await stored(credentials)
    if meanwhile == "refreshed":
        assert await credentials.replace_tokens(token, "newer", "newer")
    if meanwhile == "marked":
        assert await credentials.mark_needs_reauth(token, "revoked")
    if "deleted" in meanwhile:
        assert await credentials.delete_agent_auth_token(*ANN)
    if "saved" in meanwhile:
        await stored(credentials, access_token="newer")
    before = await credentials.get_agent_auth_token(*ANN)
    assert not await credentials.replace_tokens(token, "access-2", "refresh-2", LATER)
    assert not await credentials.mark_needs_reauth(token, "invalid_grant")
    assert await credentials.get_agent_auth_token(*ANN) == before


async def test_a_deleted_credential_is_gone_and_a_second_delete_says_so(credentials: Credentials) -> None:
    await stored(credentials)
    assert await credentials.delete_agent_auth_token(*ANN)
    assert not await credentials.delete_agent_auth_token(*ANN)
    assert not await credentials.is_agent_authenticated(*ANN)


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({"refresh_token": None}, True),
        ({"refresh_token": None, "expires_at": LATER}, True),
        ({"refresh_token": None, "expires_at": PAST}, False),
        ({"expires_at": PAST}, True),
        ({"expires_at": PAST, "refresh_expires_at": LATER}, True),
        ({"expires_at": PAST, "refresh_expires_at": PAST}, False),
    ],
)
async def test_a_user_is_authenticated_with_a_token_that_holds_or_can_be_refreshed(
    credentials: Credentials, changes: dict[str, Any], usable: bool
) -> None:
    await stored(credentials, **changes)
    assert await credentials.is_agent_authenticated(*ANN) == usable


async def test_a_user_whose_credential_needs_a_person_is_not_authenticated(credentials: Credentials) -> None:
    assert await credentials.mark_needs_reauth(await stored(credentials), "invalid_grant")
    found = await credentials.get_agent_auth_token(*ANN)
    assert found is not None
    assert (found.state, found.state_reason) == (NEEDS_REAUTH, "invalid_grant")
    assert not await credentials.is_agent_authenticated(*ANN)


async def test_a_token_within_a_minute_of_its_end_is_expired(credentials: Credentials) -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    token = await stored(credentials)
    assert not token.is_expired(now)
    assert not credentials.is_token_expired(token)
    assert credentials.is_token_expired(attrs.evolve(token, expires_at=now))
    assert attrs.evolve(token, expires_at=now + timedelta(seconds=59)).is_expired(now)
    assert not attrs.evolve(token, expires_at=now + timedelta(seconds=61)).is_expired(now)


#: What somebody who may write to the database could try: the victim's row, or a part of it, as one of another place.
_COPIES = {
    "another user": "insert into agent_auth_tokens (user_id, agent_id, token_type, sealed_access_token,"
    " sealed_refresh_token, key_id, fingerprint) select 'eve', agent_id, token_type, sealed_access_token,"
    " sealed_refresh_token, key_id, fingerprint from agent_auth_tokens",
    "another agent": "insert into agent_auth_tokens (user_id, agent_id, token_type, sealed_access_token,"
    " sealed_refresh_token, key_id, fingerprint) select user_id, 'codex', token_type, sealed_access_token,"
    " sealed_refresh_token, key_id, fingerprint from agent_auth_tokens",
    "the row renamed": "update agent_auth_tokens set user_id = 'eve'",
    "another field": "update agent_auth_tokens set sealed_access_token = sealed_refresh_token,"
    " sealed_refresh_token = sealed_access_token",
}


@pytest.mark.parametrize("copy", _COPIES)
async def test_a_row_copied_to_another_user_agent_or_field_does_not_open(
    credentials: Credentials, database_url: str, copy: str
) -> None:
    await stored(credentials)
    ask(database_url, _COPIES[copy] + " returning 1")
    found = {
        "another agent": await credentials.get_agent_auth_token("ann", "codex"),
        "another field": await credentials.get_agent_auth_token(*ANN),
    }.get(copy) or await credentials.get_agent_auth_token("eve", "claude-code")
    assert found is not None
    with pytest.raises(SecretUnreadable):
        credentials.open_access_token(found)
    with pytest.raises(SecretUnreadable):
        credentials.open_refresh_token(found)


async def test_a_row_of_other_bytes_does_not_open(credentials: Credentials) -> None:
    token = attrs.evolve(await stored(credentials), sealed_access_token=Sealed(b"access-1"))
    with pytest.raises(SecretUnreadable):
        credentials.open_access_token(token)


async def test_no_secret_shows_in_a_repr(credentials: Credentials, database: Database) -> None:
    token = await stored(credentials)
    text = repr(token) + repr(credentials.get_env_vars_for_agent("codex", token))
    assert "access-1" not in text
    assert str(token.sealed_access_token.ciphertext) not in text


async def test_a_token_goes_under_the_name_its_agent_reads_and_its_rivals_are_unset(credentials: Credentials) -> None:
    given = credentials.get_env_vars_for_agent("claude-code", await stored(credentials))
    assert given is not None
    assert given.env["CLAUDE_CODE_OAUTH_TOKEN"] == "access-1"
    assert set(given.unset) >= {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}
    key = await stored(credentials, token_type=API_KEY)
    assert credentials.get_env_vars_for_agent("claude-code", key).env["ANTHROPIC_API_KEY"] == "access-1"
    assert credentials.get_env_vars_for_agent("demo", key) is None
