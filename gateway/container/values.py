"""What a container tells of itself, its agents and its sessions, and the credential that it is given, as values."""

from itertools import islice
from typing import Any

import attrs

from gateway.credentials.catalogue import Injection
from gateway.db.pool import Row
from gateway.errors import CredentialUnusable
from gateway.wire.codec import storable

#: Agents of one container that are taken; the rest is counted.
MAX_AGENTS = 1000
#: What it can beyond the base contract: so many words of so many characters.
MAX_CAPABILITIES, MAX_CAPABILITY = 100, 100
#: Bytes. An id that is longer is taken for none.
MAX_NAME_BYTES = 255
#: Characters of a path. One that is longer is taken for none.
MAX_PATH = 4096
#: Characters of what is told of an agent, and of why something was refused.
MAX_TOLD = 1000


@attrs.frozen(kw_only=True)
class ContainerFacts:
    """What a container is: its boot, and what it can beyond the base contract. The same for as long as a boot lasts.

    Which capability leads to what is decided in this room: see ``gateway.container.dialects``.
    """

    boot_id: str | None
    capabilities: frozenset[str]
    #: Where its agents work when no session says otherwise, if it tells.
    working_directory: str | None = None

    @classmethod
    def from_info(cls, data: dict[str, Any]) -> "ContainerFacts":
        """From the answer to ``GET /info``."""
        told = data.get("capabilities")
        words = [word for word in told if _is_capability(word)] if isinstance(told, list) else []
        directory = text(data, "workingDirectory")
        return cls(
            boot_id=name(data, "bootId"),
            capabilities=frozenset(words[:MAX_CAPABILITIES]),
            working_directory=directory if directory is not None and len(directory) <= MAX_PATH else None,
        )

    @classmethod
    def from_row(cls, row: Row) -> "ContainerFacts":
        return cls(
            boot_id=row["boot_id"],
            capabilities=frozenset(row["capabilities"]),
            working_directory=row["working_directory"],
        )

    @property
    def journal(self) -> str | None:
        """The boot whose numbers its events carry, so that it can tell them again; None where they carry none."""
        return self.boot_id if "event-ids" in self.capabilities else None

    @property
    def asks_permission(self) -> bool:
        """Its permission requests wait for an answer. Without it they are told once they are decided."""
        return "permissions" in self.capabilities

    def may_end_any_turn(self, turn_id: Any) -> bool:
        """Whether an end of a turn that names this one may be any turn's: the container knows none of our ids."""
        return turn_id is None or "turn-ids" not in self.capabilities


@attrs.frozen(kw_only=True)
class ContainerSession:
    """A session as its container has it.

    ``acp_id``: the agent's own id for it, where the container tells it. ``how``: load or resume, where it was taken up.
    """

    id: str
    acp_id: str | None
    how: str | None = None


@attrs.frozen(kw_only=True)
class ContainerAgent:
    """An agent as its container lists it."""

    id: str
    name: str
    description: str | None
    requires_auth: bool
    authenticated: bool
    status: str
    error: str | None

    @classmethod
    def from_listed(cls, listed: dict[str, Any]) -> "ContainerAgent":
        return cls(
            id=listed["id"],
            name=beginning(listed, "name") or listed["id"],
            description=beginning(listed, "description"),
            requires_auth=listed.get("requiresAuth") is True,
            authenticated=listed.get("authenticated") is True,
            status=beginning(listed, "status") or "stopped",
            error=beginning(listed, "error"),
        )


@attrs.frozen(kw_only=True)
class ListedAgents:
    """The agents that a container lists; ``omitted``: how many more they are than are taken of one."""

    agents: tuple[ContainerAgent, ...]
    omitted: int = 0

    @classmethod
    def from_answer(cls, listed: Any) -> "ListedAgents":
        agents = [agent for agent in listed if isinstance(agent, dict)] if isinstance(listed, list) else []
        named = {agent["id"]: agent for agent in agents if is_name(agent.get("id"))}
        taken = tuple(ContainerAgent.from_listed(agent) for agent in islice(named.values(), MAX_AGENTS))
        return cls(agents=taken, omitted=len(named) - len(taken))


@attrs.frozen(kw_only=True)
class Credential:
    """A user's credential for an agent, as a container is given it. ``owner``: what the container knows the user as."""

    agent_id: str
    owner: str
    version: int
    injection: Injection = attrs.field(repr=False)

    def variables(self) -> dict[str, str]:
        """For a container that takes nothing else; ``CredentialUnusable`` where these cannot say it."""
        variables = self.injection.variables_alone()
        if variables is None:
            raise CredentialUnusable(
                f"This project's container takes variables only, and {self.agent_id} needs a file or a call beside "
                "for a credential of this kind. Our agent host can give it those."
            )
        return variables

    def to_json(self) -> dict[str, Any]:
        """As a container with ``credentials`` takes it."""
        call = self.injection.authenticate
        return {
            "owner": self.owner,
            "version": self.version,
            "env": self.injection.env,
            "unset": list(self.injection.unset),
            "authenticate": None if call is None else {"methodId": call.method_id, "meta": call.meta},
            "files": [
                {"variable": file.variable, "path": file.path, "content": file.content} for file in self.injection.files
            ],
        }


def is_name(value: Any) -> bool:
    """Whether a container's id of something can be remembered: longer ones find no place in an index."""
    return isinstance(value, str) and value != "" and storable(value) == value and len(value.encode()) <= MAX_NAME_BYTES


def name(listed: dict[str, Any], member: str) -> str | None:
    """An id; None where there is none that can be remembered."""
    value = listed.get(member)
    return value if is_name(value) else None


def text(listed: dict[str, Any], member: str) -> str | None:
    value = listed.get(member)
    return storable(value) if isinstance(value, str) else None


def beginning(listed: dict[str, Any], member: str) -> str | None:
    """A text's beginning."""
    value = listed.get(member)
    return storable(value[:MAX_TOLD]) if isinstance(value, str) else None


def _is_capability(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_CAPABILITY and storable(value) == value
