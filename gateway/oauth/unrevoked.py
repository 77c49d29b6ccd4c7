"""Tokens that are over here, and whose provider is to be told: kept sealed until it is, for a few tries."""

import secrets
from collections.abc import Sequence

import attrs

from gateway.credentials.store import ACCESS_TOKEN, REFRESH_TOKEN
from gateway.credentials.vault import Place, Sealed, Vault
from gateway.db.pool import Database, Row, Transaction

#: Seconds before each try after the first.
PAUSES = (5.0, 30.0, 120.0, 600.0)
#: Seconds after which another gateway goes on with a try; none takes as long.
CLAIM_SECONDS = 120.0


@attrs.frozen(kw_only=True)
class Unrevoked:
    """One credential's tokens, to be revoked again."""

    id: str
    provider_id: str
    sealed_access_token: Sealed = attrs.field(repr=False)
    sealed_refresh_token: Sealed | None = attrs.field(repr=False)
    #: Tries that have begun after the first, this one included.
    attempts: int

    @property
    def tries_left(self) -> int:
        """After this one; below 0 where the gateway died that made the last."""
        return len(PAUSES) - self.attempts

    @classmethod
    def from_row(cls, row: Row) -> "Unrevoked":
        refresh = row["sealed_refresh_token"]
        return cls(
            id=row["id"],
            provider_id=row["provider_id"],
            sealed_access_token=Sealed(row["sealed_access_token"]),
            sealed_refresh_token=None if refresh is None else Sealed(refresh),
            attempts=row["attempts"],
        )


class UnrevokedTokens:
    """All of them, in the database."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def add(
        self,
        provider_id: str,
        access_token: str,
        refresh_token: str | None,
        *,
        is_due: bool = False,
        within: Transaction | None = None,
    ) -> Unrevoked:
        """Keep them, for this gateway to tell their provider; if they are due, for any."""
        id = f"unr_{secrets.token_hex(10)}"
        access = self._vault.seal(access_token.encode(), _place(id, provider_id, ACCESS_TOKEN))
        refresh = None
        if refresh_token is not None:
            refresh = self._vault.seal(refresh_token.encode(), _place(id, provider_id, REFRESH_TOKEN))
        row = await (within or self._database).fetch_one(
            "insert_unrevoked_tokens",
            id=id,
            provider_id=provider_id,
            sealed_access_token=access.ciphertext,
            sealed_refresh_token=refresh.ciphertext if refresh else None,
            key_id=access.key_id,
            wait=0.0 if is_due else CLAIM_SECONDS,
        )
        assert row is not None
        return Unrevoked.from_row(row)

    async def postpone(self, tokens: Unrevoked) -> None:
        """A try that was not the last came to nothing."""
        await self._database.execute("postpone_unrevoked_tokens", id=tokens.id, wait=PAUSES[tokens.attempts])

    async def claim_due(self, limit: int) -> Sequence[Unrevoked]:
        """Those whose next try is due, for whoever asks first; unless told otherwise they are due again later."""
        rows = await self._database.fetch_all("claim_unrevoked_tokens", seconds=CLAIM_SECONDS, limit=limit)
        return [Unrevoked.from_row(row) for row in rows]

    async def forget(self, tokens: Unrevoked) -> None:
        await self._database.execute("delete_unrevoked_tokens", id=tokens.id)

    def opened(self, tokens: Unrevoked) -> tuple[str, str | None]:
        """The access token, and the refresh token if there is one."""
        access = self._vault.open(tokens.sealed_access_token, _place(tokens.id, tokens.provider_id, ACCESS_TOKEN))
        if tokens.sealed_refresh_token is None:
            return access.decode(), None
        refresh = self._vault.open(tokens.sealed_refresh_token, _place(tokens.id, tokens.provider_id, REFRESH_TOKEN))
        return access.decode(), refresh.decode()


def _place(id: str, provider_id: str, field: str) -> Place:
    return Place(table="unrevoked_tokens", row=(id, provider_id), field=field)
