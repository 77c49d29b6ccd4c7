"""Takes the steps that the machine names for the turns that this process has to look after."""

import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import attrs

from gateway.backfill.backfill import Histories
from gateway.config.schema import TurnsConfig
from gateway.container.containers import Containers
from gateway.db.due import Driver
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent
from gateway.sessions.turn import Turn
from gateway.turns.cancelling import Cancelling
from gateway.turns.delivery import Delivery
from gateway.turns.inquiry import inquire
from gateway.turns.machine import (
    AskCancel,
    Begin,
    Deliver,
    End,
    Facts,
    Inquire,
    Step,
    StopAgent,
    Wait,
    Warn,
    next_step,
)
from gateway.turns.queue import Queue
from gateway.turns.store import TurnStore
from gateway.wire.events import TurnStalling

#: What sessions say is noted no more often than this part of the times that are measured from it.
PRECISION = 20


@attrs.define
class _Memory:
    """What this process remembers of a turn. Another one that goes on with it does these steps once more."""

    inquired_at: datetime | None = None
    agent_stopped_at: datetime | None = None


class TurnDriver:
    """Looks after turns until their end. ``review`` is for the ``Driver``."""

    def __init__(
        self,
        log: Log,
        store: TurnStore,
        containers: Containers,
        histories: Histories,
        delivery: Delivery,
        queue: Queue,
        cancelling: Cancelling,
        driver: Driver,
        config: TurnsConfig,
    ) -> None:
        self._log = log
        self._store = store
        self._containers = containers
        self._histories = histories
        self._delivery = delivery
        self._queue = queue
        self._cancelling = cancelling
        self._driver = driver
        self._config = config
        self._memories: dict[str, _Memory] = {}

    async def review(self, held: Sequence[str]) -> float:
        """Start the next step of each turn; returns the seconds until the next one by the clock is due."""
        await self._delivery.reclaim()
        precision = min(self._config.stall_after, self._config.lost_after) / PRECISION
        turns = await self._store.to_drive(held, precision=precision)
        known = self._memories
        self._memories = {turn.id: known.get(turn.id) or _Memory() for turn, _ in turns}
        pause = math.inf
        for turn, facts in turns:
            facts = self._complete(turn, facts)
            step = next_step(turn, facts, self._config)
            match step:
                case Wait(until):
                    pause = min(pause, math.inf if until is None else (until - facts.now).total_seconds())
                case Begin():
                    self._queue.advance(turn.project_id, turn.session_id)
                case Deliver():
                    self._delivery.take_up(turn)
                case _:
                    # A container that is slow to answer for one turn is not waited for by the others.
                    self._driver.do(f"turn {turn.id}", partial(self._take, turn, facts, step))
        return pause

    def _complete(self, turn: Turn, facts: Facts) -> Facts:
        memory = self._memories[turn.id]
        return attrs.evolve(
            facts,
            delivering=self._delivery.is_under_way(turn.id),
            inquired_at=memory.inquired_at,
            agent_stopped_at=memory.agent_stopped_at,
        )

    async def _take(self, turn: Turn, facts: Facts, step: Step) -> None:
        memory = self._memories.get(turn.id) or _Memory()
        match step:
            case AskCancel():
                await self._cancelling.ask(turn)
            case StopAgent():
                since = time.monotonic()
                if await self._cancelling.stop_agent(turn, facts.agent_id):
                    memory.agent_stopped_at = facts.now + timedelta(seconds=time.monotonic() - since)
            case Inquire():
                memory.inquired_at = facts.now
                report = await inquire(self._containers, self._histories, turn, facts)
                facts = attrs.evolve(facts, inquired_at=facts.now, report=report)
                await self._take(turn, facts, next_step(turn, facts, self._config))
            case Warn(silent_for):
                await self._warn(turn, facts.agent_id, silent_for)
            case End(ended):
                await self._store.end(turn.project_id, turn.id, ended)
            case _:
                return  # what its report says is that it goes on

    async def _warn(self, turn: Turn, agent_id: str, silent_for: float) -> None:
        event = NewEvent.of(
            TurnStalling(silent_for=round(silent_for, 1), ends_after=self._config.stall_after),
            session_id=turn.session_id,
            turn_id=turn.id,
            agent_id=agent_id,
            key=f"turn_stalling:{turn.id}:{turn.said_seq or 0}",
        )
        await self._log.append(LogId(turn.project_id), [event])
