"""The secrets that containers were given, so that they can be masked in what comes back.

The database has them, because one gateway may give a credential and another follow the container, which must know it
first. They are sealed, each version as given, and former ones stay while something may run with them.
"""

import logging
import time
from collections.abc import Iterable, Set

import attrs

from gateway.credentials.store import AgentAuthToken, Credentials
from gateway.credentials.vault import Sealed
from gateway.db.every import every
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError
from gateway.tasks import in_slices
from gateway.wire.masking import Masker, secrets_in

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
#: How often secrets that are no longer needed are looked for.
FORGET_SECONDS = 600.0
#: How long a secret is masked at least after its replacement or deletion.
KEPT_SECONDS = 6 * 3600.0
#: Former secrets per user and agent that are masked for older sessions; more would slow down all events.
MOST_FORMER = 100
#: Texts of secrets that the gateway itself sends to a project's container which are masked, former ones included.
MOST_SENT = 50
#: How long a secret may be known here before it is in the database.
UNWRITTEN_SECONDS = 60.0

#: Letters alone are taken for a word below this length.
_LONGEST_WORD = 20

#: Agent and user.
_Whose = tuple[str, str]


@attrs.frozen(kw_only=True)
class _Secret:
    texts: frozenset[str] = attrs.field(repr=False)
    #: When it was learned, by the monotonic clock.
    since: float


@attrs.define
class Known:
    """The known secrets of one project."""

    secrets: dict[tuple[_Whose, int], _Secret] = attrs.field(factory=dict, repr=False)
    #: What the gateway itself sends to the container, and when it did so last: what was changed stays valid there until
    #: the container is restarted.
    sent: dict[str, float] = attrs.field(factory=dict, repr=False)
    #: Whether these are all secrets of the project's container, and not only those about to be given.
    is_loaded: bool = False
    _masker: Masker | None = None

    @property
    def masker(self) -> Masker:
        if self._masker is None:
            self._masker = Masker(frozenset(self.sent).union(*(secret.texts for secret in self.secrets.values())))
        return self._masker

    def add(self, whose: _Whose, version: int, texts: frozenset[str]) -> None:
        self.secrets[whose, version] = _Secret(texts=texts, since=time.monotonic())
        self._masker = None

    def add_sent(self, texts: frozenset[str]) -> None:
        if not texts <= self.sent.keys():
            self._masker = None
        self.sent |= dict.fromkeys(texts, time.monotonic())
        if len(self.sent) > MOST_SENT:
            self.sent = dict(sorted(self.sent.items(), key=lambda item: item[1])[-MOST_SENT:])

    def keep(self, written: Set[tuple[_Whose, int]]) -> None:
        """Forget what is not in the database, except what may be written at any moment."""
        latest = time.monotonic() - UNWRITTEN_SECONDS
        kept = {key: secret for key, secret in self.secrets.items() if key in written or secret.since > latest}
        oldest = time.monotonic() - KEPT_SECONDS
        sent = {text: at for text, at in self.sent.items() if at > oldest}
        if (len(kept), len(sent)) != (len(self.secrets), len(self.sent)):
            self.secrets, self.sent, self._masker = kept, sent, None


class KnownSecrets:
    """The secrets of all projects that this process works for. ``keep_up`` and ``forget`` are its tasks."""

    def __init__(self, database: Database, credentials: Credentials, *, gateway_id: str) -> None:
        self._database = database
        self._credentials = credentials
        self._gateway_id = gateway_id
        self._projects: dict[str, Known] = {}
        #: Whether the last look failed, so that what was given lately is not all that is new.
        self._missed = False

    def masker(self, project_id: str) -> Masker:
        """Masks a project's secrets that are known here; see ``load``."""
        known = self._projects.get(project_id)
        return _NOTHING if known is None else known.masker

    async def mask(self, project_id: str, raw: bytes) -> bytes:
        """A response of the project's container, masked."""
        known = self._projects.get(project_id)
        if known is None or not known.is_loaded:
            await self.load(project_id)
        return await in_slices(self.masker(project_id).masking(raw))

    async def load(self, project_id: str) -> None:
        """Load all secrets that the project's container was given. Its follower does so before it reads."""
        rows = await self._database.fetch_all("given_secrets", project_ids=[project_id])
        known = self._projects.setdefault(project_id, Known())
        await self._learn(rows)
        known.is_loaded = True

    def learn(self, project_id: str, token: AgentAuthToken) -> None:
        """Add the secret of a credential that this process is about to give."""
        self._open(project_id, token.agent_id, token.user_id, token.version, token.sealed_access_token)

    def learn_sent(self, project_id: str, secrets: Iterable[str]) -> None:
        """What the gateway itself sends to the project's container; what it sent before is masked for some hours more.

        Operators choose these, and some choose a word. A word is not masked: it is in any text.
        """
        texts = frozenset(text for secret in secrets for text in secrets_in(secret) if not _is_word(text))
        if texts or project_id in self._projects:
            self._projects.setdefault(project_id, Known()).add_sent(texts)

    async def keep_up(self) -> None:
        """Learn what other gateways give, until cancelled."""
        await every(LOOK_SECONDS, self._look, failed="not known what containers were given")

    async def forget(self) -> None:
        """Forget what nothing runs with any more, until cancelled."""
        await every(FORGET_SECONDS, self._forget, failed="former secrets not forgotten")

    async def _look(self) -> None:
        if self._projects:
            query = "given_secrets" if self._missed else "secrets_given_lately"
            self._missed = True
            await self._learn(await self._database.fetch_all(query, project_ids=list(self._projects)))
            self._missed = False

    async def _learn(self, rows: Iterable[Row]) -> None:
        """Add these, and acknowledge each readable version to the gateway that gives it."""
        learned = [row for row in rows if row["project_id"] in self._projects and self._knows(row)]
        if learned:
            await self._database.execute(
                "set_credential_known",
                gateway_id=self._gateway_id,
                project_ids=[row["project_id"] for row in learned],
                agent_ids=[row["agent_id"] for row in learned],
                user_ids=[row["user_id"] for row in learned],
                versions=[row["version"] for row in learned],
            )

    def _knows(self, row: Row) -> bool:
        sealed = Sealed(row["sealed_access_token"])
        try:
            self._open(row["project_id"], row["agent_id"], row["user_id"], row["version"], sealed)
        except GatewayError as exc:
            extra = {"agent": row["agent_id"], "error": str(exc)}
            logger.error("a secret cannot be opened to be masked", extra=extra)
            return False
        return True

    def _open(self, project_id: str, agent_id: str, user_id: str, version: int, sealed: Sealed) -> None:
        known = self._projects.setdefault(project_id, Known())
        if ((agent_id, user_id), version) not in known.secrets:
            secret = self._credentials.open_given_secret(user_id, agent_id, sealed)
            known.add((agent_id, user_id), version, secrets_in(secret))

    async def _forget(self) -> None:
        await self._database.execute("forget_former_secrets", seconds=KEPT_SECONDS, most=MOST_FORMER)
        rows = await self._database.fetch_all("given_secrets", project_ids=list(self._projects))
        await self._learn(rows)
        written: dict[str, set[tuple[_Whose, int]]] = {project_id: set() for project_id in self._projects}
        for row in rows:
            written.setdefault(row["project_id"], set()).add(((row["agent_id"], row["user_id"]), row["version"]))
        for project_id, known in self._projects.items():
            known.keep(written.get(project_id, set()))


def _is_word(text: str) -> bool:
    return text.isalpha() and len(text) < _LONGEST_WORD


_NOTHING = Masker()
