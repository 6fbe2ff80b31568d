"""What a service's history keeps of each look."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from autoscaler.core.history import History, Sample, Spell
from autoscaler.core.in_flight import InFlight, SlotKind, Slots, Worker
from autoscaler.core.model import Backlog, Replica, UnknownBacklog
from tests.fakes.clock import START
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    NOT_READ,
    SECOND,
    UNKNOWN,
    backlog,
    fleet,
    worker,
)


def test_a_history_is_seeded_with_the_present_replicas() -> None:
    assert History.seed(7, START).since(START) == (7,)


def recommended(history: History, replicas: int, at: datetime, keep: timedelta = MINUTE) -> History:
    """Look once and recommend a number of replicas; nothing else happens."""
    return history.observe(history.replicas, UNKNOWN, replicas, at, keep)


def test_a_history_gives_recommendations_oldest_first() -> None:
    history = recommended(History.seed(1, START), 5, START + MINUTE)
    assert history.since(START) == (1, 5)


def test_a_window_reaches_back_to_its_very_start() -> None:
    history = History.seed(7, START)
    assert history.since(START) == (7,)
    assert history.since(START + INSTANT) == ()


def test_of_equal_recommendations_in_a_row_only_the_latest_is_kept() -> None:
    history = History.seed(7, START)
    for minute in (1, 2, 3):
        history = recommended(history, 7, START + timedelta(minutes=minute), keep=HOUR)
    assert history.recommendations == (Sample(START + timedelta(minutes=3), 7),)
    assert history.since(START + timedelta(minutes=3)) == (7,)


def test_recommendations_older_than_keep_are_forgotten() -> None:
    history = History.seed(7, START)
    at_the_edge = recommended(history, 1, START + MINUTE)
    past_the_edge = recommended(history, 1, START + MINUTE + INSTANT)
    assert at_the_edge.since(START) == (7, 1)
    assert past_the_edge.since(START) == (1,)


ALL_SEEN = backlog(1).lively_queues


class TestObserve:
    """What a look at the replicas and the backlog adds to the history."""

    @staticmethod
    def looked(
        *looks: tuple[int, Backlog | UnknownBacklog], keep: timedelta = MINUTE
    ) -> tuple[History, datetime]:
        """Look once every 5 seconds; return the history and the time of the last look."""
        history, now = History.seed(3, START), START
        for replicas, seen in looks:
            now += 5 * SECOND
            history = history.observe(replicas, seen, replicas, now, keep)
        return history, now

    def test_a_change_of_replicas_is_kept_with_its_sign(self) -> None:
        history, _ = self.looked((3, UNKNOWN), (5, UNKNOWN), (5, backlog(1)), (1, backlog(1)))
        assert history.changes == (
            Sample(START + 10 * SECOND, 2),
            Sample(START + 20 * SECOND, -4),
        )
        assert history.replicas == 1

    def test_changes_older_than_keep_are_forgotten(self) -> None:
        history = History.seed(1, START).observe(2, UNKNOWN, 2, START + SECOND, MINUTE)
        at_the_edge = history.observe(2, UNKNOWN, 2, START + SECOND + MINUTE, MINUTE)
        after = START + SECOND + MINUTE + INSTANT
        past_the_edge = history.observe(2, UNKNOWN, 2, after, MINUTE)
        assert at_the_edge.changes == history.changes
        assert past_the_edge.changes == ()

    def test_changes_after_the_start_of_a_period_add_up(self) -> None:
        history, _ = self.looked((5, UNKNOWN), (4, UNKNOWN), (8, UNKNOWN))
        assert history.changed_by(START) == 5
        assert history.changed_by(START + 5 * SECOND - INSTANT) == 5
        assert history.changed_by(START + 5 * SECOND) == 3
        assert history.changed_by(START + 15 * SECOND) == 0

    @pytest.mark.parametrize(
        ("seen", "known", "active"),
        [
            pytest.param(backlog(0), True, False, id="empty"),
            pytest.param(backlog(1), True, True, id="a-task"),
            pytest.param(backlog(0, add_rate=1.0), True, True, id="an-addition"),
            pytest.param(backlog(0, dispatch_rate=1.0), True, True, id="a-dispatch"),
            pytest.param(UNKNOWN, False, True, id="unknown"),
        ],
    )
    def test_when_the_backlog_was_last_known_and_last_active(
        self,
        seen: Backlog | UnknownBacklog,
        known: bool,  # noqa: FBT001
        active: bool,  # noqa: FBT001
    ) -> None:
        history, now = self.looked((3, seen))
        assert history.known_at == (now if known else START)
        assert history.active_at == (now if active else START)

    def test_since_when_the_server_has_limited_the_rate(self) -> None:
        limited = backlog(1, rate_limited=True)
        begun = START + 10 * SECOND
        assert self.looked((3, backlog(1)), (3, limited), (3, limited))[0].rate_limited_since == (
            begun
        )
        assert self.looked((3, limited), (3, backlog(1)))[0].rate_limited_since is None
        assert self.looked((3, limited), (3, UNKNOWN))[0].rate_limited_since is None

    def test_a_backlog_that_nobody_asked_for_counts_as_known(self) -> None:
        history, now = self.looked((3, UNKNOWN), (3, NOT_READ))
        assert history.known_at == now

    def test_since_when_there_are_more_replicas_than_at_the_start_of_a_stall(self) -> None:
        still = backlog(1)
        history, _ = self.looked((3, still), (4, still), (5, still))
        assert history.grown_in_stall_at == START + 10 * SECOND
        assert self.looked((3, still), (4, still), (3, still))[0].grown_in_stall_at is None
        assert self.looked((3, still), (2, still))[0].grown_in_stall_at is None

    def test_since_when_replicas_have_run_for_a_queue_without_a_sign_of_life(self) -> None:
        (queue,) = ALL_SEEN
        empty = backlog(0)
        assert self.looked((3, empty), (3, empty))[0].silent_since == {queue: START + 5 * SECOND}
        assert self.looked((0, empty), (3, empty))[0].silent_since == {queue: START + 10 * SECOND}
        assert self.looked((3, empty), (3, backlog(1)), (3, empty))[0].silent_since == {}

    @pytest.mark.parametrize(
        "movement",
        [
            pytest.param(backlog(0), id="empty"),
            pytest.param(backlog(1, dispatch_rate=1.0), id="a-dispatch"),
            pytest.param(backlog(1, add_rate=1.0), id="an-addition"),
            pytest.param(UNKNOWN, id="unknown"),
        ],
    )
    def test_since_when_no_task_has_moved(self, movement: Backlog | UnknownBacklog) -> None:
        still = backlog(1)
        assert self.looked((3, movement), (3, still), (3, still))[0].stalled_since == (
            START + 10 * SECOND
        )
        assert self.looked((3, still), (3, movement))[0].stalled_since is None

    def test_a_queue_that_was_lively_once_stays_lively(self) -> None:
        history, _ = self.looked((3, backlog(1)), (3, backlog(0)), (3, UNKNOWN))
        assert history.lively == ALL_SEEN
        assert self.looked((3, backlog(0)))[0].lively == frozenset()

    def test_replicas_and_recommendation_are_kept_apart(self) -> None:
        history = History.seed(3, START).observe(4, backlog(1), 9, START + SECOND, MINUTE)
        assert history.replicas == 4
        assert history.recommendations == (Sample(START, 3), Sample(START + SECOND, 9))

    def test_the_earlier_history_does_not_change(self) -> None:
        history = History.seed(7, START)
        history.observe(9, backlog(5), 1, START + MINUTE, MINUTE)
        assert history == History.seed(7, START)


class TestObserveInFlight:
    """What a look at the workers' reports adds to the history."""

    @staticmethod
    def observed(*looks: Worker | None, seed: History | None = None) -> History:
        """Look at one replica at the time of each heartbeat; None: it does not report."""
        history, now = seed or History.seed(1, START), START
        for heard in looks:
            now = now + 10 * SECOND if heard is None else heard.at
            seen = InFlight((Replica("r1", "r1"),), () if heard is None else (heard,))
            history = history.observe_in_flight(seen, now)
        return history

    @staticmethod
    def beat(
        after: int, running: int = 1, processed: int = 0, kind: SlotKind = SlotKind.ACTIVITY
    ) -> Worker:
        """Describe the heartbeat that was sent `after` seconds from the start."""
        slots = {kind: Slots(used=running, processed=processed)}
        return worker(at=START + after * SECOND, slots=slots)

    def test_a_spell_lasts_from_the_first_heartbeat_with_a_task_to_the_last(self) -> None:
        history = self.observed(self.beat(10), self.beat(20), self.beat(95))
        assert history.longest_task == 85 * SECOND
        assert history.spells == {"r1": Spell(START + 10 * SECOND, 0)}

    def test_the_same_heartbeat_again_does_not_lengthen_a_spell(self) -> None:
        assert self.observed(self.beat(10), self.beat(10)).longest_task == timedelta()

    def test_a_finished_task_begins_a_new_spell(self) -> None:
        history = self.observed(self.beat(10), self.beat(20, processed=1), self.beat(23, 1, 1))
        assert history.longest_task == 3 * SECOND

    def test_an_idle_heartbeat_ends_the_spell(self) -> None:
        history = self.observed(self.beat(10), self.beat(20, running=0), self.beat(30))
        assert history.longest_task == timedelta()
        assert history.spells == {"r1": Spell(START + 30 * SECOND, 0)}

    def test_a_restarted_worker_begins_a_new_spell(self) -> None:
        again = replace(self.beat(50), instance="again")
        assert self.observed(self.beat(10), again).longest_task == timedelta()

    def test_the_longest_spell_is_kept(self) -> None:
        history = self.observed(self.beat(10), self.beat(70), self.beat(80, 1, 1), None)
        assert history.longest_task == MINUTE
        assert history.spells == {}

    def test_cached_workflows_do_not_make_a_spell(self) -> None:
        cached = [self.beat(after, kind=SlotKind.WORKFLOW) for after in (10, 90)]
        history = self.observed(*cached)
        assert history.spells == {}
        assert history.active_at == START

    def test_work_in_flight_is_activity(self) -> None:
        assert self.observed(self.beat(10)).active_at == START + 10 * SECOND
        assert self.observed(self.beat(10, running=0)).active_at == START
        assert self.observed(None).active_at == START

    def test_since_when_no_worker_has_reported(self) -> None:
        assert self.observed(None).unreported_since == START + 10 * SECOND
        assert self.observed(None, None, None).unreported_since == START + 10 * SECOND
        assert self.observed(None, self.beat(30, running=0)).unreported_since is None
        assert self.observed(self.beat(10), None).unreported_since == START + 20 * SECOND

    def test_one_report_is_enough(self) -> None:
        seen = History.seed(3, START).observe_in_flight(fleet("ssi"), START)
        assert seen.unreported_since is None

    def test_without_replicas_no_report_is_missing(self) -> None:
        before = self.observed(None)
        assert before.observe_in_flight(InFlight((), ()), START + MINUTE).unreported_since is None

    def test_a_look_at_the_backlog_alone_keeps_all_of_this(self) -> None:
        history = self.observed(self.beat(10), self.beat(70), None)
        looked = history.observe(1, backlog(0), 1, START + 2 * MINUTE, HOUR)
        assert (looked.spells, looked.longest_task, looked.unreported_since) == (
            history.spells,
            history.longest_task,
            history.unreported_since,
        )

    def test_the_earlier_history_does_not_change(self) -> None:
        history = History.seed(1, START)
        history.observe_in_flight(fleet("b"), START + MINUTE)
        assert history == History.seed(1, START)
