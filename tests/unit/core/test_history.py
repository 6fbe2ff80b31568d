"""What a service's history keeps of each look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta

import pytest

from autoscaler.core.backlog import Backlog, UnknownBacklog
from autoscaler.core.flow import Flows, Look, Sustained
from autoscaler.core.history import LATE, BegunChange, History, Sample
from autoscaler.core.in_flight import InFlight, SlotKind, Slots, Worker
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import Replica
from autoscaler.core.spells import Spell
from autoscaler.core.throughput import Throughput
from autoscaler.core.trials import Growth, Trial
from autoscaler.core.worked import Done, Worked
from tests.fakes.clock import START
from tests.unit.builders import (
    DAY,
    HOUR,
    INSTANT,
    MINUTE,
    NOT_READ,
    SECOND,
    UNKNOWN,
    backlog,
    fleet,
    stats,
    task_queue,
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


@pytest.mark.parametrize(("number", "kept"), [(7, [(0, 7)]), (9, [(0, 7), (5, 9)])])
def test_the_same_answer_again_leaves_no_recommendation_unless_another_number_comes_of_it(
    number: int, kept: list[tuple[int, int]]
) -> None:
    seen = backlog(70, new=False)
    history = History.seed(7, START).observe(7, seen, number, START + 5 * SECOND, HOUR)
    assert history.recommendations == tuple(Sample(START + at * SECOND, each) for at, each in kept)


def test_of_several_task_queues_one_new_answer_is_a_new_look() -> None:
    old, new = backlog(70, new=False), Backlog({task_queue("mails"): stats(0)})
    history = History.seed(7, START)
    history = history.observe(7, Backlog(old.parts | new.parts), 7, START + 5 * SECOND, HOUR)
    assert history.recommendations == (Sample(START + 5 * SECOND, 7),)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(backlog(70), id="a-new-answer"),
        pytest.param(backlog(70, new=False), id="the-same-answer-again"),
        pytest.param(UNKNOWN, id="no-answer"),
        pytest.param(NOT_READ, id="nobody-asked"),
    ],
)
def test_every_look_counts_as_one(seen: Backlog | UnknownBacklog) -> None:
    at = START + 5 * SECOND
    assert History.seed(7, START).observe(7, seen, 7, at, HOUR).looked_at == at


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
        begun = {task_queue(): START + 10 * SECOND}
        assert self.looked((3, backlog(1)), (3, limited), (3, limited))[0].rate_limited_since == (
            begun
        )
        assert self.looked((3, limited), (3, backlog(1)))[0].rate_limited_since == {}
        assert self.looked((3, limited), (3, UNKNOWN))[0].rate_limited_since == {}

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


class TestBegunChanges:
    """A change of the daemon's counts from its decision, as far as a look sees it made."""

    @staticmethod
    def begun(current: int, desired: int) -> History:
        """Decide at the start to change the replicas, and begin."""
        return History.seed(current, START).begin_change(desired)

    @staticmethod
    def look(history: History, replicas: int, after: int = 5, *, changing: bool = False) -> History:
        """Look so many seconds after the start."""
        now = START + after * SECOND
        return history.observe(replicas, UNKNOWN, replicas, now, HOUR, changing=changing)

    def test_it_counts_at_once(self) -> None:
        history = self.begun(3, 7)
        assert history.changed_by(START - INSTANT) == 4
        assert history.changed_by(START) == 0

    def test_it_counts_while_it_is_under_way(self) -> None:
        history = self.look(self.begun(3, 7), 7, changing=True)
        assert history.changed_by(START - INSTANT) == 4
        assert history.changes == ()

    @pytest.mark.parametrize(
        ("current", "desired", "seen", "changes"),
        [
            pytest.param(3, 7, 7, [(0, 4)], id="made"),
            pytest.param(3, 7, 5, [(0, 2)], id="made-in-part"),
            pytest.param(3, 7, 3, [], id="failed"),
            pytest.param(3, 7, 9, [(0, 4), (5, 2)], id="somebody-added-more"),
            pytest.param(3, 7, 1, [(5, -2)], id="somebody-removed-some"),
            pytest.param(7, 3, 3, [(0, -4)], id="scale-in-made"),
            pytest.param(7, 3, 6, [(0, -1)], id="scale-in-made-in-part"),
            pytest.param(7, 3, 1, [(0, -4), (5, -2)], id="somebody-removed-more"),
            pytest.param(7, 3, 9, [(5, 2)], id="somebody-added-some"),
        ],
    )
    def test_what_a_look_does_not_see_made_does_not_count(
        self, current: int, desired: int, seen: int, changes: list[tuple[int, int]]
    ) -> None:
        history = self.look(self.begun(current, desired), seen)
        assert history.changes == tuple(
            Sample(START + after * SECOND, number) for after, number in changes
        )
        assert history.begun is None

    def test_what_is_seen_later_is_somebody_elses(self) -> None:
        history = self.look(self.look(self.begun(3, 7), 7), 9, after=10)
        assert history.changes == (Sample(START, 4), Sample(START + 10 * SECOND, 2))

    def test_it_is_not_counted_twice_after_it_was_under_way(self) -> None:
        history = self.look(self.begun(3, 7), 7, changing=True)
        history = self.look(self.look(history, 7, after=10), 7, after=15)
        assert history.changes == (Sample(START, 4),)


class TestResumed:
    """Time in which nobody looked does not pass."""

    USUAL = 5 * SECOND

    @staticmethod
    def full() -> History:
        """Describe a history in which every moment is another one."""
        (queue,) = ALL_SEEN
        return History(
            replicas=4,
            known_at=START - 1 * MINUTE,
            active_at=START - 2 * MINUTE,
            recommendations=(Sample(START - 3 * MINUTE, 9), Sample(START, 4)),
            changes=(Sample(START - 4 * MINUTE, 1),),
            begun=BegunChange(START - 5 * MINUTE, 3, 4),
            rate_limited_since={task_queue(): START - 6 * MINUTE},
            stalled_since=START - 7 * MINUTE,
            stalled_with=2,
            grown_in_stall_at=START - 8 * MINUTE,
            lively=ALL_SEEN,
            silent_since={queue: START - 9 * MINUTE},
            unreported_since=START - 10 * MINUTE,
            spells={"r1": Spell(START - 11 * MINUTE, 1, 0)},
            longest_task=HOUR,
            crews={"r1": frozenset("78")},
            throughput=Throughput(
                rates={QueueType.ACTIVITY: 1.1},
                flows=Flows(
                    (Look(START - 12 * MINUTE, 4, {}),), (Sustained(START - 13 * MINUTE, {}),)
                ),
                worked=Worked(done={QueueType.ACTIVITY: Done(START)}),
                proven_at=START - 14 * MINUTE,
                trial=Trial(START - 15 * MINUTE, 3, 4, given_back_at=START - 16 * MINUTE),
                growth=Growth(START - 17 * MINUTE, Look(START - 18 * MINUTE, 3, {})),
                no_growth_until=START - 19 * MINUTE,
                doubted_until=START - 20 * MINUTE,
            ),
        )

    @pytest.mark.parametrize(
        "gap",
        [
            pytest.param(timedelta(), id="at-once"),
            pytest.param(5 * SECOND, id="as-usual"),
            pytest.param(5 * SECOND + LATE, id="late"),
        ],
    )
    def test_after_the_usual_time_it_is_the_same(self, gap: timedelta) -> None:
        assert self.full().resumed(START + gap, self.USUAL) == self.full()

    @pytest.mark.parametrize(
        "gap",
        [
            pytest.param(5 * SECOND + LATE + INSTANT, id="just-too-late"),
            pytest.param(DAY, id="a-day"),
            pytest.param(-INSTANT, id="a-clock-set-back-a-little"),
            pytest.param(-DAY, id="a-clock-set-back"),
        ],
    )
    def test_otherwise_the_latest_look_was_a_usual_time_ago(self, gap: timedelta) -> None:
        resumed = self.full().resumed(START + gap, self.USUAL)
        assert resumed.looked_at == START + gap - self.USUAL
        assert resumed.resumed(START + gap, self.USUAL) == resumed

    def test_every_moment_is_as_long_before_the_look_as_it_was(self) -> None:
        moved, before = self.full().resumed(START + HOUR, self.USUAL), self.full()
        by = HOUR - self.USUAL
        assert _moments(moved) == [moment + by for moment in _moments(before)]
        assert len(set(_moments(moved))) == 20

    def test_what_is_no_moment_stays(self) -> None:
        moved = self.full().resumed(START + HOUR, self.USUAL)
        assert (moved.replicas, moved.stalled_with, moved.lively) == (4, 2, ALL_SEEN)
        assert [sample.replicas for sample in moved.recommendations] == [9, 4]

    def test_spells_end_because_they_go_by_the_clocks_of_the_workers(self) -> None:
        moved = self.full().resumed(START + HOUR, self.USUAL)
        assert (moved.spells, moved.longest_task) == ({}, HOUR)

    def test_crews_stay_as_long_as_their_containers(self) -> None:
        moved = self.full().resumed(START + HOUR, self.USUAL)
        assert moved.crews == {"r1": frozenset("78")}

    def test_what_workers_reported_is_forgotten_and_what_was_learnt_from_it_is_not(self) -> None:
        moved = self.full().resumed(START + HOUR, self.USUAL)
        assert moved.throughput.worked == Worked()
        assert moved.throughput.rates == self.full().throughput.rates

    def test_every_field_is_described_here(self) -> None:
        """A new field has to be thought of: does it move?"""
        seed = History.seed(1, START)
        for each in fields(History):
            assert getattr(self.full(), each.name) != getattr(seed, each.name), each.name


def _moments(value: object) -> list[datetime]:
    """Return all moments in a history but those of spells, in the order of the fields."""
    if isinstance(value, datetime):
        return [value]
    if isinstance(value, Mapping):
        return [moment for each in value.values() for moment in _moments(each)]
    if isinstance(value, tuple):
        return [moment for each in value for moment in _moments(each)]
    if is_dataclass(value) and not isinstance(value, Spell | Worked):
        return [
            moment for field in fields(value) for moment in _moments(getattr(value, field.name))
        ]
    return []


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
        assert history.spells == {"r1": Spell(START + 10 * SECOND, 1, 0)}

    def test_the_same_heartbeat_again_does_not_lengthen_a_spell(self) -> None:
        assert self.observed(self.beat(10), self.beat(10)).longest_task == timedelta()

    def test_a_finished_task_begins_a_new_spell(self) -> None:
        history = self.observed(self.beat(10), self.beat(20, processed=1), self.beat(23, 1, 1))
        assert history.longest_task == 3 * SECOND

    def test_an_idle_heartbeat_ends_the_spell(self) -> None:
        history = self.observed(self.beat(10), self.beat(20, running=0), self.beat(30))
        assert history.longest_task == timedelta()
        assert history.spells == {"r1": Spell(START + 30 * SECOND, 1, 0)}

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

    def test_processes_that_ran_together_are_remembered_while_their_replica_exists(self) -> None:
        replicas = (Replica("r1", "r1"),)
        both = [worker(instance=each, process=each, began=START - HOUR) for each in ("7", "8")]
        history = History.seed(1, START).observe_in_flight(InFlight(replicas, tuple(both)), START)
        assert history.crews == {"r1": frozenset({"7", "8"})}
        history = history.observe_in_flight(InFlight(replicas, tuple(both[:1])), START + HOUR)
        assert history.crews == {"r1": frozenset({"7", "8"})}
        assert recommended(history, 1, START + HOUR).crews == history.crews
        observed = history.observe(1, backlog(1), 1, START + HOUR, MINUTE)
        assert observed.crews == history.crews
        gone = InFlight((Replica("r2", "r2"),), ())
        assert history.observe_in_flight(gone, START + HOUR).crews == {}

    def test_a_running_task_without_a_time_is_activity_and_no_spell(self) -> None:
        heard = InFlight((Replica("r1", "r1"),), (worker(running=1, at=None),))
        history = History.seed(1, START).observe_in_flight(heard, START + HOUR)
        assert history.active_at == START + HOUR
        assert history.spells == {}

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
