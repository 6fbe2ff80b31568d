"""A source of backlogs that reads from a fake server."""

from __future__ import annotations

from datetime import timedelta

from autoscaler.core.backlog import QueueStats, TaskQueue
from autoscaler.core.budget import Budget
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.integration import Integration
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.temporal import FakeConnections, FakeTemporal, waiting_tasks

LARGE_BUDGET = Budget(rate=40, interval=timedelta(seconds=5))
"""Room for 200 calls at each poll."""


class Place:
    """A source with two integrations, which lead to the same fake server."""

    def __init__(self, budget: Budget = LARGE_BUDGET) -> None:
        self.server = FakeTemporal()
        self.clock = Clock()
        self.took: list[float] = []
        """Seconds of each call, as the source reports them."""
        integrations = {
            "default": Integration(endpoint="temporal:7233", namespace="shop"),
            "prod": Integration(endpoint="prod:7233", namespace="live"),
        }
        self.connections = FakeConnections(self.server, integrations)
        self.source = TemporalBacklogSource(
            self.connections,
            self.clock,
            budget=budget,
            took=self.took.append,
        )

    def fill(self, name: str, waiting: int) -> None:
        """Let tasks wait in a task queue, for each of its types."""
        self.server.stats[name] = waiting_tasks(waiting)

    def spread(self, name: str, *waiting: int) -> None:
        """Let tasks wait on the partitions of a task queue; the server's figures stay."""
        self.server.on_partitions[name] = list(waiting)

    async def look(
        self, queue: TaskQueue, *, after: float = 1, at_zero: bool = False
    ) -> tuple[int, bool]:
        """Let seconds pass and read; return how many tasks wait, and whether they were counted."""
        self.clock.advance(after)
        answer = (await self.source.read([queue], [queue] if at_zero else []))[queue]
        assert isinstance(answer, QueueStats)
        return answer.waiting, answer.counted

    def asked(self) -> list[str]:
        """Return the names that were described since the last time, in order."""
        names = [call.task_queue.name for call in self.server.calls]
        self.server.calls.clear()
        return names

    async def why(self, queue: TaskQueue) -> str:
        """Read one task queue that cannot be read, and return the reason."""
        answer = (await self.source.read([queue]))[queue]
        assert isinstance(answer, BacklogUnavailable)
        return str(answer)

    async def calls(self, queues: list[TaskQueue], *, after: float = 5.2) -> int:
        """Let seconds pass and read; return how many calls that took."""
        self.clock.advance(after)
        before = len(self.server.calls)
        await self.source.read(queues)
        return len(self.server.calls) - before


def small_budget() -> Budget:
    """A budget of two calls a second: ten at each poll."""
    return Budget(rate=2, interval=timedelta(seconds=5))
