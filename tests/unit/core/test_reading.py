"""Which task queues are read for a service, and what their readings come to."""

from __future__ import annotations

from autoscaler.core.backlog import Backlog, TaskQueue, UnknownBacklog, WorkerVersion
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.label_values import QueueType
from autoscaler.core.reading import Reading, join, task_queues
from autoscaler.core.spec import ScalingSpec
from tests.unit.builders import stats, task_queue

ORDERS, MAILS = task_queue("orders"), task_queue("mails")


class TestTaskQueues:
    def test_every_queue_is_read_for_every_type(self) -> None:
        spec = ScalingSpec(
            queues=("orders", "mails"), queue_types=(QueueType.WORKFLOW, QueueType.NEXUS)
        )
        assert task_queues(spec) == (
            task_queue("orders", QueueType.WORKFLOW),
            task_queue("orders", QueueType.NEXUS),
            task_queue("mails", QueueType.WORKFLOW),
            task_queue("mails", QueueType.NEXUS),
        )

    def test_the_integration_has_its_canonical_spelling(self) -> None:
        spec = ScalingSpec(
            queues=("orders",),
            queue_types=(QueueType.WORKFLOW,),
            integration="Prod-EU",
            namespace="eu",
        )
        assert task_queues(spec) == (task_queue(integration="prod_eu", namespace="eu"),)

    def test_with_a_build_its_own_tasks_are_read(self) -> None:
        spec = ScalingSpec(
            queues=("orders",),
            queue_types=(QueueType.WORKFLOW,),
            deployment="shop",
            build_id="v1",
        )
        version = WorkerVersion("shop", "v1")
        assert task_queues(spec) == (
            TaskQueue("default", None, "orders", QueueType.WORKFLOW, version),
        )

    def test_nothing_is_read_for_a_service_whose_mode_is_off(self) -> None:
        assert task_queues(ScalingSpec(queues=("orders",), mode="off")) == ()

    def test_a_dry_run_is_read_like_any_other(self) -> None:
        assert task_queues(ScalingSpec(queues=("orders",), mode="dry-run"))


class TestJoin:
    def test_known_readings_make_a_backlog(self) -> None:
        readings = {ORDERS: stats(3), MAILS: stats(4), task_queue("of-others"): stats(99)}
        assert join([ORDERS, MAILS], readings) == Backlog({ORDERS: stats(3), MAILS: stats(4)})

    def test_one_failed_reading_makes_the_whole_backlog_unknown(self) -> None:
        readings: dict[TaskQueue, Reading] = {
            ORDERS: stats(3),
            MAILS: BacklogUnavailable("no answer"),
        }
        assert join([ORDERS, MAILS], readings) == UnknownBacklog(("no answer",))

    def test_equal_failures_are_said_once_and_in_order(self) -> None:
        queues = [task_queue(name) for name in ("c", "a", "b")]
        failures = map(BacklogUnavailable, ("no answer", "no such namespace", "no answer"))
        joined = join(queues, dict(zip(queues, failures, strict=True)))
        assert joined == UnknownBacklog(("no answer", "no such namespace"))

    def test_a_queue_that_was_not_read_yet_is_unknown_without_an_error(self) -> None:
        assert join([ORDERS, MAILS], {ORDERS: stats(3)}) == UnknownBacklog(())

    def test_the_backlog_of_no_queue_is_unknown_and_not_empty(self) -> None:
        assert join([], {ORDERS: stats(3)}) == UnknownBacklog(())
