"""A source of backlogs that reads from a fake server."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.taskqueue.v1 import TaskQueueStats

from autoscaler.core.budget import Budget
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.integration import Integration
from autoscaler.core.model import TaskQueue
from autoscaler.sources.temporal.backlogs import DEFAULT_BUDGET, TemporalBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.temporal import FakeConnections, FakeTemporal


class Place:
    """A source with two integrations, which lead to the same fake server."""

    def __init__(self, budget: Budget = DEFAULT_BUDGET) -> None:
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
        self.server.stats[name] = TaskQueueStats(approximate_backlog_count=waiting)

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
