"""Users' tokens for agents, as rows: sealed bytes in, sealed bytes out. A store cannot leak what it never sees.

Nothing can seal yet, so nothing is stored yet.
"""

from datetime import UTC, datetime, timedelta

import attrs

from gateway.db.pool import Database, Row

#: A token this close to its end is taken for expired: it must still hold when the agent uses it.
EXPIRY_SKEW = timedelta(seconds=60)


@attrs.frozen(kw_only=True)
class AgentAuthToken:
    """A user's token for an agent, sealed under the key ``key_id``."""

    user_id: str
    agent_id: str
    #: api_key or oauth
    token_type: str
    sealed_access_token: bytes = attrs.field(repr=False)
    sealed_refresh_token: bytes | None = attrs.field(default=None, repr=False)
    key_id: str
    scopes: tuple[str, ...] = ()
    #: None: it does not expire.
    expires_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Row) -> "AgentAuthToken":
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        return cls(**values | {"scopes": tuple(row["scopes"])})

    def is_expired(self, now: datetime | None = None) -> bool:
        """Whether it needs a refresh: its end has come, or comes within a minute."""
        return self.expires_at is not None and self.expires_at <= (now or datetime.now(UTC)) + EXPIRY_SKEW

    def is_usable(self, now: datetime | None = None) -> bool:
        """Whether an agent can be given it, if need be after a refresh."""
        return not self.is_expired(now) or self.sealed_refresh_token is not None


class AgentAuthTokens:
    """All tokens in one database; a user has one for each agent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: str, agent_id: str) -> AgentAuthToken | None:
        row = await self._database.fetch_one("get_agent_auth_token", user_id=user_id, agent_id=agent_id)
        return AgentAuthToken.from_row(row) if row else None

    async def save(self, token: AgentAuthToken) -> None:
        """Store the token in place of the user's former one for this agent."""
        values = attrs.asdict(token, recurse=False) | {"scopes": list(token.scopes)}
        await self._database.execute("save_agent_auth_token", **values)

    async def delete(self, user_id: str, agent_id: str) -> bool:
        """Forget the token; False where there was none."""
        return await self._database.execute("delete_agent_auth_token", user_id=user_id, agent_id=agent_id) > 0

    async def is_authenticated(self, user_id: str, agent_id: str) -> bool:
        """Whether the user has a token for the agent that can be used."""
        token = await self.get(user_id, agent_id)
        return token is not None and token.is_usable()
