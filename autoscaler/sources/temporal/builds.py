"""The backlog of one build of a Worker Deployment: DescribeWorkerDeploymentVersion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from temporalio.api.deployment.v1 import WorkerDeploymentVersion, WorkerDeploymentVersionInfo
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus as Status
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentVersionResponse,
)
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.backlog import BuildStatus, QueueStats, TaskQueue, WorkerVersion
from autoscaler.sources.temporal.calls import send
from autoscaler.sources.temporal.missing import BUILD_STATS_SINCE, MissingError
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
_NEVER_POLLED = DescribeWorkerDeploymentVersionResponse(
    worker_deployment_version_info=WorkerDeploymentVersionInfo(
        status=Status.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED
    )
)
"""Stands in place of the answer where Temporal does not know the build yet."""
_NO_NAMESPACE = "NamespaceNotFound"


async def ask_build(
    client: ServiceClient, namespace: str, version: WorkerVersion
) -> DescribeWorkerDeploymentVersionResponse:
    """Ask for the tasks of one build in all its task queues, with one call.

    Namespace Read permission is enough. Raises RPCError, RuntimeError where there is no connection,
    or MissingError where the server does not know such a call.
    """
    request = DescribeWorkerDeploymentVersionRequest(
        namespace=namespace,
        deployment_version=WorkerDeploymentVersion(
            deployment_name=version.deployment, build_id=version.build_id
        ),
        report_task_queue_stats=True,
    )
    try:
        return await send(client.workflow_service.describe_worker_deployment_version, request)
    except RPCError as error:
        if error.status is RPCStatusCode.UNIMPLEMENTED:
            raise _missing("how many tasks of a build wait") from error
        if error.status is not RPCStatusCode.NOT_FOUND or _lacks_namespace(error):
            raise
        return _NEVER_POLLED


def read_build(
    answer: DescribeWorkerDeploymentVersionResponse, queues: Iterable[TaskQueue]
) -> Mapping[TaskQueue, QueueStats]:
    """Return what an answer says of some task queues of the build.

    A task queue that no worker of the build has polled is empty. Before the first poll Temporal
    does not know the build, and all its task queues are empty. Raises MissingError where the server
    does not say how many tasks of the build wait.
    """
    if not answer.HasField("worker_deployment_version_info"):
        raise _missing("what becomes of a build")
    # A newer server may know other statuses. One replica stays then, as for a build that drains.
    status = _STATUS.get(answer.worker_deployment_version_info.status, BuildStatus.DRAINING)
    polled = _polled(answer)
    return {
        queue: replace(polled.get((queue.name, TYPES[queue.type]), _EMPTY), build=status)
        for queue in queues
    }


def _polled(
    answer: DescribeWorkerDeploymentVersionResponse,
) -> Mapping[tuple[str, TaskQueueType.ValueType], QueueStats]:
    """Return the figures of the task queues that workers of the build have polled."""
    polled = {
        # The server lists a task queue because a worker has polled it.
        (queue.name, queue.type): queue_stats(queue.stats, pollers=1)
        for queue in answer.version_task_queues
        if queue.HasField("stats")
    }
    # Older servers list the same task queues in the info of the build only, without figures.
    listed = {(queue.name, queue.type) for queue in answer.version_task_queues}
    listed |= {
        (queue.name, queue.type) for queue in answer.worker_deployment_version_info.task_queue_infos
    }
    if listed - polled.keys():
        raise _missing("how many tasks of a build wait")
    return polled


def _missing(what: str) -> MissingError:
    return MissingError(what, BUILD_STATS_SINCE)


def _lacks_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return any(_NO_NAMESPACE in detail.type_url for detail in details)
