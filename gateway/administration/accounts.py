"""Stores and disconnects users' accounts for agents."""

from datetime import datetime

import attrs

from gateway.credentials.store import Credentials
from gateway.db.pool import Database, Transaction
from gateway.errors import SecretUnreadable, VaultKeyMissing
from gateway.injection.withdrawals import Withdrawals
from gateway.oauth.pending import For
from gateway.oauth.revoke import Revoked
from gateway.oauth.room import OAuthRoom
from gateway.oauth.unrevoked import Unrevoked
from gateway.tasks import Tasks
from gateway.wire.events import CredentialDisconnected


@attrs.frozen(kw_only=True)
class Disconnected:
    """The result of disconnecting an account."""

    #: There was one.
    deleted: bool
    #: A login was pending.
    cancelled: bool
    #: The provider's answer; None if it was not called.
    revoked: Revoked | None


class Accounts:
    """Each call is completed even if its caller is cancelled."""

    def __init__(
        self, database: Database, credentials: Credentials, oauth: OAuthRoom, withdrawals: Withdrawals, tasks: Tasks
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._oauth = oauth
        self._withdrawals = withdrawals
        self._tasks = tasks

    async def keep(
        self, whose: For, *, token_type: str, secret: str, provider_id: str | None, expires_at: datetime | None
    ) -> None:
        """Store a pasted API key or token. It cancels a pending login."""

        async def work() -> None:
            saved = await self._credentials.save_agent_auth_token(
                whose.user_id,
                whose.agent_id,
                token_type=token_type,
                access_token=secret,
                provider_id=provider_id,
                expires_at=expires_at,
            )
            await self._oauth.logins.pending.cancel(whose.user_id, whose.agent_id)
            await self._oauth.logins.tell_connected(saved, project_id=whose.project_id)

        await self._tasks.complete(work(), name="keep token")

    async def disconnect(self, whose: For) -> Disconnected:
        """Delete the account here, take it back from containers, and revoke it at its provider if possible."""
        return await self._tasks.complete(self._disconnect(whose), name="disconnect")

    async def _disconnect(self, whose: For) -> Disconnected:
        # First: a login that is just completing either has stored its account by then, or stores none.
        cancelled = await self._oauth.logins.pending.cancel(whose.user_id, whose.agent_id)
        known = await self._credentials.get_agent_auth_token(whose.user_id, whose.agent_id)
        provider = self._oauth.providers.get(known.provider_id) if known and known.token_type == "oauth" else None
        secrets: tuple[str, str | None] | None = None
        if known is not None and provider is not None:
            try:
                secrets = self._credentials.open_access_token(known), self._credentials.open_refresh_token(known)
            except (SecretUnreadable, VaultKeyMissing):
                # An unreadable one can be deleted all the same.
                provider = None

        async def work(transaction: Transaction) -> tuple[bool, Unrevoked | None]:
            """All at once: who takes it away may die before its containers and its provider are told."""
            if not await self._credentials.delete_agent_auth_token(whose.user_id, whose.agent_id, within=transaction):
                return False, None
            given = {"project_id": None, "user_id": whose.user_id, "agent_id": whose.agent_id, "has_moved": False}
            await transaction.execute("withdraw_credentials", **given)
            if provider is None or secrets is None:
                return True, None
            return True, await self._oauth.revocation.store(provider.id, *secrets, within=transaction)

        deleted, tokens = await self._database.transaction(work)
        revoked: Revoked | None = None
        if deleted:
            await self._withdrawals.hurry()
        if provider is not None and tokens is not None:
            revoked = await self._oauth.revocation.revoke(provider, tokens)
        if deleted and known is not None:
            told = CredentialDisconnected(user_id=whose.user_id, provider=known.provider_id)
            key = f"credential:{whose.agent_id}:{known.version}:disconnected"
            await self._oauth.news.tell(whose.user_id, whose.agent_id, told, key=key, project_id=whose.project_id)
        return Disconnected(deleted=deleted, cancelled=cancelled, revoked=revoked)
