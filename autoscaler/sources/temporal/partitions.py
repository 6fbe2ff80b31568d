"""What waits on each partition of a task queue, as it is right now.

A task queue is spread over partitions, four by default. The server counts each partition for every
answer anew, while it repeats its figures of the whole task queue for 5 s. The field that holds the
count is marked as deprecated: where it is absent, those figures are all there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from temporalio.api.taskqueue.v1 import TaskQueue as TaskQueueMessage
from temporalio.api.taskqueue.v1 import TaskQueuePartitionMetadata
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    ListTaskQueuePartitionsRequest,
)
from temporalio.service import RPCError, ServiceClient

from autoscaler.core.backlog import TaskQueue
from autoscaler.core.label_values import QueueType
from autoscaler.sources.temporal.allowance import Allowance
from autoscaler.sources.temporal.queues import TYPES, on_partition

NAMES_KEPT = timedelta(minutes=5)
"""How long the names of partitions are used: the server's settings may change their number."""
PAUSE = timedelta(minutes=1)
"""How long a task queue is not counted after its partitions could not be asked."""
REFUSED_FOR = timedelta(minutes=10)
"""How long no count is asked for after the server has refused to give one."""
COUNT_WITHIN = timedelta(seconds=1)
"""How long a read waits for a count. One that takes longer is not worth waiting for."""
USUAL_PARTITIONS = 4
"""The partitions of a task queue where the server's settings do not say another number."""


@dataclass(frozen=True, slots=True)
class _Names:
    """The partitions of a task queue but the root, until `at` and `NAMES_KEPT`."""

    at: datetime
    by_type: Mapping[QueueType, tuple[str, ...]] = field(default_factory=dict)


class Partitions:
    """Counts what waits on the partitions of the task queues of one namespace."""

    def __init__(self, namespace: str, allowance: Allowance, clock: Callable[[], datetime]) -> None:
        """Make the calls that `allowance` has room for."""
        self._namespace = namespace
        self._allowance = allowance
        self._clock = clock
        self._names: dict[str, _Names] = {}
        self._paused: dict[str, datetime] = {}
        """By task queue: until when it is not counted."""
        self._refused_until: datetime | None = None

    def told(self, queue: TaskQueue) -> bool:
        """Whether a server can be asked what waits on the root partition of a task queue."""
        # Operations of nexus never wait in a backlog, and a build has only the server's figures.
        if queue.version is not None or queue.type is QueueType.NEXUS:
            return False
        return self._refused_until is None or self._clock() >= self._refused_until

    def refused(self) -> None:
        """Do not ask for a while: the server has refused."""
        self._refused_until = self._clock() + REFUSED_FOR

    def keep(self, names: Collection[str]) -> None:
        """Forget all other task queues."""
        self._names = {name: each for name, each in self._names.items() if name in names}
        self._paused = {name: each for name, each in self._paused.items() if name in names}

    def calls_for(self, queue: TaskQueue) -> int | None:
        """Return how many calls it takes to count all partitions but the root.

        None where they cannot be counted at present.
        """
        pause = self._paused.get(queue.name)
        if not self.told(queue) or (pause is not None and self._clock() < pause):
            return None
        names = self._known(queue.name)
        return USUAL_PARTITIONS if names is None else len(names.by_type.get(queue.type, ()))

    async def count(self, client: ServiceClient, queue: TaskQueue, within: timedelta) -> int | None:
        """Return the tasks that wait on all partitions but the root; None where that is unknown.

        The calls end `within` this time. Whatever goes wrong, the server's figures stay.
        """
        try:
            async with asyncio.timeout(within.total_seconds()):
                names = self._known(queue.name) or await self._list(client, queue.name)
                answers = await asyncio.gather(
                    *(self._ask(client, name, queue) for name in names.by_type.get(queue.type, ()))
                )
        except (RPCError, RuntimeError, TimeoutError):
            answers = [None]
        known = [answer for answer in answers if answer is not None]
        if len(known) == len(answers):
            return sum(known)
        self._paused[queue.name] = self._clock() + PAUSE
        return None

    def _known(self, name: str) -> _Names | None:
        """Return the partitions of a task queue, unless they have to be asked for."""
        names = self._names.get(name)
        fresh = names is not None and timedelta() <= self._clock() - names.at < NAMES_KEPT
        return names if fresh else None

    async def _list(self, client: ServiceClient, name: str) -> _Names:
        """Ask for the partitions of a task queue. Namespace Read permission is enough."""
        request = ListTaskQueuePartitionsRequest(
            namespace=self._namespace, task_queue=TaskQueueMessage(name=name)
        )
        answer = await self._allowance.make(
            client.workflow_service.list_task_queue_partitions, request
        )
        names = _Names(
            self._clock(),
            {
                QueueType.WORKFLOW: _others(name, answer.workflow_task_queue_partitions),
                QueueType.ACTIVITY: _others(name, answer.activity_task_queue_partitions),
            },
        )
        self._names[name] = names
        return names

    async def _ask(self, client: ServiceClient, name: str, queue: TaskQueue) -> int | None:
        """Return what waits on one partition; None where the server does not say."""
        request = DescribeTaskQueueRequest(
            namespace=self._namespace,
            task_queue=TaskQueueMessage(name=name),
            task_queue_type=TYPES[queue.type],
            include_task_queue_status=True,
        )
        answer = await self._allowance.make(client.workflow_service.describe_task_queue, request)
        return on_partition(answer)


def _others(root: str, partitions: Iterable[TaskQueuePartitionMetadata]) -> tuple[str, ...]:
    """Return the names of all partitions but the root, which has the name of the task queue."""
    return tuple(partition.key for partition in partitions if partition.key != root)
