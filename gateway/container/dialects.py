"""The two kinds of container behind one interface: our agent host, and one of the base contract.

``end-turn`` in a container's facts makes the difference: an agent host answers a prompt at once, tells its end by an
event, and looks after its agents' processes itself. A container of the base contract answers when the turn is over, and
has one process for each agent. Further capabilities are independent of that and of each other. Nobody outside of this
room asks for them: what follows from them is a method here.
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
#: What of a credential goes out with a call; None: nothing.
Members = Mapping[str, Any] | None
#: How a credential is given by one kind of call: ``for_session``, ``for_process`` and ``for_renewal`` of a container.
#: ``CredentialUnusable`` where it cannot be.
Form = Callable[[Credential], Members]

#: What a container's session does, as far as it tells. ``cancelled``: nothing, as it was asked; ``lost``: it is gone.
SessionState = Literal["working", "idle", "cancelled", "lost"]


class LostAnswer(Enum):
    """What is to be done about a prompt whose answer was lost, and which may have arrived."""

    #: It is sent once more: the container knows it by its turn's id, and runs it once.
    SEND_AGAIN = "send_again"
    #: Its end comes as an event, if it has arrived.
    WAIT_FOR_END = "wait_for_end"
    #: Its end was the answer: the container is asked what became of it.
    INQUIRE = "inquire"


class Container(ContainerClient, ABC):
    """A project's container of which is known what it is."""

    def __init__(self, reach: Reach, facts: ContainerFacts) -> None:
        super().__init__(reach)
        self.facts = facts

    @property
    def boot_id(self) -> str | None:
        return self.facts.boot_id

    # Prompts.

    def check_prompt(self, blocks: Blocks) -> None:
        """Raises ``InvalidBody`` for what the container does not take in a prompt."""
        if not self._has("content-blocks") and any(block.get("type") != "text" for block in blocks):
            raise InvalidBody("$.prompt: this project's container takes text only")

    @abstractmethod
    async def prompt(self, session_id: str, blocks: Blocks, turn_id: str) -> str | None:
        """Run a turn, however long it takes; gives the container's id for it where its end comes as an event.

        None means that the turn is over. ``turn_id`` is ours, for a container that takes it.
        """

    @property
    @abstractmethod
    def lost_answer(self) -> LostAnswer:
        """What is to be done where a prompt's answer is lost."""

    @abstractmethod
    async def session_state(self, session_id: str) -> SessionState:
        """What a session does now."""

    async def cancel_turn(self, session_id: str, turn_id: str) -> None:
        """Ask for the end of the session's turn, and of no other one where the container tells them apart."""
        await self.cancel(session_id, turn_id if self._has("turn-ids") else None)

    async def take_up(self, session_id: str, options: Mapping[str, Any]) -> ContainerSession | None:
        """``load_session``; None where the container takes up no session that it does not know."""
        return await self.load_session(session_id, options) if self._has("load-session") else None

    # Agents' processes, and the credentials that they run with.

    #: Whether each agent has one process, which is started with one person's credential and keeps it.
    shares_processes: bool

    @abstractmethod
    async def stop_agent(self, agent_id: str, session_ids: Sequence[str]) -> None:
        """End the processes of an agent, which has these sessions here; the next one knows none of them."""

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
        """Have credentials, by agent and owner, forgotten, and what runs with them end.

        A container that keeps no credentials is told to stop the ``agents`` instead, whose processes have them. Raises
        the first failure once all has been tried, ``ContainerRefused`` only where there is no other.
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
    """A container that tells the end of a turn by an event."""

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
        # It takes its sessions up again in another process.
        await self.stop(agent_id)

    def for_process(self, credential: Credential) -> Members:
        return self.for_session(credential)

    def _without_a_way(self) -> Members:
        raise CredentialUnusable("This project's container takes no credentials: it has none of the ways for that.")


class BaseContract(Container):
    """A container that answers a prompt when its turn is over, hours later maybe, with no event for it."""

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
                # It says ``processing`` when its turn is over, too.
                return "working"

    async def stop_agent(self, agent_id: str, session_ids: Sequence[str]) -> None:
        await self.stop(agent_id)
        for session_id in session_ids:
            # The next process knows none of them, which the container lists all the same.
            try:
                await self.end_session(session_id)
            except ContainerRefused:
                continue

    def for_process(self, credential: Credential) -> Members:
        return {"env": credential.variables()}

    def _without_a_way(self) -> Members:
        # The agent's process has it.
        return None


def container_of(reach: Reach, facts: ContainerFacts) -> Container:
    """The container as what its facts say that it is."""
    kind = AgentHost if "end-turn" in facts.capabilities else BaseContract
    return kind(reach, facts)


def _text_of(blocks: Blocks) -> str:
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
