"""The backlog of one task queue: DescribeTaskQueue."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue as TaskQueueMessage
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
)
from temporalio.service import ServiceClient

from autoscaler.core.backlog import QueueStats
from autoscaler.core.label_values import QueueType
from autoscaler.sources.temporal.calls import send
from autoscaler.sources.temporal.missing import STATS_SINCE, MissingError

TYPES = {
    QueueType.WORKFLOW: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    QueueType.ACTIVITY: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    QueueType.NEXUS: TaskQueueType.TASK_QUEUE_TYPE_NEXUS,
}


def ask_queue(
    client: ServiceClient, namespace: str, name: str, type_: QueueType, *, on_root: bool = False
) -> Awaitable[DescribeTaskQueueResponse]:
    """Ask for one task queue and type, all builds together, with one call.

    `on_root` asks for what waits on the root partition as well. Namespace Read permission is
    enough. Raises RPCError, or RuntimeError where there is no connection.
    """
    request = DescribeTaskQueueRequest(
        namespace=namespace,
        task_queue=TaskQueueMessage(name=name),
        task_queue_type=TYPES[type_],
        report_stats=True,
        include_task_queue_status=on_root,
    )
    return send(client.workflow_service.describe_task_queue, request)


def read_queue(answer: DescribeTaskQueueResponse) -> QueueStats:
    """Return what an answer says of the task queue.

    Raises MissingError where the server does not say how many tasks wait.
    """
    if not answer.HasField("stats"):
        raise MissingError("how many tasks wait", STATS_SINCE)
    return queue_stats(
        answer.stats,
        pollers=len(answer.pollers),
        # Empty where the workers are not versioned.
        deployment=answer.versioning_info.current_deployment_version.deployment_name,
    )


def on_partition(answer: DescribeTaskQueueResponse) -> int | None:
    """Return what waits on the partition that was described; None where the server left it out."""
    if not answer.HasField("task_queue_status"):
        return None
    return max(0, answer.task_queue_status.backlog_count_hint)


def queue_stats(stats: TaskQueueStats, *, pollers: int, deployment: str = "") -> QueueStats:
    """Return the server's figures as a value of the core."""
    return QueueStats(
        waiting=stats.approximate_backlog_count,
        age=_age(stats),
        add_rate=stats.tasks_add_rate,
        dispatch_rate=stats.tasks_dispatch_rate,
        rate_limited=stats.rate_limiting_active,
        pollers=pollers,
        deployment=deployment,
    )


def _age(stats: TaskQueueStats) -> timedelta | None:
    """Return how long the oldest task has waited; None where tasks wait and the server hides it."""
    age = stats.approximate_backlog_age
    if stats.approximate_backlog_count and not stats.HasField("approximate_backlog_age"):
        return None
    return timedelta(seconds=age.seconds, microseconds=age.nanos // 1000)
