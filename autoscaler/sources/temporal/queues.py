"""The backlog of one task queue: DescribeTaskQueue."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue as TaskQueueMessage
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import ServiceClient

from autoscaler.core.label_values import QueueType
from autoscaler.core.model import QueueStats
from autoscaler.sources.temporal.calls import ask

TYPES = {
    QueueType.WORKFLOW: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    QueueType.ACTIVITY: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    QueueType.NEXUS: TaskQueueType.TASK_QUEUE_TYPE_NEXUS,
}


async def read_queue(
    client: ServiceClient, namespace: str, name: str, type_: QueueType
) -> QueueStats:
    """Read one task queue and type, all builds together, with one call.

    Namespace Read permission is enough. Raises RPCError, or RuntimeError where there is no
    connection.
    """
    request = DescribeTaskQueueRequest(
        namespace=namespace,
        task_queue=TaskQueueMessage(name=name),
        task_queue_type=TYPES[type_],
        report_stats=True,
    )
    answer = await ask(client.workflow_service.describe_task_queue, request)
    return queue_stats(
        answer.stats,
        pollers=len(answer.pollers),
        # Empty where the workers are not versioned.
        deployment=answer.versioning_info.current_deployment_version.deployment_name,
    )


def queue_stats(stats: TaskQueueStats, *, pollers: int, deployment: str = "") -> QueueStats:
    """Return the server's figures as a value of the core."""
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
