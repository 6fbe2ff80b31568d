"""What becomes of a replica that was told to stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from autoscaler.core.drain import (
    NOBODY,
    OBEYS_WITHIN,
    SIGNAL_SLACK,
    UNKNOWN,
    Drain,
    Fate,
    Heard,
    Verdict,
    judge,
)
from autoscaler.core.in_flight import SlotKind, Slots, Worker
from autoscaler.core.model import ServiceId
from tests.fakes.clock import START as TOLD
from tests.unit.builders import HOUR, INSTANT, MINUTE, SECOND

GRACE = 30 * SECOND
DRAIN = Drain("id1", "shop-worker-1", ServiceId("compose", "shop/worker"), TOLD, GRACE, "r1")
FOUND = replace(DRAIN, own=False)
WAIT, FINISH, KILL, TAKE_BACK, COUNT = Fate


def worker(running: int = 0, *, at: datetime = TOLD, **rest: Any) -> Worker:
    """Return a worker that shuts down and runs so many tasks, by a report of that moment."""
    slots = {SlotKind.ACTIVITY: Slots(used=running, free=2)}
    made = Worker("w1", "r1", at, 10 * SECOND, leaving=True, slots=slots)
    return replace(made, **rest)


def at_work(running: int = 0, *, at: datetime = TOLD, **rest: Any) -> Worker:
    """Return a worker that takes new tasks."""
    return worker(running, at=at, leaving=False, **rest)


def judged(
    *workers: Worker,
    after: timedelta,
    drain: Drain = DRAIN,
    heard: Heard | None = None,
    limit: timedelta = HOUR,
) -> Verdict:
    """Decide some time after the signal."""
    found = Heard(tuple(workers)) if heard is None else heard
    return judge(drain, found, limit, TOLD + after)


def fate(*workers: Worker, **rest: Any) -> Fate:
    return judged(*workers, **rest).fate


class TestWithinItsGrace:
    @pytest.mark.parametrize(
        "heard",
        [NOBODY, UNKNOWN, Heard((worker(),)), Heard((worker(2),)), Heard((at_work(),))],
        ids=["nobody", "unknown", "finished", "running", "before-the-signal"],
    )
    def test_it_waits_whatever_is_heard(self, heard: Heard) -> None:
        assert fate(heard=heard, after=GRACE - INSTANT) is WAIT

    def test_one_without_a_kill_waits_for_ever(self) -> None:
        endless = replace(DRAIN, grace=None)
        for heard in (NOBODY, UNKNOWN, Heard((worker(),)), Heard((worker(2),))):
            assert fate(heard=heard, after=10 * 24 * HOUR, drain=endless) is WAIT


class TestBeyondItsGrace:
    def test_running_tasks_are_finished(self) -> None:
        verdict = judged(worker(2, at=TOLD + GRACE), after=GRACE + 4 * MINUTE)
        assert verdict.fate is FINISH
        assert verdict.words == "draining, 2 tasks running, 4m beyond its grace"
        assert verdict.text == f"shop-worker-1: {verdict.words}"

    def test_also_where_the_report_of_them_is_old(self) -> None:
        assert fate(worker(1), after=30 * MINUTE) is FINISH

    def test_where_it_shuts_down_and_runs_nothing_it_is_killed(self) -> None:
        verdict = judged(worker(), after=GRACE)
        assert verdict.fate is KILL
        assert verdict.words == "is killed, its grace is over and it runs no task"

    def test_where_one_of_its_workers_runs_something_it_is_not(self) -> None:
        assert fate(worker(), worker(1, instance="w2"), after=GRACE) is FINISH

    def test_where_no_worker_reports_or_ever_did_it_is_killed_as_docker_would(self) -> None:
        assert fate(after=GRACE) is KILL

    def test_where_they_reported_before_and_no_longer_do_it_waits(self) -> None:
        verdict = judged(heard=Heard(before=True), after=GRACE + MINUTE)
        assert verdict.fate is FINISH
        assert verdict.words == "draining, no longer reporting, 1m beyond its grace"

    def test_where_they_cannot_be_asked_it_waits(self) -> None:
        verdict = judged(heard=UNKNOWN, after=GRACE + MINUTE)
        assert verdict.fate is FINISH
        assert verdict.words == "draining, it is unknown what it runs, 1m beyond its grace"

    def test_where_a_worker_does_not_say_what_it_runs_it_waits(self) -> None:
        assert fate(worker(tells=False), after=GRACE) is FINISH

    def test_a_report_from_before_the_signal_does_not_say_that_it_is_idle(self) -> None:
        """It may have begun a task since."""
        short = replace(DRAIN, grace=2 * SECOND)
        verdict = judged(at_work(), after=3 * SECOND, drain=short)
        assert verdict.fate is FINISH
        assert "it has not said yet that it runs none" in verdict.words

    def test_one_that_ran_nothing_and_sends_no_heartbeats_any_more_is_over(self) -> None:
        assert fate(at_work(), after=GRACE) is KILL

    @pytest.mark.parametrize("heard", [UNKNOWN, Heard((worker(1),)), Heard(before=True)])
    def test_when_the_drain_is_over_too_it_is_killed(self, heard: Heard) -> None:
        assert fate(heard=heard, after=GRACE + HOUR - INSTANT) is FINISH
        verdict = judged(heard=heard, after=GRACE + HOUR)
        assert verdict.fate is KILL
        assert verdict.words.startswith("is killed, its drain of 1h is over")

    def test_without_a_drain_the_grace_is_the_end(self) -> None:
        assert fate(worker(1), after=GRACE, limit=timedelta()) is KILL


class TestIgnoring:
    LATER = TOLD + OBEYS_WITHIN + INSTANT

    @pytest.mark.parametrize("running", [0, 1])
    def test_one_that_takes_tasks_long_after_its_signal_is_taken_back(self, running: int) -> None:
        verdict = judged(at_work(running, at=self.LATER), after=OBEYS_WITHIN + SECOND)
        assert verdict.fate is TAKE_BACK
        assert verdict.words == "ignores its stop signal and goes on taking tasks"

    def test_also_where_another_worker_of_it_shuts_down(self) -> None:
        workers = (worker(), at_work(at=self.LATER, instance="w2"))
        assert fate(*workers, after=OBEYS_WITHIN + SECOND) is TAKE_BACK

    def test_and_where_its_drain_is_over(self) -> None:
        late = TOLD + 2 * HOUR
        assert fate(at_work(at=late), after=2 * HOUR) is TAKE_BACK

    def test_a_handler_may_take_a_while(self) -> None:
        assert fate(at_work(at=TOLD + OBEYS_WITHIN), after=OBEYS_WITHIN + SECOND) is WAIT

    def test_a_report_that_is_overdue_says_nothing_of_the_present(self) -> None:
        assert fate(at_work(1, at=self.LATER), after=10 * MINUTE) is FINISH

    def test_a_report_without_a_time_says_nothing(self) -> None:
        assert fate(replace(at_work(1), at=None), after=GRACE) is FINISH

    def test_where_the_reports_may_be_those_of_others_it_waits(self) -> None:
        nameless = replace(DRAIN, host=None)
        assert fate(heard=UNKNOWN, after=GRACE, drain=nameless) is FINISH


class TestFoundInThePast:
    """Another daemon may have told it to stop, or somebody else."""

    ENDS = GRACE + SIGNAL_SLACK

    def test_it_is_not_killed_before_the_engine_would_have(self) -> None:
        assert fate(worker(), after=self.ENDS - INSTANT, drain=FOUND) is WAIT
        assert fate(worker(), after=self.ENDS, drain=FOUND) is KILL

    def test_running_tasks_are_finished(self) -> None:
        verdict = judged(worker(1), after=self.ENDS, drain=FOUND)
        assert verdict.fate is FINISH
        assert verdict.words == "draining, 1 task running, 10s beyond its grace"

    def test_where_nobody_knows_that_it_was_meant_to_stop_it_counts_again(self) -> None:
        assert fate(after=self.ENDS, drain=FOUND) is COUNT

    def test_where_they_cannot_be_asked_it_waits_and_then_counts_again(self) -> None:
        assert fate(heard=UNKNOWN, after=self.ENDS, drain=FOUND) is FINISH
        assert fate(heard=UNKNOWN, after=self.ENDS + HOUR, drain=FOUND) is COUNT

    def test_one_that_shuts_down_was_meant_to(self) -> None:
        assert fate(worker(1), after=self.ENDS + HOUR, drain=FOUND) is KILL

    def test_it_is_taken_back_once_nobody_else_can_be_stopping_it(self) -> None:
        ignoring = at_work(at=TOLD + self.ENDS)
        assert fate(ignoring, after=self.ENDS - INSTANT, drain=FOUND) is WAIT
        assert fate(ignoring, after=self.ENDS, drain=FOUND) is TAKE_BACK
