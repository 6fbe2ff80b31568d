"""Backlogs of one task queue: DescribeTaskQueue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue as TaskQueueMessage
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse
from temporalio.service import ServiceClient

from autoscaler.core.label_values import QueueType
from autoscaler.core.model import QueueStats, WorkerVersion
from autoscaler.sources.calls import call

Address = tuple[str, QueueType, WorkerVersion | None]
"""A task queue, a type and perhaps a build within one namespace."""
TYPES = {
    QueueType.WORKFLOW: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    QueueType.ACTIVITY: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    QueueType.NEXUS: TaskQueueType.TASK_QUEUE_TYPE_NEXUS,
}


def queue_request(namespace: str, name: str, type_: QueueType) -> DescribeTaskQueueRequest:
    """Ask for one task queue and type; namespace Read permission is enough."""
    return DescribeTaskQueueRequest(
        namespace=namespace,
        task_queue=TaskQueueMessage(name=name),
        task_queue_type=TYPES[type_],
        report_stats=True,
    )


def queue_call(
    client: ServiceClient, request: DescribeTaskQueueRequest
) -> Callable[[], Awaitable[DescribeTaskQueueResponse]]:
    """Prepare the call. It raises RPCError, or RuntimeError where there is no connection."""
    return call(client.workflow_service.describe_task_queue, request)


def read_queue(answer: DescribeTaskQueueResponse) -> QueueStats:
    """Read what the call has brought."""
    # Empty for a queue whose workers are not versioned; otherwise the figures are of all builds.
    deployment = answer.versioning_info.current_deployment_version.deployment_name
    return queue_stats(answer.stats, pollers=len(answer.pollers), deployment=deployment)


def queue_stats(stats: TaskQueueStats, *, pollers: int, deployment: str = "") -> QueueStats:
    """Take over the server's figures."""
    age = stats.approximate_backlog_age
    return QueueStats(
        waiting=stats.approximate_backlog_count,
        age=timedelta(seconds=age.seconds, microseconds=age.nanos // 1000),
        add_rate=stats.tasks_add_rate,
        dispatch_rate=stats.tasks_dispatch_rate,
        rate_limited=stats.rate_limiting_active,
        pollers=pollers,
        deployment=deployment,
    )
