"""A source of backlogs in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.model import QueueStats, TaskQueue
from autoscaler.core.report import IntegrationReport
from autoscaler.core.spec import QueueType


class FakeBacklogSource:
    """Answers with the backlogs a test has set; a queue nobody filled is empty."""

    def __init__(self) -> None:
        self.reads: list[list[TaskQueue]] = []
        """The task queues of every read."""
        self.reading: asyncio.Event | None = None
        """While there is one, read waits for it."""
        self.connections: list[IntegrationReport] = []
        """What there is to say of the integrations."""
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
        self, queues: Collection[TaskQueue]
    ) -> Mapping[TaskQueue, QueueStats | BacklogUnavailable]:
        """Answer for every task queue that was asked for."""
        self.reads.append(list(queues))
        if self.reading is not None:
            await self.reading.wait()
        return {queue: self._answer(queue) for queue in queues}

    def integrations(self) -> Sequence[IntegrationReport]:
        """Return what a test has set."""
        return self.connections

    def _answer(self, queue: TaskQueue) -> QueueStats | BacklogUnavailable:
        if queue.name in self._failures:
            return BacklogUnavailable(self._failures[queue.name])
        return QueueStats(self._waiting.get((queue.name, queue.type), 0), timedelta(), 0.0, 0.0)
