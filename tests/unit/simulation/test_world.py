"""The queueing model, worked out by hand: what waits, what runs, and what Temporal would say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoscaler.simulation.controllers import Observation
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.workers import Kind, Phase, Workers
from tests.unit.simulation.builders import PLAIN, Plan, arrivals, at_once, backlogs, run, waiting


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
        assert [step.replicas for step in result.steps[:4]] == [1, 1, 1, 2]

    def test_the_replicas_of_the_beginning_work_at_once(self) -> None:
        assert waiting(run(at_once(1), Plan(1), Workers(10, 1, startup=60)))[0] == 0

    def test_a_replica_that_goes_finishes_what_it_runs_and_takes_nothing_more(self) -> None:
        result = run(at_once(3), Plan(2, {1: 1}))
        # Two run at once, then the third on the one that stays.
        assert [waiting(result)[at] for at in (0, 9, 10)] == [1, 1, 0]
        assert result.figures.tasks_done == 3
        ends = result.steps[-1].at
        assert result.figures.replica_seconds == ends + 10

    def test_a_replica_that_only_finishes_does_not_count(self) -> None:
        result = run(at_once(2), Plan(2, {1: 1}))
        assert [step.replicas for step in result.steps[:3]] == [2, 2, 1]

    def test_the_idle_one_goes_first(self) -> None:
        result = run(at_once(1), Plan(2, {1: 1}))
        assert result.figures.replica_seconds == result.steps[-1].at + 1

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

    def test_a_share_of_the_tasks_runs_for_another_time(self) -> None:
        # Every second one runs for 30 s: the first one ends at second 10, the second at second 40.
        workers = Workers(10, 1, 0, others=(Kind(0.5, 30),))
        result = run(at_once(3), Plan(1), workers)
        assert [waiting(result)[at] for at in (0, 9, 10, 39, 40)] == [2, 2, 1, 1, 0]

    def test_tasks_that_start_later_may_run_for_longer(self) -> None:
        workers = Workers(10, 1, 0, later=(Phase(10, 30),))
        result = run(at_once(3), Plan(1), workers)
        assert [waiting(result)[at] for at in (9, 10, 39, 40)] == [2, 1, 1, 0]

    def test_the_waits_of_all_tasks_are_counted(self) -> None:
        figures = run(at_once(4), Plan(1)).figures
        assert (figures.mean_wait, figures.p95_wait, figures.longest_wait) == (15, 30, 30)


class TestUnseenTasks:
    """Such as activities that start eagerly on the worker of their own workflow."""

    def shown(self, unseen: float, tasks: int, replicas: int) -> Observation:
        plan = Plan(replicas)
        run(at_once(tasks), plan, Workers(10, 1, 0, unseen=unseen))
        return plan.shown[0]

    def test_they_take_free_slots_and_show_in_no_figure(self) -> None:
        stats = self.shown(1.0, 4, replicas=4).stats
        assert (stats.waiting, stats.add_rate, stats.dispatch_rate) == (0, 0, 0)

    def test_a_share_of_the_tasks_is_unseen(self) -> None:
        stats = self.shown(0.5, 60, replicas=60).stats
        assert (stats.add_rate, stats.dispatch_rate) == (1, 1)

    def test_where_no_slot_is_free_they_wait_like_all_others(self) -> None:
        seen = self.shown(1.0, 5, replicas=2)
        assert (seen.stats.waiting, seen.waiting) == (3, 3)
        assert seen.stats.add_rate == pytest.approx(3 / 30)

    def test_they_do_not_overtake_those_that_wait(self) -> None:
        # The fourth task is unseen, and comes at second 10, when the slot is free for the second.
        trace = arrivals((0, 1), (1, 0), (5, 2), (6, 0), (10, 1), (11, 0))
        result = run(trace, Plan(1), Workers(10, 1, 0, unseen=0.5))
        assert result.figures.longest_wait == 20

    def test_they_are_done_and_did_not_wait(self) -> None:
        figures = run(at_once(4), Plan(4), Workers(10, 1, 0, unseen=1.0)).figures
        assert (figures.tasks_done, figures.mean_wait) == (4, 0)


class TestStats:
    def shown(self, trace: Trace, plan: Plan, at: int, workers: Workers = PLAIN) -> Observation:
        run(trace, plan, workers)
        return plan.shown[at]

    def test_the_backlog_is_without_what_runs(self) -> None:
        assert self.shown(at_once(5), Plan(2), 0).stats.waiting == 3

    def test_the_age_is_that_of_the_oldest_waiting_task(self) -> None:
        assert self.shown(at_once(2), Plan(1), 5).stats.age == timedelta(seconds=5)
        assert self.shown(at_once(2), Plan(1), 10).stats.age == timedelta()

    def test_figures_are_up_to_5_s_old_and_the_count_is_not(self) -> None:
        plan = Plan(0)
        run(arrivals((0, 0), (6, 8), (7, 0)), plan)
        seen = [(plan.shown[at].stats.waiting, plan.shown[at].waiting) for at in (5, 6, 9, 10)]
        assert seen == [(0, 0), (0, 8), (0, 8), (8, 8)]

    @pytest.mark.parametrize(
        ("at", "rate"),
        [
            pytest.param(0, 2.0, id="at-once"),
            pytest.param(29, 2.0, id="within-30-s"),
            pytest.param(30, 0.0, id="30-s-later"),
        ],
    )
    def test_the_add_rate_is_the_average_of_30_s(self, at: int, rate: float) -> None:
        assert self.shown(at_once(60), Plan(1), at).stats.add_rate == rate

    @pytest.mark.parametrize(
        ("at", "tasks"), [(0, 1), (9, 1), (10, 2), (20, 3), (29, 3), (30, 3), (40, 3)]
    )
    def test_the_dispatch_rate_likewise(self, at: int, tasks: int) -> None:
        stats = self.shown(at_once(60), Plan(1), at).stats
        assert stats.dispatch_rate == pytest.approx(tasks / 30)

    def test_tasks_that_never_wait_show_in_the_rates(self) -> None:
        stats = self.shown(at_once(1), Plan(1), 5).stats
        assert (stats.waiting, stats.add_rate) == (0, pytest.approx(1 / 30))

    def test_pollers_are_the_replicas_that_have_started(self) -> None:
        plan = Plan(1, {1: 3})
        workers = Workers(10, 1, startup=5)
        assert [self.shown(at_once(1), plan, at, workers).stats.pollers for at in (5, 6)] == [1, 3]


class TestOpenLoop:
    TRACE = backlogs((0, 0), (10, 50), (20, 20), (30, 0))

    def test_the_backlog_is_what_the_trace_says_whatever_is_done(self) -> None:
        for plan in (Plan(0), Plan(100)):
            seen = waiting(run(self.TRACE, plan))
            assert [seen[at] for at in (9, 10, 19, 20, 30)] == [0, 50, 50, 20, 0]

    def test_it_tells_nothing_of_single_tasks(self) -> None:
        figures = run(self.TRACE, Plan(1)).figures
        assert (figures.mean_wait, figures.p95_wait, figures.longest_wait) == (None, None, None)
        assert figures.tasks_done is None
        assert figures.time_to_drain == 20

    def test_it_ends_with_its_last_interval(self) -> None:
        assert run(self.TRACE, Plan(1)).steps[-1].at == 40

    def test_rates_follow_the_rises_and_falls(self) -> None:
        plan = Plan(0)
        run(self.TRACE, plan)
        assert plan.shown[15].stats.add_rate == pytest.approx(50 / 30)
        assert plan.shown[15].stats.dispatch_rate == 0
        assert plan.shown[20].stats.dispatch_rate == pytest.approx(30 / 30)

    def test_a_level_backlog_is_not_taken_for_one_that_no_worker_gets(self) -> None:
        level = backlogs((0, 50), (600, 50))
        for replicas, moves in ((1, True), (0, False)):
            plan = Plan(replicas)
            run(level, plan)
            assert (plan.shown[500].stats.dispatch_rate > 0) is moves
