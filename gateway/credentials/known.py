"""The secrets that containers were given, so that what comes back from them can be stored without.

Which ones, the database says: who gives a container a credential is one gateway, who follows it may be another, so that
one learns of it before the container is given anything. Secrets are opened from the vault and kept in memory, a former
one for a while after a newer one took its place: a process may have it still.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

import attrs

from gateway.credentials.store import Credentials
from gateway.db.availability import log_failure
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError
from gateway.wire.masking import Masker, secrets_in

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
#: How long a secret is masked after it was replaced or deleted.
KEPT_SECONDS = 6 * 3600.0

#: Agent and user.
_Whose = tuple[str, str]


@attrs.frozen(kw_only=True)
class _Secret:
    version: int
    texts: frozenset[str] = attrs.field(repr=False)
    #: By the monotonic clock; None: it is in use.
    until: float | None = None


@attrs.define
class _Known:
    """What is known of one project."""

    secrets: dict[_Whose, list[_Secret]] = attrs.field(factory=dict, repr=False)
    masker: Masker = attrs.field(factory=Masker)
    #: When the next of them is forgotten.
    due: float | None = None

    def add(self, whose: _Whose, version: int, texts: frozenset[str]) -> None:
        until = time.monotonic() + KEPT_SECONDS
        former = [
            attrs.evolve(secret, until=secret.until or until)
            for secret in self.secrets.get(whose, [])
            if secret.version != version
        ]
        self.secrets[whose] = [*former, _Secret(version=version, texts=texts)]
        self.sort_out()

    def newest(self, whose: _Whose) -> int:
        return max((secret.version for secret in self.secrets.get(whose, [])), default=-1)

    def sort_out(self) -> None:
        """Forget what is due, and mask the rest."""
        now = time.monotonic()
        for whose, secrets in self.secrets.items():
            self.secrets[whose] = [secret for secret in secrets if secret.until is None or secret.until > now]
        kept = [secret for secrets in self.secrets.values() for secret in secrets]
        self.due = min((secret.until for secret in kept if secret.until is not None), default=None)
        self.masker = Masker(text for secret in kept for text in secret.texts)


class KnownSecrets:
    """The secrets of all projects that this process works for. ``keep_up`` is its task."""

    def __init__(self, database: Database, credentials: Credentials, *, gateway_id: str) -> None:
        self._database = database
        self._credentials = credentials
        self._gateway_id = gateway_id
        self._projects: dict[str, _Known] = {}

    def masker(self, project_id: str) -> Masker:
        """What takes a project's secrets out, by what is known here; see ``load``."""
        known = self._projects.get(project_id)
        if known is None:
            return _NOTHING
        if known.due is not None and known.due <= time.monotonic():
            known.sort_out()
        return known.masker

    async def mask(self, project_id: str, raw: bytes) -> bytes:
        """An answer of the project's container without its secrets."""
        if project_id not in self._projects:
            await self.load(project_id)
        return self.masker(project_id).mask(raw)

    async def load(self, project_id: str) -> None:
        """Know all that the project's container was given. Its follower does so before it reads."""
        rows = await self._database.fetch_all("given_credentials", project_ids=[project_id])
        self._projects.setdefault(project_id, _Known())
        await self._learn(rows)

    def learn(self, project_id: str, agent_id: str, user_id: str, version: int, secret: str) -> None:
        """Know a secret that this process is about to give."""
        known = self._projects.setdefault(project_id, _Known())
        if known.newest((agent_id, user_id)) < version:
            known.add((agent_id, user_id), version, secrets_in(secret))

    async def keep_up(self) -> None:
        """Learn what other gateways give, until cancelled."""
        missed = False
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._projects:
                continue
            query = "given_credentials" if missed else "credentials_given_lately"
            try:
                await self._learn(await self._database.fetch_all(query, project_ids=list(self._projects)))
                missed = False
            except GatewayError as exc:
                missed = True
                log_failure(logger, "not known what containers were given", exc)

    async def _learn(self, rows: Iterable[Row]) -> None:
        learned: list[Row] = []
        for row in rows:
            known = self._projects.get(row["project_id"])
            if known is None:
                continue
            if known.newest((row["agent_id"], row["user_id"])) < row["version"]:
                await self._open(row)
            learned.append(row)
        if learned:
            await self._database.execute(
                "set_credential_known",
                gateway_id=self._gateway_id,
                project_ids=[row["project_id"] for row in learned],
                agent_ids=[row["agent_id"] for row in learned],
                user_ids=[row["user_id"] for row in learned],
                versions=[row["version"] for row in learned],
            )

    async def _open(self, row: Row) -> None:
        token = await self._credentials.get_agent_auth_token(row["user_id"], row["agent_id"])
        if token is None:
            return
        try:
            secret = self._credentials.open_access_token(token)
        except GatewayError as exc:
            # Nobody can give it away, then, either.
            logger.error("a secret cannot be opened to be masked", extra={"agent": row["agent_id"], "error": str(exc)})
            return
        self.learn(row["project_id"], row["agent_id"], row["user_id"], token.version, secret)


_NOTHING = Masker()
