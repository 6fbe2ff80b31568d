"""Task queues, builds and backlogs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoscaler.core.backlog import (
    Backlog,
    BuildStatus,
    QueueName,
    QueueStats,
    TaskQueue,
    WorkerVersion,
)
from autoscaler.core.label_values import QueueType
from tests.unit.builders import MINUTE, SECOND, backlog, stats, task_queue

ORDERS = QueueName("default", "", "orders")


def test_a_build_is_called_by_its_deployment_and_its_id() -> None:
    assert str(WorkerVersion("shop", "v1.2")) == "shop:v1.2"


def test_the_name_of_a_task_queue_is_the_same_for_all_its_types_and_builds() -> None:
    version = WorkerVersion("shop", "v1")
    queues = [
        TaskQueue("default", None, "orders", QueueType.WORKFLOW),
        TaskQueue("default", None, "orders", QueueType.ACTIVITY, version),
    ]
    assert set(map(QueueName.of, queues)) == {ORDERS}


class TestQueueStats:
    """The server's averages fade and never quite reach zero."""

    @pytest.mark.parametrize(
        ("rate", "counts"),
        [
            pytest.param(0.0, False, id="nothing"),
            pytest.param(0.001, False, id="a-rate-that-only-fades"),
            pytest.param(0.0011, True, id="just-above"),
            pytest.param(5.0, True, id="far-above"),
        ],
    )
    def test_a_rate_above_what_fades_counts(self, rate: float, *, counts: bool) -> None:
        assert stats(0, add_rate=rate).adding is counts
        assert stats(0, dispatch_rate=rate).dispatching is counts

    def test_additions_and_dispatches_are_told_apart(self) -> None:
        assert not stats(0, add_rate=1.0).dispatching
        assert not stats(0, dispatch_rate=1.0).adding


class TestBacklog:
    """The backlogs of all task queues and types of one service."""

    def test_waiting_tasks_of_several_queues_and_types_add_up(self) -> None:
        parts = {
            task_queue("orders", QueueType.WORKFLOW): stats(3),
            task_queue("orders", QueueType.ACTIVITY): stats(4),
            task_queue("mails", QueueType.WORKFLOW): stats(5),
        }
        assert Backlog(parts).waiting == 12

    def test_its_age_is_that_of_the_oldest_task(self) -> None:
        parts = {
            task_queue("orders"): stats(1, age=SECOND),
            task_queue("mails"): stats(1, age=MINUTE),
        }
        assert Backlog(parts).age == MINUTE
        assert Backlog({}).age == timedelta()

    def test_its_age_is_unknown_as_soon_as_one_age_is(self) -> None:
        parts = {
            task_queue("orders"): stats(1, age=None),
            task_queue("mails"): stats(1, age=MINUTE),
        }
        assert Backlog(parts).age is None

    @pytest.mark.parametrize(
        ("part", "moving"),
        [
            pytest.param(stats(9, pollers=9, age=MINUTE), False, id="nothing"),
            pytest.param(stats(0, add_rate=0.1), True, id="an-addition"),
            pytest.param(stats(0, dispatch_rate=0.1), True, id="a-dispatch"),
            pytest.param(stats(0, rate_limited=True), False, id="a-rate-limit"),
        ],
    )
    def test_it_moves_as_soon_as_one_queue_does(self, part: QueueStats, *, moving: bool) -> None:
        seen = Backlog({task_queue("orders"): stats(0), task_queue("mails"): part})
        assert seen.moving is moving

    def test_the_queues_whose_rate_is_limited_are_named_with_their_types(self) -> None:
        limited = task_queue("mails", QueueType.ACTIVITY)
        parts = {
            task_queue("orders"): stats(9),
            task_queue("mails"): stats(9),
            limited: stats(0, rate_limited=True),
        }
        assert Backlog(parts).rate_limited == {limited}

    def test_its_build_is_that_of_its_task_queues(self) -> None:
        parts = {
            task_queue("orders"): stats(0, build=BuildStatus.DRAINING),
            task_queue("mails"): stats(3, build=BuildStatus.DRAINING),
        }
        assert Backlog(parts).build is BuildStatus.DRAINING
        assert backlog(1).build is None
        assert Backlog({}).build is None

    def test_queues_that_sum_up_builds_are_named_with_their_deployment(self) -> None:
        parts = {
            task_queue("orders"): stats(0, deployment="shop"),
            task_queue("orders", QueueType.ACTIVITY): stats(0, deployment="shop"),
            task_queue("mails"): stats(0),
        }
        assert Backlog(parts).summed == {"orders": "shop"}
        assert backlog(1).summed == {}

    def test_its_queues_are_named_without_their_types(self) -> None:
        parts = {task_queue("orders"): stats(0), task_queue("orders", QueueType.NEXUS): stats(0)}
        assert Backlog(parts).queues == {ORDERS}

    @pytest.mark.parametrize(
        ("part", "lively"),
        [
            pytest.param(stats(0, age=MINUTE, rate_limited=True), set(), id="nothing"),
            pytest.param(stats(1), {ORDERS}, id="a-task"),
            pytest.param(stats(0, pollers=1), {ORDERS}, id="a-poller"),
            pytest.param(stats(0, add_rate=0.1), {ORDERS}, id="an-addition"),
            pytest.param(stats(0, add_rate=0.001), set(), id="an-addition-that-only-fades"),
        ],
    )
    def test_a_queue_is_lively_by_any_sign_of_life(
        self, part: QueueStats, lively: set[QueueName]
    ) -> None:
        assert Backlog({task_queue(): part}).lively_queues == lively
