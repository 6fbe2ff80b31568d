"""Services between fakes that share what is scarce: replicas of a group, or the host's memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from autoscaler.core.groups import NO_GROUPS, Groups
from autoscaler.core.model import ServiceId
from autoscaler.core.report import TickReport
from autoscaler.ports import Host
from autoscaler.reconcile import Reconciler
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels

PATIENCE = timedelta(seconds=10)


class World:
    """Services of Compose and Swarm, each on a queue of its own."""

    def __init__(
        self,
        usual: Mapping[str, str],
        *,
        groups: Groups = NO_GROUPS,
        compose: FakeOrchestrator | None = None,
        host: Host | None = None,
    ) -> None:
        """`usual` are the labels of every service, without their prefix."""
        self.clock = Clock()
        self.compose = compose or FakeOrchestrator("compose")
        self.swarm = FakeOrchestrator("swarm")
        self.source = FakeBacklogSource()
        self._usual = usual
        self.reconciler = Reconciler(
            [self.compose, self.swarm],
            self.source,
            by_labels(),
            clock=self.clock,
            interval=timedelta(seconds=5),
            groups=groups,
            host=host,
        )

    def add(self, name: str, *, waiting: int, replicas: int = 1, **labels: str) -> ServiceId:
        """Put a service there whose queue has its name; a name with `swarm` is one of Swarm."""
        self.source.fill(name, waiting)
        where = self.swarm if "swarm" in name else self.compose
        given = {key.replace("_", "-"): value for key, value in labels.items()}
        own = {"queue": name, **self._usual, **given}
        return where.add(name, {f"temporal.{key}": own[key] for key in own}, replicas=replicas)

    async def tick(self, *, act: bool = True, anew: bool = True) -> TickReport:
        """Let 5 s pass, then look once."""
        self.clock.advance(5)
        async with asyncio.timeout(10):
            return await self.reconciler.tick(act=act, anew=anew)

    async def settle(self, ticks: int = 1) -> TickReport:
        """Look so often, and wait each time for what that starts. Return the latest report."""
        for _ in range(ticks):
            report = await self.tick()
            await self.reconciler.close(PATIENCE)
        return report
