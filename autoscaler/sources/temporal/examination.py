"""What is right and wrong with an integration: settings, credentials, server, permissions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerRequest,
    ListWorkersRequest,
)
from temporalio.service import RPCError, RPCStatusCode, WorkflowService

from autoscaler.core.errors import IntegrationError
from autoscaler.core.findings import Finding, Outcome, examine_expiry
from autoscaler.core.integration import Integration
from autoscaler.ports import IntegrationStore
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.connections.credentials import Credentials
from autoscaler.sources.temporal.calls import ask

NOBODY = "autoscaler-doctor"
"""Name of a task queue, a worker and a build that do not exist. Permission is checked before."""


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of Temporal's API that the autoscaler uses."""

    name: str
    without: str
    """What does not work where the method cannot be called."""
    ask: Callable[[WorkflowService, str], Awaitable[Any]]
    """Calls the method once, for a namespace."""


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of calling a method."""

    method: _Method
    answer: Any = None
    """What came back; None where the call failed."""
    why: str = ""
    """Why the call failed, with what to do; empty where it succeeded."""
    status: RPCStatusCode | None = None
    """The status of a call that failed; None where there was no connection."""

    @property
    def refused(self) -> bool:
        """Whether the server refused the credentials."""
        return self.status in {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}

    @property
    def allowed(self) -> bool:
        """Whether the method may be called: that NOBODY was not found shows it, too."""
        nobody = self.status is RPCStatusCode.NOT_FOUND and self.method != _NAMESPACE
        return not self.why or nobody


_NAMESPACE = _Method(
    "DescribeNamespace",
    "whether the server knows of heartbeats cannot be told",
    lambda service, namespace: ask(
        service.describe_namespace, DescribeNamespaceRequest(namespace=namespace)
    ),
)
_OTHERS = (
    _Method(
        "DescribeTaskQueue",
        "no backlog can be read, and every service holds its replicas",
        lambda service, namespace: ask(
            service.describe_task_queue,
            DescribeTaskQueueRequest(
                namespace=namespace,
                task_queue=TaskQueue(name=NOBODY),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                report_stats=True,
            ),
        ),
    ),
    _Method(
        "ListWorkers",
        "busy replicas cannot be told from idle ones",
        lambda service, namespace: ask(
            service.list_workers,
            ListWorkersRequest(namespace=namespace, query=f"TaskQueue='{NOBODY}'"),
        ),
    ),
    _Method(
        "DescribeWorker",
        "busy replicas cannot be told from idle ones",
        lambda service, namespace: ask(
            service.describe_worker,
            DescribeWorkerRequest(namespace=namespace, worker_instance_key=NOBODY),
        ),
    ),
    _Method(
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


class IntegrationExaminer:
    """Tries each method that the autoscaler uses, once. Changes nothing."""

    def __init__(
        self,
        integrations: IntegrationStore,
        connections: Connections,
        clock: Callable[[], datetime],
    ) -> None:
        """Examine these integrations over these connections."""
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
        text = (
            f"{integration.endpoint} {tls}, credential: {credentials.kind}, from"
            f" {self._integrations.origin(name)}"
        )
        expiries = [
            examine_expiry(subject, what, ends, self._clock())
            for what, ends in credentials.expires.items()
        ]
        results = await self._try_methods(name, integration, client.workflow_service)
        return [
            Finding(subject, Outcome.OK, text),
            *expiries,
            *_judge(subject, name, integration.namespace, results),
        ]

    async def _try_methods(
        self, name: str, integration: Integration, service: WorkflowService
    ) -> Sequence[_Result]:
        """Call each method once.

        Only the first is called where it finds no server or no namespace: the others would fail in
        the same way.
        """
        namespace = integration.namespace

        async def attempt(method: _Method) -> _Result:
            tried = f"{method.name} in namespace {namespace} at {integration.endpoint}"
            try:
                return _Result(method, await method.ask(service, namespace))
            except RPCError as error:
                why = self._connections.explain(error, name, namespace, tried)
                return _Result(method, why=why, status=error.status)
            except RuntimeError as error:
                return _Result(method, why=self._connections.explain(error, name, namespace, tried))

        first = await attempt(_NAMESPACE)
        if first.why and not first.refused:
            return [first]
        return [first, *[await attempt(method) for method in _OTHERS]]


def _judge(
    subject: str, name: str, namespace: str, results: Sequence[_Result]
) -> Sequence[Finding]:
    """Return what the results mean; where no method can be called, the first says why."""
    first = results[0]
    if all(result.refused for result in results) or len(results) == 1:
        return [_wrong(subject, name, first.why)]
    allowed = ", ".join(result.method.name for result in results if result.allowed)
    found = [Finding(subject, Outcome.OK, f"may call {allowed}")]
    found += [
        _wrong(subject, name, f"{result.why}; without it {result.method.without}")
        for result in results
        if not result.allowed
    ]
    if first.allowed:
        found.append(_heartbeats(subject, namespace, first.answer))
    return found


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
    # The subject already names the integration.
    return Finding(subject, Outcome.WRONG, text.removeprefix(f"integration {name}: "))
