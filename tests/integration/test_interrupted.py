"""The count of interrupted replicas is right: a test makes the Swarm stop a busy task."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoscaler.core.model import Replica
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm import orchestrator as swarm
from autoscaler.orchestrators.swarm.tasks import in_turn
from autoscaler.reconcile import Reconciler
from autoscaler.telemetry.metrics import Metrics
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.wishes import by_labels
from tests.real.stages import SwarmStage

pytestmark = pytest.mark.swarm

LABELS = {"temporal.queue": "orders", "temporal.scale-in.window": "0s"}


def upside_down(
    tasks: Iterable[dict[str, Any]], node: str, within_reach: Collection[str]
) -> Sequence[Replica]:
    """Return the Swarm's order reversed, so that it stops other tasks than expected."""
    right = in_turn(tasks, node, within_reach)
    return [replace(each, turn=turn) for turn, each in enumerate(reversed(right))]


class Stage:
    """A service of three tasks. The first one that the Swarm would stop is busy."""

    def __init__(self, swarm_stage: SwarmStage) -> None:
        self.engine = Engine()
        self.source = FakeBacklogSource()
        self._orchestrator = swarm.SwarmOrchestrator(
            self.engine, clock=now, projects=Projects(self.engine, [swarm_stage.project])
        )
        self._reconciler = Reconciler([self._orchestrator], self.source, by_labels(), clock=now)

    async def begin(self) -> None:
        """Make the task busy that the Swarm would stop first."""
        (service,) = await self._orchestrator.discover()
        first = (await self._orchestrator.replicas(service.id))[0]
        assert first.host is not None
        self.source.running[first.host] = 1

    async def scale_in(self) -> ServiceReport:
        """Tick, wait until the change is complete, and return the report of the next tick."""
        await self._reconciler.tick()
        await self._reconciler.close(timedelta(seconds=60))
        (report,) = (await self._reconciler.tick()).services
        return report


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def stage(swarm_stage: SwarmStage) -> Stage:
    swarm_stage.up({"worker": 3}, {"worker": LABELS}, network="bridge")
    stage = Stage(swarm_stage)
    await stage.begin()
    return stage


async def test_a_busy_task_that_is_next_is_spared_and_nothing_is_counted(
    stage: Stage, swarm_stage: SwarmStage
) -> None:
    report = await stage.scale_in()
    # An idle task was stopped out of turn, since this engine could stop it directly.
    assert (report.interrupted, report.busy) == (0, 1)
    assert swarm_stage.desired("worker") == 2


async def test_a_busy_task_that_is_stopped_nevertheless_is_counted(
    stage: Stage, swarm_stage: SwarmStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swarm, "in_turn", upside_down)
    report = await stage.scale_in()
    assert report.interrupted == 1
    metrics = Metrics()
    metrics.observe(TickReport(now(), (report,)))
    name = swarm_stage.name("worker")
    counted = f'autoscaler_interrupted_replicas_total{{service="{name}"}} 1.0'
    assert counted in metrics.exposition("")[0].decode()
    assert swarm_stage.desired("worker") == 1
