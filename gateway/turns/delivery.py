"""Bringing a turn's prompt to its container, once, and ending the turn if the container's answer is its end."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

import attrs

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.container.dialects import LostAnswer
from gateway.db.due import Driver
from gateway.errors import GatewayError, NotFound, SessionBusy, UpstreamError, UpstreamFailed
from gateway.log.ids import LogId
from gateway.log.store import Log
from gateway.projects.store import Project
from gateway.sessions.revival import Living, Revival
from gateway.sessions.sessions import Sessions
from gateway.sessions.turn import Turn
from gateway.tasks import wait_for
from gateway.telemetry.context import about
from gateway.turns import endings
from gateway.turns.machine import AwaitEnd, End, next_delivery
from gateway.turns.store import TurnStore
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import TurnStarted

logger = logging.getLogger(__name__)

#: A prompt as ACP's content blocks.
Blocks = Sequence[dict[str, Any]]

#: A container without ``end-turn`` answers the prompt on one connection and sends the turn's events on another: the
#: turn is over once nothing has come for this long, or after so many looks.
QUIET_SECONDS, QUIET_LOOKS = 0.2, 10
#: Between the attempts to deliver a prompt that may have arrived already.
RETRY_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
#: A container that does not know the session says so at once. What it says later may be about the turn.
NOT_FOUND, AT_ONCE_SECONDS = 404, 10.0
#: How long another prompt may take to have the container load the session, or begin a new one.
TAKE_UP_SECONDS = 130.0


@attrs.frozen(kw_only=True)
class Prompt:
    """What is brought to a container."""

    project: Project
    session_id: str
    turn_id: str
    blocks: Blocks = attrs.field(repr=False)
    living: Living


class Delivery:
    """The prompts that this process brings to containers."""

    def __init__(
        self,
        log: Log,
        store: TurnStore,
        sessions: Sessions,
        containers: Containers,
        revival: Revival,
        driver: Driver,
    ) -> None:
        self._log = log
        self._store = store
        self._sessions = sessions
        self._containers = containers
        self._revival = revival
        self._driver = driver
        #: The turns whose prompt this process has sent, and whose answer it waits for.
        self._awaited: set[str] = set()

    def start(self, prompt: Prompt) -> None:
        """Send a turn's prompt, and end the turn if the answer is its end. No client can cancel this."""
        self._driver.do(_key(prompt.turn_id), partial(self._send, prompt))

    def take_up(self, turn: Turn) -> None:
        """Go on with a turn that a dead gateway held, or that this one could not bring to its container before."""
        self._driver.do(_key(turn.id), partial(self._take_up, turn))

    def is_under_way(self, turn_id: str) -> bool:
        return self._driver.is_doing(_key(turn_id))

    async def reclaim(self) -> None:
        """Hold what is awaited here. A gateway that could not renew its presence was taken for dead meanwhile."""
        if self._awaited:
            await self._store.reclaim(sorted(self._awaited))

    async def _take_up(self, turn: Turn) -> None:
        about(project_id=turn.project_id, session_id=turn.session_id, turn_id=turn.id)
        claimed = await self._store.claim(turn)
        if claimed is None:
            return
        project = await self._containers.project(turn.project_id)
        container = await self._containers.identify(project)
        again = container.lost_answer
        delivery = next_delivery(claimed, boot_id=container.boot_id, knows_turn_ids=again is LostAnswer.SEND_AGAIN)
        if isinstance(delivery, End):
            await self._store.end_known_here(project.id, turn.id, delivery.ended)
            return
        blocks = await self._prompt_of(claimed)
        if blocks is None or isinstance(delivery, AwaitEnd):
            await self._answer_lost(project.id, turn.id, again)
            return
        session = await self._sessions.get(project.id, turn.session_id)
        if session.container_session_id is None:
            return
        sent = delivery.may_have_arrived
        logger.info("turn taken up", extra={"turn": turn.id, "sent": sent})
        prompt = Prompt(
            project=project,
            session_id=session.id,
            turn_id=turn.id,
            blocks=blocks,
            living=Living(container=container, container_session_id=session.container_session_id),
        )
        await self._send(prompt, sent=sent)

    async def _prompt_of(self, turn: Turn) -> Blocks | None:
        """The prompt as the log has it; None if the log does not have it any more."""
        for event in (await self._log.read(LogId(turn.project_id), turn.cursor, turn.session_id))[:1]:
            if event.type == TurnStarted.type and event.turn_id == turn.id:
                blocks: Blocks = parse_foreign_json(event.data)["prompt"]
                return blocks
        return None

    async def _send(self, prompt: Prompt, *, sent: bool = False) -> None:
        """Have the container take the prompt, once; ``sent``: it may have arrived already.

        A connection that breaks before the answer leaves open whether the prompt was taken. A container that knows a
        prompt again is asked until it answers, or until the turn has ended in another way. One that answers that it
        does not know the session has not taken the prompt: the session is revived, and the prompt goes there.
        """
        project_id, turn_id = prompt.project.id, prompt.turn_id
        about(project_id=project_id, turn_id=turn_id)
        moved = False
        for pause in chain(RETRY_PAUSES, repeat(RETRY_PAUSES[-1])):
            if not await self._store.mark_sent(project_id, turn_id):
                return  # the container has it, another gateway took it over, or it was cancelled before
            self._awaited.add(turn_id)
            living, began = prompt.living, time.monotonic()
            try:
                taken_as = await living.container.prompt(living.container_session_id, prompt.blocks, turn_id)
            except ContainerRefused as exc:
                is_unknown = exc.upstream_status == NOT_FOUND and time.monotonic() - began < AT_ONCE_SECONDS
                if not is_unknown or sent or moved:
                    restarted = is_unknown and await self._has_restarted(prompt)
                    ended = endings.RESTARTED if restarted else endings.failed(exc)
                    await self._store.end_known_here(project_id, turn_id, ended)
                    return
                if (elsewhere := await self._moved(prompt)) is None:
                    return
                prompt, moved = elsewhere, True
                continue
            except UpstreamError as exc:
                if isinstance(exc, UpstreamFailed) or (exc.unsent and not sent):
                    await self._store.end_known_here(project_id, turn_id, endings.failed(exc))
                    return
                logger.info("prompt's answer lost", extra={"turn": turn_id, "error": str(exc)})
                sent = True
            else:
                await self._taken(prompt, taken_as)
                return
            finally:
                self._awaited.discard(turn_id)
            if living.container.lost_answer is not LostAnswer.SEND_AGAIN:
                await self._answer_lost(project_id, turn_id, living.container.lost_answer)
                return
            await asyncio.sleep(pause)

    async def _moved(self, prompt: Prompt) -> Prompt | None:
        """The prompt for another container session; None if there is none, which ends the turn, or it has ended."""
        project_id, turn_id = prompt.project.id, prompt.turn_id
        try:
            living = await self._living_instead(prompt)
        except GatewayError as exc:
            await self._store.end_known_here(project_id, turn_id, endings.failed(exc))
            return None
        is_moved = await self._store.move(
            project_id,
            turn_id,
            container_session_id=living.container_session_id,
            container_boot_id=living.container.boot_id,
        )
        return attrs.evolve(prompt, living=living) if is_moved else None

    async def _living_instead(self, prompt: Prompt) -> Living:
        """Another prompt may be taking the session up just now, and is refused then, as this turn runs in it."""

        async def look() -> Living | SessionBusy:
            try:
                refused = prompt.living.container_session_id
                return await self._revival.instead(prompt.project, prompt.session_id, refused)
            except SessionBusy as exc:
                return exc

        found = await wait_for(look, seconds=TAKE_UP_SECONDS, until=lambda found: isinstance(found, Living))
        if isinstance(found, SessionBusy):
            raise found
        return found

    async def _taken(self, prompt: Prompt, taken_as: str | None) -> None:
        project_id, turn_id = prompt.project.id, prompt.turn_id
        if taken_as is None:
            # The plain answer is the turn's end, once its events are in the log.
            await self._until_quiet(project_id)
            await self._store.end_known_here(project_id, turn_id, endings.answered)
            return
        await self._store.mark_delivered(project_id, turn_id, taken_as)
        # Whoever follows the container has ended what was delivered before it found another boot.
        if await self._has_restarted(prompt):
            await self._store.end_known_here(project_id, turn_id, endings.RESTARTED)

    async def _has_restarted(self, prompt: Prompt) -> bool:
        """Whether the project's container is known to be of another boot than the prompt was sent to."""
        boot_id = prompt.living.container.boot_id
        try:
            project = await self._containers.project(prompt.project.id)
            if (await self._containers.get(project)).boot_id == boot_id:
                return False
            return (await self._containers.identify(project)).boot_id != boot_id
        except GatewayError:
            return False

    async def _until_quiet(self, project_id: str) -> None:
        head = None
        for _ in range(QUIET_LOOKS):
            try:
                latest = await self._log.head(LogId(project_id))
            except NotFound:
                return
            except GatewayError:
                latest = None
            if latest is not None and latest == head:
                return
            head = latest
            await asyncio.sleep(QUIET_SECONDS)

    async def _answer_lost(self, project_id: str, turn_id: str, then: LostAnswer) -> None:
        """With its connection or its gateway: the turn's events still come, its end among them or to be found out."""
        if then is LostAnswer.INQUIRE:
            await self._store.mark_unanswered(project_id, turn_id)
        else:
            await self._store.mark_delivered(project_id, turn_id, turn_id)


def _key(turn_id: str) -> str:
    return f"deliver {turn_id}"
