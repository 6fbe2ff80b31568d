"""Random labels, backlogs, pasts and situations for properties and for the fuzz."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings

from autoscaler.core.backlog import Backlog
from autoscaler.core.history import History, Sample
from autoscaler.core.in_flight import InFlight, SlotKind, Slots, UnknownInFlight, Worker
from autoscaler.core.label_values import Busy, Fallback, Mode, StepLimit
from autoscaler.core.model import Ceiling, EndedBy, Ending
from autoscaler.core.protect import REPORT_WITHIN
from autoscaler.core.situation import Situation
from autoscaler.core.spec import ScalingSpec
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    SECOND,
    UNKNOWN,
    backlog,
    fleet,
    stats,
    task_queue,
)

some = settings(max_examples=settings().max_examples * 2 // 5)
"""Fewer examples than usual: there are many properties, and most draw a whole situation."""

LENGTHS = [INSTANT, SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, HOUR]
"""So few that the edges of windows, periods and debounces often meet."""
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
    """Draw any labels."""
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


@st.composite
def step_by_step(draw: st.DrawFn) -> ScalingSpec:
    """Draw labels under which a service changes often, by a few replicas at a time."""
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


ORDERS, MAILS = task_queue("orders"), task_queue("mails")
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
    lambda parts: Backlog(dict(zip((ORDERS, MAILS), parts, strict=False)))
)
"""Backlogs that could be read."""
SEEN = KNOWN | st.just(UNKNOWN)
"""Any backlog."""


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw any past, also one that no sequence of looks leads to."""

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
        rate_limited_since={
            queue: moment() for queue in draw(st.sets(st.sampled_from([ORDERS, MAILS])))
        },
        stalled_since=draw(st.none() | st.just(moment())),
        stalled_with=draw(st.integers(0, 60)),
        grown_in_stall_at=draw(st.none() | st.just(moment())),
        lively=draw(st.sampled_from([frozenset(), backlog(1).lively_queues])),
    )


ENDINGS = st.none() | st.builds(
    Ending,
    st.sampled_from(EndedBy),
    st.booleans(),
    st.just("a replica ended by itself"),
    st.sampled_from([None, NOW - HOUR, NOW, NOW + SECOND, NOW + 5 * MINUTE]),
)


@st.composite
def situations(draw: st.DrawFn, seen: st.SearchStrategy[Any] = SEEN) -> Situation:
    """Draw any situation in which nobody has looked at what is in flight."""
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
        ending=draw(st.none() | ENDINGS),
    )


def relabelled(given: Situation, **labels: Any) -> Situation:
    """Return a situation with other values of some labels."""
    return replace(given, spec=given.spec.model_copy(update=labels))


def scalable(seen: st.SearchStrategy[Any] = SEEN) -> st.SearchStrategy[Situation]:
    """Draw any situation in which the service may be scaled."""

    def allow(given: Situation) -> Situation:
        mode = Mode.ON if given.spec.mode is Mode.OFF else given.spec.mode
        return replace(relabelled(given, mode=mode), refusal=None, ending=None)

    return situations(seen).map(allow)


def not_scalable() -> st.SearchStrategy[Situation]:
    """Draw any situation in which the service is left alone."""

    def forbid(given: Situation, why: str) -> Situation:
        match why:
            case "off":
                return relabelled(given, mode=Mode.OFF)
            case "refused":
                return replace(given, refusal="a rollout is under way")
        return replace(given, replicas=0, ending=Ending(EndedBy.HAND, seen=True))

    return st.builds(forbid, situations(), st.sampled_from(["off", "refused", "stopped by hand"]))


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


@st.composite
def reports(draw: st.DrawFn) -> InFlight:
    """Draw four to eight replicas, what is known of each, and perhaps a stray worker.

    At least one worker reports.
    """
    others = draw(st.lists(st.sampled_from("iiibbsl"), min_size=3, max_size=7))
    known = draw(st.permutations([draw(st.sampled_from("ibl")), *others]).map("".join))
    described = fleet(known, one_turn=draw(st.booleans()), choosable=draw(st.booleans()))
    first, *rest = described.replicas
    return replace(
        described,
        replicas=(replace(first, host=draw(st.sampled_from(["r1", "r1", None]))), *rest),
        workers=(*described.workers, *draw(st.lists(WORKERS, max_size=1))),
    )


UNREPORTED_SINCE = st.sampled_from(
    [NOW - HOUR, NOW - REPORT_WITHIN, NOW - REPORT_WITHIN + INSTANT, NOW, None]
)


@st.composite
def in_flight_situations(draw: st.DrawFn) -> Situation:
    """Draw any situation of a service with replicas that may be scaled, after a look at them."""
    in_flight = draw(reports())
    given = draw(situations(st.integers(0, 3).map(backlog) | SEEN))
    low = draw(st.integers(0, 2))
    return replace(
        given,
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
        history=replace(given.history, unreported_since=draw(UNREPORTED_SINCE)),
        replicas=len(in_flight.replicas),
        refusal=None,
        draining=draw(st.integers(0, 1)),
        in_flight=draw(
            st.sampled_from(
                [in_flight] * 5 + [replace(in_flight, workers=())] + [UnknownInFlight("no answer")]
            )
        ),
    )


@st.composite
def scale_ins(draw: st.DrawFn) -> Situation:
    """Draw any situation in which some of the replicas would go if nothing protected them.

    At most three tasks wait, each needs a replica, and there are four replicas at least.
    """
    in_flight = draw(reports())
    given = draw(in_flight_situations())
    return replace(
        relabelled(
            given, slots_target=None, busy=draw(st.sampled_from([Busy.PROTECT, Busy.STRICT]))
        ),
        backlog=backlog(draw(st.integers(0, 3)), add_rate=draw(RATES)),
        replicas=len(in_flight.replicas),
        in_flight=in_flight,
    )
