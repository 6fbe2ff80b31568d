"""What passes through the rooms of a tick."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from autoscaler.core.model import (
    Backlog,
    History,
    QueueStats,
    Sample,
    ServiceId,
    UnknownBacklog,
)
from autoscaler.core.spec import QueueType
from tests.fakes.clock import START
from tests.unit.builders import INSTANT, MINUTE, SECOND, UNKNOWN, backlog, stats, task_queue


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


def test_a_history_gives_recommendations_oldest_first() -> None:
    history = History.seed(1, START).record(5, START + MINUTE, keep=MINUTE)
    assert history.since(START) == (1, 5)


def test_a_window_reaches_back_to_its_very_start() -> None:
    history = History.seed(7, START)
    assert history.since(START) == (7,)
    assert history.since(START + INSTANT) == ()


def test_recommendations_are_forgotten_once_they_are_older_than_is_to_be_kept() -> None:
    history = History.seed(7, START)
    at_the_edge = history.record(1, START + MINUTE, keep=MINUTE)
    past_the_edge = history.record(1, START + MINUTE + INSTANT, keep=MINUTE)
    assert at_the_edge.since(START) == (7, 1)
    assert past_the_edge.since(START) == (1,)


def test_recording_leaves_the_history_it_began_with_as_it_was() -> None:
    history = History.seed(7, START)
    history.record(1, START + MINUTE, keep=MINUTE)
    assert history == History.seed(7, START)


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
            history = history.observe(replicas, seen, now, keep)
        return history, now

    def test_a_change_of_replicas_is_noted_with_its_sign(self) -> None:
        history, _ = self.looked((3, UNKNOWN), (5, UNKNOWN), (5, backlog(1)), (1, backlog(1)))
        assert history.changes == (
            Sample(START + 10 * SECOND, 2),
            Sample(START + 20 * SECOND, -4),
        )
        assert history.replicas == 1

    def test_changes_are_forgotten_once_they_are_older_than_is_to_be_kept(self) -> None:
        history = History.seed(1, START).observe(2, UNKNOWN, START + SECOND, MINUTE)
        at_the_edge = history.observe(2, UNKNOWN, START + SECOND + MINUTE, MINUTE)
        past_the_edge = history.observe(2, UNKNOWN, START + SECOND + MINUTE + INSTANT, MINUTE)
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

    def test_it_leaves_the_recommendations_and_the_beginning_as_they_were(self) -> None:
        history, _ = self.looked((9, backlog(1)), (2, UNKNOWN))
        assert history.recommendations == History.seed(3, START).recommendations

    def test_observing_leaves_the_history_it_began_with_as_it_was(self) -> None:
        history = History.seed(7, START)
        history.observe(9, backlog(5), START + MINUTE, MINUTE)
        assert history == History.seed(7, START)
