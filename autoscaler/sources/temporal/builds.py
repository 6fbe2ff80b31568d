"""The backlog of one build of a Worker Deployment: DescribeWorkerDeploymentVersion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus as Status
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentVersionRequest
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.model import BuildStatus, QueueStats, TaskQueue, WorkerVersion
from autoscaler.sources.temporal.calls import ask
from autoscaler.sources.temporal.queues import TYPES, queue_stats

_STATUS = {
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_UNSPECIFIED: BuildStatus.NEVER_POLLED,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED: BuildStatus.NEVER_POLLED,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE: BuildStatus.INACTIVE,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT: BuildStatus.CURRENT,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING: BuildStatus.RAMPING,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: BuildStatus.DRAINING,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED: BuildStatus.DRAINED,
}
_EMPTY = queue_stats(TaskQueueStats(), pollers=0)
_NO_NAMESPACE = "NamespaceNotFound"


async def read_build(
    client: ServiceClient, namespace: str, version: WorkerVersion, queues: Iterable[TaskQueue]
) -> Mapping[TaskQueue, QueueStats]:
    """Read the tasks of one build in some task queues, with one call for all of them.

    A task queue that no worker of the build has polled is empty. Before the first poll Temporal
    does not know the build, and all its task queues are empty. Namespace Read permission is enough.
    Raises RPCError, or RuntimeError where there is no connection.
    """
    request = DescribeWorkerDeploymentVersionRequest(
        namespace=namespace,
        deployment_version=WorkerDeploymentVersion(
            deployment_name=version.deployment, build_id=version.build_id
        ),
        report_task_queue_stats=True,
    )
    try:
        answer = await ask(client.workflow_service.describe_worker_deployment_version, request)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or _lacks_namespace(error):
            raise
        return dict.fromkeys(queues, replace(_EMPTY, build=BuildStatus.NEVER_POLLED))
    # A newer server may know other statuses. One replica stays then, as for a build that drains.
    status = _STATUS.get(answer.worker_deployment_version_info.status, BuildStatus.DRAINING)
    polled = {
        # The server lists a task queue because a worker has polled it.
        (queue.name, queue.type): queue_stats(queue.stats, pollers=1)
        for queue in answer.version_task_queues
    }
    return {
        queue: replace(polled.get((queue.name, TYPES[queue.type]), _EMPTY), build=status)
        for queue in queues
    }


def _lacks_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return any(_NO_NAMESPACE in detail.type_url for detail in details)
