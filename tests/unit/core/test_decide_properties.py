"""What holds of every decision, and of every service through any run of looks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, event, given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from autoscaler.core.decide import STEPS, decide, wants_in_flight
from autoscaler.core.history import History, Sample
from autoscaler.core.in_flight import (
    InFlight,
    SlotKind,
    Slots,
    Standing,
    UnknownInFlight,
    Worker,
    standings,
)
from autoscaler.core.limits import RATE_LIMITED_FOR
from autoscaler.core.model import Backlog, BuildStatus, Ceiling, Replica, UnknownBacklog
from autoscaler.core.protect import REPORT_WITHIN
from autoscaler.core.recommend import recommend
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.spec import LONGEST_WINDOW, Busy, Fallback, Mode, ScalingSpec, StepLimit
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    SECOND,
    UNKNOWN,
    backlog,
    codes,
    fleet,
    highest,
    left_alone,
    lowest,
    situation,
    stats,
    task_queue,
)

some = settings(max_examples=40)
"""There are many properties, and most draw a whole situation."""

LENGTHS = [INSTANT, SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, HOUR]
"""Few enough that edges of windows, periods and debounces meet."""


SPANS = st.sampled_from([timedelta(), *LENGTHS]) | st.integers(1, 3600).map(
    lambda seconds: timedelta(seconds=seconds)
)
"""Durations from nothing to an hour."""
SPANS_ABOVE_0 = st.sampled_from([*LENGTHS, *LENGTHS, 77 * SECOND])
STEP_LIMITS = st.lists(
    st.builds(StepLimit, st.integers(1, 150), st.booleans(), SPANS_ABOVE_0), max_size=3
).map(tuple)


@st.composite
def specs(draw: st.DrawFn) -> ScalingSpec:
    """Draw any labels whatever."""
    low = draw(st.sampled_from([0, 0, 0, 1, 1, 2, 7, 20]))
    return ScalingSpec(
        queues=("orders",),
        target=draw(st.integers(1, 50)),
        min=low,
        max=draw(st.integers(max(low, 1), 60)),
        mode=draw(st.sampled_from([Mode.ON] * 9 + list(Mode))),
        activation=draw(st.sampled_from([0, 0, 1, 30])),
        cooldown=draw(SPANS),
        scale_out_window=draw(st.just(timedelta()) | SPANS),
        scale_in_window=draw(SPANS),
        scale_out_limit=draw(st.just(()) | STEP_LIMITS),
        scale_in_limit=draw(st.just(()) | STEP_LIMITS),
        tolerance=draw(st.sampled_from([0.0, 0.1, 0.29, 1.0])),
        max_wait=draw(st.none() | SPANS_ABOVE_0),
        fallback=draw(st.just(Fallback()) | st.builds(Fallback, st.integers(0, 70), st.booleans())),
        fallback_after=draw(SPANS),
    )


RATES = st.sampled_from([0.0, 0.0, 0.001, 0.002, 5.0])
STATS = st.builds(
    stats,
    st.sampled_from([0, 0, 1, 30]) | st.integers(0, 1000),
    age=SPANS,
    add_rate=RATES,
    dispatch_rate=RATES,
    rate_limited=st.booleans(),
    pollers=st.integers(0, 2),
)
KNOWN = st.lists(STATS, min_size=1, max_size=2).map(
    lambda parts: Backlog(dict(zip(map(task_queue, ("orders", "mails")), parts, strict=False)))
)
SEEN = KNOWN | st.just(UNKNOWN)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw any past whatever, also one that no run of looks leads to."""

    def samples(least: int) -> tuple[Sample, ...]:
        drawn = draw(st.lists(st.tuples(SPANS, st.integers(least, 60)), max_size=5))
        return tuple(Sample(NOW - age, number) for age, number in sorted(drawn)[::-1])

    def moment() -> datetime:
        return NOW - draw(SPANS)

    return History(
        replicas=draw(st.integers(0, 60)),
        known_at=moment(),
        active_at=moment(),
        recommendations=samples(0),
        changes=samples(-60),
        rate_limited_since=draw(st.none() | st.just(moment())),
        stalled_since=draw(st.none() | st.just(moment())),
        lively=draw(st.sampled_from([frozenset(), backlog(1).lively_queues])),
    )


@st.composite
def situations(draw: st.DrawFn, seen: st.SearchStrategy[Any] = SEEN) -> Situation:
    """Draw any situation whatever."""
    return Situation(
        spec=draw(specs()),
        replicas=draw(st.integers(0, 3) | st.integers(0, 60)),
        backlog=draw(seen),
        history=draw(histories()),
        now=NOW,
        ceiling=draw(
            st.none() | st.none() | st.builds(Ceiling, st.integers(0, 9), st.just("ports"))
        ),
        refusal=draw(st.none() | st.none() | st.just("a rollout is under way")),
    )


def may_fall_back(given_situation: Situation) -> bool:
    """Whether a number was named for an unknown backlog, and it has been unknown for so long."""
    spec = given_situation.spec
    unknown_for = given_situation.now - given_situation.history.known_at
    return spec.fallback.replicas is not None and unknown_for >= spec.fallback_after


@some
@given(situations())
def test_the_replicas_are_always_within_the_bounds_unless_left_alone(drawn: Situation) -> None:
    desired = decide(drawn).desired
    if left_alone(drawn):
        assert desired == drawn.replicas
    else:
        assert lowest(drawn) <= desired <= highest(drawn)


@some
@given(situations(st.just(UNKNOWN)))
def test_an_unknown_backlog_changes_nothing_but_for_bounds_and_fallback(drawn: Situation) -> None:
    desired = decide(drawn).desired
    if left_alone(drawn):
        return
    held = min(max(drawn.replicas, lowest(drawn)), highest(drawn))
    fallback = drawn.spec.fallback
    if not may_fall_back(drawn):
        assert desired == held
    elif fallback.at_least:
        assert desired >= held
    else:
        assert fallback.replicas is not None
        assert desired >= min(held, fallback.replicas)


@some
@given(situations(KNOWN), st.integers(0, 1000))
def test_a_larger_backlog_never_asks_for_fewer_replicas(drawn: Situation, more: int) -> None:
    """Of two situations that differ in the number of waiting tasks alone.

    It holds for all labels, tolerance and activation too: what is tolerable lies around the
    present replicas, smaller backlogs ask for no more than these and larger ones for no fewer.
    It holds for one look. Over many it cannot, as the next test shows.
    """
    assert isinstance(drawn.backlog, Backlog)
    parts = dict(drawn.backlog.parts)
    orders = task_queue()
    parts[orders] = replace(parts[orders], waiting=parts[orders].waiting + more)
    assert decide(replace(drawn, backlog=Backlog(parts))).desired >= decide(drawn).desired


def test_over_many_looks_a_larger_backlog_may_end_with_fewer_replicas() -> None:
    """A backlog that was empty once does move; one that never was is a phantom."""

    def desired(*waiting: int) -> int:
        history = History.seed(1, NOW)
        decision = None
        for minute, tasks in enumerate(waiting):
            look = replace(
                situation(waiting=tasks, replicas=2 if minute else 1),
                history=history,
                now=NOW + minute * 2 * MINUTE,
            )
            decision = decide(look)
            history = decision.history
        assert decision is not None
        return decision.desired

    assert desired(90, 90, 90) == 2
    assert desired(90, 0, 90) == 9


@some
@given(situations(KNOWN), SPANS)
def test_an_older_backlog_never_asks_for_fewer_replicas(drawn: Situation, age: timedelta) -> None:
    assert isinstance(drawn.backlog, Backlog)
    older = {
        queue: replace(part, age=part.age + age) for queue, part in drawn.backlog.parts.items()
    }
    assert decide(replace(drawn, backlog=Backlog(older))).desired >= decide(drawn).desired


@some
@given(
    specs(),
    st.integers(0, 60),
    st.lists(st.tuples(SEEN, st.sampled_from(LENGTHS), st.booleans()), min_size=2, max_size=6),
)
def test_a_restart_never_scales_in_inside_the_scale_in_window(
    spec: ScalingSpec, replicas: int, looks: list[tuple[Backlog | UnknownBacklog, timedelta, bool]]
) -> None:
    history, now, running = History.seed(replicas, NOW), NOW, replicas
    for seen, after, works in looks:
        now += after
        if now - NOW > spec.scale_in_window or not spec.scale_in_window:
            return
        look = Situation(spec, running, seen, history, now)
        decision = decide(look)
        assert left_alone(look) or decision.desired >= min(replicas, spec.max)
        history = decision.history
        running = decision.desired if works else running


@some
@given(situations())
def test_the_same_situation_leads_to_the_same_decision(drawn: Situation) -> None:
    before = replace(drawn)
    assert decide(drawn) == decide(drawn)
    assert drawn == before


@some
@given(situations())
def test_the_limits_are_those_that_changed_the_number_and_no_others(drawn: Situation) -> None:
    decision = decide(drawn)
    recommended = recommend(drawn)[0]
    if left_alone(drawn):
        known = isinstance(drawn.backlog, Backlog)
        assert len(decision.limits) == int(not known or recommended != drawn.replicas)
        return
    numbers = [recommended]
    for limit in STEPS:
        number, reason = limit(drawn, decision.history, numbers[-1])
        assert (reason is None) == (number == numbers[-1])
        numbers.append(number)
    assert decision.desired == numbers[-1]
    assert len(decision.limits) == sum(a != b for a, b in pairwise(numbers))
    assert decision.limits or decision.desired == recommended


@some
@given(situations(), st.integers(0, 100))
def test_a_limit_has_a_reason_exactly_when_it_changes_the_number(
    drawn: Situation, number: int
) -> None:
    history = drawn.history.observe(
        drawn.replicas, drawn.backlog, number, drawn.now, LONGEST_WINDOW
    )
    for limit in STEPS:
        limited, reason = limit(drawn, history, number)
        assert (reason is None) == (limited == number)


@some
@given(situations())
def test_no_reason_is_given_twice_and_each_text_is_one_line(drawn: Situation) -> None:
    decision = decide(drawn)
    assert len(set(codes(decision))) == len(decision.reasons)
    texts = [*map(str, decision.reasons), *decision.warnings]
    assert all(text and len(text.splitlines()) == 1 for text in texts)


@some
@given(situations(), st.integers(-7200, 7200))
def test_no_situation_raises_even_with_a_clock_that_was_put_back(
    drawn: Situation, seconds: int
) -> None:
    decide(replace(drawn, now=drawn.now + timedelta(seconds=seconds)))


@some
@given(situations(KNOWN))
def test_the_windows_are_those_of_the_hpa(drawn: Situation) -> None:
    """The HPA clamps the present count between the smallest and the largest recommendation."""
    spec = ScalingSpec(
        queues=("orders",),
        target=drawn.spec.target,
        min=0,
        max=10_000,
        cooldown=timedelta(),
        scale_out_window=drawn.spec.scale_out_window,
        scale_in_window=drawn.spec.scale_in_window,
    )
    unhindered = replace(drawn.history, rate_limited_since=None, stalled_since=None)
    free = replace(drawn, spec=spec, ceiling=None, refusal=None, history=unhindered)
    recommended, _ = recommend(free)

    def within(window: timedelta) -> list[int]:
        past = free.history.since(free.now - window) if window else ()
        return [recommended, *past]

    smallest, largest = min(within(spec.scale_out_window)), max(within(spec.scale_in_window))
    assert decide(free).desired == min(max(free.replicas, smallest), largest)


WORKERS = st.builds(
    Worker,
    instance=st.sampled_from(["a", "b", "c"]),
    host=st.sampled_from([f"r{number}" for number in range(8)]),
    at=st.sampled_from([NOW, NOW - 20 * SECOND, NOW - HOUR]),
    interval=st.sampled_from([timedelta(), 10 * SECOND]),
    leaving=st.sampled_from([False, False, True]),
    slots=st.dictionaries(
        st.sampled_from(SlotKind),
        st.builds(Slots, st.sampled_from([0, 0, 1, 9]), st.sampled_from([0, 1, 9])),
        max_size=2,
    ),
)


UNREPORTED_SINCE = st.sampled_from(
    [NOW - HOUR, NOW - REPORT_WITHIN, NOW - REPORT_WITHIN + INSTANT, NOW, None]
)


@st.composite
def shrinking(draw: st.DrawFn) -> Situation:
    """Draw any situation with replicas and what is known of them; mostly a few may go."""
    known = draw(st.lists(st.sampled_from("iiibbsl"), min_size=2, max_size=8).map("".join))
    described = fleet(known, one_turn=draw(st.booleans()), choosable=draw(st.booleans()))
    first, *others = described.replicas
    in_flight = replace(
        described,
        replicas=(replace(first, host=draw(st.sampled_from(["r1", "r1", None]))), *others),
        workers=(*described.workers, *draw(st.lists(WORKERS, max_size=1))),
    )
    given_ = draw(situations(st.integers(0, 3).map(backlog) | SEEN))
    low = draw(st.integers(0, 2))
    return replace(
        given_,
        spec=ScalingSpec(
            queues=("orders",),
            target=1,
            min=low,
            max=draw(st.integers(max(low, 1), 9)),
            cooldown=draw(st.just(timedelta()) | SPANS),
            scale_in_window=timedelta(),
            busy=draw(st.sampled_from([Busy.PROTECT, *Busy])),
            slots_target=draw(st.sampled_from([None, None, 0.8])),
        ),
        history=replace(given_.history, unreported_since=draw(UNREPORTED_SINCE)),
        replicas=len(known),
        refusal=None,
        draining=draw(st.integers(0, 1)),
        in_flight=draw(
            st.sampled_from(
                [in_flight] * 5 + [replace(in_flight, workers=())] + [UnknownInFlight("no answer")]
            )
        ),
    )


def count(drawn: Situation, *which: Standing) -> int:
    """Count the replicas of which this is known."""
    assert isinstance(drawn.in_flight, InFlight)
    known = standings(drawn.in_flight, drawn.now)
    return sum(standing in which for standing in known.values())


@some
@given(shrinking())
def test_no_more_replicas_go_than_are_idle_or_leaving(drawn: Situation) -> None:
    desired = decide(drawn).desired
    if left_alone(drawn) or drawn.spec.busy is Busy.IGNORE:
        return
    if isinstance(drawn.in_flight, UnknownInFlight):
        event("unknown")
        assert desired >= drawn.replicas
    elif isinstance(drawn.in_flight, InFlight) and drawn.in_flight.workers:
        event("scale-in" if desired < drawn.replicas else "none")
        at_work = count(drawn, Standing.BUSY, Standing.SILENT)
        assert desired >= min(at_work, drawn.replicas)


@some
@given(shrinking())
def test_where_nobody_reports_none_goes_before_that_is_sure(drawn: Situation) -> None:
    mute = replace(drawn, in_flight=InFlight(_members(drawn), ()))
    silent_since = drawn.history.unreported_since
    decision = decide(mute)
    if left_alone(mute) or mute.spec.busy is Busy.IGNORE or decision.desired >= mute.replicas:
        return
    event("scale-in")
    assert mute.spec.busy is Busy.PROTECT
    assert silent_since is not None
    assert mute.now - silent_since >= REPORT_WITHIN


def _members(drawn: Situation) -> tuple[Replica, ...]:
    if isinstance(drawn.in_flight, InFlight):
        return drawn.in_flight.replicas
    return tuple(Replica(f"r{number}", f"r{number}") for number in range(drawn.replicas))


@some
@given(shrinking())
def test_the_bounds_hold_but_for_replicas_that_may_not_be_stopped(drawn: Situation) -> None:
    desired = decide(drawn).desired
    if left_alone(drawn):
        assert desired == drawn.replicas
    else:
        assert lowest(drawn) <= desired <= max(highest(drawn), drawn.replicas)
        assert desired <= highest(drawn) or drawn.spec.busy is not Busy.IGNORE


@some
@given(shrinking())
def test_protection_never_makes_a_service_grow_or_shrink_by_itself(drawn: Situation) -> None:
    protected = decide(drawn)
    free = decide(replace(drawn, spec=drawn.spec.model_copy(update={"busy": Busy.IGNORE}))).desired
    if left_alone(drawn):
        return
    assert protected.desired == free or free < protected.desired <= drawn.replicas


@some
@given(shrinking())
def test_where_all_are_idle_and_can_be_chosen_protection_changes_nothing(drawn: Situation) -> None:
    members = tuple(replace(each, host=each.id, choosable=True) for each in _members(drawn))
    idle = InFlight(
        members,
        tuple(
            Worker(each.id, each.id, NOW, timedelta(), leaving=False, slots={}) for each in members
        ),
    )
    free = replace(drawn, in_flight=idle)
    ignored = replace(free, spec=free.spec.model_copy(update={"busy": Busy.IGNORE}))
    assert decide(free).desired == decide(ignored).desired


@some
@given(shrinking())
def test_with_what_is_in_flight_the_same_situation_leads_to_the_same_decision(
    drawn: Situation,
) -> None:
    before = replace(drawn)
    assert decide(drawn) == decide(drawn)
    assert drawn == before


@some
@given(shrinking())
def test_what_is_in_flight_is_wanted_wherever_protection_could_speak(drawn: Situation) -> None:
    """Nobody has looked yet: without a look no replica may go, unless nobody cares."""
    unseen = replace(drawn, in_flight=None)
    decision = decide(unseen)
    if decision.desired < unseen.replicas and unseen.spec.busy is not Busy.IGNORE:
        assert wants_in_flight(unseen, decision)


@some
@given(situations(KNOWN), st.sampled_from([BuildStatus.DRAINING, BuildStatus.NEVER_POLLED]))
def test_a_build_that_drains_or_is_new_keeps_a_replica_unless_left_alone(
    drawn: Situation, status: BuildStatus
) -> None:
    assert isinstance(drawn.backlog, Backlog)
    parts = {queue: replace(part, build=status) for queue, part in drawn.backlog.parts.items()}
    build = replace(drawn, backlog=Backlog(parts))
    if left_alone(build) or highest(build) == 0:
        return
    kept = drawn.replicas or drawn.spec.mode is not Mode.PAUSE_OUT
    assert decide(build).desired >= int(bool(kept))


@st.composite
def step_by_step(draw: st.DrawFn) -> ScalingSpec:
    """Draw labels under which a service is always on the move, a few replicas at a time."""
    limits = st.lists(
        st.builds(
            StepLimit,
            st.sampled_from([1, 2, 5, 30]),
            st.booleans(),
            st.sampled_from([10 * SECOND, MINUTE, 5 * MINUTE]),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple)
    return ScalingSpec(
        queues=("orders",),
        target=1,
        min=0,
        max=60,
        cooldown=draw(st.sampled_from([timedelta(), 2 * MINUTE])),
        scale_in_window=draw(st.sampled_from([timedelta(), 10 * SECOND])),
        scale_out_limit=draw(limits),
        scale_in_limit=draw(limits),
    )


LABELS = specs() | step_by_step()


@dataclass(frozen=True)
class Look:
    """What one look saw, kept by the test on its own account."""

    at: datetime
    replicas: int
    recommended: int
    active: bool
    limited: bool


class OneService(RuleBasedStateMachine):
    """One service through many looks, with faults, other hands and changed labels."""

    @initialize(spec=LABELS, replicas=st.integers(0, 12))
    def appear(self, spec: ScalingSpec, replicas: int) -> None:
        self.spec = spec
        self.replicas = replicas
        self.now = NOW
        self.ceiling: Ceiling | None = None
        self.restart()

    def restart(self) -> None:
        """The daemon starts anew: all it knows is what runs now."""
        self.history = History.seed(self.replicas, self.now)
        self.known_at = self.now
        seeded = Look(self.now, self.replicas, self.replicas, active=True, limited=False)
        self.looks: list[Look] = [seeded]

    @rule(spec=LABELS)
    def relabel(self, spec: ScalingSpec) -> None:
        self.spec = spec

    @rule(
        replicas=st.none() | st.integers(0, 20),
        ceiling=st.none() | st.builds(Ceiling, st.integers(1, 5), st.just("ports")),
        restarts=st.sampled_from([False, False, True]),
    )
    def other_hands(self, replicas: int | None, ceiling: Ceiling | None, *, restarts: bool) -> None:
        """Somebody scales the service by hand, changes its ports, restarts the daemon."""
        self.replicas = self.replicas if replicas is None else replicas
        self.ceiling = ceiling
        if restarts:
            self.restart()

    @rule(
        seen=SEEN,
        after=SPANS_ABOVE_0,
        works=st.sampled_from([1.0, 1.0, 0.5, 0.0]),
        refusal=st.sampled_from([None] * 5 + ["a rollout is under way"]),
    )
    def look(
        self,
        seen: Backlog | UnknownBacklog,
        after: timedelta,
        works: float,
        refusal: str | None,
    ) -> None:
        """Decide, check, and do what was decided, or only a part of it."""
        self._look(seen, after, works, refusal)

    @rule(
        seen=SEEN,
        after=st.sampled_from([SECOND, 5 * SECOND, 20 * SECOND]),
        times=st.integers(2, 12),
    )
    def look_for_a_while(
        self, seen: Backlog | UnknownBacklog, after: timedelta, times: int
    ) -> None:
        """The same again and again, so that debounces and windows run out."""
        for _ in range(times):
            self._look(seen, after)

    @rule(after=st.sampled_from([30 * SECOND, 2 * MINUTE]), times=st.integers(2, 8))
    def rest(self, after: timedelta, times: int) -> None:
        """All is done, and the last replica may go."""
        for _ in range(times):
            self._look(backlog(0), after)

    @rule(
        waiting=st.lists(st.integers(0, 60), min_size=2, max_size=6),
        after=st.sampled_from([SECOND, 5 * SECOND, 20 * SECOND]),
    )
    def work(self, waiting: list[int], after: timedelta) -> None:
        """Tasks come, and workers take them."""
        for tasks in waiting:
            self._look(backlog(tasks, dispatch_rate=1.0), after)

    def _look(
        self,
        seen: Backlog | UnknownBacklog,
        after: timedelta,
        works: float = 1.0,
        refusal: str | None = None,
    ) -> None:
        self.now += after
        look = Situation(
            self.spec, self.replicas, seen, self.history, self.now, self.ceiling, refusal
        )
        decision = decide(look)
        known = isinstance(seen, Backlog)
        busy = not isinstance(seen, Backlog) or bool(
            seen.waiting
            or any(max(p.add_rate, p.dispatch_rate) > 0.001 for p in seen.parts.values())
        )
        limited = isinstance(seen, Backlog) and any(p.rate_limited for p in seen.parts.values())
        self.looks.append(
            Look(self.now, self.replicas, recommend(look)[0], active=busy, limited=limited)
        )
        if known:
            self.known_at = self.now
        self._check_memory(decision.history)
        if left_alone(look):
            event("left alone")
            assert decision.desired == self.replicas
        else:
            self._check(look, decision)
        self.history = decision.history
        if self.spec.mode is not Mode.DRY_RUN:
            self.replicas += int((decision.desired - self.replicas) * works)

    def _check(self, look: Situation, decision: Decision) -> None:
        desired, replicas = decision.desired, look.replicas
        low, high = lowest(look), highest(look)
        assert low <= desired <= high
        assert (
            isinstance(look.backlog, Backlog)
            or may_fall_back(look)
            or desired == min(max(replicas, low), high)
        )
        if desired < min(replicas, high):
            event("scale-in")
            self._check_scale_in(look, desired)
        if desired > max(replicas, low):
            event("scale-out")
            self._check_scale_out(look, desired)

    def _check_scale_in(self, look: Situation, desired: int) -> None:
        spec = look.spec
        assert spec.mode is not Mode.PAUSE_IN
        window = spec.scale_in_window
        recommended = [s.recommended for s in self.looks if window and s.at >= self.now - window]
        assert desired >= min([look.replicas, max([*recommended, self.looks[-1].recommended])])
        if not isinstance(look.backlog, Backlog):
            assert spec.fallback.replicas is not None
            assert not spec.fallback.at_least
            assert desired >= spec.fallback.replicas
            assert self.now - self.known_at >= spec.fallback_after
        if spec.scale_in_limit:
            least = [
                start * (100 - limit.amount) // 100 if limit.percent else start - limit.amount
                for limit in spec.scale_in_limit
                for start in [self._replicas_at(self.now - limit.period)]
            ]
            assert desired >= min(least)
        if desired == 0:
            event("zero")
            assert self.now - max(s.at for s in self.looks if s.active) >= spec.cooldown

    def _check_scale_out(self, look: Situation, desired: int) -> None:
        spec = look.spec
        assert spec.mode is not Mode.PAUSE_OUT
        window = spec.scale_out_window
        recommended = [s.recommended for s in self.looks if window and s.at >= self.now - window]
        assert desired <= max(1, min([*recommended, self.looks[-1].recommended]))
        if spec.scale_out_limit:
            most = [
                -(-max(start, 1) * (100 + limit.amount) // 100)
                if limit.percent
                else start + limit.amount
                for limit in spec.scale_out_limit
                for start in [self._replicas_at(self.now - limit.period)]
            ]
            assert desired <= max(most)
        if look.replicas == 0 and isinstance(look.backlog, Backlog):
            event("wake")
            assert look.backlog.waiting > spec.activation
        since = self.now
        for seen in reversed(self.looks):
            if not seen.limited:
                break
            since = seen.at
        assert not self.looks[-1].limited or self.now - since < RATE_LIMITED_FOR

    def _replicas_at(self, start: datetime) -> int:
        """Return the replicas of the latest look up to then, or of the very first."""
        before = [look.replicas for look in self.looks if look.at <= start]
        return before[-1] if before else self.looks[0].replicas

    def _check_memory(self, history: History) -> None:
        """No more than one sample a look, and none older than the longest window."""
        recent = [look for look in self.looks if look.at >= self.now - LONGEST_WINDOW]
        for samples in (history.recommendations, history.changes):
            assert len(samples) <= len(recent)
            assert all(sample.at >= self.now - LONGEST_WINDOW for sample in samples)
        changed = [number for number, _ in groupby(look.recommended for look in recent)]
        assert list(history.since(self.now - LONGEST_WINDOW)) == changed


TestOneService = OneService.TestCase
TestOneService.settings = settings(
    max_examples=50, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
)
