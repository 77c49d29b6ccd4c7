"""Projects: their owners, their containers' addresses, and their settings."""

import base64
import json
import logging
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

import attrs
from msgspec import Meta

from gateway.config.schema import ContainersConfig
from gateway.credentials.keyring import Keys
from gateway.credentials.vault import Place, Sealed, Vault
from gateway.db.errors import UniqueViolation
from gateway.db.pool import Database, Row, Transaction
from gateway.errors import Conflict, GatewayError, ProjectExists, ProjectNotFound, TooManyProjects
from gateway.identity.roles import Role
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent
from gateway.projects.addresses import Addresses, canonical
from gateway.projects.cleanup import Remains
from gateway.proxy.policy import ForbiddenAddress
from gateway.proxy.upstream import Upstream
from gateway.wire.bounded import Bounded
from gateway.wire.codec import dump_json, to_builtins, to_camel
from gateway.wire.events import ProjectChanged
from gateway.wire.limits import matching

logger = logging.getLogger(__name__)


ProjectId = Annotated[str, matching(r"[a-z0-9-]{1,64}", "must be 1 to 64 of a-z, 0-9 and -")]
ProjectName = Annotated[str, Meta(min_length=1, max_length=200)]
Address = Annotated[str, Meta(max_length=2000, extra_json_schema={"format": "uri"})]
AgentId = Annotated[str, Meta(min_length=1, max_length=255)]
#: What happens to a permission request that no rule matches; see ``permissions/policy.py``.
PermissionMode = Literal["ask", "accept-edits", "full-auto"]
#: ``*`` (any), and ACP's tool kinds, https://agentclientprotocol.com/protocol/schema#toolkind.
RuleKind = Literal["*", "read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode", "other"]
RuleAction = Literal["allow", "reject", "ask"]
ANY_KIND: RuleKind = "*"
#: The secret of a container.
ContainerToken = Annotated[
    str, matching(r"[!-~]{1,4096}", "must be 1 to 4096 printable ASCII characters without spaces; null takes it away")
]
#: HTTP Basic's (RFC 7617): a name has no colon.
OpencodeUsername = Annotated[
    str, matching(r"[ -9;-~]{1,200}", "must be 1 to 200 printable ASCII characters without a colon; null is opencode")
]
OpencodePassword = Annotated[
    str, matching(r"[ -~]{1,4096}", "must be 1 to 4096 printable ASCII characters; null takes it away")
]
PermissionTimeout = Annotated[float, Meta(ge=1, le=604_800, description="Seconds.")]


@attrs.frozen(kw_only=True)
class PermissionRule:
    """How to answer a permission request for a tool of ``kind`` (``*``: any)."""

    kind: RuleKind
    action: RuleAction


PermissionRules = Annotated[list[PermissionRule], Meta(max_length=100)]


@attrs.frozen(kw_only=True)
class Retention:
    """How much of a project's log is kept; None: no limit."""

    #: Older events and messages are deleted.
    max_age_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    #: Of stored events, as compressed: beyond it the oldest are deleted. Messages stay.
    max_bytes: Annotated[int, Meta(ge=1, le=2**60)] | None = None

    @classmethod
    def from_row(cls, column: Mapping[str, int | None] | None) -> "Retention | None":
        return None if column is None else cls(**column)

    def to_row(self) -> str:
        return json.dumps(attrs.asdict(self))


@attrs.frozen(kw_only=True)
class Location:
    """Where the container of the project ``id`` is, or was, and the secret that it wants.

    ``container_url`` is its OpenCode address; ``acp_url`` its ACP address where the mapping is not it.
    """

    id: str
    container_url: str
    acp_url: str | None
    #: None where the gateway's general one is sent.
    sealed_container_token: Sealed | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_row(cls, row: Row) -> Self:
        values = {field.name: row[field.name] for field in attrs.fields(Location) if field.name != "id"}
        token = values.pop("sealed_container_token")
        return cls(id=row["project_id"], sealed_container_token=None if token is None else Sealed(token), **values)

    @property
    def acp_address(self) -> str:
        """What its ACP port is found by."""
        return self.acp_url or self.container_url


@attrs.frozen(kw_only=True)
class Project(Location):
    """A project. ``retention``: None where the gateway's own rule holds."""

    owner_id: str
    name: str
    default_agent_id: str | None
    retention: Retention | None = None
    permission_mode: PermissionMode = "ask"
    permission_rules: Sequence[PermissionRule] = ()
    #: Seconds until an unanswered request is refused; None: the gateway's setting.
    permission_timeout: float | None = None
    #: Whether OpenCode's own event stream is recorded.
    record_opencode_events: bool = False
    #: The directory whose OpenCode events are recorded, once known.
    opencode_directory: str | None = None
    #: Who OpenCode is told asks; None: the name that it has by default.
    opencode_username: str | None = None
    #: None where OpenCode wants no password.
    sealed_opencode_password: Sealed | None = attrs.field(default=None, repr=False)
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_row(cls, row: Row) -> Self:
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        values["retention"] = Retention.from_row(row["retention"])
        values["permission_rules"] = rules_from(row["permission_rules"])
        for name in ("sealed_container_token", "sealed_opencode_password"):
            values[name] = None if row[name] is None else Sealed(row[name])
        return cls(**values)


@attrs.frozen
class Access:
    """A project, and a user's role in it."""

    project: Project
    role: Role

    @classmethod
    def from_row(cls, row: Row) -> "Access":
        return cls(Project.from_row(row), Role.named(row["role"]))


@attrs.frozen(kw_only=True)
class Change:
    """The result of a change. ``was_followed``: its container was followed at another address."""

    project: Project
    was_followed: bool


@attrs.frozen(kw_only=True)
class NewProject:
    """The properties of a project to create, and the body of ``POST /api/projects``."""

    id: ProjectId | None = None
    name: ProjectName | None = None
    container_url: Address
    acp_url: Address | None = None
    default_agent_id: AgentId | None = None
    retention: Retention | None = None
    permission_mode: PermissionMode = "ask"
    permission_rules: PermissionRules = attrs.field(factory=list)
    permission_timeout: PermissionTimeout | None = None
    record_opencode_events: bool = False
    container_token: ContainerToken | None = attrs.field(default=None, repr=False)
    opencode_username: OpencodeUsername | None = None
    opencode_password: OpencodePassword | None = attrs.field(default=None, repr=False)


def rules_from(column: Any) -> tuple[PermissionRule, ...]:
    """The rules from their column."""
    return tuple(PermissionRule(**rule) for rule in column)


#: How long a project and a caller's role are cached. A change through another gateway takes effect after this at the
#: latest, a change here at once.
REMEMBER_SECONDS = 1.0
MAX_REMEMBERED = 10_000
#: How long the deletion of a project waits until all rows are deleted.
REMOVE_SECONDS = 1.0
#: Projects per page, where all are looked at.
PAGE = 500
#: The most warnings that are logged at the start.
MAX_WARNINGS = 20


#: The name that ``opencode serve`` expects where it is given no other.
OPENCODE_USERNAME: Final = "opencode"
#: Who the log names where the gateway's operator has changed something.
OPERATOR: Final = "gateway"
#: The members of a project whose values the log tells, and those of which it tells no more than that they have changed.
_TOLD: Final = (
    *("name", "default_agent_id", "retention", "permission_mode", "permission_rules", "permission_timeout"),
    *("record_opencode_events", "owner_id"),
)
_NAMED: Final = {
    "container_url": "containerUrl",
    "acp_url": "acpUrl",
    "opencode_username": "opencodeUsername",
    "sealed_container_token": "containerToken",
    "sealed_opencode_password": "opencodePassword",
}

_CHANGEABLE = [field.name for field in attrs.fields(NewProject) if field.name != "id"]


class Projects:
    """All projects; each is looked up together with its caller.

    Without a ``vault`` no container's secret is stored or opened. ``config`` maps addresses to ports.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault | None = None,
        config: ContainersConfig | None = None,
        addresses: Addresses | None = None,
        log: Log | None = None,
    ) -> None:
        self._database = database
        self._log = log or Log(database)
        self._config = config or ContainersConfig()
        self._addresses = addresses or Addresses(database, shared=self._config.shared)
        self._vault = vault or Vault(Keys())
        self._remains = Remains(database)
        #: (user, project) → what they may do in it, and until when that may be taken for the truth; oldest first.
        self._remembered: Bounded[tuple[str, str], tuple[Access, float]] = Bounded(MAX_REMEMBERED)
        self._changes = 0

    async def create(self, owner_id: str, new: NewProject, *, most: int = 0, by_operator: bool = False) -> Project:
        """Raises ``ProjectExists``, ``AddressTaken`` if the container belongs to another owner, and ``TooManyProjects``
        if the owner has ``most`` already (0: no limit).

        ``by_operator``: the operator has named the container, so that it may be anyone's.
        """
        locations = await self._addresses.locate(self._upstreams(new))
        project_id = new.id or f"project-{secrets.token_hex(6)}"
        values = _columns(attrs.asdict(new, recurse=False))
        values |= self._sealed(values, project_id, new.acp_url or new.container_url, new.container_url)
        values |= {"id": project_id, "name": new.name or project_id, "owner_id": owner_id}

        async def work(transaction: Transaction) -> Row:
            row = await transaction.fetch_one("insert_project", **values)
            assert row is not None
            # Only now, since the insert waits for a concurrent deletion of the same id.
            if await transaction.fetch_one("find_deleted_project", project_id=project_id):
                detail = f"The project {project_id!r} has been deleted, but its events are still being removed."
                raise ProjectExists(detail, headers={"Retry-After": "5"})
            if by_operator:
                await self._addresses.record(transaction, project_id, locations)
            else:
                await self._addresses.claim(transaction, project_id, locations, by=owner_id)
            # Under the lock of addresses, so that concurrent creations are counted.
            owned = await transaction.fetch_one("count_projects_of", owner_id=owner_id) if most else None
            if owned is not None and owned["owned"] > most:
                raise TooManyProjects(f"One user may own {most} projects here; delete one of yours.", limit=most)
            return row

        try:
            return Project.from_row(await self._database.transaction(work))
        except UniqueViolation as exc:
            raise ProjectExists(f"A project with the id {project_id!r} exists already; choose another.") from exc

    async def access(self, user_id: str, project_id: str) -> Access:
        """The caller's access to a project. Raises ``ProjectNotFound``."""
        known = self._remembered.get((user_id, project_id))
        if known is not None and known[1] > time.monotonic():
            return known[0]
        changes = self._changes
        row = await self._database.fetch_one("get_project", id=project_id, user_id=user_id)
        if row is None:
            raise ProjectNotFound(f"There is no project {project_id!r}.")
        found = Access.from_row(row)
        # Not cached if there was a change during the read.
        return self._remember(user_id, found) if changes == self._changes else found

    async def get(self, user_id: str, project_id: str) -> Project:
        """The project alone."""
        return (await self.access(user_id, project_id)).project

    async def get_for_follower(self, project_id: str) -> Project:
        """A project. It checks no access: for background work."""
        row = await self._database.fetch_one("get_project_for_follower", id=project_id)
        if row is None:
            raise ProjectNotFound(f"There is no project {project_id!r}.")
        return Project.from_row(row)

    async def page(self, user_id: str, *, only: Collection[str] | None, after: str | None, limit: int) -> list[Access]:
        """The projects that the user owns or is a member of, limited to ``only`` if given."""
        named = None if only is None else sorted(only)
        rows = await self._database.fetch_all("list_projects", user_id=user_id, only=named, after=after, limit=limit)
        return [Access.from_row(row) for row in rows]

    async def update(
        self,
        user_id: str,
        project_id: str,
        changes: Mapping[str, Any],
        *,
        by_operator: bool = False,
        told_as: str | None = None,
    ) -> Change:
        """Change the members of ``NewProject`` that ``changes`` names, except the id. Only an admin may.

        The log tells it, as a change by ``told_as``, else by the user.
        A container's secret is bound to its address, and does not open at another. ``AddressTaken`` as for ``create``.
        """
        addresses = {name: changes[name] for name in ("container_url", "acp_url") if name in changes}
        moved = attrs.evolve(await self.get_for_follower(project_id), **addresses) if addresses else None
        locations = await self._addresses.locate(self._upstreams(moved)) if moved else []

        async def work(transaction: Transaction) -> tuple[Change, Sequence[NewEvent]]:
            # Locked to the end: a concurrent ``lend`` to this container comes before and is seen, or is refused.
            row = await transaction.fetch_one("lock_project", id=project_id, user_id=user_id)
            if row is None:
                raise ProjectNotFound(f"There is no project {project_id!r}.")
            former = Project.from_row(row)
            values = _columns(dict.fromkeys(_CHANGEABLE) | dict(changes))
            there = attrs.evolve(former, **addresses)
            values |= self._sealed(values, project_id, there.acp_address, there.container_url)
            if acp_upstream(there, self._config) != acp_upstream(former, self._config):
                given = {"project_id": project_id, "user_id": None, "agent_id": None, "has_moved": True}
                await transaction.execute("withdraw_credentials", **given)
                await transaction.execute("leave_container", project_id=project_id)
            row = await transaction.fetch_one("update_project", id=project_id, changed=list(changes), **values)
            assert row is not None
            changed = Project.from_row(row)
            if moved is not None and self._upstreams(changed) != self._upstreams(former):
                if self._upstreams(changed) != self._upstreams(moved):
                    raise Conflict("The project's address has been changed by somebody else just now; try again.")
                if by_operator:
                    await self._addresses.record(transaction, project_id, locations)
                else:
                    await self._addresses.claim(transaction, project_id, locations, by=user_id)
            told = _told(former, changed, by=told_as or user_id)
            return Change(project=changed, was_followed=row["moved"]), told

        change = await self._log.change(LogId(project_id), work)
        self.forget()
        return change

    async def settle_addresses(self) -> None:
        """Before any gateway starts: record where all containers are, and warn of those shared by owners.

        Old projects have no record, and configured ports may have changed.
        """
        after: str | None = None
        while rows := await self._database.fetch_all("projects_with_addresses", after=after, limit=PAGE):
            for row in rows:
                project = Project.from_row(row)
                wanted = {f"{canonical(one.host)} {one.port}" for one in self._upstreams(project)}
                if wanted != set(row["known"]):
                    await self._record_addresses(project)
            after = rows[-1]["id"]
        if not self._config.shared:
            for row in await self._database.fetch_all("shared_addresses", limit=MAX_WARNINGS):
                extra = {"project": row["one"], "other": row["other"]}
                logger.warning("projects of different owners have one container", extra=extra)

    async def _record_addresses(self, project: Project) -> None:
        try:
            locations = await self._addresses.locate(self._upstreams(project))
        except ForbiddenAddress:
            return  # nothing is ever connected to there
        await self._database.transaction(lambda transaction: self._addresses.record(transaction, project.id, locations))

    def _upstreams(self, project: "Project | NewProject") -> tuple[Upstream, ...]:
        """Its container's addresses: OpenCode's port and ACP's."""
        return opencode_upstream(project, self._config), acp_upstream(project, self._config)

    async def give(self, project_id: str, user_id: str) -> None:
        """Make a user the project's owner; only for the gateway's operator."""

        async def work(transaction: Transaction) -> tuple[None, Sequence[NewEvent]]:
            former = await transaction.fetch_one("get_project_for_follower", id=project_id)
            await transaction.execute("set_project_owner", id=project_id, owner_id=user_id)
            changed = await transaction.fetch_one("get_project_for_follower", id=project_id)
            assert former is not None
            assert changed is not None
            return None, _told(Project.from_row(former), Project.from_row(changed), by=OPERATOR)

        await self._log.change(LogId(project_id), work)
        self.forget()

    async def delete(self, user_id: str, project_id: str) -> None:
        """Delete the project with its sessions, log, messages and members. Only an admin may.

        It is gone at once; the rest of a long log is deleted later.
        """

        async def work(transaction: Transaction) -> None:
            await transaction.fetch_all("lock_storage_of_logs", project_id=project_id)
            # A concurrent append either came before and is deleted here, or finds no head and is refused.
            if not await transaction.fetch_all("lock_logs", id=project_id, user_id=user_id):
                raise ProjectNotFound(f"There is no project {project_id!r}.")
            # A concurrent fold holds its session; its messages are written before the remains are looked for.
            await transaction.fetch_all("lock_sessions", project_id=project_id)
            given = {"project_id": project_id, "user_id": None, "agent_id": None, "has_moved": False}
            await transaction.execute("withdraw_credentials", **given)
            await transaction.execute("delete_project", id=project_id, user_id=user_id)

        await self._database.transaction(work)
        self.forget()
        try:
            await self._remains.remove(project_id, seconds=REMOVE_SECONDS)
        except GatewayError as exc:
            logger.warning("a deleted project has rows left", extra={"project": project_id, "error": str(exc)})

    def container_token(self, project: Location) -> str | None:
        """The secret of the project's own container. Raises ``VaultKeyMissing`` and ``SecretUnreadable``."""
        sealed = project.sealed_container_token
        if sealed is None:
            return None
        return self._vault.open(sealed, container_token_place(project.id, project.acp_address)).decode()

    def opencode_password(self, project: Project) -> str | None:
        """The password of the project's OpenCode. Raises as ``container_token`` does."""
        if project.sealed_opencode_password is None:
            return None
        place = opencode_password_place(project.id, project.container_url)
        return self._vault.open(project.sealed_opencode_password, place).decode()

    def opencode_authorization(self, project: Project) -> str | None:
        """The ``Authorization`` that the project's OpenCode wants. Raises as ``container_token`` does."""
        if (password := self.opencode_password(project)) is None:
            return None
        username = project.opencode_username or OPENCODE_USERNAME
        return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"

    def _sealed(self, values: dict[str, Any], project_id: str, acp_address: str, container_url: str) -> dict[str, Any]:
        """Takes the secrets out of ``values``; returns their columns. ``VaultNotConfigured`` without a key."""
        token = self._seal(values.pop("container_token"), container_token_place(project_id, acp_address))
        password = self._seal(values.pop("opencode_password"), opencode_password_place(project_id, container_url))
        return {
            "sealed_container_token": token and token.ciphertext,
            "container_token_key_id": token and token.key_id,
            "sealed_opencode_password": password and password.ciphertext,
        }

    def _seal(self, secret: str | None, place: Place) -> Sealed | None:
        return None if secret is None else self._vault.seal(secret.encode(), place)

    def forget(self) -> None:
        """Clear the cache, because roles or a project have changed.

        Concurrent reads are not cached either.
        """
        self._changes += 1
        self._remembered.clear()

    def _remember(self, user_id: str, access: Access) -> Access:
        self._remembered[user_id, access.project.id] = (access, time.monotonic() + REMEMBER_SECONDS)
        return access


def _told(former: Project, changed: Project, *, by: str) -> list[NewEvent]:
    """The event of a change; none if nothing is another way."""
    names = [name for name in (*_TOLD, *_NAMED) if getattr(former, name) != getattr(changed, name)]
    if not names:
        return []

    def values(one: Project) -> dict[str, Any]:
        return {to_camel(name): to_builtins(getattr(one, name)) for name in names if name in _TOLD}

    shown = [_NAMED.get(name) or to_camel(name) for name in names]
    told = ProjectChanged(changed=shown, settings=values(changed), former=values(former), changed_by=by)
    return [NewEvent.of(told, key=f"project_changed:{secrets.token_hex(10)}")]


def container_token_place(project_id: str, acp_address: str) -> Place:
    """Bound to the address, so that moving a project to another container does not reveal the former one's secret."""
    return Place(table="projects", row=(project_id, acp_address), field="container_token")


def opencode_password_place(project_id: str, container_url: str) -> Place:
    """Bound to the address, as the container's token is."""
    return Place(table="projects", row=(project_id, container_url), field="opencode_password")


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    retention: Retention | None = values["retention"]
    return {
        **values,
        "retention": retention.to_row() if retention else None,
        "permission_rules": dump_json(values["permission_rules"]).decode(),
    }


def opencode_upstream(project: Location | NewProject, config: ContainersConfig) -> Upstream:
    """Where the project's container serves OpenCode's own API: the port of its address, 4096 where it names none."""
    return _with_port(project.container_url, config.opencode_port)


def acp_upstream(project: Location | NewProject, config: ContainersConfig) -> Upstream:
    """Where the project's container speaks ACP: the address it names outright, else the mapped port (4096 → 4097).

    Other ports are mapped by the same distance (5000 → 5001), so that several containers on one host keep their pairs
    apart.
    """
    if project.acp_url:
        return Upstream.parse(project.acp_url)
    return _with_port(project.container_url, config.opencode_port, config.acp_port - config.opencode_port)


@lru_cache(maxsize=4096)  # asked for by every request
def _with_port(url: str, default: int, distance: int = 0) -> Upstream:
    upstream = Upstream.parse(url)
    return upstream.with_port((upstream.port if urlsplit(url).port else default) + distance)
