"""What passes through the rooms of a tick."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from autoscaler.core.history import History, Sample, Spell
from autoscaler.core.in_flight import (
    HEARTBEAT_SLACK,
    LONGEST_HEARTBEAT,
    InFlight,
    SlotKind,
    Slots,
    Worker,
)
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import (
    Backlog,
    BuildStatus,
    QueueStats,
    Replica,
    ServiceId,
    UnknownBacklog,
    WorkerVersion,
)
from tests.fakes.clock import START
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
    worker,
)


def test_backlogs_of_several_queues_and_types_add_up() -> None:
    parts = {
        task_queue("orders", QueueType.WORKFLOW): stats(3),
        task_queue("orders", QueueType.ACTIVITY): stats(4),
        task_queue("mails", QueueType.WORKFLOW): stats(5),
    }
    assert Backlog(parts).waiting == 12


def test_a_service_is_called_by_its_own_name() -> None:
    assert str(ServiceId("compose", "shop/worker")) == "shop/worker"


def test_a_history_is_seeded_with_the_present_replicas() -> None:
    assert History.seed(7, START).since(START) == (7,)


def recommended(history: History, replicas: int, at: datetime, keep: timedelta = MINUTE) -> History:
    """Recommend a number of replicas, with nothing else to take note of."""
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


def test_recommendations_are_forgotten_once_they_are_older_than_is_to_be_kept() -> None:
    history = History.seed(7, START)
    at_the_edge = recommended(history, 1, START + MINUTE)
    past_the_edge = recommended(history, 1, START + MINUTE + INSTANT)
    assert at_the_edge.since(START) == (7, 1)
    assert past_the_edge.since(START) == (1,)


def test_the_oldest_task_of_all_is_the_age_of_a_backlog() -> None:
    parts = {
        task_queue("orders"): stats(1, age=SECOND),
        task_queue("mails"): stats(1, age=MINUTE),
    }
    assert Backlog(parts).age == MINUTE
    assert Backlog({}).age == timedelta()


@pytest.mark.parametrize(
    ("part", "adding", "dispatching", "rate_limited"),
    [
        pytest.param(stats(9, pollers=9, age=MINUTE), False, False, False, id="nothing"),
        pytest.param(stats(0, add_rate=0.1), True, False, False, id="adding"),
        pytest.param(stats(0, dispatch_rate=0.1), False, True, False, id="dispatching"),
        pytest.param(stats(0, rate_limited=True), False, False, True, id="rate-limited"),
        pytest.param(stats(0, add_rate=0.001), False, False, False, id="an-addition-fades"),
        pytest.param(stats(0, dispatch_rate=0.001), False, False, False, id="a-dispatch-fades"),
    ],
)
def test_what_one_queue_does_the_whole_backlog_does(
    part: QueueStats,
    adding: bool,  # noqa: FBT001
    dispatching: bool,  # noqa: FBT001
    rate_limited: bool,  # noqa: FBT001
) -> None:
    seen = Backlog({task_queue("orders"): stats(0), task_queue("mails"): part})
    assert (seen.adding, seen.dispatching, seen.rate_limited) == (
        adding,
        dispatching,
        rate_limited,
    )


def test_a_build_is_called_by_its_deployment_and_its_id() -> None:
    assert str(WorkerVersion("shop", "v1.2")) == "shop:v1.2"


def test_the_build_of_a_backlog_is_that_of_its_task_queues() -> None:
    parts = {
        task_queue("orders"): stats(0, build=BuildStatus.DRAINING),
        task_queue("mails"): stats(3, build=BuildStatus.DRAINING),
    }
    assert Backlog(parts).build is BuildStatus.DRAINING
    assert backlog(1).build is None
    assert Backlog({}).build is None


def test_queues_whose_builds_are_summed_up_are_known_with_their_deployment() -> None:
    parts = {
        task_queue("orders"): stats(0, deployment="shop"),
        task_queue("orders", QueueType.ACTIVITY): stats(0, deployment="shop"),
        task_queue("mails"): stats(0),
    }
    assert Backlog(parts).summed == {"orders": "shop"}
    assert backlog(1).summed == {}


class TestWorker:
    """What a worker said of itself."""

    ALL_KINDS = worker(
        slots={
            SlotKind.WORKFLOW: Slots(used=100, free=900, processed=10_000),
            SlotKind.ACTIVITY: Slots(used=4, free=1, processed=40),
            SlotKind.LOCAL_ACTIVITY: Slots(used=2, free=1, processed=20),
            SlotKind.NEXUS: Slots(used=1, free=1, processed=10),
        }
    )

    def test_what_runs_is_all_that_would_be_lost_with_it(self) -> None:
        assert self.ALL_KINDS.running == 7
        assert worker(slots={SlotKind.WORKFLOW: Slots(used=100)}).running == 0
        assert worker(slots={}).running == 0

    def test_so_is_what_it_has_finished(self) -> None:
        assert self.ALL_KINDS.processed == 70

    @pytest.mark.parametrize(
        ("interval", "lasts"),
        [
            pytest.param(timedelta(), LONGEST_HEARTBEAT, id="the-first-tells-no-interval"),
            pytest.param(SECOND, SECOND, id="every-second"),
            pytest.param(MINUTE, MINUTE, id="every-minute"),
        ],
    )
    def test_a_heartbeat_is_fresh_until_the_next_is_overdue(
        self, interval: timedelta, lasts: timedelta
    ) -> None:
        heard = worker(interval=interval)
        due = START + lasts + HEARTBEAT_SLACK
        assert heard.fresh(START)
        assert heard.fresh(due)
        assert not heard.fresh(due + INSTANT)

    def test_one_from_a_clock_ahead_of_ours_is_fresh(self) -> None:
        assert worker(interval=SECOND).fresh(START - HOUR)


ALL_SEEN = backlog(1).lively_queues


@pytest.mark.parametrize(
    ("part", "alive"),
    [
        pytest.param(stats(0, age=MINUTE, rate_limited=True), False, id="nothing"),
        pytest.param(stats(1), True, id="a-task"),
        pytest.param(stats(0, pollers=1), True, id="a-poller"),
        pytest.param(stats(0, add_rate=0.1), True, id="an-addition"),
        pytest.param(stats(0, add_rate=0.001), False, id="an-addition-that-only-fades"),
    ],
)
def test_a_queue_is_lively_by_any_sign_of_life(part: QueueStats, alive: bool) -> None:  # noqa: FBT001
    assert Backlog({task_queue(): part}).lively_queues == (ALL_SEEN if alive else frozenset())


class TestObserve:
    """A history takes note of what each look saw."""

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

    def test_a_change_of_replicas_is_noted_with_its_sign(self) -> None:
        history, _ = self.looked((3, UNKNOWN), (5, UNKNOWN), (5, backlog(1)), (1, backlog(1)))
        assert history.changes == (
            Sample(START + 10 * SECOND, 2),
            Sample(START + 20 * SECOND, -4),
        )
        assert history.replicas == 1

    def test_changes_are_forgotten_once_they_are_older_than_is_to_be_kept(self) -> None:
        history = History.seed(1, START).observe(2, UNKNOWN, 2, START + SECOND, MINUTE)
        at_the_edge = history.observe(2, UNKNOWN, 2, START + SECOND + MINUTE, MINUTE)
        after = START + SECOND + MINUTE + INSTANT
        past_the_edge = history.observe(2, UNKNOWN, 2, after, MINUTE)
        assert at_the_edge.changes == history.changes
        assert past_the_edge.changes == ()

    def test_changes_add_up_over_a_period_without_its_very_start(self) -> None:
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
    def test_when_it_was_last_known_and_when_last_active(
        self,
        seen: Backlog | UnknownBacklog,
        known: bool,  # noqa: FBT001
        active: bool,  # noqa: FBT001
    ) -> None:
        history, now = self.looked((3, seen))
        assert history.known_at == (now if known else START)
        assert history.active_at == (now if active else START)

    def test_since_when_the_server_limits_the_rate(self) -> None:
        limited = backlog(1, rate_limited=True)
        begun = START + 10 * SECOND
        assert self.looked((3, backlog(1)), (3, limited), (3, limited))[0].rate_limited_since == (
            begun
        )
        assert self.looked((3, limited), (3, backlog(1)))[0].rate_limited_since is None
        assert self.looked((3, limited), (3, UNKNOWN))[0].rate_limited_since is None

    @pytest.mark.parametrize(
        "movement",
        [
            pytest.param(backlog(0), id="empty"),
            pytest.param(backlog(1, dispatch_rate=1.0), id="a-dispatch"),
            pytest.param(backlog(1, add_rate=1.0), id="an-addition"),
            pytest.param(UNKNOWN, id="unknown"),
        ],
    )
    def test_since_when_nothing_moves(self, movement: Backlog | UnknownBacklog) -> None:
        still = backlog(1)
        assert self.looked((3, movement), (3, still), (3, still))[0].stalled_since == (
            START + 10 * SECOND
        )
        assert self.looked((3, still), (3, movement))[0].stalled_since is None

    def test_a_queue_that_was_lively_once_stays_so(self) -> None:
        history, _ = self.looked((3, backlog(1)), (3, backlog(0)), (3, UNKNOWN))
        assert history.lively == ALL_SEEN
        assert self.looked((3, backlog(0)))[0].lively == frozenset()

    def test_what_is_seen_and_what_it_calls_for_are_two_things(self) -> None:
        history = History.seed(3, START).observe(4, backlog(1), 9, START + SECOND, MINUTE)
        assert history.replicas == 4
        assert history.recommendations == (Sample(START, 3), Sample(START + SECOND, 9))

    def test_observing_leaves_the_history_it_began_with_as_it_was(self) -> None:
        history = History.seed(7, START)
        history.observe(9, backlog(5), 1, START + MINUTE, MINUTE)
        assert history == History.seed(7, START)


class TestObserveInFlight:
    """A history takes note of what the workers report."""

    @staticmethod
    def observed(*looks: Worker | None, seed: History | None = None) -> History:
        """Look at one replica once for each heartbeat, at its time; None does not report."""
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
        """Describe the heartbeat so many seconds after the start."""
        slots = {kind: Slots(used=running, processed=processed)}
        return worker(at=START + after * SECOND, slots=slots)

    def test_a_task_that_goes_on_was_seen_to_run_from_the_first_look_to_the_last(self) -> None:
        history = self.observed(self.beat(10), self.beat(20), self.beat(95))
        assert history.longest_task == 85 * SECOND
        assert history.spells == {"r1": Spell(START + 10 * SECOND, 0)}

    def test_a_heartbeat_that_was_seen_before_proves_nothing_new(self) -> None:
        assert self.observed(self.beat(10), self.beat(10)).longest_task == timedelta()

    def test_one_that_finished_since_begins_a_new_spell(self) -> None:
        history = self.observed(self.beat(10), self.beat(20, processed=1), self.beat(23, 1, 1))
        assert history.longest_task == 3 * SECOND

    def test_an_idle_look_ends_the_spell(self) -> None:
        history = self.observed(self.beat(10), self.beat(20, running=0), self.beat(30))
        assert history.longest_task == timedelta()
        assert history.spells == {"r1": Spell(START + 30 * SECOND, 0)}

    def test_a_worker_that_was_started_again_is_another_one(self) -> None:
        again = replace(self.beat(50), instance="again")
        assert self.observed(self.beat(10), again).longest_task == timedelta()

    def test_the_longest_of_all_is_kept(self) -> None:
        history = self.observed(self.beat(10), self.beat(70), self.beat(80, 1, 1), None)
        assert history.longest_task == MINUTE
        assert history.spells == {}

    def test_cached_workflows_are_no_task_that_runs(self) -> None:
        cached = [self.beat(after, kind=SlotKind.WORKFLOW) for after in (10, 90)]
        history = self.observed(*cached)
        assert history.spells == {}
        assert history.active_at == START

    def test_work_in_flight_is_activity(self) -> None:
        assert self.observed(self.beat(10)).active_at == START + 10 * SECOND
        assert self.observed(self.beat(10, running=0)).active_at == START
        assert self.observed(None).active_at == START

    def test_since_when_nobody_reports(self) -> None:
        assert self.observed(None).unreported_since == START + 10 * SECOND
        assert self.observed(None, None, None).unreported_since == START + 10 * SECOND
        assert self.observed(None, self.beat(30, running=0)).unreported_since is None
        assert self.observed(self.beat(10), None).unreported_since == START + 20 * SECOND

    def test_where_some_report_somebody_does(self) -> None:
        seen = History.seed(3, START).observe_in_flight(fleet("ssi"), START)
        assert seen.unreported_since is None

    def test_where_there_is_no_replica_nobody_could(self) -> None:
        before = self.observed(None)
        assert before.observe_in_flight(InFlight((), ()), START + MINUTE).unreported_since is None

    def test_a_look_at_the_backlog_in_between_changes_none_of_it(self) -> None:
        history = self.observed(self.beat(10), self.beat(70), None)
        looked = history.observe(1, backlog(0), 1, START + 2 * MINUTE, HOUR)
        assert (looked.spells, looked.longest_task, looked.unreported_since) == (
            history.spells,
            history.longest_task,
            history.unreported_since,
        )

    def test_it_leaves_the_history_it_began_with_as_it_was(self) -> None:
        history = History.seed(1, START)
        history.observe_in_flight(fleet("b"), START + MINUTE)
        assert history == History.seed(1, START)
