"""Whatever happens to a turn, its gateways and its container: it ends once, and its prompt is run at most once."""

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.sessions.turn import Turn
from gateway.turns.machine import Facts, Step, Wait
from tests.turns.samples import CONFIG
from tests.turns.simulation import FATES, ContainerModel, Fate, GatewayModel, World, step_of

#: After so much silence nothing keeps a turn open: see ``GIVE_UP_SECONDS``.
LONGEST_SILENCE = timedelta(seconds=CONFIG.stall_after + CONFIG.cancel_timeout + 600 + 60)

gateways = st.integers(0, 1)
fates = st.sampled_from(FATES)


class TurnInTheWorld(RuleBasedStateMachine):
    """Hypothesis chooses what happens; at the end the world falls silent, and the turn must end."""

    @initialize(tells_end=st.booleans(), knows_turn_ids=st.booleans())
    def begin(self, tells_end: bool, knows_turn_ids: bool) -> None:
        self.world = World(ContainerModel(tells_end=tells_end, knows_turn_ids=tells_end and knows_turn_ids))
        #: Steps that gateways were told, and have not taken yet.
        self.late: list[tuple[GatewayModel, Turn, Facts, Step]] = []

    @rule(number=gateways, fate=fates)
    def drive(self, number: int, fate: Fate) -> None:
        gateway = self.world.gateways[number]
        turn, seen, step = step_of(self.world, gateway)
        self.world.take(gateway, turn, seen, step, fate)

    @rule(number=gateways)
    def be_told(self, number: int) -> None:
        gateway = self.world.gateways[number]
        self.late.append((gateway, *step_of(self.world, gateway)))

    @rule(fate=fates)
    def take_late(self, fate: Fate) -> None:
        if self.late:
            gateway, turn, seen, step = self.late.pop()
            if gateway.lives:
                self.world.take(gateway, turn, seen, step, fate)

    @rule(seconds=st.sampled_from((0.5, 1, 3, 11, 60, 120, 1000)))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def say(self) -> None:
        self.world.say()

    @rule()
    def finish(self) -> None:
        self.world.finish()

    @rule()
    def cancel(self) -> None:
        self.world.cancel()

    @rule(number=gateways)
    def kill(self, number: int) -> None:
        self.world.kill(self.world.gateways[number])

    @rule(number=gateways)
    def lead(self, number: int) -> None:
        self.world.leader = self.world.gateways[number].name

    @rule(connected=st.booleans())
    def connect(self, connected: bool) -> None:
        self.world.connected = connected

    @rule(waits=st.booleans())
    def wait_for_people(self, waits: bool) -> None:
        self.world.waits_for_people = waits

    @rule()
    def restart_container(self) -> None:
        self.world.restart_container()

    @rule()
    def break_answer(self) -> None:
        self.world.break_answer()

    @rule()
    def go_deaf(self) -> None:
        self.world.container.deaf = True

    @rule()
    def end_session(self) -> None:
        self.world.end_session()

    @invariant()
    def it_has_one_end_or_is_open(self) -> None:
        world = self.world
        assert len(world.ends) == (0 if world.turn.is_open else 1)
        assert not world.ends or world.ends[0].outcome == world.turn.state
        assert world.container.begun <= (0 if world.turn.sent_at is None else 1)

    def teardown(self) -> None:
        """Nothing is said any more; whoever drives meets all fates in turn, and everything takes its time."""
        world = self.world
        world.waits_for_people = False
        silent_since, number = None, 0
        while world.turn.is_open:
            [gateway] = [one for one in world.gateways if one.name == world.leader]
            turn, seen, step = step_of(world, gateway)
            world.take(gateway, turn, seen, step, FATES[number % 3] if not isinstance(step, Wait) else "answered")
            number += 1
            if world.turn.state == "running" and not seen.heard:
                silent_since = silent_since or world.now
                assert world.now - silent_since < LONGEST_SILENCE, f"still {step}"
            world.now = step.until if isinstance(step, Wait) and step.until else world.now + timedelta(seconds=1)
        self.it_has_one_end_or_is_open()
        for gateway in world.gateways:
            assert step_of(world, gateway)[2] == Wait()


TestTurnInTheWorld = TurnInTheWorld.TestCase
TestTurnInTheWorld.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
