"""What is right and wrong with an integration: settings, credentials, server, permissions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerRequest,
    ListWorkersRequest,
)
from temporalio.service import RPCError, RPCStatusCode, ServiceClient, WorkflowService

from autoscaler.core.errors import IntegrationError
from autoscaler.core.findings import Finding, Outcome, examine_expiry
from autoscaler.core.integration import Integration
from autoscaler.ports import IntegrationStore
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.connections.credentials import Credentials
from autoscaler.sources.temporal.calls import ask

NOBODY = "autoscaler-doctor"
"""Name of a task queue, a worker and a build that do not exist: asking for them is enough."""

Ask = Callable[[WorkflowService, str], Awaitable[Any]]
"""Makes one call for a namespace."""


class _Call:
    """One of the calls that the autoscaler makes, and what it is lost without."""

    def __init__(self, name: str, without: str, ask: Ask) -> None:
        self.name = name
        self.without = without
        self.ask = ask


_NAMESPACE = _Call(
    "DescribeNamespace",
    "whether the server knows of heartbeats cannot be told",
    lambda service, namespace: ask(
        service.describe_namespace, DescribeNamespaceRequest(namespace=namespace)
    ),
)
_CALLS = (
    _Call(
        "DescribeTaskQueue",
        "no backlog can be read, and every service holds its replicas",
        lambda service, namespace: ask(
            service.describe_task_queue,
            DescribeTaskQueueRequest(
                namespace=namespace,
                task_queue=TaskQueue(name=NOBODY),
                task_queue_type=1,  # type: ignore[arg-type] # an enumeration's number
                report_stats=True,
            ),
        ),
    ),
    _Call(
        "ListWorkers",
        "busy replicas cannot be told from idle ones",
        lambda service, namespace: ask(
            service.list_workers,
            ListWorkersRequest(namespace=namespace, query=f"TaskQueue='{NOBODY}'"),
        ),
    ),
    _Call(
        "DescribeWorker",
        "busy replicas cannot be told from idle ones",
        lambda service, namespace: ask(
            service.describe_worker,
            DescribeWorkerRequest(namespace=namespace, worker_instance_key=NOBODY),
        ),
    ),
    _Call(
        "DescribeWorkerDeploymentVersion",
        "builds of a Worker Deployment cannot be scaled by their own backlog",
        lambda service, namespace: ask(
            service.describe_worker_deployment_version,
            DescribeWorkerDeploymentVersionRequest(
                namespace=namespace,
                deployment_version=WorkerDeploymentVersion(deployment_name=NOBODY, build_id=NOBODY),
            ),
        ),
    ),
)
_REFUSED = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}


class IntegrationExaminer:
    """Tries what the autoscaler will do with an integration. Changes nothing."""

    def __init__(
        self,
        integrations: IntegrationStore,
        connections: Connections,
        clock: Callable[[], datetime],
    ) -> None:
        self._integrations = integrations
        self._connections = connections
        self._clock = clock

    async def examine(self, names: Iterable[str]) -> Sequence[Finding]:
        """Examine integrations side by side; the findings come in the order of the names."""
        found = await asyncio.gather(*(self._examine(name) for name in names))
        return [finding for findings in found for finding in findings]

    async def _examine(self, name: str) -> Sequence[Finding]:
        subject = f"integration {name}"
        try:
            integration = self._integrations.get(name)
            credentials = Credentials.read(name, integration)
            client = await self._connections.client(name)
        except IntegrationError as error:
            return [_wrong(subject, name, str(error))]
        tls = "over TLS" if credentials.encrypted else "without TLS"
        found = [
            Finding(
                subject,
                Outcome.OK,
                f"{integration.endpoint} {tls}, credential: {credentials.kind}, from"
                f" {self._integrations.origin(name)}",
            )
        ]
        found += [
            examine_expiry(subject, what, ends, self._clock())
            for what, ends in credentials.expires.items()
        ]
        return [*found, *await self._ask(subject, name, integration, client)]

    async def _ask(
        self, subject: str, name: str, integration: Integration, client: ServiceClient
    ) -> Sequence[Finding]:
        """Make each call once; where nothing gets through at all, the first says it for all."""
        namespace = integration.namespace
        service = client.workflow_service

        async def attempt(call: _Call) -> Any | RPCError | RuntimeError:
            try:
                return await call.ask(service, namespace)
            except (RPCError, RuntimeError) as error:
                return error

        first = await attempt(_NAMESPACE)
        answers = [(_NAMESPACE, first)]
        if not _failed(first) or _refused(first):
            answers += [(call, await attempt(call)) for call in _CALLS]
        if all(_refused(answer) for _, answer in answers) or len(answers) == 1:
            return [_wrong(subject, name, self._explain(first, name, integration, _NAMESPACE))]
        allowed = [call.name for call, answer in answers if _answered(call, answer)]
        found = [Finding(subject, Outcome.OK, f"may call {', '.join(allowed)}")]
        for call, answer in answers:
            if not _answered(call, answer):
                line = self._explain(answer, name, integration, call)
                found.append(_wrong(subject, name, f"{line}; without it {call.without}"))
        if not _failed(first):
            found.append(_heartbeats(subject, namespace, first))
        return found

    def _explain(
        self, error: RPCError | RuntimeError, name: str, integration: Integration, call: _Call
    ) -> str:
        tried = f"{call.name} in namespace {integration.namespace} at {integration.endpoint}"
        return self._connections.explain(error, name, integration.namespace, tried)


def _answered(call: _Call, answer: Any) -> bool:
    """Whether the call may be made; that there is no such worker or build is an answer, too."""
    unknown = isinstance(answer, RPCError) and answer.status is RPCStatusCode.NOT_FOUND
    return not _failed(answer) or (unknown and call is not _NAMESPACE)


def _failed(answer: Any) -> bool:
    return isinstance(answer, RPCError | RuntimeError)


def _refused(answer: Any) -> bool:
    return isinstance(answer, RPCError) and answer.status in _REFUSED


def _heartbeats(subject: str, namespace: str, answer: Any) -> Finding:
    if answer.namespace_info.capabilities.worker_heartbeats:
        return Finding(
            subject, Outcome.OK, f"namespace {namespace} is there and takes worker heartbeats"
        )
    return Finding(
        subject,
        Outcome.WARNING,
        f"namespace {namespace} is there, but its server takes no worker heartbeats: busy replicas"
        " cannot be told from idle ones, and the stop grace alone protects them; Temporal Server"
        " 1.30 or later has them",
    )


def _wrong(subject: str, name: str, text: str) -> Finding:
    # The subject names the integration already.
    return Finding(subject, Outcome.WRONG, text.removeprefix(f"integration {name}: "))
