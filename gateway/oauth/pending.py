"""Pending logins: what a login needs until it ends, and how it ended. Its secrets are sealed, its state is a hash."""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

import attrs

from gateway.credentials.vault import Place, Sealed, Vault
from gateway.db.pool import Database, Row, Transaction
from gateway.oauth.protocol.device import Polling
from gateway.oauth.protocol.outcomes import DeviceGranted
from gateway.oauth.protocol.pkce import hash_of

T = TypeVar("T")

#: RFC 6749 4.1.2 wants codes to be short-lived; who logs in needs some minutes.
LOGIN_SECONDS = 600.0
#: A login whose gateway died while the code was being exchanged counts as not completed after this.
GRACE_SECONDS = 60.0
#: The flow of a login that the agent's own container runs.
AGENTS_OWN = "agent"
PENDING, ARRIVED, EXCHANGING, AUTHORIZED = "pending", "arrived", "exchanging", "authorized"
LIVE = (PENDING, ARRIVED, EXCHANGING)


@attrs.frozen(kw_only=True)
class For:
    """Whose login it is, for which agent, begun in which project."""

    user_id: str
    project_id: str
    agent_id: str


@attrs.frozen(kw_only=True)
class Login:
    """A login at a provider, under way or ended."""

    id: str
    user_id: str
    project_id: str
    agent_id: str
    provider_id: str
    flow: str
    state: str
    code: str | None
    detail: str | None
    scopes: tuple[str, ...]
    expires_at: datetime
    created_at: datetime
    ended_at: datetime | None
    redirect_uri: str | None
    user_code: str | None
    verification_uri: str | None
    verification_uri_complete: str | None
    poll_interval: float | None
    poll_failures: int
    sealed_verifier: bytes | None = attrs.field(repr=False)
    sealed_code: bytes | None = attrs.field(repr=False)
    sealed_device_code: bytes | None = attrs.field(repr=False)
    #: The database's clock when this was read.
    now: datetime

    @classmethod
    def from_row(cls, row: Row) -> "Login":
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        return cls(**values | {"scopes": tuple(row["scopes"])})

    @property
    def whose(self) -> For:
        return For(user_id=self.user_id, project_id=self.project_id, agent_id=self.agent_id)

    @property
    def is_live(self) -> bool:
        return self.state in LIVE and self.expires_at > self.now

    @property
    def polling(self) -> Polling:
        """A device login's questions, now that one is due."""
        assert self.poll_interval is not None
        return Polling(
            interval=self.poll_interval, next_at=self.now, expires_at=self.expires_at, failures=self.poll_failures
        )

    def place(self, field: str) -> Place:
        """Where a secret of it is sealed: moved to another person's login, it does not open."""
        row = (self.id, self.user_id, self.project_id, self.agent_id, self.provider_id)
        return Place(table="pending_logins", row=row, field=field)


class PendingLogins:
    """All logins in one database."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def begin(
        self,
        whose: For,
        *,
        provider_id: str,
        flow: str,
        scopes: tuple[str, ...] = (),
        lasts: float = LOGIN_SECONDS,
        state: str | None = None,
        verifier: str | None = None,
        redirect_uri: str | None = None,
        device: DeviceGranted | None = None,
        verification_uri: str | None = None,
        user_code: str | None = None,
        token_id: str | None = None,
    ) -> Login:
        """A new login, in the place of the person's former one for this agent.

        ``token_id``: the API token that it was begun with. Once that is revoked nobody completes the login.
        """
        login_id = f"lgn_{secrets.token_hex(10)}"
        bound = (login_id, whose.user_id, whose.project_id, whose.agent_id, provider_id)

        def sealed(field: str, secret: str | None) -> bytes | None:
            place = Place(table="pending_logins", row=bound, field=field)
            return None if secret is None else self._vault.seal(secret.encode(), place).ciphertext

        columns = {
            **attrs.asdict(whose),
            "id": login_id,
            "provider_id": provider_id,
            "flow": flow,
            "scopes": list(scopes),
            "lasts": lasts,
            "token_id": token_id,
            "state_hash": None if state is None else hash_of(state),
            "redirect_uri": redirect_uri,
            "sealed_verifier": sealed("verifier", verifier),
            "sealed_device_code": sealed("device_code", device.device_code if device else None),
            "user_code": device.user_code if device else user_code,
            "verification_uri": device.verification_uri if device else verification_uri,
            "verification_uri_complete": device.verification_uri_complete if device else None,
            "poll_interval": device.interval if device else None,
        }

        async def work(transaction: Transaction) -> Row:
            await transaction.execute("supersede_login", user_id=whose.user_id, agent_id=whose.agent_id)
            row = await transaction.fetch_one("insert_login", **columns)
            assert row is not None
            return row

        return Login.from_row(await self._database.transaction(work))

    async def newest(self, user_id: str, agent_id: str) -> Login | None:
        return _login(await self._database.fetch_one("get_newest_login", user_id=user_id, agent_id=agent_id))

    async def by_state(self, state: str) -> Login | None:
        return _login(await self._database.fetch_one("find_login_by_state", state_hash=hash_of(state)))

    async def by_page(self, ticket: str) -> Login | None:
        return _login(await self._database.fetch_one("find_login_by_page", page_hash=hash_of(ticket)))

    async def waiting_for_code(self, user_id: str) -> list[Login]:
        rows = await self._database.fetch_all("list_pending_code_logins", user_id=user_id)
        return [Login.from_row(row) for row in rows]

    async def take(
        self, login: Login, state: str, *, code: str | None = None, page_ticket: str | None = None
    ) -> Login | None:
        """The login, for whoever is first to bring it on to ``state``; None for all others."""
        sealed = None if code is None else self._vault.seal(code.encode(), login.place("code")).ciphertext
        row = await self._database.fetch_one(
            "take_login",
            id=login.id,
            was=login.state,
            state=state,
            sealed_code=sealed,
            page_hash=None if page_ticket is None else hash_of(page_ticket),
        )
        return _login(row)

    async def end(
        self,
        login: Login,
        state: str,
        *,
        code: str | None = None,
        detail: str | None = None,
        page_ticket: str | None = None,
    ) -> Login | None:
        """How it ended; None where it had ended already."""
        row = await self._database.fetch_one(
            "end_login",
            id=login.id,
            state=state,
            code=code,
            detail=detail,
            page_hash=None if page_ticket is None else hash_of(page_ticket),
        )
        return _login(row)

    async def authorize(self, login: Login, save: Callable[[Transaction], Awaitable[T]]) -> T | None:
        """End it with what ``save`` stores, both or neither; None where it had ended already."""

        async def work(transaction: Transaction) -> T | None:
            # First, so that whoever ends it otherwise at the same moment waits for this, or is waited for.
            end = {"id": login.id, "state": AUTHORIZED, "code": None, "detail": None, "page_hash": None}
            if await transaction.fetch_one("end_login", **end) is None:
                return None
            return await save(transaction)

        return await self._database.transaction(work)

    async def cancel(self, user_id: str, agent_id: str) -> bool:
        """End what the person has under way for the agent; False where that is nothing."""
        return await self._database.execute("supersede_login", user_id=user_id, agent_id=agent_id) > 0

    async def claim_due(self, holder: str, *, seconds: float, limit: int) -> Sequence[Login]:
        """Device logins that are to be asked about now, which nobody else asks about for ``seconds``."""
        rows = await self._database.fetch_all("claim_device_logins", holder=holder, seconds=seconds, limit=limit)
        return [Login.from_row(row) for row in rows]

    async def postpone(self, login: Login, polling: Polling, holder: str) -> None:
        await self._database.execute(
            "postpone_device_login",
            id=login.id,
            holder=holder,
            poll_interval=polling.interval,
            poll_failures=polling.failures,
            wait=max(0.0, (polling.next_at - login.now).total_seconds()),
        )

    async def sweep(self) -> None:
        """End those that nobody completed, and delete what is old."""
        await self._database.execute("expire_logins", grace=GRACE_SECONDS)
        await self._database.execute("delete_old_logins")

    def open_verifier(self, login: Login) -> str | None:
        return self._open(login, "verifier", login.sealed_verifier)

    def open_code(self, login: Login) -> str | None:
        return self._open(login, "code", login.sealed_code)

    def open_device_code(self, login: Login) -> str:
        opened = self._open(login, "device_code", login.sealed_device_code)
        assert opened is not None
        return opened

    def _open(self, login: Login, field: str, sealed: bytes | None) -> str | None:
        return None if sealed is None else self._vault.open(Sealed(sealed), login.place(field)).decode()


def _login(row: Row | None) -> Login | None:
    return None if row is None else Login.from_row(row)
