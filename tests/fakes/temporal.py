"""A Temporal client that answers from memory and records what it was asked."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from typing import cast

from google.protobuf.duration_pb2 import Duration
from temporalio.api.taskqueue.v1 import (
    TaskQueuePartitionMetadata,
    TaskQueueStats,
    TaskQueueStatus,
    TaskQueueVersioningInfo,
)
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerInfo, WorkerListInfo
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    DescribeWorkerDeploymentVersionRequest,
    DescribeWorkerDeploymentVersionResponse,
    DescribeWorkerRequest,
    DescribeWorkerResponse,
    GetSystemInfoRequest,
    GetSystemInfoResponse,
    ListTaskQueuePartitionsRequest,
    ListTaskQueuePartitionsResponse,
    ListWorkersRequest,
    ListWorkersResponse,
)
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.sources.connections.clients import Connections


def waiting_tasks(number: int) -> TaskQueueStats:
    """Return what a server says of a task queue in which tasks have just begun to wait."""
    return TaskQueueStats(
        approximate_backlog_count=number, approximate_backlog_age=Duration(seconds=0)
    )


class FakeTemporal:
    """One server and its clients, in memory."""

    def __init__(self) -> None:
        self.calls: list[DescribeTaskQueueRequest] = []
        """The requests of all DescribeTaskQueue calls."""
        self.options: list[tuple[bool, timedelta]] = []
        """`retry` and `timeout` of every call."""
        self.most_at_once = 0
        """Most calls at the same time so far."""
        self.stats: dict[str, TaskQueueStats] = defaultdict(TaskQueueStats)
        """By task queue."""
        self.versioning: dict[str, TaskQueueVersioningInfo] = {}
        """By task queue."""
        self.on_partitions: dict[str, list[int]] = {}
        """By task queue: the tasks that wait on each partition, the root first. Of the others the
        server does not say it."""
        self.refuses_status = False
        """Whether it refuses to say what waits on a partition."""
        self.hides_partitions: Exception | None = None
        """What ListTaskQueuePartitions raises."""
        self.asked_for_partitions = 0
        """How often ListTaskQueuePartitions was called."""
        self.lacks_stats = False
        """Whether it leaves `stats` out, as Temporal Server up to 1.27 does."""
        self.version = "1.32.0"
        self.asked_for_version = 0
        """How often GetSystemInfo was called."""
        self.hides_version: Exception | None = None
        """What GetSystemInfo raises."""
        self.broken_queues: dict[str, Exception] = {}
        """What a call for a task queue raises."""
        self.hanging: set[str] = set()
        """Task queues whose calls never return, not even at the deadline."""
        self.broken_namespaces: dict[str, Exception] = {}
        """What every call in a namespace raises."""
        self.answering: asyncio.Event | None = None
        """If set, every call waits for this event."""
        self.builds: dict[tuple[str, str], DescribeWorkerDeploymentVersionResponse] = {}
        """By deployment and build id."""
        self.described_builds: list[DescribeWorkerDeploymentVersionRequest] = []
        self.heartbeats: list[WorkerHeartbeat] = []
        self.lists_slots = True
        """Whether ListWorkers answers with slots."""
        self.most_in_a_page = 1000
        self.listed: list[ListWorkersRequest] = []
        self.described_workers: list[str] = []
        """Keys of the workers that DescribeWorker was asked for."""
        self.forgotten: set[str] = set()
        """Keys of workers that ListWorkers has and DescribeWorker no longer knows."""
        self.broken_lists: Exception | None = None
        """What ListWorkers raises."""
        self._at_once = 0

    @property
    def workflow_service(self) -> FakeTemporal:
        """The client's methods, which this class has itself."""
        return self

    async def describe_task_queue(
        self,
        request: DescribeTaskQueueRequest,
        *,
        retry: bool,
        timeout: timedelta,  # noqa: ASYNC109 - the client's own name for it
    ) -> DescribeTaskQueueResponse:
        """Return the figures of one task queue and type."""
        self.calls.append(request)
        await self._wait(request.namespace, retry=retry, deadline=timeout)
        name = request.task_queue.name
        if name in self.hanging:
            await asyncio.Event().wait()
        if name in self.broken_queues:
            raise self.broken_queues[name]
        if self.refuses_status and request.include_task_queue_status:
            raise RPCError("no status", RPCStatusCode.INVALID_ARGUMENT, b"")
        return DescribeTaskQueueResponse(
            stats=None if self.lacks_stats or not request.report_stats else self.stats[name],
            versioning_info=self.versioning.get(name),
            task_queue_status=self._status(name) if request.include_task_queue_status else None,
        )

    def _status(self, name: str) -> TaskQueueStatus | None:
        """Return what the server says of one partition."""
        queue, number = name, 0
        if name.startswith("/_sys/"):
            queue, _, last = name.removeprefix("/_sys/").rpartition("/")
            number = int(last)
        if queue not in self.on_partitions:
            return None
        return TaskQueueStatus(backlog_count_hint=self.on_partitions[queue][number])

    async def list_task_queue_partitions(
        self,
        request: ListTaskQueuePartitionsRequest,
        *,
        retry: bool,
        timeout: timedelta,  # noqa: ASYNC109 - the client's own name for it
    ) -> ListTaskQueuePartitionsResponse:
        """Return the partitions of a task queue, the root first."""
        self.asked_for_partitions += 1
        await self._wait(request.namespace, retry=retry, deadline=timeout)
        if self.hides_partitions is not None:
            raise self.hides_partitions
        root = request.task_queue.name
        others = range(1, len(self.on_partitions[root]))
        named = [
            TaskQueuePartitionMetadata(key=key)
            for key in (root, *(f"/_sys/{root}/{number}" for number in others))
        ]
        return ListTaskQueuePartitionsResponse(
            workflow_task_queue_partitions=named, activity_task_queue_partitions=named
        )

    async def get_system_info(
        self,
        _request: GetSystemInfoRequest,
        *,
        retry: bool,  # noqa: ARG002 - the client's own name for it
        timeout: timedelta,  # noqa: ARG002, ASYNC109 - the client's own name for it
    ) -> GetSystemInfoResponse:
        """Return the server's version."""
        self.asked_for_version += 1
        await asyncio.sleep(0)
        if self.hides_version is not None:
            raise self.hides_version
        return GetSystemInfoResponse(server_version=self.version)

    async def describe_worker_deployment_version(
        self,
        request: DescribeWorkerDeploymentVersionRequest,
        *,
        retry: bool,
        timeout: timedelta,  # noqa: ASYNC109 - the client's own name for it
    ) -> DescribeWorkerDeploymentVersionResponse:
        """Return a build that is known."""
        self.described_builds.append(request)
        await self._wait(request.namespace, retry=retry, deadline=timeout)
        version = request.deployment_version
        try:
            return self.builds[version.deployment_name, version.build_id]
        except KeyError:
            raise RPCError("no such version", RPCStatusCode.NOT_FOUND, b"") from None

    async def list_workers(
        self,
        request: ListWorkersRequest,
        *,
        retry: bool,
        timeout: timedelta,  # noqa: ASYNC109 - the client's own name for it
    ) -> ListWorkersResponse:
        """Return a page of workers; know `HostName` and `TaskQueue`, joined by OR."""
        copied = ListWorkersRequest()
        copied.CopyFrom(request)
        self.listed.append(copied)
        await self._wait(request.namespace, retry=retry, deadline=timeout)
        if self.broken_lists is not None:
            raise self.broken_lists
        wanted = {
            (field, re.sub(r"\\(.)", r"\1", name))
            for field, name in re.findall(r"(\w+)='((?:[^'\\]|\\.)*)'", request.query)
        }
        found = [
            beat
            for beat in self.heartbeats
            if ("HostName", beat.host_info.host_name) in wanted
            or ("TaskQueue", beat.task_queue) in wanted
        ]
        begin = int(request.next_page_token or b"0")
        end = begin + min(self.most_in_a_page, request.page_size)
        page = found[begin:end]
        return ListWorkersResponse(
            workers_info=[WorkerInfo(worker_heartbeat=beat) for beat in page]
            if self.lists_slots
            else [],
            workers=[WorkerListInfo(worker_instance_key=beat.worker_instance_key) for beat in page],
            next_page_token=str(end).encode() if end < len(found) else b"",
        )

    async def describe_worker(
        self,
        request: DescribeWorkerRequest,
        *,
        retry: bool,
        timeout: timedelta,  # noqa: ASYNC109 - the client's own name for it
    ) -> DescribeWorkerResponse:
        """Return a worker that is known."""
        self.described_workers.append(request.worker_instance_key)
        await self._wait(request.namespace, retry=retry, deadline=timeout)
        for beat in self.heartbeats:
            key = beat.worker_instance_key
            if key == request.worker_instance_key and key not in self.forgotten:
                return DescribeWorkerResponse(worker_info=WorkerInfo(worker_heartbeat=beat))
        raise RPCError("no such worker", RPCStatusCode.NOT_FOUND, b"")

    async def _wait(self, namespace: str, *, retry: bool, deadline: timedelta) -> None:
        """Count one call; return after all others have had a chance to begin."""
        self.options.append((retry, deadline))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(0)
            if self.answering is not None:
                await self.answering.wait()
        finally:
            self._at_once -= 1
        if namespace in self.broken_namespaces:
            raise self.broken_namespaces[namespace]


class FakeConnections(Connections):
    """Returns the fake server for every integration that is known."""

    def __init__(self, server: FakeTemporal, integrations: Mapping[str, Integration]) -> None:
        super().__init__(FakeIntegrations(integrations))
        self._server = server
        self.unusable: IntegrationError | None = None
        """Why no client can be made."""

    async def client(self, name: str) -> ServiceClient:
        """Return the fake server."""
        self.integration(name)
        if self.unusable is not None:
            raise self.unusable
        return cast("ServiceClient", self._server)


class FakeIntegrations:
    """Integrations in a dict, by canonical name."""

    def __init__(self, integrations: Mapping[str, Integration]) -> None:
        self._integrations = integrations

    def get(self, name: str) -> Integration:
        """Return an integration or raise IntegrationError."""
        try:
            return self._integrations[canonical(name)]
        except KeyError:
            raise IntegrationError(f"integration {name} is not known") from None

    def names(self) -> list[str]:
        """Return the names of all of them."""
        return list(self._integrations)

    def origin(self, name: str) -> str:
        """Return the same place for every integration that is known."""
        self.get(name)
        return "a test"
