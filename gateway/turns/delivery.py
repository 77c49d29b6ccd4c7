"""Bringing a turn's prompt to its container: once, whatever dies, and ending the turn where the answer is its end.

A turn names the gateway that does this. ``sent_at`` is written just before the prompt is sent, so that whoever takes
over what a dead gateway held can tell what may have arrived; a container that knows prompts by their turn's id
(``turn-ids``) is simply sent the prompt again.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

import attrs

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.container.dialects import LostAnswer
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError, NotFound, UpstreamError, UpstreamFailed
from gateway.log.store import Log
from gateway.projects.store import Project
from gateway.sessions.revival import Living, Revival
from gateway.tasks import Tasks
from gateway.telemetry.context import about
from gateway.turns.endings import RESTARTED, Endings, failed
from gateway.turns.surely import surely
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import Cursor, TurnEnded, TurnStarted

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
NEVER_SENT = TurnEnded(outcome="cancelled", message="The turn was cancelled before its prompt was sent.")


@attrs.frozen(kw_only=True)
class Prompt:
    """What is brought to a container."""

    project: Project
    session_id: str
    turn_id: str
    blocks: Blocks = attrs.field(repr=False)
    living: Living


class Delivery:
    """The prompts that this process, as ``gateway_id``, brings to containers. Owns the tasks that do."""

    def __init__(
        self,
        database: Database,
        log: Log,
        containers: Containers,
        revival: Revival,
        endings: Endings,
        *,
        gateway_id: str,
    ) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._revival = revival
        self._endings = endings
        self.gateway_id = gateway_id
        #: The turns whose prompt is on its way, or whose answer is waited for.
        self._under_way: set[str] = set()
        #: Those of them whose prompt this process has sent.
        self._awaited: set[str] = set()
        self._tasks = Tasks()

    def start(self, prompt: Prompt) -> None:
        """Send a turn's prompt, and see to its end where that is the answer. No client can cancel this."""
        self._begin(self._run(prompt), prompt.turn_id)

    def take_up(self, turn: Row) -> None:
        """Go on with a turn that a dead gateway held, or that this one could not bring to its container before."""
        self._begin(self._take_up(turn), turn["id"])

    async def reclaim(self) -> None:
        """Hold what is awaited here. A gateway that could not renew its presence has been taken for dead meanwhile."""
        if self._awaited:
            await self._database.execute("reclaim_turns", ids=sorted(self._awaited), gateway_id=self.gateway_id)

    async def close(self) -> None:
        await self._tasks.close()

    def _begin(self, work: Coroutine[Any, Any, None], turn_id: str) -> None:
        if turn_id in self._under_way:
            work.close()
            return
        self._under_way.add(turn_id)
        task = self._tasks.start(work, name=f"turn {turn_id}")
        task.add_done_callback(lambda _: self._let_go(turn_id))

    def _let_go(self, turn_id: str) -> None:
        self._under_way.discard(turn_id)
        self._awaited.discard(turn_id)

    async def _take_up(self, turn: Row) -> None:
        about(project_id=turn["project_id"], session_id=turn["session_id"], turn_id=turn["id"])
        try:
            claimed = await self._database.fetch_one("claim_turn", **self._key(turn["project_id"], turn["id"]))
            if claimed is not None:
                await self._go_on(claimed)
        except NotFound:
            return  # with its project
        except GatewayError as exc:
            # The keeper comes again while the turn runs.
            logger.info("turn not taken up yet", extra={"turn": turn["id"], "error": str(exc)})

    async def _go_on(self, turn: Row) -> None:
        if turn["sent_at"] is None and turn["cancel_requested_at"] is not None:
            await self._endings.end(turn["project_id"], turn["id"], NEVER_SENT)
            return
        project = await self._containers.project(turn["project_id"])
        container = await self._containers.identify(project)
        if turn["container_boot_id"] != container.boot_id:
            await self._endings.end_surely(project.id, turn["id"], RESTARTED)
            return
        blocks = await self._asked(turn)
        again = container.lost_answer
        if blocks is None or (turn["sent_at"] is not None and again is not LostAnswer.SEND_AGAIN):
            await self._answer_lost(project.id, turn["id"], again)
            return
        session = await self._database.fetch_one("get_session", project_id=project.id, id=turn["session_id"])
        if session is None or session["container_session_id"] is None:
            return
        logger.info("turn taken up", extra={"turn": turn["id"], "sent": turn["sent_at"] is not None})
        await self._run(
            Prompt(
                project=project,
                session_id=session["id"],
                turn_id=turn["id"],
                blocks=blocks,
                living=Living(container=container, container_session_id=session["container_session_id"]),
            ),
            sent=turn["sent_at"] is not None,
        )

    async def _asked(self, turn: Row) -> Blocks | None:
        """The prompt as the log has it; None for a turn from before the log's place of it was kept."""
        if turn["before_seq"] is None:
            return None
        head = await self._log.head(turn["project_id"])
        place = Cursor(head.epoch, turn["before_seq"])
        for event in (await self._log.read(turn["project_id"], place, turn["session_id"]))[:1]:
            if event.type == TurnStarted.type and event.turn_id == turn["id"]:
                blocks: Blocks = parse_foreign_json(event.data)["prompt"]
                return blocks
        return None

    async def _run(self, prompt: Prompt, *, sent: bool = False) -> None:
        """Have the container take the prompt, once; ``sent``: it may have arrived already.

        A connection that breaks before the answer leaves open whether the prompt was taken. A container that knows a
        prompt again is asked until it answers, or until the turn has ended in another way. One that answers that it
        does not know the session has not taken the prompt: the session is taken up again, and the prompt goes there.
        """
        project_id, turn_id = prompt.project.id, prompt.turn_id
        about(project_id=project_id, turn_id=turn_id)
        moved = False
        for pause in chain(RETRY_PAUSES, repeat(RETRY_PAUSES[-1])):
            if not await self._mark_sent(project_id, turn_id):
                return
            self._awaited.add(turn_id)
            living, began = prompt.living, time.monotonic()
            try:
                taken_as = await living.container.prompt(living.container_session_id, prompt.blocks, turn_id)
            except ContainerRefused as exc:
                self._awaited.discard(turn_id)
                is_unknown = exc.upstream_status == NOT_FOUND and time.monotonic() - began < AT_ONCE_SECONDS
                if not is_unknown or sent or moved:
                    restarted = is_unknown and await self._has_restarted(prompt)
                    await self._endings.end_surely(project_id, turn_id, RESTARTED if restarted else failed(exc))
                    return
                if (elsewhere := await self._moved(prompt)) is None:
                    return
                prompt, moved = elsewhere, True
                continue
            except UpstreamError as exc:
                self._awaited.discard(turn_id)
                if isinstance(exc, UpstreamFailed) or (exc.unsent and not sent):
                    await self._endings.end_surely(project_id, turn_id, failed(exc))
                    return
                logger.info("prompt's answer lost", extra={"turn": turn_id, "error": str(exc)})
                sent = True
                if living.container.lost_answer is not LostAnswer.SEND_AGAIN:
                    await self._answer_lost(project_id, turn_id, living.container.lost_answer)
                    return
            else:
                await self._taken(prompt, taken_as)
                return
            await asyncio.sleep(pause)

    async def _moved(self, prompt: Prompt) -> Prompt | None:
        """The prompt for another container session; None where there is none, or the turn has ended: it is over."""
        project_id, turn_id = prompt.project.id, prompt.turn_id
        refused = prompt.living.container_session_id
        try:
            living = await self._revival.instead(prompt.project, prompt.session_id, refused)
        except GatewayError as exc:
            await self._endings.end_surely(project_id, turn_id, failed(exc))
            return None
        is_moved = await self._surely(
            "move_turn",
            container_session_id=living.container_session_id,
            container_boot_id=living.container.boot_id,
            **self._key(project_id, turn_id),
        )
        return attrs.evolve(prompt, living=living) if is_moved else None

    async def _taken(self, prompt: Prompt, taken_as: str | None) -> None:
        project_id, turn_id = prompt.project.id, prompt.turn_id
        if taken_as is None:
            await self._end_answered(project_id, turn_id)
            return
        await self._surely("set_delivered", project_id=project_id, id=turn_id, container_turn_id=taken_as)
        # Whoever follows the container has ended what was delivered before it found another boot.
        if await self._has_restarted(prompt):
            await self._endings.end_surely(project_id, turn_id, RESTARTED)

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

    async def _mark_sent(self, project_id: str, turn_id: str) -> bool:
        """Whether the prompt is still to be sent: it was not cancelled meanwhile, nor has another gateway taken it,
        nor has the container."""
        if await self._surely("mark_sent", **self._key(project_id, turn_id)):
            return True
        turn = await self._database.fetch_one("get_turn", project_id=project_id, id=turn_id)
        mine = turn is not None and turn["gateway_id"] == self.gateway_id and turn["sent_at"] is None
        if turn is not None and mine and turn["cancel_requested_at"] is not None:
            await self._endings.end_surely(project_id, turn_id, NEVER_SENT)
        return False

    async def _end_answered(self, project_id: str, turn_id: str) -> None:
        """End a turn as the plain answer to its prompt says, once its events are in the log."""
        await self._until_quiet(project_id)

        async def end() -> None:
            turn = await self._database.fetch_one("get_turn", project_id=project_id, id=turn_id)
            if turn is not None:
                asked_to_stop = turn["cancel_requested_at"] or turn["cancel_sent_at"]
                ended = TurnEnded(outcome="cancelled" if asked_to_stop else "completed")
                await self._endings.end(project_id, turn_id, ended)

        with suppress(NotFound):
            await surely(end, turn_id=turn_id)

    async def _until_quiet(self, project_id: str) -> None:
        head = None
        for _ in range(QUIET_LOOKS):
            try:
                latest = await self._log.head(project_id)
            except NotFound:
                return
            except GatewayError:
                latest = None
            if latest is not None and latest == head:
                return
            head = latest
            await asyncio.sleep(QUIET_SECONDS)

    async def _answer_lost(self, project_id: str, turn_id: str, lost: LostAnswer) -> None:
        """With its connection or its gateway: the turn's events still come, its end among them or to be found out."""
        if lost is LostAnswer.INQUIRE:
            await self._surely("set_unanswered", project_id=project_id, id=turn_id)
        else:
            await self._surely("set_delivered", project_id=project_id, id=turn_id, container_turn_id=turn_id)

    async def _surely(self, query: str, **params: Any) -> int:
        return await surely(lambda: self._database.execute(query, **params), turn_id=str(params["id"]))

    def _key(self, project_id: str, turn_id: str) -> dict[str, Any]:
        return {"project_id": project_id, "id": turn_id, "gateway_id": self.gateway_id}
