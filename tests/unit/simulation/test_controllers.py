"""Our controller decides as `run` does, and remembers as much."""

from __future__ import annotations

from datetime import timedelta

from autoscaler.simulation.controllers import Autoscaler
from tests.unit.simulation.builders import at_once, backlogs, run, spec


def test_it_begins_with_min_and_follows_decide() -> None:
    result = run(backlogs((0, 0), (10, 95), (20, 95)), Autoscaler(spec(max=5)))
    assert [(step.replicas, step.desired) for step in result.steps[:4]] == [
        (1, 1),
        (1, 1),
        (1, 5),
        (5, 5),
    ]
    assert result.steps[2].reasons == ("95 waiting tasks at target 10: 10", "max: 5")


def test_the_history_goes_from_one_decision_to_the_next() -> None:
    result = run(backlogs((0, 50), (10, 0), (200, 0)), Autoscaler(spec()))
    went_in = next(step for step in result.steps if step.desired < step.replicas)
    assert went_in.at == 70, "the window of a minute ends after the step at second 5"


def test_a_second_run_does_not_remember_the_first() -> None:
    controller = Autoscaler(spec())
    trace = backlogs((0, 50), (10, 0), (200, 0))
    assert run(trace, controller) == run(trace, controller)


def test_max_wait_sees_how_old_the_tasks_are() -> None:
    result = run(at_once(9), Autoscaler(spec(max_wait=timedelta(seconds=20))))
    assert any("oldest task" in reason for step in result.steps for reason in step.reasons)
