"""Backlogs of one build of a Worker Deployment: DescribeWorkerDeploymentVersion."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus as Status
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentVersionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.model import BuildStatus, QueueStats, WorkerVersion
from autoscaler.core.spec import QueueType
from autoscaler.sources.calls import send
from autoscaler.sources.queues import TYPES, queue_stats

_STATUS = {
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_UNSPECIFIED: BuildStatus.NEVER_POLLED,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED: BuildStatus.NEVER_POLLED,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE: BuildStatus.INACTIVE,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT: BuildStatus.CURRENT,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING: BuildStatus.RAMPING,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: BuildStatus.DRAINING,
    Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED: BuildStatus.DRAINED,
}
_NO_NAMESPACE = "NamespaceNotFound"

Address = tuple[str, QueueType]
"""A task queue and a type."""


async def describe_build(
    client: Client, namespace: str, version: WorkerVersion, addresses: Collection[Address]
) -> Mapping[Address, QueueStats]:
    """Ask for all task queues of one build in one call; namespace Read permission is enough.

    A task queue that no worker of the build has polled is empty. Temporal does not know a build
    before its first poll: it is empty as well, and said to have never polled. Raises RPCError, or
    RuntimeError where there is no connection.
    """
    request = DescribeWorkerDeploymentVersionRequest(
        namespace=namespace,
        deployment_version=WorkerDeploymentVersion(
            deployment_name=version.deployment, build_id=version.build_id
        ),
        report_task_queue_stats=True,
    )
    told: dict[Address, QueueStats] = {}
    status = BuildStatus.NEVER_POLLED
    try:
        answer = await send(client.workflow_service.describe_worker_deployment_version, request)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or _lacks_namespace(error):
            raise
    else:
        status = _STATUS[answer.worker_deployment_version_info.status]
        types = {message: type_ for type_, message in TYPES.items()}
        told = {
            # It is listed because it was polled.
            (queue.name, types[queue.type]): queue_stats(queue.stats, pollers=1)
            for queue in answer.version_task_queues
            if queue.type in types
        }
    nothing = queue_stats(TaskQueueStats(), pollers=0)
    return {address: replace(told.get(address, nothing), build=status) for address in addresses}


def _lacks_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return any(_NO_NAMESPACE in detail.type_url for detail in details)
