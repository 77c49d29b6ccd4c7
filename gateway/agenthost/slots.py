"""An agent of the catalogue with its processes, which run in slots."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import attrs

from gateway.agenthost.catalogue import AgentSpec
from gateway.agenthost.credentials import Credential
from gateway.agenthost.link import AgentLink


@attrs.frozen(kw_only=True)
class Token:
    """A credential from `auth/token`."""

    value: str = attrs.field(repr=False)
    expires_at: datetime | None = None

    @property
    def valid(self) -> bool:
        return self.expires_at is None or datetime.now(UTC) < self.expires_at


@attrs.define(eq=False, kw_only=True)
class Slot:
    """At most one process of an agent at a time, for an owner's sessions together or for one session alone."""

    #: None: for everybody who sends no credential.
    owner: str | None = None
    #: Variables in addition to the owner's credential.
    env: dict[str, str] = attrs.field(factory=dict, repr=False)
    cwd: Path | None = None
    link: AgentLink | None = None
    #: Held while the process is started or replaced.
    changing: asyncio.Lock = attrs.field(factory=asyncio.Lock, repr=False)


@attrs.define(eq=False, kw_only=True)
class Agent:
    """One agent of the catalogue and its processes."""

    spec: AgentSpec
    #: Shared slots by owner.
    slots: dict[str | None, Slot] = attrs.field(factory=dict)
    #: Slots of single sessions.
    own: set[Slot] = attrs.field(factory=set)
    #: The newest credential of each owner.
    credentials: dict[str, Credential] = attrs.field(factory=dict, repr=False)
    #: Every process of this agent.
    links: set[AgentLink] = attrs.field(factory=set)
    token: Token | None = attrs.field(default=None, repr=False)
    starting: int = 0
    needs_auth: bool = False
    error: str | None = None
    started_at: str | None = None
    last_activity: str | None = None
    #: The status in the last `agent_status` event.
    told: str = "stopped"

    def slot(self, owner: str | None) -> Slot:
        """The shared slot of an owner."""
        return self.slots.setdefault(owner, Slot(owner=owner))

    def slots_of(self, owner: str) -> list[Slot]:
        return [slot for slot in (*self.slots.values(), *self.own) if slot.owner == owner]

    def credential_of(self, slot: Slot) -> Credential | None:
        return None if slot.owner is None else self.credentials.get(slot.owner)

    @property
    def status(self) -> str:
        if self.needs_auth:
            return "auth_required"
        if any(link.alive for link in self.links):
            return "running"
        if self.starting:
            return "starting"
        return "error" if self.error is not None else "stopped"
