"""A turn, two gateways and a container without sockets: what the statements, the delivery and the container do, as far
as the machine depends on it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

import attrs

from gateway.sessions.endings import as_asked
from gateway.sessions.turn import Turn
from gateway.turns import endings
from gateway.turns.machine import (
    AskCancel,
    AwaitEnd,
    Begin,
    Deliver,
    End,
    Facts,
    Inquire,
    Report,
    Step,
    StopAgent,
    Wait,
    Warn,
    next_delivery,
    next_step,
)
from gateway.wire.events import TurnEnded
from tests.turns.samples import BEGAN, CONFIG, queued

#: What becomes of a call: it is answered; it never arrives; it arrives, and its answer is lost; the gateway dies on it,
#: before or after it arrives.
Fate = Literal["answered", "unreachable", "unheard", "dies before", "dies after"]
FATES: tuple[Fate, ...] = ("answered", "unreachable", "unheard", "dies before", "dies after")


class Died(Exception):
    """The gateway was killed at this moment."""


class Unreachable(Exception):
    """The container gave no answer."""


@attrs.define
class GatewayModel:
    """A process, with what it remembers until it dies."""

    name: str
    lives: bool = True
    delivering: bool = False
    inquired_at: datetime | None = None
    agent_stopped_at: datetime | None = None


@attrs.define
class ContainerModel:
    """A container, by what it can and what it has of the turn."""

    tells_end: bool
    knows_turn_ids: bool
    boot: int = 0
    runs: bool = False
    #: How often the turn was begun there.
    begun: int = 0
    deaf: bool = False
    agent: str = "running"

    def prompt(self) -> None:
        if not (self.knows_turn_ids and self.begun):
            self.begun += 1
            self.runs = True

    def restart(self) -> None:
        self.boot += 1
        self.runs, self.agent = False, "running"


@attrs.define
class World:
    """One turn and everything around it. The methods are what can happen, one at a time."""

    container: ContainerModel
    now: datetime = BEGAN
    turn: Turn = attrs.field(factory=queued)
    gateways: list[GatewayModel] = attrs.field(factory=lambda: [GatewayModel("a"), GatewayModel("b")])
    leader: str = "a"
    connected: bool = True
    session_ended: bool = False
    waits_for_people: bool = False
    said: int = 0
    warnings: set[int] = attrs.field(factory=set)
    ends: list[TurnEnded] = attrs.field(factory=list)

    # What a gateway reads.

    def facts(self, gateway: GatewayModel) -> Facts:
        turn = self.turn
        owner = next((one for one in self.gateways if one.name == turn.gateway_id), None)
        heard = self.waits_for_people or turn.said_at is None or self.said > (turn.said_seq or 0)
        seen = Facts(
            now=self.now,
            agent_id="demo",
            container_session_id="c1",
            leads=gateway.name == self.leader,
            may_deliver=owner is None or owner is gateway or not owner.lives,
            connected=self.connected,
            session_ended=self.session_ended,
            is_next=turn.state == "queued",
            heard=heard and turn.state == "running",
            warned=(turn.said_seq or 0) in self.warnings,
            delivering=gateway.delivering,
            inquired_at=gateway.inquired_at,
            agent_stopped_at=gateway.agent_stopped_at,
        )
        if seen.leads and seen.heard:
            self.change(said_at=self.now, said_seq=self.said)
        return seen

    # What a gateway does.

    def take(self, gateway: GatewayModel, turn: Turn, seen: Facts, step: Step, fate: Fate) -> None:
        """Take a step that the machine named, maybe long ago, for a turn as it was then."""
        try:
            self._take(gateway, turn, seen, step, fate)
        except Unreachable:
            return
        except Died:
            self.kill(gateway)

    def _take(self, gateway: GatewayModel, turn: Turn, seen: Facts, step: Step, fate: Fate) -> None:
        match step:
            case Begin():
                self.begin(gateway, fate)
            case Deliver():
                self.deliver(gateway, fate)
            case AskCancel():
                self.ask_cancel(turn, fate)
            case StopAgent():
                if self.is_running:
                    self.change(agent_stopped_at=self.now)
                    self.call(fate, self.stop_agent)
                    gateway.agent_stopped_at = self.now
            case Inquire():
                gateway.inquired_at = seen.now
                self.call(fate, lambda: None)
                seen = attrs.evolve(seen, inquired_at=seen.now, report=self.report())
                again = next_step(turn, seen, CONFIG)
                assert not isinstance(again, Inquire)
                self._take(gateway, turn, seen, again, fate)
            case Warn():
                self.warnings.add(turn.said_seq or 0)
            case End(ended):
                self.end(ended)

    def begin(self, gateway: GatewayModel, fate: Fate) -> None:
        if self.turn.state == "queued" and not self.session_ended:
            boot = str(self.container.boot)
            self.change(state="running", started_at=self.now, gateway_id=gateway.name, container_boot_id=boot)
            self.said += 1
            self.send(gateway, fate, may_have_arrived=False)

    def deliver(self, gateway: GatewayModel, fate: Fate) -> None:
        turn = self.turn
        if not self.is_running or turn.delivered_at or turn.unanswered_since:
            return
        if not self.facts(gateway).may_deliver:
            return
        self.change(gateway_id=gateway.name)
        self.call(fate, lambda: None)
        container = self.container
        how = next_delivery(turn, boot_id=str(container.boot), knows_turn_ids=container.knows_turn_ids)
        match how:
            case End(ended):
                self.end(ended)
            case AwaitEnd():
                self.answer_lost()
            case _:
                self.send(gateway, fate, may_have_arrived=how.may_have_arrived)

    def send(self, gateway: GatewayModel, fate: Fate, *, may_have_arrived: bool) -> None:
        turn = self.turn
        cancelled_before = turn.cancel_requested_at is not None and turn.sent_at is None
        if turn.gateway_id != gateway.name or turn.delivered_at or cancelled_before:
            return
        self.change(sent_at=turn.sent_at or self.now)
        try:
            self.call(fate, self.container.prompt)
        except Unreachable:
            if fate == "unreachable" and not may_have_arrived:
                self.end(TurnEnded(outcome="failed", failure="container_unreachable"))
            elif not self.container.knows_turn_ids:
                self.answer_lost()
            return
        if self.container.tells_end:
            self.change(delivered_at=self.now)
        else:
            gateway.delivering = True

    def answer_lost(self) -> None:
        name = "delivered_at" if self.container.tells_end else "unanswered_since"
        self.change(**{name: self.now})

    def ask_cancel(self, turn: Turn, fate: Fate) -> None:
        if not self.is_running:
            return
        self.change(cancel_sent_at=self.turn.cancel_sent_at or self.now)
        try:
            self.call(fate, self.hear_cancel)
        except Unreachable:
            if turn.cancel_sent_at is None:
                self.change(cancel_sent_at=None)

    def call(self, fate: Fate, arrives: Callable[[], object]) -> None:
        if fate == "dies before":
            raise Died
        if fate != "unreachable":
            arrives()
        if fate == "dies after":
            raise Died
        if fate != "answered":
            raise Unreachable

    # What the statements do.

    @property
    def is_running(self) -> bool:
        return self.turn.state == "running"

    def change(self, **changes: Any) -> None:
        self.turn = attrs.evolve(self.turn, **changes)

    def end(self, ended: TurnEnded) -> None:
        """The append of an end: of a turn that is over it changes nothing."""
        if self.is_running:
            told = as_asked(self.turn, ended)
            self.ends.append(told)
            self.change(state=told.outcome, ended_at=self.now)

    # What else happens.

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def say(self) -> None:
        if self.container.runs and self.connected:
            self.said += 1

    def finish(self) -> None:
        """The container's turn is over: it says so if it can, and whoever waits for the answer has it."""
        if self.container.runs:
            self.container.runs = False
            waiting = [one for one in self.gateways if one.lives and one.delivering]
            for one in waiting:
                one.delivering = False
            if waiting or (self.container.tells_end and self.connected):
                self.end(endings.answered(self.turn))

    def hear_cancel(self) -> None:
        if not self.container.deaf:
            self.finish()

    def stop_agent(self) -> None:
        self.container.agent = "stopped"
        self.finish()

    def break_answer(self) -> None:
        """The connection on which the prompt's answer would come breaks."""
        for one in self.gateways:
            if one.delivering:
                one.delivering = False
                self.answer_lost()

    def restart_container(self) -> None:
        self.container.restart()
        self.break_answer()

    def cancel(self) -> None:
        if self.turn.state == "queued":
            self.ends.append(endings.CANCELLED_IN_QUEUE)
            self.change(state="cancelled")
        elif self.is_running and self.turn.cancel_requested_at is None:
            self.change(cancel_requested_at=self.now)

    def end_session(self) -> None:
        """The turns of a session end with it, in one transaction."""
        self.session_ended = True
        if self.turn.state == "queued":
            self.ends.append(endings.SESSION_ENDED)
            self.change(state="cancelled")
        self.end(endings.SESSION_ENDED)

    def kill(self, gateway: GatewayModel) -> None:
        """Another process with the same name stands for the next one: it remembers nothing, and has another id."""
        number = self.gateways.index(gateway)
        gateway.lives = False
        self.gateways[number] = GatewayModel(gateway.name + "'")
        if self.leader == gateway.name:
            self.leader = self.gateways[1 - number].name

    def report(self) -> Report:
        container = self.container
        working = container.runs or not container.tells_end
        return Report(
            boot_id=str(container.boot),
            session_state="working" if working else "idle",
            agent_status=container.agent,
        )


def step_of(world: World, gateway: GatewayModel) -> tuple[Turn, Facts, Step]:
    """What the machine tells a gateway now. It waits only until something can have changed by the clock."""
    seen = world.facts(gateway)
    turn = world.turn
    step = next_step(turn, seen, CONFIG)
    if isinstance(step, Wait) and step.until is not None:
        assert step.until > seen.now
        moment = timedelta(milliseconds=1)
        before = next_step(turn, attrs.evolve(seen, now=max(seen.now, step.until - moment)), CONFIG)
        then = next_step(turn, attrs.evolve(seen, now=step.until), CONFIG)
        assert isinstance(before, Wait)
        assert not isinstance(then, Wait)
    return turn, seen, step
