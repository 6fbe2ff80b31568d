"""The daemon's ticks on a stack of a cluster, with a source of backlogs in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from autoscaler.core.model import Replica, Service, ServiceId
from autoscaler.core.report import ServiceReport
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.agents import Agents
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from autoscaler.reconcile import Reconciler
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.wishes import by_labels
from tests.matrix.cluster import QUEUE, TARGET, Cluster, Stack
from tests.real.changes import change_replicas
from tests.real.waiting import LIMIT


class Ours:
    """Our orchestrator, and the ticks of a daemon, for one stack."""

    def __init__(
        self,
        cluster: Cluster,
        stack: Stack,
        agents: Agents | None = None,
        engine: Engine | None = None,
    ) -> None:
        """Look after the stack; without `engine`, through one of the manager's own."""
        self._stack = stack
        self.engine = engine or Engine(environment=cluster.manager.environment)
        self.orchestrator = SwarmOrchestrator(
            self.engine, clock=now, projects=Projects(self.engine, [stack.name]), agents=agents
        )
        self._source = FakeBacklogSource()
        self._reconciler = Reconciler([self.orchestrator], self._source, by_labels(), clock=now)

    async def apply(self, current: int, desired: int) -> None:
        """Change the number of replicas."""
        service = ServiceId("swarm", self._stack.service)
        await change_replicas(self.orchestrator, service, current, desired)

    async def replicas(self) -> Sequence[Replica]:
        """Return the tasks of the stack in the order in which the Swarm would stop them."""
        return await self.orchestrator.replicas(ServiceId("swarm", self._stack.service))

    async def service(self) -> Service:
        """Return the service as it stands now."""
        (service,) = await self.orchestrator.discover()
        return service

    def busy_on(self, hosts: Collection[str]) -> None:
        """Let the workers on these hosts, and on no others, run a task; none waits."""
        self._source.running = dict.fromkeys(hosts, 1)
        self._source.fill(QUEUE, 0)

    async def refusal(self) -> str | None:
        """Return why the service cannot be changed at present, or None where it can."""
        return (await self.service()).refusal

    async def tick_until(self, replicas: int) -> None:
        """Tick with the backlog for this number of replicas, until they run."""
        self._source.fill(QUEUE, replicas * TARGET)
        await self.tick_while(
            lambda: not self._stack.replicas() == len(self._stack.running()) == replicas
        )

    async def tick_until_refused(self) -> str:
        """Tick until the service cannot be changed, and return why."""
        refusal: str | None = None
        async with asyncio.timeout(LIMIT):
            while refusal is None:
                await self.tick()
                refusal = await self.refusal()
        return refusal

    async def tick_while(self, goes_on: Callable[[], bool]) -> None:
        """Tick while `goes_on` is true."""
        async with asyncio.timeout(LIMIT):
            while await asyncio.to_thread(goes_on):
                await self.tick()

    async def tick(self) -> ServiceReport:
        """Tick, and wait until the changes are complete."""
        (report,) = (await self._reconciler.tick()).services
        await self._reconciler.close(timedelta(seconds=30))
        return report


@asynccontextmanager
async def ours(cluster: Cluster, stack: Stack, agents: Agents | None = None) -> AsyncIterator[Ours]:
    """Yield our orchestrator for a stack."""
    hands = Ours(cluster, stack, agents)
    try:
        yield hands
    finally:
        hands.engine.close()


def now() -> datetime:
    return datetime.now(UTC)
