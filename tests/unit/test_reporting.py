"""What a tick reports: values that were set live, and whether every idle task can be chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.core.override import Wanted
from autoscaler.core.report import TickReport
from autoscaler.reconcile import Reconciler
from autoscaler.wishes.labels import Labels
from autoscaler.wishes.overrides import Overrides
from autoscaler.wishes.overrides_file import OverridesFile
from autoscaler.wishes.wishes import Wishes
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator

WORKER = ServiceId("compose", "shop/worker")
LABELS = {"temporal.queue": "orders", "temporal.max": "4"}


class World:
    """A service whose backlog asks for 10 replicas and whose label allows 4."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.compose = FakeOrchestrator("compose")
        self.file = OverridesFile(folder)
        overrides = Overrides(self.file, "temporal", self.clock, lambda: 0.0)
        source = FakeBacklogSource()
        source.fill("orders", 100)
        self.compose.add(WORKER.name, LABELS, replicas=4)
        self.reconciler = Reconciler(
            [self.compose],
            source,
            Wishes([Labels("temporal"), overrides], "temporal"),
            clock=self.clock,
            overrides=overrides,
        )

    def put(self, **values: str) -> None:
        self.file.put(Wanted(WORKER, values, "anna", "deploy"), "temporal", {}, self.clock())

    async def tick(self) -> TickReport:
        self.clock.advance(1)
        return await self.reconciler.tick(act=False)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.reconciler.close(timedelta())


async def test_a_larger_max_counts_from_the_next_tick_and_says_where_it_comes_from(
    world: World,
) -> None:
    assert (await world.tick()).services[0].desired == 4
    world.put(max="6")
    (report,) = (await world.tick()).services
    assert (report.max, report.desired) == (6, 6)
    assert report.given["temporal.max"].origin.startswith("override by anna until ")


async def test_paused_it_keeps_its_replicas_also_outside_its_bounds(world: World) -> None:
    world.put(mode="off", min="8", max="9")
    (report,) = (await world.tick()).services
    assert report.desired == report.replicas == 4


async def test_what_is_in_force_is_reported_until_it_ends(world: World) -> None:
    world.put(max="6")
    assert [each.what for each in (await world.tick()).overrides] == ["max=6"]
    world.clock.advance(3600)
    report = await world.tick()
    assert report.overrides == ()
    assert report.services[0].max == 4


async def test_a_value_that_contradicts_a_label_leaves_the_last_good_ones(world: World) -> None:
    await world.tick()
    world.put(min="9")
    (report,) = (await world.tick()).services
    assert (report.min, report.max) == (1, 4)
    assert any("override by anna" in error for error in report.errors)


class Swarm(FakeOrchestrator):
    """A service with three replicas, which follows an empty task queue."""

    def __init__(self, choice: str, order_only: str | None = None) -> None:
        super().__init__("swarm")
        # With a window, the first tick would stop nothing and so look at nothing.
        labels = {**LABELS, "temporal.swarm-choice": choice, "temporal.scale-in.window": "0s"}
        self.add("shop_worker", labels, replicas=3, order_only=order_only)
        self.source = FakeBacklogSource()

    async def chooses_any(self) -> bool | None:
        """Tick once and return what is reported."""
        wishes = Wishes([Labels("temporal")], "temporal")
        reconciler = Reconciler([self], self.source, wishes, clock=Clock())
        (service,) = (await reconciler.tick(act=False)).services
        return service.chooses_any


class TestWhetherEveryIdleTaskCanBeChosen:
    MISSING = "no agent answers on n2"
    SECOND = "shop_worker-2"

    async def test_it_can_where_a_look_has_missed_none(self) -> None:
        assert await Swarm("any").chooses_any() is True

    async def test_it_cannot_where_a_look_has_missed_one(self) -> None:
        assert await Swarm("any", self.MISSING).chooses_any() is False
        swarm = Swarm("any")
        swarm.out_of_reach = {self.SECOND}
        assert await swarm.chooses_any() is False

    async def test_it_is_unknown_while_nobody_has_looked(self) -> None:
        swarm = Swarm("any")
        # Nothing is to be stopped.
        swarm.source.fill("orders", 30)
        assert await swarm.chooses_any() is None

    async def test_what_a_look_has_missed_counts_until_the_next(self) -> None:
        swarm = Swarm("any", self.MISSING)
        swarm.source.fill("orders", 30)
        assert await swarm.chooses_any() is False

    async def test_it_is_unknown_where_a_look_failed(self) -> None:
        swarm = Swarm("any")
        swarm.source.heartbeats_fail = "the server is away"
        assert await swarm.chooses_any() is None

    async def test_it_is_unknown_while_a_task_has_no_node(self) -> None:
        swarm = Swarm("any")
        swarm.unplaced = {self.SECOND}
        assert await swarm.chooses_any() is None

    @pytest.mark.parametrize("missing", [MISSING, None])
    async def test_it_is_not_reported_where_nobody_asks_for_it(self, missing: str | None) -> None:
        assert await Swarm("order", missing).chooses_any() is None
