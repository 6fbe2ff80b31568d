"""The simulation: a small queueing model, worked out by hand, and the figures taken from it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.spec import ScalingSpec
from autoscaler.simulation.keda import Keda
from autoscaler.simulation.simulation import (
    PATIENCE,
    REST,
    START,
    Autoscaler,
    Run,
    Seen,
    Wanted,
    Workers,
    replay,
)
from autoscaler.simulation.trace import Measure, Row, Trace

PLAIN = Workers(service_time=10, slots=1, startup=0)


def arrivals(*rows: tuple[float, int]) -> Trace:
    return Trace("test", Measure.ARRIVALS, tuple(Row(at, tasks) for at, tasks in rows))


def backlogs(*rows: tuple[float, int]) -> Trace:
    return Trace("test", Measure.BACKLOG, tuple(Row(at, tasks) for at, tasks in rows))


def at_once(tasks: int) -> Trace:
    """So many tasks at second 0, and nothing after it."""
    return arrivals((0, tasks), (1, 0))


def spec(**fields: Any) -> ScalingSpec:
    return ScalingSpec(queues=("orders",), **fields)


@dataclass
class Plan:
    """A controller that does what it was told, and remembers what it was shown."""

    begin: int
    steps: dict[float, int] = field(default_factory=dict)
    interval: float = 1.0
    seen: list[Seen] = field(default_factory=list)

    def start(self, now: datetime) -> int:
        self.seen.clear()
        assert now == START
        return self.begin

    def wanted(self, seen: Seen) -> Wanted:
        self.seen.append(seen)
        at = (seen.now - START).total_seconds()
        return Wanted(self.steps.get(at, seen.replicas), ("as planned",))


def run(trace: Trace, plan: Any, workers: Workers = PLAIN) -> Run:
    (result,) = replay(trace, [plan], workers)
    return result


def waiting(result: Run) -> dict[float, int]:
    return {look.at: look.backlog for look in result.looks}


class TestQueueingModel:
    def test_tasks_wait_for_a_free_slot_and_run_for_the_service_time(self) -> None:
        result = run(at_once(3), Plan(1))
        seen = waiting(result)
        assert [seen[at] for at in (0, 9, 10, 19, 20)] == [2, 2, 1, 1, 0]
        assert result.figures.longest_wait == 20
        assert result.figures.time_to_drain == 20
        assert result.figures.tasks_done == 3

    def test_a_replica_runs_as_many_tasks_at_once_as_it_has_slots(self) -> None:
        result = run(at_once(5), Plan(1), Workers(10, slots=2, startup=0))
        assert [waiting(result)[at] for at in (0, 10, 20)] == [3, 1, 0]

    def test_a_task_that_finds_a_free_slot_never_waits(self) -> None:
        figures = run(at_once(2), Plan(2)).figures
        assert (figures.longest_wait, figures.time_to_drain) == (0, 0)

    def test_who_came_first_is_served_first(self) -> None:
        result = run(arrivals((0, 2), (5, 1), (6, 0)), Plan(1))
        # At second 10 the second task is taken, at second 20 the one that came at second 5.
        assert result.figures.longest_wait == 15

    def test_a_new_replica_works_after_its_startup(self) -> None:
        result = run(at_once(2), Plan(1, {2: 2}), Workers(10, 1, startup=3))
        assert [waiting(result)[at] for at in (2, 4, 5)] == [1, 1, 0]
        assert [look.replicas for look in result.looks[:4]] == [1, 1, 1, 2]

    def test_the_replicas_of_the_beginning_work_at_once(self) -> None:
        assert waiting(run(at_once(1), Plan(1), Workers(10, 1, startup=60)))[0] == 0

    def test_a_replica_that_goes_finishes_what_it_runs_and_takes_nothing_more(self) -> None:
        result = run(at_once(3), Plan(2, {1: 1}))
        # Two run at once, then the third on the one that stays.
        assert [waiting(result)[at] for at in (0, 9, 10)] == [1, 1, 0]
        assert result.figures.tasks_done == 3
        ends = result.looks[-1].at
        assert result.figures.replica_seconds == ends + 10

    def test_a_replica_that_only_finishes_does_not_count(self) -> None:
        result = run(at_once(2), Plan(2, {1: 1}))
        assert [look.replicas for look in result.looks[:3]] == [2, 2, 1]

    def test_the_idle_one_goes_first(self) -> None:
        result = run(at_once(1), Plan(2, {1: 1}))
        assert result.figures.replica_seconds == result.looks[-1].at + 1

    def test_of_two_as_busy_the_newer_one_goes(self) -> None:
        # The third task waits for the older one, which is done at second 10, not at second 12.
        result = run(at_once(3), Plan(1, {2: 2, 5: 1}))
        assert result.figures.longest_wait == 10

    def test_one_that_still_starts_goes_before_one_that_is_idle(self) -> None:
        plan = Plan(1, {1: 2, 2: 1})
        result = run(arrivals((0, 0), (3, 1), (4, 0)), plan, Workers(10, 1, startup=60))
        assert result.figures.longest_wait == 0

    def test_arrivals_are_spread_over_their_interval(self) -> None:
        result = run(arrivals((0, 6), (3, 0)), Plan(0))
        assert [waiting(result)[at] for at in (0, 1, 2, 3)] == [2, 4, 6, 6]

    def test_a_single_arrival_comes_at_the_beginning_of_its_interval(self) -> None:
        assert waiting(run(arrivals((0, 1), (60, 0)), Plan(0)))[0] == 1


class TestWhatAControllerIsShown:
    def seen(self, trace: Trace, plan: Plan, at: int, workers: Workers = PLAIN) -> Seen:
        run(trace, plan, workers)
        return plan.seen[at]

    def test_the_backlog_is_without_what_runs(self) -> None:
        assert self.seen(at_once(5), Plan(2), 0).stats.waiting == 3

    def test_the_age_is_that_of_the_oldest_waiting_task(self) -> None:
        assert self.seen(at_once(2), Plan(1), 7).stats.age == timedelta(seconds=7)
        assert self.seen(at_once(2), Plan(1), 11).stats.age == timedelta()

    @pytest.mark.parametrize(
        ("at", "rate"),
        [
            pytest.param(0, 2.0, id="at-once"),
            pytest.param(29, 2.0, id="within-30-s"),
            pytest.param(30, 0.0, id="30-s-later"),
        ],
    )
    def test_the_add_rate_is_the_average_of_30_s(self, at: int, rate: float) -> None:
        assert self.seen(at_once(60), Plan(1), at).stats.add_rate == rate

    @pytest.mark.parametrize(
        ("at", "tasks"), [(0, 1), (9, 1), (10, 2), (20, 3), (29, 3), (30, 3), (40, 3)]
    )
    def test_the_dispatch_rate_likewise(self, at: int, tasks: int) -> None:
        stats = self.seen(at_once(60), Plan(1), at).stats
        assert stats.dispatch_rate == pytest.approx(tasks / 30)

    def test_tasks_that_never_wait_are_seen_in_the_rates(self) -> None:
        stats = self.seen(at_once(1), Plan(1), 5).stats
        assert (stats.waiting, stats.add_rate) == (0, pytest.approx(1 / 30))

    def test_pollers_are_the_replicas_that_have_started(self) -> None:
        plan = Plan(1, {1: 3})
        workers = Workers(10, 1, startup=5)
        assert [self.seen(at_once(1), plan, at, workers).stats.pollers for at in (5, 6)] == [1, 3]

    def test_it_looks_at_its_interval_from_the_beginning_on(self) -> None:
        looks = run(at_once(1), Plan(1, interval=7.5)).looks
        assert [look.at for look in looks[:3]] == [0, 7.5, 15]


class TestOpenLoop:
    TRACE = backlogs((0, 0), (10, 50), (20, 20), (30, 0))

    def test_the_backlog_is_what_the_trace_says_whatever_is_done(self) -> None:
        for plan in (Plan(0), Plan(100)):
            seen = waiting(run(self.TRACE, plan))
            assert [seen[at] for at in (9, 10, 19, 20, 30)] == [0, 50, 50, 20, 0]

    def test_it_tells_nothing_of_single_tasks(self) -> None:
        figures = run(self.TRACE, Plan(1)).figures
        assert (figures.longest_wait, figures.tasks_done) == (None, None)
        assert figures.time_to_drain == 20

    def test_it_ends_with_its_last_interval(self) -> None:
        assert run(self.TRACE, Plan(1)).looks[-1].at == 40

    def test_rates_follow_the_rises_and_falls(self) -> None:
        plan = Plan(0)
        run(self.TRACE, plan)
        assert plan.seen[15].stats.add_rate == pytest.approx(50 / 30)
        assert plan.seen[15].stats.dispatch_rate == 0
        assert plan.seen[20].stats.dispatch_rate == pytest.approx(30 / 30)

    def test_a_level_backlog_is_not_taken_for_one_that_no_worker_gets(self) -> None:
        level = backlogs((0, 50), (600, 50))
        for replicas, moves in ((1, True), (0, False)):
            plan = Plan(replicas)
            run(level, plan)
            assert (plan.seen[500].stats.dispatch_rate > 0) is moves


class TestFigures:
    def test_a_backlog_that_comes_back_is_drained_when_it_is_0_for_good(self) -> None:
        result = run(arrivals((0, 2), (1, 0), (100, 2), (101, 0)), Plan(1))
        assert result.figures.time_to_drain == 110

    def test_a_backlog_that_never_drains_is_left_after_a_day(self) -> None:
        result = run(at_once(3), Plan(0))
        figures = result.figures
        assert (figures.time_to_drain, figures.tasks_waiting) == (None, 3)
        assert figures.longest_wait == result.looks[-1].at
        assert result.looks[-1].at == 2 + PATIENCE + REST

    @pytest.mark.parametrize(
        ("steps", "changes"),
        [
            pytest.param({}, 0, id="none"),
            pytest.param({1: 2, 2: 3}, 0, id="out-twice"),
            pytest.param({1: 2, 3: 1}, 1, id="out-and-in"),
            pytest.param({1: 2, 3: 1, 4: 5, 6: 4, 7: 2}, 3, id="a-pause-does-not-matter"),
        ],
    )
    def test_changes_of_direction(self, steps: dict[float, int], changes: int) -> None:
        assert run(at_once(1), Plan(1, steps)).figures.changes_of_direction == changes

    def test_the_peak_is_counted_between_two_looks_too(self) -> None:
        assert run(at_once(1), Plan(1, {1: 7, 2: 1})).figures.peak_replicas == 7

    def test_replica_seconds_begin_with_the_decision_and_end_when_it_is_gone(self) -> None:
        result = run(at_once(0), Plan(0, {10: 3, 20: 1, 40: 0}), Workers(10, 1, startup=5))
        assert result.figures.replica_seconds == 3 * 10 + 1 * 20

    def test_a_run_goes_on_for_ten_minutes_when_all_work_is_done(self) -> None:
        # Whether all is done is looked at once a minute.
        assert run(at_once(1), Plan(1)).looks[-1].at == pytest.approx(60 + 600, abs=60)

    def test_all_runs_end_together(self) -> None:
        slow, fast = replay(at_once(50), [Plan(1), Plan(50)], PLAIN)
        assert slow.looks[-1].at == fast.looks[-1].at


class TestAutoscaler:
    def test_it_begins_with_min_and_follows_decide(self) -> None:
        result = run(backlogs((0, 0), (10, 95), (20, 95)), Autoscaler(spec(max=5)))
        assert [(look.replicas, look.desired) for look in result.looks[:4]] == [
            (1, 1),
            (1, 1),
            (1, 5),
            (5, 5),
        ]
        assert result.looks[2].reasons == ("95 waiting tasks at target 10: 10", "max: 5")

    def test_the_history_goes_from_one_decision_to_the_next(self) -> None:
        result = run(backlogs((0, 50), (10, 0), (200, 0)), Autoscaler(spec()))
        went_in = next(look for look in result.looks if look.desired < look.replicas)
        assert went_in.at == 70, "the window of a minute ends after the look at second 5"

    def test_a_second_run_does_not_remember_the_first(self) -> None:
        controller = Autoscaler(spec())
        trace = backlogs((0, 50), (10, 0), (200, 0))
        assert run(trace, controller) == run(trace, controller)

    def test_max_wait_sees_how_old_the_tasks_are(self) -> None:
        result = run(at_once(9), Autoscaler(spec(max_wait=timedelta(seconds=20))))
        assert any("oldest task" in reason for look in result.looks for reason in look.reasons)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"service_time": 0}, "service time", id="no-time"),
        pytest.param({"service_time": 86_401}, "service time", id="more-than-a-day"),
        pytest.param({"slots": 0}, "slots", id="no-slots"),
        pytest.param({"slots": 10_001}, "slots", id="too-many-slots"),
        pytest.param({"startup": -1}, "start-up", id="negative-startup"),
    ],
)
def test_workers_that_cannot_be_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Workers(**fields)


@st.composite
def traces(draw: st.DrawFn, measure: Measure = Measure.ARRIVALS) -> Trace:
    gaps = draw(st.lists(st.integers(1, 120), min_size=1, max_size=6))
    times = itertools.accumulate(gaps, initial=0)
    return Trace("test", measure, tuple(Row(at, draw(st.integers(0, 200))) for at in times))


@st.composite
def controllers(draw: st.DrawFn) -> tuple[Any, int, int]:
    """Draw a controller with its bounds."""
    least = draw(st.integers(0, 3))
    most = draw(st.integers(max(1, least), 12))
    target = draw(st.integers(1, 30))
    if draw(st.booleans()):
        return Keda(target, least, most), least, most
    window = timedelta(seconds=draw(st.integers(0, 90)))
    ours = Autoscaler(spec(target=target, min=least, max=most, scale_in_window=window))
    return ours, least, most


workers = st.builds(
    Workers,
    service_time=st.sampled_from([0.25, 1.0, 2.0, 7.5, 90.0]),
    slots=st.integers(1, 4),
    startup=st.sampled_from([0.0, 3.0, 40.0]),
)
plans = st.builds(
    Plan,
    st.integers(0, 5),
    st.dictionaries(st.integers(0, 15).map(lambda look: 20.0 * look), st.integers(0, 8)),
    st.just(20.0),
)


@given(traces(), plans, workers)
def test_no_task_is_lost_or_made_up(trace: Trace, plan: Plan, model: Workers) -> None:
    figures = run(trace, plan, model).figures
    assert figures.tasks_done is not None
    assert figures.tasks_in_flight is not None
    assert figures.tasks_done + figures.tasks_waiting + figures.tasks_in_flight == trace.tasks
    assert min(figures.tasks_done, figures.tasks_waiting, figures.tasks_in_flight) >= 0


@given(traces(), controllers(), workers)
def test_the_replicas_are_always_within_the_bounds(
    trace: Trace, controller: tuple[Any, int, int], model: Workers
) -> None:
    decider, least, most = controller
    result = run(trace, decider, model)
    assert all(least <= look.desired <= most for look in result.looks)
    assert result.figures.peak_replicas <= most


@given(traces(), controllers(), workers)
def test_where_workers_come_all_work_gets_done(
    trace: Trace, controller: tuple[Any, int, int], model: Workers
) -> None:
    figures = run(trace, controller[0], model).figures
    assert figures.tasks_done == trace.tasks
    assert figures.time_to_drain is not None


@given(traces(Measure.BACKLOG), plans)
def test_replica_seconds_are_the_sum_over_the_looks(trace: Trace, plan: Plan) -> None:
    result = run(trace, plan)
    last = trace.end - result.looks[-1].at
    looks = [(look.desired, plan.interval) for look in result.looks[:-1]]
    looks.append((result.looks[-1].desired, last))
    assert result.figures.replica_seconds == sum(desired * lasted for desired, lasted in looks)


@given(traces(), controllers(), workers)
def test_the_same_trace_gives_the_same_run(
    trace: Trace, controller: tuple[Any, int, int], model: Workers
) -> None:
    assert run(trace, controller[0], model) == run(trace, controller[0], model)
