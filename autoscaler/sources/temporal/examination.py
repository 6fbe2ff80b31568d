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
from autoscaler.sources.temporal.missing import STATS_SINCE

SWITCHES = ("frontend.WorkerHeartbeatsEnabled", "frontend.ListWorkersEnabled")
"""Dynamic configuration of a Temporal server: that it takes worker heartbeats, and lists them. Both
are off by default on 1.29, and on by default since 1.30."""
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
    def unknown(self) -> bool:
        """Whether the server does not know the method, as older servers do not."""
        return self.status is RPCStatusCode.UNIMPLEMENTED

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
_QUEUE = _Method(
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
)
_HEARTBEATS = (
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
)
"""The methods that servers without worker heartbeats do not know."""
_OTHERS = (
    _QUEUE,
    *_HEARTBEATS,
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


@dataclass(frozen=True, slots=True)
class _Server:
    """What the results say of the server."""

    namespace: str
    version: str
    """Empty where nobody asked, or where the server hides it."""
    outdated: str
    """That it does not say how many tasks wait, with what to do; empty where it does."""
    takes: bool | None
    """Whether it takes worker heartbeats; None where it does not say."""
    lists: bool
    """Whether it knows the methods that read them: Temporal Server 1.29 switches both apart."""

    def explains(self, result: _Result) -> bool:
        """Whether a call failed because of what another finding says: the server lacks it."""
        return result.unknown and (bool(self.outdated) or result.method in _HEARTBEATS)


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
            *_judge(subject, name, results, await self._server(name, integration, results)),
        ]

    async def _server(
        self, name: str, integration: Integration, results: Sequence[_Result]
    ) -> _Server:
        """Return what the results say of the server; its version is asked for if it lacks much."""
        of_method = {result.method: result for result in results}
        namespace = integration.namespace
        outdated = ""
        if _QUEUE in of_method and _lacks_stats(of_method[_QUEUE]):
            tried = f"{_QUEUE.name} in namespace {namespace} at {integration.endpoint}"
            outdated = await self._connections.explain_missing(
                "how many tasks wait", STATS_SINCE, name, tried
            )
        takes = _takes_heartbeats(of_method[_NAMESPACE])
        lists = not any(result.unknown and result.method in _HEARTBEATS for result in results)
        version = "" if takes and lists else await self._connections.server_version(name)
        return _Server(namespace, version, outdated, takes, lists)

    async def _try_methods(
        self, name: str, integration: Integration, service: WorkflowService
    ) -> Sequence[_Result]:
        """Call each method once.

        Only the first is called where it finds no server or no namespace: the others would fail in
        the same way.
        """
        namespace = integration.namespace

        async def attempt(method: _Method, *, answered: bool = False) -> _Result:
            tried = f"{method.name} in namespace {namespace} at {integration.endpoint}"
            try:
                return _Result(method, await method.ask(service, namespace))
            except (RPCError, RuntimeError) as error:
                why = self._connections.explain(error, name, namespace, tried, answered=answered)
                status = error.status if isinstance(error, RPCError) else None
                return _Result(method, why=why, status=status)

        first = await attempt(_NAMESPACE)
        if first.why and not first.refused:
            return [first]
        answered = first.allowed
        return [first, *[await attempt(method, answered=answered) for method in _OTHERS]]


def _judge(
    subject: str, name: str, results: Sequence[_Result], server: _Server
) -> Sequence[Finding]:
    """Return what the results mean; where no method can be called, the first says why."""
    first = results[0]
    if all(result.refused for result in results) or len(results) == 1:
        return [_wrong(subject, name, first.why)]
    allowed = ", ".join(result.method.name for result in results if result.allowed)
    found = [Finding(subject, Outcome.OK, f"may call {allowed}")]
    if server.outdated:
        found.append(_wrong(subject, name, f"{server.outdated}; without it {_QUEUE.without}"))
    found += [
        _wrong(subject, name, f"{result.why}; without it {result.method.without}")
        for result in results
        if not result.allowed and not server.explains(result)
    ]
    if first.allowed and not server.outdated:
        found.append(_judge_heartbeats(subject, server))
    return found


def _judge_heartbeats(subject: str, server: _Server) -> Finding:
    there = f"namespace {server.namespace} is there"
    if server.takes and server.lists:
        return Finding(subject, Outcome.OK, f"{there} and takes worker heartbeats")
    version = f", Temporal Server {server.version}," if server.version else ""
    if server.takes:
        lacks = "takes worker heartbeats and does not list them"
    elif server.takes is None and server.lists:
        lacks = "does not say that it takes worker heartbeats"
    else:
        lacks = "takes no worker heartbeats"
    return Finding(
        subject,
        Outcome.WARNING,
        f"{there}, but its server{version} {lacks}: busy replicas cannot be told from idle ones,"
        " and the stop grace alone protects them; Temporal Server 1.30 or later has them, and 1.29"
        f" with {' and '.join(SWITCHES)} set to true (docs/temporal-servers.md)",
    )


def _lacks_stats(result: _Result) -> bool:
    return result.answer is not None and not result.answer.HasField("stats")


def _takes_heartbeats(result: _Result) -> bool | None:
    """Whether the server takes heartbeats; None where it does not say."""
    info = None if result.answer is None else result.answer.namespace_info
    if info is None or not info.HasField("capabilities"):
        return None
    return bool(info.capabilities.worker_heartbeats)


def _wrong(subject: str, name: str, text: str) -> Finding:
    # The subject already names the integration.
    return Finding(subject, Outcome.WRONG, text.removeprefix(f"integration {name}: "))
