"""Properties of every decision that does not depend on what is in flight."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from autoscaler.core.advice import advise
from autoscaler.core.backlog import Backlog, BuildStatus, UnknownBacklog
from autoscaler.core.decide import STEPS, decide
from autoscaler.core.history import LATE, History
from autoscaler.core.label_values import LONGEST_WINDOW, Fallback, Mode
from autoscaler.core.recommend import recommend
from autoscaler.core.situation import Situation
from autoscaler.core.spec import ScalingSpec
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    INSTANT,
    MINUTE,
    UNKNOWN,
    codes,
    highest,
    is_left_alone,
    lowest,
    situation,
    task_queue,
)
from tests.unit.core.strategies import (
    KNOWN,
    SEEN,
    SPANS,
    SPANS_ABOVE_0,
    not_scalable,
    relabelled,
    scalable,
    situations,
    some,
    specs,
)

GAPS = st.integers(1, 10**6).map(lambda seconds: LATE + timedelta(seconds=seconds)) | st.integers(
    61, 10**6
).map(lambda seconds: timedelta(seconds=-seconds))
"""Time beyond a minute in which nobody looked, or by which the clock was set back."""
AN_UNKNOWN_BACKLOG = scalable(st.just(UNKNOWN))


def held(drawn: Situation) -> int:
    """Return the present replicas, brought within bounds and ceiling."""
    return min(max(drawn.replicas, lowest(drawn)), highest(drawn))


@some
@given(scalable())
def test_a_service_that_may_be_scaled_stays_within_bounds_and_ceiling(drawn: Situation) -> None:
    assert lowest(drawn) <= decide(drawn).desired <= highest(drawn)


@some
@given(not_scalable())
def test_a_service_that_may_not_be_scaled_keeps_its_replicas(drawn: Situation) -> None:
    decision = decide(drawn)
    assert decision.desired == drawn.replicas
    explained = (
        isinstance(drawn.backlog, Backlog)
        and recommend(drawn)[0] == drawn.replicas
        and drawn.spec.min <= drawn.replicas <= highest(drawn)
    )
    assert len(decision.limits) == int(not explained)


@some
@given(AN_UNKNOWN_BACKLOG)
def test_without_a_fallback_an_unknown_backlog_changes_nothing_but_for_the_bounds(
    drawn: Situation,
) -> None:
    assert decide(relabelled(drawn, fallback=Fallback())).desired == held(drawn)


@some
@given(AN_UNKNOWN_BACKLOG, SPANS_ABOVE_0)
def test_before_fallback_after_an_unknown_backlog_changes_nothing_but_for_the_bounds(
    drawn: Situation, after: timedelta
) -> None:
    known = replace(drawn.history, known_at=NOW - after + INSTANT)
    early = replace(relabelled(drawn, fallback_after=after), history=known)
    assert decide(early).desired == held(drawn)


@some
@given(AN_UNKNOWN_BACKLOG, SPANS, st.integers(0, 70), st.booleans())
def test_from_then_on_the_replicas_lie_between_the_present_ones_and_the_fallback(
    drawn: Situation,
    after: timedelta,
    number: int,
    at_least: bool,  # noqa: FBT001
) -> None:
    known = replace(drawn.history, known_at=NOW - after)
    labels = {"fallback": Fallback(number, at_least), "fallback_after": after}
    desired = decide(replace(relabelled(drawn, **labels), history=known)).desired
    least = held(drawn) if at_least else min(held(drawn), number)
    assert least <= desired <= max(held(drawn), number)


@some
@given(scalable(KNOWN), st.integers(0, 1000))
def test_a_larger_backlog_never_asks_for_fewer_replicas(drawn: Situation, more: int) -> None:
    """The two situations differ only in the number of waiting tasks.

    This holds for all labels, also for tolerance and activation: the tolerated backlogs lie around
    the present replicas, smaller ones ask for no more than these and larger ones for no fewer.
    It holds for one look. Over several it cannot, as the next test shows.
    """
    assert isinstance(drawn.backlog, Backlog)
    parts = dict(drawn.backlog.parts)
    orders = task_queue()
    parts[orders] = replace(parts[orders], waiting=parts[orders].waiting + more)
    assert decide(replace(drawn, backlog=Backlog(parts))).desired >= decide(drawn).desired


def test_over_several_looks_a_larger_backlog_may_lead_to_fewer_replicas() -> None:
    """A backlog that was empty in between has moved; one that was not may be a phantom."""

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
@given(scalable(KNOWN), SPANS)
def test_an_older_backlog_never_asks_for_fewer_replicas(drawn: Situation, age: timedelta) -> None:
    assert isinstance(drawn.backlog, Backlog)
    older = {
        queue: replace(part, age=part.age + age) for queue, part in drawn.backlog.parts.items()
    }
    assert decide(replace(drawn, backlog=Backlog(older))).desired >= decide(drawn).desired


@dataclass(frozen=True)
class Restart:
    """A daemon that was just started, and its looks within the scale-in window."""

    spec: ScalingSpec
    replicas: int
    looks: list[tuple[datetime, Backlog | UnknownBacklog, bool]]
    """When, at what backlog, and whether the change that was decided is made."""


@st.composite
def restarts(draw: st.DrawFn) -> Restart:
    """Draw a restart whose looks all lie within the scale-in window."""
    window = draw(SPANS_ABOVE_0)
    not_off = [mode for mode in Mode if mode is not Mode.OFF]
    labels = {"scale_in_window": window, "mode": draw(st.sampled_from(not_off))}
    shares = sorted(draw(st.lists(st.integers(1, 1000), min_size=2, max_size=6)))
    return Restart(
        draw(specs()).model_copy(update=labels),
        draw(st.integers(1, 60)),
        [(NOW + window * share / 1000, draw(SEEN), draw(st.booleans())) for share in shares],
    )


@some
@given(restarts())
def test_a_restart_never_scales_in_within_the_scale_in_window(restart: Restart) -> None:
    history, running = History.seed(restart.replicas, NOW), restart.replicas
    for now, seen, works in restart.looks:
        decision = decide(Situation(restart.spec, running, seen, history, now))
        assert decision.desired >= min(restart.replicas, restart.spec.max)
        history = decision.history
        running = decision.desired if works else running


@some
@given(situations())
def test_the_same_situation_leads_to_the_same_decision(drawn: Situation) -> None:
    before = replace(drawn)
    assert decide(drawn) == decide(drawn)
    assert drawn == before


@some
@given(scalable())
def test_the_reasons_are_those_of_the_steps_that_changed_the_number(drawn: Situation) -> None:
    decision = decide(drawn)
    numbers, reasons = [recommend(drawn)[0]], []
    for step in STEPS:
        number, reason = step(drawn, decision.history, numbers[-1])
        numbers.append(number)
        reasons += [reason] if reason is not None else []
    assert decision.desired == numbers[-1]
    assert list(decision.limits) == reasons
    assert len(reasons) == sum(before != after for before, after in pairwise(numbers))


@some
@given(situations(), st.integers(0, 100))
def test_a_step_has_a_reason_exactly_when_it_changes_the_number(
    drawn: Situation, number: int
) -> None:
    history = drawn.history.observe(
        drawn.replicas, drawn.backlog, number, drawn.now, LONGEST_WINDOW
    )
    for step in STEPS:
        limited, reason = step(drawn, history, number)
        assert (reason is None) == (limited == number)


@some
@given(situations())
def test_no_reason_is_given_twice_and_each_text_is_one_line(drawn: Situation) -> None:
    decision = decide(drawn)
    assert len(set(codes(decision))) == len(decision.reasons)
    texts = [*map(str, decision.reasons), *advise(drawn, decision.history)]
    assert all(text and len(text.splitlines()) == 1 for text in texts)


@some
@given(situations(), st.integers(-7200, 7200))
def test_a_clock_that_was_set_back_breaks_neither_decision_nor_bounds(
    drawn: Situation, seconds: int
) -> None:
    moved = replace(drawn, now=drawn.now + timedelta(seconds=seconds))
    desired = decide(moved).desired
    if is_left_alone(moved):
        assert desired == moved.replicas
    else:
        assert lowest(moved) <= desired <= highest(moved)


@some
@given(situations(), GAPS)
def test_time_in_which_nobody_looked_changes_no_decision(drawn: Situation, gap: timedelta) -> None:
    """The look after it decides as it would have, had it come as usual."""
    seeded = drawn.history.observe(drawn.replicas, drawn.backlog, 3, NOW, LONGEST_WINDOW)
    usual = replace(drawn, history=seeded, now=NOW + MINUTE)
    later = NOW + MINUTE + gap
    late = replace(drawn, history=seeded.resumed(later, MINUTE), now=later)
    assert decide(late).reasons == decide(usual).reasons
    assert decide(late).desired == decide(usual).desired


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
    unhindered = replace(
        drawn.history, rate_limited_since={}, stalled_since=None, grown_in_stall_at=None
    )
    free = replace(drawn, spec=spec, ceiling=None, refusal=None, history=unhindered)
    recommended, _ = recommend(free)

    def within(window: timedelta) -> list[int]:
        past = free.history.since(free.now - window) if window else ()
        return [recommended, *past]

    smallest, largest = min(within(spec.scale_out_window)), max(within(spec.scale_in_window))
    assert decide(free).desired == min(max(free.replicas, smallest), largest)


@some
@given(scalable(KNOWN), st.sampled_from([BuildStatus.DRAINING, BuildStatus.NEVER_POLLED]))
def test_a_build_that_drains_or_has_never_polled_keeps_a_replica(
    drawn: Situation, status: BuildStatus
) -> None:
    assert isinstance(drawn.backlog, Backlog)
    parts = {queue: replace(part, build=status) for queue, part in drawn.backlog.parts.items()}
    mode = Mode.ON if drawn.spec.mode is Mode.PAUSE_OUT else drawn.spec.mode
    build = replace(relabelled(drawn, mode=mode), backlog=Backlog(parts), ceiling=None)
    assert decide(build).desired >= 1
