"""A source of backlogs and of what is in flight, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from autoscaler.core.backlog import QueueStats, TaskQueue
from autoscaler.core.errors import BacklogUnavailable, InFlightUnavailable
from autoscaler.core.in_flight import SlotKind, Slots, Worker, WorkerQuery
from autoscaler.core.label_values import QueueType
from autoscaler.core.report import IntegrationReport

ALWAYS = datetime.max.replace(tzinfo=UTC)
"""The time of a heartbeat that never gets old."""


class FakeBacklogSource:
    """Answers with the backlogs a test has set; a queue nobody filled is empty."""

    def __init__(self) -> None:
        self.reads: list[list[TaskQueue]] = []
        """The task queues of every read."""
        self.waking: list[list[TaskQueue]] = []
        """Those of every read that a service at zero waits for."""
        self.counted: set[str] = set()
        """Task queues whose tasks were counted, because the server's own figure is older."""
        self.reading: asyncio.Event | None = None
        """While there is one, read waits for it."""
        self.running: dict[str, int] = {}
        """Tasks that run on a host; on the others, idle workers report."""
        self.silent: set[str] = set()
        """Hosts on which no worker reports."""
        self.leaving: set[str] = set()
        """Hosts whose worker says that it shuts down."""
        self.mute = False
        """Whether no worker reports."""
        self.asked: list[WorkerQuery] = []
        """Every question for workers."""
        self.heartbeats_fail: str | None = None
        """Why workers cannot be asked for, while it is set."""
        self.connections: list[IntegrationReport] = []
        """What there is to say of the integrations."""
        self.waiting_for_a_turn: set[str] = set()
        """Task queues that are missing from every answer."""
        self.notes: dict[str, Sequence[str]] = {}
        """Warnings, by integration."""
        self._waiting: dict[tuple[str, QueueType], int] = {}
        self._failures: dict[str, str] = {}

    def fill(self, queue: str, waiting: int, type_: QueueType = QueueType.WORKFLOW) -> None:
        """Let this many tasks wait; what could not be read can be again."""
        self._waiting[queue, type_] = waiting
        self._failures.pop(queue, None)

    def fail(self, queue: str, why: str) -> None:
        """Let every type of a queue be unreadable."""
        self._failures[queue] = why

    async def read(
        self, queues: Collection[TaskQueue], waking: Collection[TaskQueue] = ()
    ) -> Mapping[TaskQueue, QueueStats | BacklogUnavailable]:
        """Answer for every task queue that was asked for."""
        self.reads.append(list(queues))
        self.waking.append(list(waking))
        if self.reading is not None:
            await self.reading.wait()
        return {
            queue: self._answer(queue)
            for queue in queues
            if queue.name not in self.waiting_for_a_turn
        }

    def warnings(self, integration: str) -> Sequence[str]:
        """Return what a test has set for an integration."""
        return self.notes.get(integration, ())

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        """Return a worker on each of these hosts, unless nobody reports."""
        self.asked.append(query)
        if self.heartbeats_fail is not None:
            raise InFlightUnavailable(self.heartbeats_fail)
        return (
            [] if self.mute else [self._worker(host) for host in sorted(query.hosts - self.silent)]
        )

    def _worker(self, host: str) -> Worker:
        slots = {SlotKind.ACTIVITY: Slots(used=self.running.get(host, 0), free=2)}
        return Worker(host, host, ALWAYS, timedelta(), leaving=host in self.leaving, slots=slots)

    def integrations(self) -> Sequence[IntegrationReport]:
        """Return what a test has set."""
        return self.connections

    def _answer(self, queue: TaskQueue) -> QueueStats | BacklogUnavailable:
        if queue.name in self._failures:
            return BacklogUnavailable(self._failures[queue.name])
        return QueueStats(
            self._waiting.get((queue.name, queue.type), 0),
            timedelta(),
            0.0,
            0.0,
            counted=queue.name in self.counted,
        )
