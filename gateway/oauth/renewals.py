"""Which gateway may renew a credential, one at a time by the database's clock, and the results of earlier attempts."""

import attrs

from gateway.credentials.store import AgentAuthToken
from gateway.db.pool import Database
from gateway.db.retry import retry_until_stored

#: How long a gateway tries to store tokens, which a provider returns only once.
STORE_SECONDS = 60.0


@attrs.frozen(kw_only=True)
class Hold:
    """The right to renew a credential.

    ``attempts``: earlier ones for this version; ``unanswered``: one of them may have been carried out without a
    response.
    """

    attempts: int
    unanswered: bool


class Renewals:
    """Renewals in progress, which ``holder`` (unique for a process) claims and releases."""

    def __init__(self, database: Database, *, holder: str, seconds: float) -> None:
        self._database = database
        self._holder = holder
        # Not as long as its gateway is present: after an outage of the database, who has asked must store the answer
        # before another asks.
        self._seconds = seconds

    async def hold(self, token: AgentAuthToken) -> Hold | None:
        """None if another gateway renews it, the next attempt is not due, or the credential has changed."""
        row = await self._database.fetch_one(
            "hold_renewal", **_key(token), version=token.version, holder=self._holder, seconds=self._seconds
        )
        return None if row is None else Hold(attempts=row["attempts"], unanswered=row["unanswered"])

    async def release(
        self, token: AgentAuthToken, *, attempts: int = 0, wait: float = 0.0, unanswered: bool = False
    ) -> None:
        """Release it after ``attempts`` of this version; the next is due after ``wait`` seconds."""

        async def work() -> int:
            return await self._database.execute(
                "release_renewal",
                **_key(token),
                holder=self._holder,
                attempts=attempts,
                wait=wait,
                unanswered=unanswered,
            )

        await retry_until_stored(work, seconds=STORE_SECONDS)

    async def wait_before(self, token: AgentAuthToken) -> float | None:
        """Seconds until the next attempt; None if another gateway renews it, or the credential has changed."""
        row = await self._database.fetch_one("get_renewal", **_key(token))
        if row is None or row["held"] or row["version"] != token.version:
            return None
        return float(row["wait"]) if row["wait"] else None


def _key(token: AgentAuthToken) -> dict[str, str]:
    return {"user_id": token.user_id, "agent_id": token.agent_id}
