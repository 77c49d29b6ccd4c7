"""Tokens as rows, and where agents look for them."""

from datetime import UTC, datetime, timedelta

import attrs

from gateway.credentials.inject import API_KEY, OAUTH, environment_for
from gateway.credentials.store import AgentAuthToken, AgentAuthTokens
from gateway.db.pool import Database

TOKEN = AgentAuthToken(
    user_id="ann",
    agent_id="claude-code",
    token_type=OAUTH,
    sealed_access_token=b"\x00sealed\xff",
    key_id="k1",
    scopes=("user:inference",),
)


async def test_a_saved_token_comes_back_for_its_user_and_agent_only(database: Database) -> None:
    tokens = AgentAuthTokens(database)
    await tokens.save(TOKEN)
    assert await tokens.get("ann", "claude-code") == TOKEN
    assert await tokens.get("bob", "claude-code") is None
    assert await tokens.get("ann", "codex") is None


async def test_saving_again_replaces_the_token(database: Database) -> None:
    tokens = AgentAuthTokens(database)
    await tokens.save(TOKEN)
    newer = attrs.evolve(TOKEN, sealed_access_token=b"newer", sealed_refresh_token=b"r", scopes=())
    await tokens.save(newer)
    assert await tokens.get("ann", "claude-code") == newer


async def test_a_deleted_token_is_gone_and_a_second_delete_says_so(database: Database) -> None:
    tokens = AgentAuthTokens(database)
    await tokens.save(TOKEN)
    assert await tokens.delete("ann", "claude-code")
    assert not await tokens.delete("ann", "claude-code")
    assert not await tokens.is_authenticated("ann", "claude-code")


async def test_a_user_is_authenticated_with_a_token_that_holds_or_can_be_refreshed(database: Database) -> None:
    tokens = AgentAuthTokens(database)
    past = datetime.now(UTC) - timedelta(hours=1)
    await tokens.save(TOKEN)
    assert await tokens.is_authenticated("ann", "claude-code")
    await tokens.save(attrs.evolve(TOKEN, expires_at=past))
    assert not await tokens.is_authenticated("ann", "claude-code")
    await tokens.save(attrs.evolve(TOKEN, expires_at=past, sealed_refresh_token=b"r"))
    assert await tokens.is_authenticated("ann", "claude-code")


def test_a_token_within_a_minute_of_its_end_is_expired() -> None:
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert not TOKEN.is_expired(now)
    assert attrs.evolve(TOKEN, expires_at=now + timedelta(seconds=59)).is_expired(now)
    assert not attrs.evolve(TOKEN, expires_at=now + timedelta(seconds=61)).is_expired(now)


def test_a_token_goes_under_the_name_its_agent_reads_and_its_rivals_are_unset() -> None:
    oauth = environment_for("claude-code", OAUTH, "secret")
    assert oauth is not None
    assert oauth.set == {"CLAUDE_CODE_OAUTH_TOKEN": "secret"}
    assert set(oauth.unset) == {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}
    assert environment_for("claude-code", API_KEY, "secret").set == {"ANTHROPIC_API_KEY": "secret"}
    assert environment_for("demo", API_KEY, "secret") is None


def test_no_token_shows_in_a_repr() -> None:
    assert "sealed\\xff" not in repr(TOKEN)
    assert "secret" not in repr(environment_for("codex", API_KEY, "secret"))
