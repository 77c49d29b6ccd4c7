"""The two kinds of container behind one interface: our agent host, and one of the base contract.

They differ by ``end-turn``. An agent host answers a prompt at once, reports its end by an event, and manages agents'
processes itself. A container of the base contract answers when the turn is over, and has one process per agent. Other
capabilities are independent. Code outside of this room does not ask for them: their effects are methods here.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal

from gateway.container.client import LONG_ANSWER, ContainerClient, ContainerRefused, Reach, as_object, session_path
from gateway.container.values import ContainerFacts, ContainerSession, Credential, is_name
from gateway.errors import CredentialUnusable, InvalidBody

#: Content blocks, as ACP has them.
Blocks = Sequence[Mapping[str, Any]]
#: The part of a credential that goes into a call; None: nothing.
Members = Mapping[str, Any] | None
#: How a credential is given by one kind of call: ``for_session``, ``for_process`` and ``for_renewal`` of a container.
#: ``CredentialUnusable`` where it cannot be.
Form = Callable[[Credential], Members]

#: What a container's session does. ``cancelled``: its turn was cancelled; ``lost``: it does not exist any more.
SessionState = Literal["working", "idle", "cancelled", "lost"]


class LostAnswer(Enum):
    """What to do about a prompt that may have arrived but whose response was lost."""

    #: Send it again: the container knows the turn's id, and runs it once.
    SEND_AGAIN = "send_again"
    #: If it has arrived, its end comes as an event.
    WAIT_FOR_END = "wait_for_end"
    #: The response was its end: ask the container about it.
    INQUIRE = "inquire"


class Container(ContainerClient, ABC):
    """A container whose kind is known."""

    def __init__(self, reach: Reach, facts: ContainerFacts) -> None:
        super().__init__(reach)
        self.facts = facts

    @property
    def boot_id(self) -> str | None:
        return self.facts.boot_id

    # Prompts.

    def check_prompt(self, blocks: Blocks) -> None:
        """Raises ``InvalidBody`` if the container does not accept a prompt's content."""
        if not self._has("content-blocks") and any(block.get("type") != "text" for block in blocks):
            raise InvalidBody("$.prompt: this project's container takes text only")

    @abstractmethod
    async def prompt(self, session_id: str, blocks: Blocks, turn_id: str) -> str | None:
        """Run a turn, however long it takes; returns the container's id of it if its end comes as an event.

        None means that the turn is over. ``turn_id`` is ours, for containers that take it.
        """

    @property
    @abstractmethod
    def lost_answer(self) -> LostAnswer:
        """What to do after a prompt's response was lost."""

    @abstractmethod
    async def session_state(self, session_id: str) -> SessionState:
        """What a session does now."""

    async def cancel_turn(self, session_id: str, turn_id: str) -> None:
        """Ask for the end of this turn, or of whichever the session runs if the container does not know turn ids."""
        await self.cancel(session_id, turn_id if self._has("turn-ids") else None)

    async def take_up(self, session_id: str, options: Mapping[str, Any]) -> ContainerSession | None:
        """``load_session``; None if the container cannot restore sessions."""
        return await self.load_session(session_id, options) if self._has("load-session") else None

    def in_mode(self, mode_id: str | None) -> dict[str, Any]:
        """Members with which a session is made or taken up in the mode that it was last in."""
        return {"modeId": mode_id} if mode_id is not None and self._has("modes") else {}

    def referring(self, reference: str) -> Mapping[str, str]:
        """What a session is made or taken up with, so that the container's list of sessions names ``reference``."""
        return {"reference": reference} if self._has("references") else {}

    # Agents' processes, and the credentials that they run with.

    #: Whether each agent has one process, which keeps the credential that it was started with.
    shares_processes: bool

    @abstractmethod
    async def stop_agent(self, agent_id: str, session_ids: Sequence[str]) -> None:
        """End an agent's processes; these are its sessions here, which the next process does not know."""

    @abstractmethod
    def for_process(self, credential: Credential) -> Members:
        """What an agent's process is started with by ``spawn``."""

    def for_session(self, credential: Credential) -> Members:
        """What a session is made or taken up with."""
        if self._has("credentials"):
            return {"credential": credential.to_json()}
        if self._has("session-env"):
            return {"env": credential.variables()}
        return self._without_a_way()

    def for_renewal(self, credential: Credential) -> Members:
        """What ``renew_credential`` takes, where the container keeps credentials."""
        return credential.to_json() if self._has("credentials") else None

    async def take_back(self, credentials: Sequence[tuple[str, str]], agents: Sequence[str]) -> None:
        """Have credentials, by agent and owner, forgotten, and their processes ended.

        A container that keeps no credentials is told to stop the ``agents`` instead. Raises the first failure once all
        have been tried, ``ContainerRefused`` only if there is no other.
        """
        if self._has("credentials"):
            calls = [self.withdraw_credential(agent_id, owner) for agent_id, owner in credentials]
        else:
            calls = [self._stop(agent_id) for agent_id in agents]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        failures = [failure for failure in ended if failure is not None]
        for failure in sorted(failures, key=lambda failure: isinstance(failure, ContainerRefused)):
            raise failure

    @abstractmethod
    def _without_a_way(self) -> Members:
        """For a session of a container that takes neither credentials nor variables with it."""

    async def _stop(self, agent_id: str) -> None:
        await self.stop(agent_id)

    def _has(self, capability: str) -> bool:
        return capability in self.facts.capabilities

    def _prompt_of(self, blocks: Blocks) -> Any:
        return list(blocks) if self._has("content-blocks") else _text_of(blocks)


class AgentHost(Container):
    """A container that reports the end of a turn by an event."""

    shares_processes = False

    async def prompt(self, session_id: str, blocks: Blocks, turn_id: str) -> str | None:
        body = {"prompt": self._prompt_of(blocks), "turnId": turn_id}
        path, headers = f"{session_path(session_id)}/prompt", {"Prefer": "respond-async"}
        named = as_object(await self._call("POST", path, body, headers=headers)).get("turnId")
        return str(named) if isinstance(named, int) or is_name(named) else turn_id

    @property
    def lost_answer(self) -> LostAnswer:
        return LostAnswer.SEND_AGAIN if self._has("turn-ids") else LostAnswer.WAIT_FOR_END

    async def session_state(self, session_id: str) -> SessionState:
        match await self.session_status(session_id):
            case None | "ended":
                return "lost"
            case "processing":
                return "working"
            case _:
                return "idle"

    async def stop_agent(self, agent_id: str, session_ids: Sequence[str]) -> None:
        # Its sessions continue in another process.
        await self.stop(agent_id)

    def for_process(self, credential: Credential) -> Members:
        return self.for_session(credential)

    def _without_a_way(self) -> Members:
        raise CredentialUnusable("This project's container takes no credentials: it has none of the ways for that.")


class BaseContract(Container):
    """A container that answers a prompt when its turn is over, and has no event for it."""

    shares_processes = True

    async def prompt(self, session_id: str, blocks: Blocks, turn_id: str) -> str | None:
        # Some containers read `prompt`, some `text`.
        body = {"prompt": self._prompt_of(blocks), "text": _text_of(blocks)}
        await self._call("POST", f"{session_path(session_id)}/prompt", body, seconds=None, limit=LONG_ANSWER)
        return None

    @property
    def lost_answer(self) -> LostAnswer:
        return LostAnswer.INQUIRE

    async def session_state(self, session_id: str) -> SessionState:
        match await self.session_status(session_id):
            case None | "ended":
                return "lost"
            case "idle":
                return "cancelled"
            case _:
                # It also says ``processing`` when the turn is over.
                return "working"

    async def stop_agent(self, agent_id: str, session_ids: Sequence[str]) -> None:
        await self.stop(agent_id)
        for session_id in session_ids:
            # The container still lists them, but the next process does not know them.
            try:
                await self.end_session(session_id)
            except ContainerRefused:
                continue

    def for_process(self, credential: Credential) -> Members:
        return {"env": credential.variables()}

    def _without_a_way(self) -> Members:
        # The process has it already.
        return None


def container_of(reach: Reach, facts: ContainerFacts) -> Container:
    """The container as what its facts say that it is."""
    kind = AgentHost if "end-turn" in facts.capabilities else BaseContract
    return kind(reach, facts)


def _text_of(blocks: Blocks) -> str:
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
