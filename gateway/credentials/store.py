"""Users' credentials for agents, as rows: sealed on the way in, opened one at a time.

An ``AgentAuthToken`` has no readable secret. Each change gets a ``version`` higher than all before in the table, so
that slow work on an older one (a refresh takes seconds) overwrites nothing newer.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from gateway.credentials.catalogue import Catalogue, Injection
from gateway.credentials.vault import Place, Sealed, Vault
from gateway.db.pool import Database, Row, Transaction

#: A token this close to its expiry counts as expired, since the agent still has to use it.
EXPIRY_SKEW = timedelta(seconds=60)
ACCESS_TOKEN, REFRESH_TOKEN = "access_token", "refresh_token"
#: Kinds of credential: an API key, an OAuth token, a token that the user pasted.
API_KEY, OAUTH, TOKEN = TOKEN_TYPES = ("api_key", "oauth", "token")
AUTHORIZED, NEEDS_REAUTH = "authorized", "needs_reauth"


@attrs.frozen(kw_only=True)
class AgentAuthToken:
    """A user's credential for an agent, sealed."""

    user_id: str
    agent_id: str
    #: One of TOKEN_TYPES.
    token_type: str
    sealed_access_token: Sealed = attrs.field(repr=False)
    sealed_refresh_token: Sealed | None = attrs.field(default=None, repr=False)
    #: The provider's configured name; None if it cannot be refreshed.
    provider_id: str | None = None
    #: The user's name at the provider.
    subject: str | None = None
    scopes: tuple[str, ...] = ()
    #: None: it does not expire, as far as is known.
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    #: ``authorized``, or ``needs_reauth``: the user must connect the account again.
    state: str = AUTHORIZED
    state_reason: str | None = None
    version: int
    #: Distinguishes secrets without revealing anything.
    fingerprint: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_row(cls, row: Row) -> "AgentAuthToken":
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        refresh = row["sealed_refresh_token"]
        return cls(
            **values
            | {
                "sealed_access_token": Sealed(row["sealed_access_token"]),
                "sealed_refresh_token": None if refresh is None else Sealed(refresh),
                "scopes": tuple(row["scopes"]),
            }
        )

    def is_expired(self, now: datetime | None = None) -> bool:
        """Whether it expires within a minute, or has."""
        return self.expires_at is not None and self.expires_at <= (now or datetime.now(UTC)) + EXPIRY_SKEW

    def is_usable(self, now: datetime | None = None) -> bool:
        """Whether an agent can be given it, perhaps after a refresh."""
        if self.state != AUTHORIZED:
            return False
        return not self.is_expired(now) or self._can_be_refreshed(now or datetime.now(UTC))

    def _can_be_refreshed(self, now: datetime) -> bool:
        ended = self.refresh_expires_at is not None and self.refresh_expires_at <= now
        return self.sealed_refresh_token is not None and not ended


class Credentials:
    """All credentials; a user has one per agent.

    Storing raises ``VaultNotConfigured`` without a key, opening ``VaultKeyMissing`` or ``SecretUnreadable``.
    """

    def __init__(self, database: Database, vault: Vault, catalogue: Catalogue | None = None) -> None:
        self._database = database
        self._catalogue = catalogue or Catalogue()
        self._vault = vault

    async def get_agent_auth_token(self, user_id: str, agent_id: str) -> AgentAuthToken | None:
        row = await self._database.fetch_one("get_agent_auth_token", user_id=user_id, agent_id=agent_id)
        return AgentAuthToken.from_row(row) if row else None

    async def page(self, user_id: str, *, after: str | None, limit: int) -> list[AgentAuthToken]:
        """A user's, by agent, after the one for an agent."""
        rows = await self._database.fetch_all("list_agent_auth_tokens", user_id=user_id, after=after, limit=limit)
        return [AgentAuthToken.from_row(row) for row in rows]

    async def save_agent_auth_token(
        self,
        user_id: str,
        agent_id: str,
        *,
        token_type: str,
        access_token: str,
        refresh_token: str | None = None,
        provider_id: str | None = None,
        subject: str | None = None,
        scopes: Iterable[str] = (),
        expires_at: datetime | None = None,
        refresh_expires_at: datetime | None = None,
        within: Transaction | None = None,
    ) -> AgentAuthToken:
        """Store a credential in the place of the user's former one for this agent, whatever became of that."""
        row = await (within or self._database).fetch_one(
            "save_agent_auth_token",
            user_id=user_id,
            agent_id=agent_id,
            token_type=token_type,
            provider_id=provider_id,
            subject=subject,
            scopes=list(scopes),
            expires_at=expires_at,
            refresh_expires_at=refresh_expires_at,
            **self._sealed(user_id, agent_id, access_token, refresh_token),
        )
        assert row is not None
        return AgentAuthToken.from_row(row)

    async def replace_tokens(
        self,
        token: AgentAuthToken,
        access_token: str,
        refresh_token: str | None = None,
        expires_at: datetime | None = None,
        scopes: Iterable[str] | None = None,
        refresh_expires_at: datetime | None = None,
    ) -> bool:
        """Store what a refresh of ``token`` gave; False, and nothing changed, where it is no longer as it was.

        Without a new refresh token the old one stays (RFC 6749 6), and so do the scopes where none are told.
        """
        kept = refresh_token is None
        if refresh_token is None:
            refresh_token = self.open_refresh_token(token)
        changed = await self._database.execute(
            "replace_agent_auth_tokens",
            user_id=token.user_id,
            agent_id=token.agent_id,
            version=token.version,
            expires_at=expires_at,
            scopes=list(token.scopes if scopes is None else scopes),
            refresh_expires_at=refresh_expires_at or (token.refresh_expires_at if kept else None),
            **self._sealed(token.user_id, token.agent_id, access_token, refresh_token),
        )
        return changed > 0

    async def mark_needs_reauth(self, token: AgentAuthToken, reason: str) -> bool:
        """Say that only a person can renew it; False where it is no longer as it was. ``reason`` holds no secret."""
        changed = await self._database.execute(
            "mark_agent_auth_token",
            user_id=token.user_id,
            agent_id=token.agent_id,
            version=token.version,
            state=NEEDS_REAUTH,
            reason=reason,
        )
        return changed > 0

    async def delete_agent_auth_token(self, user_id: str, agent_id: str, *, within: Transaction | None = None) -> bool:
        """Forget the credential; False where there was none."""
        whose = {"user_id": user_id, "agent_id": agent_id}
        return await (within or self._database).execute("delete_agent_auth_token", **whose) > 0

    async def is_agent_authenticated(self, user_id: str, agent_id: str) -> bool:
        """Whether the user has a credential for the agent that can be used."""
        token = await self.get_agent_auth_token(user_id, agent_id)
        return token is not None and token.is_usable()

    def is_token_expired(self, token: AgentAuthToken) -> bool:
        """Whether it needs a refresh."""
        return token.is_expired()

    def kinds_for_agent(self, agent_id: str, declared: Sequence[str] = ()) -> list[str]:
        """The kinds of credential that the agent takes. ``declared``: as its container lists it."""
        return self._catalogue.kinds(agent_id, declared)

    def way_for_agent(self, agent_id: str, token: AgentAuthToken, declared: Sequence[str] = ()) -> Injection | None:
        """How the agent takes this credential, not filled in; None if it does not."""
        return self._injection(agent_id, token, "", declared)

    def get_env_vars_for_agent(
        self, agent_id: str, token: AgentAuthToken, declared: Sequence[str] = ()
    ) -> Injection | None:
        """What gives the agent this credential, filled in; None if it does not take it."""
        return self._injection(agent_id, token, self.open_access_token(token), declared)

    def _injection(
        self, agent_id: str, token: AgentAuthToken, secret: str, declared: Sequence[str]
    ) -> Injection | None:
        return self._catalogue.injection(
            *(agent_id, token.token_type, secret),
            provider=token.provider_id,
            expires_at=token.expires_at,
            declared=declared,
        )

    def open_access_token(self, token: AgentAuthToken) -> str:
        return self.open_given_secret(token.user_id, token.agent_id, token.sealed_access_token)

    def open_given_secret(self, user_id: str, agent_id: str, sealed: Sealed) -> str:
        """An access token that is, or was, a user's credential for an agent."""
        return self._vault.open(sealed, Place.of_credential(user_id, agent_id, ACCESS_TOKEN)).decode()

    def open_refresh_token(self, token: AgentAuthToken) -> str | None:
        if token.sealed_refresh_token is None:
            return None
        place = Place.of_credential(token.user_id, token.agent_id, REFRESH_TOKEN)
        return self._vault.open(token.sealed_refresh_token, place).decode()

    def _sealed(self, user_id: str, agent_id: str, access_token: str, refresh_token: str | None) -> dict[str, object]:
        """The columns that a credential's secrets are stored in: nothing readable ever becomes a parameter."""
        access = self._vault.seal(access_token.encode(), Place.of_credential(user_id, agent_id, ACCESS_TOKEN))
        place = Place.of_credential(user_id, agent_id, REFRESH_TOKEN)
        refresh = None if refresh_token is None else self._vault.seal(refresh_token.encode(), place)
        return {
            "sealed_access_token": access.ciphertext,
            "sealed_refresh_token": refresh.ciphertext if refresh else None,
            "key_id": access.key_id,
            "fingerprint": self._vault.fingerprint(access_token.encode(), user_id),
        }
