"""Backlogs of one build of a Worker Deployment: DescribeWorkerDeploymentVersion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus as Status
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentVersionResponse,
)
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.model import BuildStatus, QueueStats, WorkerVersion
from autoscaler.sources.calls import call
from autoscaler.sources.queues import TYPES, Address, queue_stats

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


def build_request(namespace: str, version: WorkerVersion) -> DescribeWorkerDeploymentVersionRequest:
    """Ask for all task queues of a build; namespace Read permission is enough."""
    return DescribeWorkerDeploymentVersionRequest(
        namespace=namespace,
        deployment_version=WorkerDeploymentVersion(
            deployment_name=version.deployment, build_id=version.build_id
        ),
        report_task_queue_stats=True,
    )


def build_call(
    client: ServiceClient, request: DescribeWorkerDeploymentVersionRequest
) -> Callable[[], Awaitable[DescribeWorkerDeploymentVersionResponse | None]]:
    """Prepare the one call for a build.

    It brings None where Temporal does not know the build: it does not before the first poll. It
    raises RPCError, or RuntimeError where there is no connection.
    """
    return partial(
        _known, call(client.workflow_service.describe_worker_deployment_version, request)
    )


def read_build(
    answer: DescribeWorkerDeploymentVersionResponse | None, addresses: Collection[Address]
) -> Mapping[Address, QueueStats]:
    """Read what the call has brought for these task queues.

    One that no worker of the build has polled is empty, as are all of a build that Temporal does
    not know.
    """
    nothing = queue_stats(TaskQueueStats(), pollers=0)
    if answer is None:
        return dict.fromkeys(addresses, replace(nothing, build=BuildStatus.NEVER_POLLED))
    status = _STATUS[answer.worker_deployment_version_info.status]
    types = {message: type_ for type_, message in TYPES.items()}
    told = {
        # It is listed because it was polled.
        (queue.name, types[queue.type]): queue_stats(queue.stats, pollers=1)
        for queue in answer.version_task_queues
        if queue.type in types
    }
    return {
        (name, type_, version): replace(told.get((name, type_), nothing), build=status)
        for name, type_, version in addresses
    }


async def _known(
    asked: Callable[[], Awaitable[DescribeWorkerDeploymentVersionResponse]],
) -> DescribeWorkerDeploymentVersionResponse | None:
    try:
        return await asked()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or _lacks_namespace(error):
            raise
        return None


def _lacks_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return any(_NO_NAMESPACE in detail.type_url for detail in details)
