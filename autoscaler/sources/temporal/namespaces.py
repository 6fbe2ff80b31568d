"""Reads the task queues of one namespace, and keeps what each call has brought last."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from autoscaler.core.backoff import Backoff
from autoscaler.core.budget import LastCall
from autoscaler.core.errors import BacklogUnavailable, IntegrationError
from autoscaler.core.model import QueueStats, TaskQueue, WorkerVersion
from autoscaler.core.reading import Reading
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.builds import read_build
from autoscaler.sources.temporal.queues import read_queue

Took = Callable[[float], None]
"""Is called with the seconds that each call took, including calls that failed."""
Call = TaskQueue | WorkerVersion
"""What one call reads: a task queue of one type, or all task queues of one build."""
Calls = Mapping[Call, Sequence[TaskQueue]]
"""The task queues that each call is made for."""


def group_by_call(queues: Iterable[TaskQueue]) -> Calls:
    """Return the calls that read some task queues; one call for the same queue or build."""
    calls: dict[Call, list[TaskQueue]] = defaultdict(list)
    for queue in queues:
        calls[queue.version or queue].append(queue)
    return calls


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a call has brought the last time."""

    readings: Mapping[TaskQueue, Reading]
    last: LastCall | None
    """None for a call that failed: it is due again as soon as the namespace is asked again."""


class NamespaceReader:
    """Reads the task queues of one namespace of one integration."""

    def __init__(
        self,
        integration: str,
        namespace: str,
        connections: Connections,
        clock: Callable[[], datetime],
        took: Took,
    ) -> None:
        """Read over the connection of `integration`; `took` is called after each call."""
        self._integration = integration
        self._namespace = namespace
        self._connections = connections
        self._clock = clock
        self._took = took
        self._latest: dict[Call, _Answer] = {}
        self._failure: BacklogUnavailable | None = None
        self._backoff = Backoff()

    @property
    def failure(self) -> str | None:
        """Why the namespace did not answer the last time; None where it did."""
        return None if self._failure is None else str(self._failure)

    def last_calls(self, calls: Calls) -> Mapping[Call, LastCall | None]:
        """Return when each call was last made; None where it has not brought all it is made for.

        Empty while the namespace is left alone after a failure.
        """
        if self._failure is not None and not self._backoff.ready(self._clock()):
            return {}
        return {call: self._last_call(call, queues) for call, queues in calls.items()}

    async def read(
        self, calls: Calls, chosen: Collection[Call], gate: asyncio.Semaphore
    ) -> Mapping[TaskQueue, Reading]:
        """Make the chosen calls, and return what each of `calls` has brought last.

        A namespace that did not answer the last time answers with its error until a call is chosen
        again, and a call that failed until its own next turn. A task queue whose first turn is
        still to come is missing. `gate` limits the calls at the same time on the connection.
        """
        if chosen:
            await self._make({call: calls[call] for call in chosen}, gate)
        elif self._failure is not None:
            return {queue: self._failure for queues in calls.values() for queue in queues}
        self._latest = {call: self._latest[call] for call in calls if call in self._latest}
        return {
            queue: answer.readings[queue]
            for call, answer in self._latest.items()
            for queue in calls[call]
            if queue in answer.readings
        }

    def _last_call(self, call: Call, queues: Iterable[TaskQueue]) -> LastCall | None:
        answer = self._latest.get(call)
        # A service that is new may add a task queue to those of a build.
        if answer is None or not answer.readings.keys() >= set(queues):
            return None
        return answer.last

    async def _make(self, calls: Calls, gate: asyncio.Semaphore) -> None:
        """Make calls side by side, each with its own deadline."""
        now = self._clock()
        self._failure = None
        try:
            client = await self._connections.client(self._integration)
        except IntegrationError as error:
            self._failure = BacklogUnavailable(str(error))
            answers = [_failed(queues, self._failure) for queues in calls.values()]
        else:
            answers = await asyncio.gather(
                *(self._make_one(client, queues, now, gate) for queues in calls.values())
            )
        self._latest.update(zip(calls, answers, strict=True))
        if self._failure is None:
            self._backoff = self._backoff.succeeded()
        else:
            self._backoff = self._backoff.failed(self._clock())

    async def _make_one(
        self,
        client: ServiceClient,
        queues: Sequence[TaskQueue],
        now: datetime,
        gate: asyncio.Semaphore,
    ) -> _Answer:
        """Make one call, unless another has shown that the namespace does not answer.

        Without that, each call to a namespace that hangs would wait for its own deadline.
        """
        async with gate:
            if self._failure is not None:
                return _failed(queues, self._failure)
            began = time.perf_counter()
            try:
                stats = await _read(client, self._namespace, queues)
            except (RPCError, RuntimeError) as error:
                return _failed(queues, self._explain(error, queues[0]))
            finally:
                self._took(time.perf_counter() - began)
        return _Answer(stats, LastCall(now, any(map(_is_moving, stats.values()))))

    def _explain(self, error: RPCError | RuntimeError, queue: TaskQueue) -> BacklogUnavailable:
        """Return the error in words, and remember it where it concerns the whole namespace."""
        invalid = isinstance(error, RPCError) and error.status is RPCStatusCode.INVALID_ARGUMENT
        what = f"task queue {queue.name!r}" if invalid else "backlogs"
        endpoint = self._connections.endpoint(self._integration)
        tried = f"reading {what} in namespace {self._namespace} at {endpoint}"
        failure = BacklogUnavailable(
            self._connections.explain(error, self._integration, self._namespace, tried)
        )
        if not invalid:
            self._failure = failure
        return failure


async def _read(
    client: ServiceClient, namespace: str, queues: Sequence[TaskQueue]
) -> Mapping[TaskQueue, QueueStats]:
    """Read all task queues of one call."""
    queue = queues[0]
    if queue.version is None:
        return {queue: await read_queue(client, namespace, queue.name, queue.type)}
    return await read_build(client, namespace, queue.version, queues)


def _failed(queues: Iterable[TaskQueue], error: BacklogUnavailable) -> _Answer:
    return _Answer(dict.fromkeys(queues, error), last=None)


def _is_moving(stats: QueueStats) -> bool:
    return stats.waiting > 0 or stats.adding or stats.dispatching
