"""The oracle: it knows what comes, keeps the wait at zero, and has no more than that needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import ConfigurationError
from autoscaler.simulation.oracle import Oracle
from autoscaler.simulation.replay import Run
from autoscaler.simulation.trace import Measure, Row, Trace
from autoscaler.simulation.workers import Workers, parse_workers
from tests.unit.simulation.builders import arrivals, at_once, backlogs, run


def foresee(
    trace: Trace, workers: Workers, *, least: int = 1, most: int = 100, interval: float = 5.0
) -> Run:
    return run(trace, Oracle(trace, workers, least, most, interval), workers)


def replicas(result: Run, *seconds: float) -> list[int]:
    at = {step.at: step.desired for step in result.steps}
    return [at[second] for second in seconds]


def test_it_asks_for_replicas_so_that_they_are_ready_when_tasks_come() -> None:
    # 6 tasks at second 20 need 3 replicas. One that starts in 7 s has to be asked for at second 10:
    # a look at second 15 would be too late.
    result = foresee(arrivals((0, 0), (20, 6), (21, 0)), Workers(4, slots=2, startup=7))
    assert replicas(result, 5, 10, 15, 20, 25) == [1, 3, 3, 3, 1]
    assert result.figures.longest_wait == 0


def test_it_begins_with_what_is_needed_before_its_first_replica_can_be_ready() -> None:
    result = foresee(at_once(6), Workers(4, slots=2, startup=7))
    assert result.steps[0].replicas == 3
    assert result.figures.longest_wait == 0


def test_what_it_keeps_is_what_runs() -> None:
    # One second more than two looks: the replicas go at the first look after it.
    result = foresee(at_once(6), Workers(11, slots=2, startup=0))
    assert replicas(result, 0, 5, 10, 15) == [3, 3, 3, 1]


def test_it_keeps_what_is_needed_again_within_a_startup_and_a_look() -> None:
    trace = arrivals((0, 6), (1, 0), (16, 6), (17, 0))
    far = foresee(trace, Workers(3, slots=2, startup=5))
    near = foresee(trace, Workers(3, slots=2, startup=12))
    assert (replicas(far, 5), replicas(near, 5)) == ([1], [3])


def test_it_never_has_fewer_than_min() -> None:
    assert {step.desired for step in foresee(at_once(0), Workers(), least=2).steps} == {2}


def test_where_max_is_too_few_it_waits_as_long_as_max_makes_it() -> None:
    # 6 tasks, 2 at once, 10 s each: the last one waits for 20 s.
    result = foresee(at_once(6), Workers(10, slots=1, startup=0), most=2)
    assert result.figures.longest_wait == 20
    assert max(step.desired for step in result.steps) == 2


def test_a_trace_of_backlogs_tells_it_nothing() -> None:
    with pytest.raises(ConfigurationError, match="the oracle needs a trace of arrivals"):
        Oracle(backlogs((0, 1), (5, 2)), Workers(), 1, 10, 5.0)


workers = st.builds(
    lambda service_time, slots, startup, unseen: parse_workers(
        {"service-time": service_time, "unseen": unseen},
        Workers(slots=slots, startup=startup),
        "",
    ),
    st.sampled_from(["0.25s", "2s", "7.5s", "2s,30s@10%", "1s;9s from 2m"]),
    st.integers(1, 4),
    st.sampled_from([0.0, 3.0, 20.3, 40.0]),
    st.sampled_from(["0%", "30%"]),
)


@given(
    st.lists(st.integers(0, 60), min_size=2, max_size=12),
    workers,
    st.sampled_from([1.0, 5.0, 7.5]),
)
def test_no_task_waits_where_max_is_enough(
    tasks: list[int], model: Workers, interval: float
) -> None:
    rows = tuple(Row(17.0 * number, count) for number, count in enumerate(tasks))
    trace = Trace("test", Measure.ARRIVALS, rows)
    result = foresee(trace, model, least=0, most=10_000, interval=interval)
    assert result.figures.longest_wait == 0
    assert result.figures.tasks_done == trace.tasks
