"""What the quickstart does: its backlog, its replicas, and the documents it has completed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from demonstration.quickstart import CALL_LIMIT, PROJECT, Failure, docker

WORKFLOW = "ProcessDocumentWorkflow"
SAMPLE_EVERY = 1.0
"""Seconds."""
HISTORIES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment."""

    at: float
    """Seconds since the first upload."""
    backlog: int
    replicas: int
    completed: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """Attempts at activities that were followed by another attempt."""

    failed: int
    """Attempts that a worker reported as failed."""
    timed_out: int
    """Attempts that Temporal heard nothing of in time: the machine was too busy, or the task went
    to a worker at the very moment it stopped polling."""


class Watch:
    """Takes a sample of the quickstart every second and shows each."""

    def __init__(
        self,
        client: Client,
        queue: str,
        uploads: asyncio.Task[None],
        show: Callable[[Sequence[Sample]], None],
    ) -> None:
        self.samples: list[Sample] = []
        self._client = client
        self._queue = queue
        self._uploads = uploads
        self._show = show
        self._began = time.monotonic()

    async def until(self, reached: Callable[[Sample], bool], limit: float, expected: str) -> Sample:
        """Take samples until one satisfies `reached`, and return it.

        Raises Failure, naming what was `expected`, after `limit` seconds or when an upload fails.
        """
        ends = time.monotonic() + limit
        while True:
            now = await self._sample()
            self.samples.append(now)
            self._show(self.samples)
            if self._uploads.done():
                self._uploads.result()  # raises the failure of an upload
            if reached(now):
                return now
            if time.monotonic() > ends:
                raise Failure(
                    f"{expected} within {limit:.0f} s, but there are {now.replicas} replicas,"
                    f" a backlog of {now.backlog} and {now.completed} completed documents"
                )
            await asyncio.sleep(SAMPLE_EVERY)

    async def _sample(self) -> Sample:
        backlog, replicas, completed = await asyncio.gather(
            count_backlog(self._client, self._queue),
            count_replicas(),
            count_completed(self._client),
        )
        return Sample(time.monotonic() - self._began, backlog, replicas, completed)


async def count_backlog(client: Client, queue: str) -> int:
    """Add up the waiting workflow and activity tasks of the task queue."""
    answers = await asyncio.gather(
        *(
            client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=client.namespace,
                    task_queue=TaskQueue(name=queue),
                    task_queue_type=kind,
                    report_stats=True,
                ),
                timeout=timedelta(seconds=CALL_LIMIT),
            )
            for kind in (
                TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            )
        )
    )
    return sum(answer.stats.approximate_backlog_count for answer in answers)


async def count_completed(client: Client) -> int:
    """Count the documents whose workflow is completed."""
    answer = await client.count_workflows(
        f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus = 'Completed'"
    )
    return answer.count


async def count_replicas() -> int:
    """Count the running containers that Compose takes for replicas of the worker."""
    labels = (f"com.docker.compose.project={PROJECT}", "com.docker.compose.service=worker")
    filters = [f"--filter=label={label}" for label in labels]
    running = await asyncio.to_thread(docker, "ps", "--quiet", *filters, limit=CALL_LIMIT)
    return len(running.split())


async def count_repeated_attempts(client: Client) -> Repeated:
    """Count the attempts at activities that had to be repeated, over all documents."""
    gate = asyncio.Semaphore(HISTORIES_AT_ONCE)

    async def count_in(workflow_id: str) -> Repeated:
        async with gate:
            history = await client.get_workflow_handle(workflow_id).fetch_history()
        failed, timed_out = 0, 0
        for event in history.events:
            started = event.activity_task_started_event_attributes
            before = max(0, started.attempt - 1)
            if started.last_failure.HasField("timeout_failure_info"):
                timed_out += before
            else:
                failed += before
        return Repeated(failed, timed_out)

    ids = [
        execution.id async for execution in client.list_workflows(f"WorkflowType = '{WORKFLOW}'")
    ]
    each = await asyncio.gather(*map(count_in, ids))
    return Repeated(sum(one.failed for one in each), sum(one.timed_out for one in each))
