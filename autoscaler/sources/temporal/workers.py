"""What workers report in their heartbeats: ListWorkers, and DescribeWorker where it lacks slots."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import (
    WorkerHeartbeat,
    WorkerHostInfo,
    WorkerInfo,
    WorkerListInfo,
    WorkerSlotsInfo,
)
from temporalio.api.workflowservice.v1 import DescribeWorkerRequest, ListWorkersRequest
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.in_flight import SlotKind, Slots, Worker, WorkerQuery
from autoscaler.sources.temporal.calls import ask

NAMES_AT_ONCE = 50
"""Hosts or task queues in one query."""
PAGE = 1000
"""Most workers in one answer."""
_Field = Literal[
    "workflow_task_slots_info",
    "activity_task_slots_info",
    "local_activity_slots_info",
    "nexus_task_slots_info",
]
_Time = Literal["heartbeat_time", "start_time"]
_SLOTS: Sequence[tuple[SlotKind, _Field]] = (
    (SlotKind.WORKFLOW, "workflow_task_slots_info"),
    (SlotKind.ACTIVITY, "activity_task_slots_info"),
    (SlotKind.LOCAL_ACTIVITY, "local_activity_slots_info"),
    (SlotKind.NEXUS, "nexus_task_slots_info"),
)
"""The field of a heartbeat for each kind of slot."""
_LEAVING = (WorkerStatus.WORKER_STATUS_SHUTTING_DOWN, WorkerStatus.WORKER_STATUS_SHUTDOWN)
"""A worker that does not report its status may run for a long time: it is not in here."""


async def list_workers(
    client: ServiceClient, namespace: str, query: WorkerQuery, gate: asyncio.Semaphore
) -> Sequence[Worker]:
    """Return the workers on the query's hosts and task queues, with their latest heartbeats.

    Workers that were stopped stay listed for up to 5 minutes. A server that keeps no heartbeats
    lists no workers. `gate` limits the calls at the same time on the connection. Namespace Read
    permission is enough. Raises RPCError, or RuntimeError where there is no connection.
    """
    # The server does not know the operator IN, and answers an unknown operator with an empty list:
    # names are joined by OR, and the answer is filtered here as well.
    found: dict[str, WorkerHeartbeat] = {}
    for clause in _clauses(query):
        for beat in await _list(client, namespace, clause, gate):
            if _asked_for(beat, query):
                found[beat.worker_instance_key] = beat
    return [_worker(beat) for _, beat in sorted(found.items())]


def calls_for(query: WorkerQuery) -> int:
    """Return how many calls a query takes, where each answer has a single page."""
    return sum(1 for _ in _clauses(query))


def _clauses(query: WorkerQuery) -> Iterator[str]:
    names = [("HostName", name) for name in sorted(query.hosts)]
    names += [("TaskQueue", name) for name in sorted(query.queues)]
    for begin in range(0, len(names), NAMES_AT_ONCE):
        yield " OR ".join(
            f"{field}='{_quoted(name)}'" for field, name in names[begin : begin + NAMES_AT_ONCE]
        )


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")


async def _list(
    client: ServiceClient, namespace: str, clause: str, gate: asyncio.Semaphore
) -> Iterable[WorkerHeartbeat]:
    beats: list[WorkerHeartbeat] = []
    without_slots: list[WorkerListInfo] = []
    request = ListWorkersRequest(namespace=namespace, query=clause, page_size=PAGE)
    while True:
        try:
            async with gate:
                answer = await ask(client.workflow_service.list_workers, request)
        except RPCError as error:
            if error.status is RPCStatusCode.UNIMPLEMENTED:
                return ()
            raise
        # A worker that is named nowhere is kept as one that may run anything, anywhere.
        unnamed = not answer.workers
        told = [each.worker_heartbeat for each in answer.workers_info if unnamed or _tells(each)]
        beats += told
        with_slots = {beat.worker_instance_key for beat in told}
        without_slots += (
            worker for worker in answer.workers if worker.worker_instance_key not in with_slots
        )
        if not answer.next_page_token:
            break
        request.next_page_token = answer.next_page_token
    described = await asyncio.gather(
        *(_describe(client, namespace, worker, gate) for worker in without_slots)
    )
    return [*beats, *(beat for beat in described if beat is not None)]


async def _describe(
    client: ServiceClient, namespace: str, worker: WorkerListInfo, gate: asyncio.Semaphore
) -> WorkerHeartbeat | None:
    """Return the heartbeat of a worker that is listed without it; None where it has gone since."""
    request = DescribeWorkerRequest(
        namespace=namespace, worker_instance_key=worker.worker_instance_key
    )
    try:
        async with gate:
            answer = await ask(client.workflow_service.describe_worker, request)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None  # The server has forgotten the worker since it listed it.
        raise
    if _tells(answer.worker_info):
        return answer.worker_info.worker_heartbeat
    # There is a worker, and nobody says what it runs.
    return WorkerHeartbeat(
        worker_instance_key=worker.worker_instance_key,
        worker_identity=worker.worker_identity,
        host_info=WorkerHostInfo(host_name=worker.host_name, process_id=worker.process_id),
        task_queue=worker.task_queue,
        status=worker.status,
    )


def _tells(info: WorkerInfo) -> bool:
    return info.HasField("worker_heartbeat")


def _asked_for(beat: WorkerHeartbeat, query: WorkerQuery) -> bool:
    """Whether a worker is on the query's hosts or task queues, or may be."""
    host, queue = beat.host_info.host_name, beat.task_queue
    return host in query.hosts or queue in query.queues or not (host or queue)


def _worker(beat: WorkerHeartbeat) -> Worker:
    slots = {kind: _slots(getattr(beat, field)) for kind, field in _SLOTS if beat.HasField(field)}
    return Worker(
        instance=beat.worker_instance_key,
        host=beat.host_info.host_name,
        at=_time(beat, "heartbeat_time"),
        interval=beat.elapsed_since_last_heartbeat.ToTimedelta(),
        leaving=beat.status in _LEAVING,
        slots=slots,
        # The Go SDK leaves a kind out where the worker has no slots of it. The SDKs on Temporal's
        # Rust core name all kinds.
        tells=bool(slots),
        process=beat.host_info.process_id or beat.worker_identity,
        began=_time(beat, "start_time"),
    )


def _time(beat: WorkerHeartbeat, field: _Time) -> datetime | None:
    """Return a time that a heartbeat names; None where it does not."""
    if not beat.HasField(field):
        return None
    stamp: Timestamp = getattr(beat, field)
    return stamp.ToDatetime(UTC)


def _slots(info: WorkerSlotsInfo) -> Slots:
    return Slots(info.current_used_slots, info.current_available_slots, info.total_processed_tasks)
