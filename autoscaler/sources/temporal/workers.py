"""What workers report in their heartbeats: ListWorkers, and DescribeWorker where it lacks slots."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerSlotsInfo
from temporalio.api.workflowservice.v1 import DescribeWorkerRequest, ListWorkersRequest
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.in_flight import SlotKind, Slots, Worker, WorkerQuery
from autoscaler.sources.temporal.calls import ask

NAMES_AT_ONCE = 50
"""Hosts or task queues in one query."""
PAGE = 1000
"""Most workers in one answer."""
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
            if beat.host_info.host_name in query.hosts or beat.task_queue in query.queues:
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
    without_slots: list[str] = []
    request = ListWorkersRequest(namespace=namespace, query=clause, page_size=PAGE)
    while True:
        try:
            async with gate:
                answer = await ask(client.workflow_service.list_workers, request)
        except RPCError as error:
            if error.status is RPCStatusCode.UNIMPLEMENTED:
                return ()
            raise
        beats += (info.worker_heartbeat for info in answer.workers_info)
        with_slots = {info.worker_heartbeat.worker_instance_key for info in answer.workers_info}
        without_slots += (
            worker.worker_instance_key
            for worker in answer.workers
            if worker.worker_instance_key not in with_slots
        )
        if not answer.next_page_token:
            break
        request.next_page_token = answer.next_page_token
    described = await asyncio.gather(
        *(_describe(client, namespace, key, gate) for key in without_slots)
    )
    return [*beats, *(beat for beat in described if beat is not None)]


async def _describe(
    client: ServiceClient, namespace: str, key: str, gate: asyncio.Semaphore
) -> WorkerHeartbeat | None:
    request = DescribeWorkerRequest(namespace=namespace, worker_instance_key=key)
    try:
        async with gate:
            answer = await ask(client.workflow_service.describe_worker, request)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None  # The server has forgotten the worker since it listed it.
        raise
    return answer.worker_info.worker_heartbeat


def _worker(beat: WorkerHeartbeat) -> Worker:
    return Worker(
        instance=beat.worker_instance_key,
        host=beat.host_info.host_name,
        at=beat.heartbeat_time.ToDatetime(UTC),
        interval=beat.elapsed_since_last_heartbeat.ToTimedelta(),
        leaving=beat.status in _LEAVING,
        slots={
            SlotKind.WORKFLOW: _slots(beat.workflow_task_slots_info),
            SlotKind.ACTIVITY: _slots(beat.activity_task_slots_info),
            SlotKind.LOCAL_ACTIVITY: _slots(beat.local_activity_slots_info),
            SlotKind.NEXUS: _slots(beat.nexus_task_slots_info),
        },
    )


def _slots(info: WorkerSlotsInfo) -> Slots:
    return Slots(info.current_used_slots, info.current_available_slots, info.total_processed_tasks)
