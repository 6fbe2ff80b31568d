"""Our controller decides as `run` does, and remembers as much."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.backlog import QueueStats
from autoscaler.core.label_values import Busy
from autoscaler.simulation.controllers import START, Autoscaler, Fixed, Observation
from autoscaler.simulation.fleet import Fleet
from autoscaler.simulation.heartbeats import read_in_flight
from autoscaler.simulation.workers import Kind, Workers
from tests.unit.builders import MINUTE, limits
from tests.unit.simulation.builders import arrivals, at_once, backlogs, run, spec


def test_it_begins_with_min_and_follows_decide() -> None:
    result = run(backlogs((0, 0), (10, 95), (20, 95)), Autoscaler(spec(max=5)))
    assert [(step.replicas, step.desired) for step in result.steps[:4]] == [
        (1, 1),
        (1, 1),
        (1, 5),
        (5, 5),
    ]
    assert result.steps[2].reasons == (
        "95 waiting tasks at target 10 → 10 needed, at most 5 (max)",
    )


def test_the_history_goes_from_one_decision_to_the_next() -> None:
    result = run(backlogs((0, 50), (10, 0), (200, 0)), Autoscaler(spec()))
    went_in = next(step for step in result.steps if step.desired < step.replicas)
    assert went_in.at == 25, "the window of 15 s ends after the step at second 5"


def test_a_second_run_does_not_remember_the_first() -> None:
    controller = Autoscaler(spec())
    trace = backlogs((0, 50), (10, 0), (200, 0))
    assert run(trace, controller) == run(trace, controller)


@pytest.mark.parametrize(
    ("limit", "replicas"),
    [
        pytest.param("1/5s", [1, 2, 3, 4, 5, 6, 7, 8], id="one-at-each-look"),
        pytest.param("100%/15s", [1, 2, 2, 2, 4, 4, 4, 8], id="twice-as-many-every-15s"),
    ],
)
def test_a_step_limit_counts_from_the_decision_as_it_does_for_run(
    limit: str, replicas: list[int]
) -> None:
    limited = spec(max=100, scale_out_limit=limits(limit))
    result = run(backlogs((0, 900), (60, 900)), Autoscaler(limited))
    assert [step.replicas for step in result.steps[: len(replicas)]] == replicas


def test_a_trace_runs_in_the_same_way_whenever_it_begins() -> None:
    now = arrivals((0, 60), (10, 0), (300, 0))
    later = replace(now, begins=START + timedelta(days=400))
    workers = Workers(service_time=60, slots=2, startup=3, heartbeat=10)
    assert run(later, Autoscaler(spec()), workers) == run(now, Autoscaler(spec()), workers)


def test_max_wait_sees_how_old_the_tasks_are() -> None:
    result = run(at_once(9), Autoscaler(spec(max_wait=timedelta(seconds=20))))
    assert any("oldest task" in reason for step in result.steps for reason in step.reasons)


class TestFreshCounts:
    """What waits is counted at each look; the server's figures are up to 5 s old."""

    # The server makes figures at seconds 0, 5, 10 and so on. 95 tasks come at second 6.
    TRACE = arrivals((0, 0), (6, 95), (7, 0))

    def grew_at(self, *, fresh: bool) -> float:
        result = run(self.TRACE, Autoscaler(spec(), 1.0, fresh=fresh))
        return next(step.at for step in result.steps if step.desired > step.replicas)

    def test_growth_follows_the_count(self) -> None:
        assert self.grew_at(fresh=True) == 6

    def test_without_counts_growth_waits_for_the_figures(self) -> None:
        assert self.grew_at(fresh=False) == 10


class TestBusyReplicas:
    """A worker that is ready reports at once, and every 60 s from then on."""

    # A task of 100 s begins at second 0, on the one replica. 3 more come at second 62: at 65 there
    # are 3 replicas, and the new ones work until 165. The last task begins at 100 and ends at 200.
    TRACE = arrivals((0, 1), (1, 0), (62, 3), (63, 0))
    WORKERS = Workers(100, slots=1, startup=0)

    def shrank(self, workers: Workers = WORKERS, **fields: Any) -> list[tuple[float, int]]:
        """Return when replicas were stopped, and how many were left."""
        asked = spec(target=1, scale_in_window=MINUTE, **fields)
        result = run(self.TRACE, Autoscaler(asked), workers)
        return [(step.at, step.desired) for step in result.steps if step.desired < step.replicas]

    def test_a_replica_that_reported_work_stays_until_it_reports_that_it_has_none(self) -> None:
        # The new ones report at 65, 125 and 185.
        assert self.shrank() == [(185, 1)]

    def test_more_heartbeats_say_it_sooner(self) -> None:
        # At 165, the moment at which the tasks end, they still report them.
        assert self.shrank(replace(self.WORKERS, heartbeat=10)) == [(175, 1)]

    def test_with_busy_ignore_nobody_is_asked(self) -> None:
        assert self.shrank(busy=Busy.IGNORE) == [(130, 1)]

    def test_where_no_worker_reports_it_takes_65_s_to_be_sure(self) -> None:
        assert self.shrank(replace(self.WORKERS, heartbeat=0)) == [(195, 1)]

    def test_the_idle_one_stops_though_the_other_is_newer(self) -> None:
        # The first task takes 5 s, and the second one 1000 s, on the new replica from second 15 on.
        # At second 80 the older one is idle since 22, and the new one reported work at 75.
        workers = Workers(5, slots=1, startup=0, others=(Kind(0.5, 1000),))
        asked = spec(target=1, scale_in_window=MINUTE)
        result = run(arrivals((0, 0), (12, 3), (13, 0)), Autoscaler(asked), workers)
        stopped = [step.at for step in result.steps if step.desired < step.replicas]
        assert stopped == [80]
        newer = result.steps[-1].at - 15
        assert result.figures.replica_seconds == pytest.approx(80 + newer, abs=5)

    def test_who_stops_goes_by_what_was_reported(self) -> None:
        fleet = Fleet(2, heartbeat=60)
        older, newer = fleet.staying
        older.take(1, now=10)
        # Both have turned by second 70, and neither has reported it.
        older.finish(1, now=65)
        newer.take(1, now=65)
        controller = Autoscaler(spec(scale_in_window=timedelta()))
        idle = QueueStats(0, timedelta(), 0.0, 0.0)
        verdict = controller.decide(
            Observation(
                START + timedelta(seconds=70),
                replicas=2,
                stats=idle,
                in_flight=lambda: read_in_flight(fleet, 1, 70),
            )
        )
        assert (verdict.desired, verdict.stopping) == (1, (newer.name,))

    def test_slots_in_use_are_known(self) -> None:
        # 3 of 4 slots are in use at second 60 while nothing waits: 50 % of them needs 2 replicas.
        trace = arrivals((0, 3), (1, 0))
        result = run(trace, Autoscaler(spec(slots_target=0.5)), Workers(1000, slots=4, startup=0))
        grew = next(step for step in result.steps if step.desired > step.replicas)
        assert (grew.at, grew.desired) == (60, 2)


def test_a_fixed_number_never_changes() -> None:
    result = run(at_once(9), Fixed(3))
    assert {step.desired for step in result.steps} == {3}
    assert result.steps[0].replicas == 3
