"""A trace replayed: when decisions are made, when runs end, and the figures of a run."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.simulation.controllers import Autoscaler
from autoscaler.simulation.keda import Keda
from autoscaler.simulation.replay import DRAIN_LIMIT, TAIL, replay
from autoscaler.simulation.trace import Measure, Row, Trace
from autoscaler.simulation.workers import Workers
from tests.unit.simulation.builders import PLAIN, Plan, arrivals, at_once, run, spec


class TestSteps:
    def test_it_looks_at_its_interval_from_the_beginning_on(self) -> None:
        steps = run(at_once(1), Plan(1, interval=7.5)).steps
        assert [step.at for step in steps[:3]] == [0, 7.5, 15]


class TestFigures:
    def test_a_backlog_that_comes_back_is_drained_when_it_is_0_for_good(self) -> None:
        result = run(arrivals((0, 2), (1, 0), (100, 2), (101, 0)), Plan(1))
        assert result.figures.time_to_drain == 110

    def test_a_backlog_that_never_drains_is_left_after_a_day(self) -> None:
        result = run(at_once(3), Plan(0))
        figures = result.figures
        assert (figures.time_to_drain, figures.tasks_waiting) == (None, 3)
        assert figures.longest_wait == result.steps[-1].at
        assert result.steps[-1].at == 2 + DRAIN_LIMIT + TAIL

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
        assert run(at_once(1), Plan(1)).steps[-1].at == pytest.approx(60 + 600, abs=60)

    def test_all_runs_end_together(self) -> None:
        slow, fast = replay(at_once(50), [Plan(1), Plan(50)], PLAIN)
        assert slow.steps[-1].at == fast.steps[-1].at


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
    st.dictionaries(st.integers(0, 15).map(lambda step: 20.0 * step), st.integers(0, 8)),
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
    assert all(least <= step.desired <= most for step in result.steps)
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
    last = trace.end - result.steps[-1].at
    looks = [(step.desired, plan.interval) for step in result.steps[:-1]]
    looks.append((result.steps[-1].desired, last))
    assert result.figures.replica_seconds == sum(desired * lasted for desired, lasted in looks)


@given(traces(), controllers(), workers)
def test_the_same_trace_gives_the_same_run(
    trace: Trace, controller: tuple[Any, int, int], model: Workers
) -> None:
    assert run(trace, controller[0], model) == run(trace, controller[0], model)
