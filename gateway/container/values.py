"""What a container says of itself, its agents and sessions, and the credential that it is given, as values."""

import re
from itertools import islice
from typing import Any

import attrs

from gateway.credentials.catalogue import Injection
from gateway.db.pool import Row
from gateway.errors import CredentialUnusable
from gateway.wire.codec import storable

#: Agents of one container that are listed; the rest is counted.
MAX_AGENTS = 1000
#: Capabilities beyond the base contract: how many, and characters of each.
MAX_CAPABILITIES, MAX_CAPABILITY = 100, 100
#: Variables for an agent's credential, and what one may be called.
MAX_VARIABLES = 20
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
#: Bytes. Longer ids are ignored.
MAX_NAME_BYTES = 255
#: Characters. Longer paths are ignored.
MAX_PATH = 4096
#: Who decides what an agent may do, if it does not ask for permission.
AGENT = "agent"
#: Characters of an agent's description, and of the reason for a refusal.
MAX_TOLD = 1000


@attrs.frozen(kw_only=True)
class ContainerFacts:
    """A container's boot and its capabilities beyond the base contract; constant for a boot.

    Only this room decides what a capability changes: see ``gateway.container.dialects``.
    """

    boot_id: str | None
    capabilities: frozenset[str]
    #: Where its agents work if a session does not say, if it tells.
    working_directory: str | None = None
    #: How many event streams it had open when it was asked, if it tells. Not constant.
    connected_clients: int | None = None

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
            connected_clients=clients if isinstance(clients := data.get("connectedClients"), int) else None,
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
        """The boot that its events' ids belong to, so that it can repeat them; None if they have no ids."""
        return self.boot_id if "event-ids" in self.capabilities else None

    @property
    def asks_permission(self) -> bool:
        """Its permission requests wait for an answer. Otherwise they are reported once decided."""
        return "permissions" in self.capabilities

    def may_end_any_turn(self, turn_id: Any) -> bool:
        """Whether a turn's end with this id may be any turn's: the container does not know our ids."""
        return turn_id is None or "turn-ids" not in self.capabilities


@attrs.frozen(kw_only=True)
class ContainerSession:
    """A session in its container.

    ``acp_id``: the agent's own id, if the container tells it. ``mode``: the agent's mode, likewise; ``agent_decides``:
    whether the agent decides there by itself what it may do. ``how``: load or resume, if it was restored.
    """

    id: str
    acp_id: str | None
    mode: str | None = None
    agent_decides: bool = False
    how: str | None = None

    @classmethod
    def from_answer(
        cls, data: dict[str, Any], session_id: str, *, acp_id: str | None = None, how: str | None = None
    ) -> "ContainerSession":
        """``acp_id``: the agent's own id, if the answer has none."""
        return cls(
            id=session_id,
            acp_id=name(data, "acpSessionId") or acp_id,
            mode=name(data, "modeId"),
            agent_decides=data.get("decides") == AGENT,
            how=how,
        )


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
    #: What its operator should know, although it can run.
    warning: str | None = None
    #: The variables from which it reads a credential, the preferred one first, if the container tells.
    credentials: tuple[str, ...] = ()

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
            warning=beginning(listed, "warning"),
            credentials=_variables(listed.get("credentials")),
        )


@attrs.frozen(kw_only=True)
class ContainerLogin:
    """A login that a container runs itself."""

    #: Whether the agent has a credential.
    is_done: bool
    #: Why it has failed.
    error: str | None
    #: While it goes on: what its person is to read, the address to open, and the code to enter there.
    message: str | None
    address: str | None
    code: str | None = attrs.field(repr=False)

    @classmethod
    def from_answer(cls, data: dict[str, Any]) -> "ContainerLogin":
        return cls(
            is_done=data.get("authenticated") is True,
            error=beginning(data, "error"),
            message=beginning(data, "message"),
            address=beginning(data, "authUrl"),
            code=beginning(data, "userCode"),
        )


@attrs.frozen(kw_only=True)
class ListedAgents:
    """A container's agents; ``omitted``: how many more it listed than are kept."""

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
    """A user's credential for an agent, as a container gets it. ``owner``: the container's name for the user."""

    agent_id: str
    owner: str
    version: int
    injection: Injection = attrs.field(repr=False)

    def variables(self) -> dict[str, str]:
        """For a container that takes only variables; ``CredentialUnusable`` if they cannot express it."""
        variables = self.injection.variables_alone()
        if variables is None:
            raise CredentialUnusable(
                f"This project's container takes variables only, and {self.agent_id} needs a file or a call beside "
                "for a credential of this kind. Our agent host can give it those."
            )
        return variables

    def to_json(self) -> dict[str, Any]:
        """For a container with ``credentials``."""
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
    """Whether a container's id can be stored: longer ones do not fit an index."""
    return isinstance(value, str) and value != "" and storable(value) == value and len(value.encode()) <= MAX_NAME_BYTES


def name(listed: dict[str, Any], member: str) -> str | None:
    """An id; None if there is none that can be stored."""
    value = listed.get(member)
    return value if is_name(value) else None


def text(listed: dict[str, Any], member: str) -> str | None:
    value = listed.get(member)
    return storable(value) if isinstance(value, str) else None


def beginning(listed: dict[str, Any], member: str) -> str | None:
    """A text's beginning."""
    value = listed.get(member)
    return storable(value[:MAX_TOLD]) if isinstance(value, str) else None


def _variables(told: Any) -> tuple[str, ...]:
    named = [one for one in told if isinstance(one, str) and _VARIABLE.fullmatch(one)] if isinstance(told, list) else []
    return tuple(dict.fromkeys(named[:MAX_VARIABLES]))


def _is_capability(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_CAPABILITY and storable(value) == value
