"""Ticks over several services that poll one task queue."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoscaler import present
from autoscaler.core.decide import decide
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.findings import examine_services
from autoscaler.core.groups import Groups
from autoscaler.core.model import ServiceId
from autoscaler.core.redaction import Redactor
from autoscaler.core.report import IntegrationReport, TickReport
from autoscaler.core.situation import Decision, Situation
from autoscaler.reconcile import Reconciler
from tests.fakes.wishes import by_labels
from tests.unit.test_reconcile import ORDERS, World, of, world

__all__ = ["world"]

QUICK = {**ORDERS, "temporal.scale-in.window": "0s"}


def portions(report: TickReport) -> list[int | None]:
    """Return the backlogs of all services, in the order of the report."""
    return [each.backlog for each in report.services]


def pair(world: World, **others: str) -> tuple[ServiceId, ServiceId]:
    """Add two services of Compose on one task queue."""
    return (
        world.compose.add("shop/a", QUICK),
        world.compose.add("shop/b", {**QUICK, **others}),
    )


class TestOneQueue:
    async def test_two_services_get_together_what_one_alone_would(self, world: World) -> None:
        first, second = pair(world)
        world.source.fill("orders", 34)
        report = await world.tick()
        await world.finish()
        assert portions(report) == [20, 14]
        assert (world.compose.count(first), world.compose.count(second)) == (2, 2)

    async def test_one_of_compose_and_one_of_swarm_share_too(self, world: World) -> None:
        first = world.compose.add("shop/a", QUICK)
        second = world.swarm.add("shop_b", QUICK)
        world.source.fill("orders", 34)
        await world.settle()
        assert world.compose.count(first) + world.swarm.count(second) == 4

    async def test_a_namespace_that_one_of_them_names_is_the_same(self, world: World) -> None:
        world.source.connections = [
            IntegrationReport("default", "temporal:7233", "shop", "environment", up=True)
        ]
        pair(world, **{"temporal.namespace": "shop"})
        world.source.fill("orders", 34)
        assert portions(await world.tick()) == [20, 14]

    async def test_a_service_that_is_off_leaves_all_to_the_other(self, world: World) -> None:
        first, second = pair(world, **{"temporal.mode": "off"})
        world.source.fill("orders", 34)
        await world.settle()
        assert (world.compose.count(first), world.compose.count(second)) == (4, 1)

    async def test_nothing_moves_while_the_backlog_stays(self, world: World) -> None:
        pair(world)
        world.source.fill("orders", 34)
        await world.settle()
        for _ in range(10):
            report = await world.tick(anew=False)
            assert portions(report) == [20, 14]
            assert all(each.action is None for each in report.services)

    async def test_a_service_at_rest_is_decided_again_when_another_changes(
        self, world: World
    ) -> None:
        first, second = pair(world)
        world.source.fill("orders", 34)
        await world.settle()
        await world.tick(anew=False, after=1)
        world.compose.relabel(second, {**QUICK, "temporal.mode": "off"})
        report = await world.tick(anew=False, after=5)
        await world.finish()
        assert of(report, first).desired == 4

    async def test_a_service_at_rest_is_decided_again_when_another_comes_or_goes(
        self, world: World
    ) -> None:
        first = world.compose.add("shop/a", QUICK)
        world.source.fill("orders", 34)
        await world.settle()
        await world.tick(anew=False, after=1)
        second = world.compose.add("shop/b", QUICK)
        assert of(await world.tick(anew=False, after=5), first).desired == 2
        await world.finish()
        await world.tick(anew=False, after=1)
        del world.compose.services[second]
        assert of(await world.tick(anew=False, after=5), first).desired == 4

    async def test_an_orchestrator_that_does_not_answer_makes_nobody_else_grow(
        self, world: World
    ) -> None:
        first = world.compose.add("shop/a", QUICK)
        second = world.swarm.add("shop_b", QUICK)
        world.source.fill("orders", 34)
        await world.settle()
        world.swarm.unreachable = OrchestratorError("the engine does not answer")
        report = await world.tick()
        assert report.unseen == (second,)
        assert of(report, first).desired == 2
        world.swarm.unreachable = None

    async def test_a_service_that_something_goes_wrong_with_keeps_its_portion(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sometimes(situation: Situation) -> Decision:
            if situation.spec.target == 20:
                raise ZeroDivisionError("division by zero")
            return decide(situation)

        monkeypatch.setattr("autoscaler.core.decide.decide", sometimes)
        first, _ = pair(world, **{"temporal.target": "20"})
        world.source.fill("orders", 34)
        assert of(await world.tick(act=False), first).desired == 2

    async def test_a_queue_that_cannot_be_read_is_unknown_for_all(self, world: World) -> None:
        pair(world)
        world.source.fail("orders", "Temporal does not answer")
        assert portions(await world.tick()) == [None, None]


class TestSharedLimits:
    @pytest.fixture
    def world(self) -> World:
        """Two replicas of the group `gpu` are all that there may be."""
        made = World()
        made.reconciler = Reconciler(
            [made.compose, made.swarm],
            made.source,
            by_labels("temporal", made.file),
            clock=made.clock,
            interval=timedelta(seconds=5),
            groups=Groups({"gpu": 2}),
        )
        return made

    async def test_what_a_group_keeps_from_one_service_goes_to_the_other(
        self, world: World
    ) -> None:
        first, second = pair(world)
        world.compose.relabel(first, {**QUICK, "temporal.group": "gpu"})
        world.source.fill("orders", 60)
        report = await world.tick()
        await world.finish()
        assert portions(report) == [20, 40]
        assert (world.compose.count(first), world.compose.count(second)) == (2, 4)

    async def test_what_nobody_gets_is_still_wished(self, world: World) -> None:
        first, second = pair(world)
        for service in (first, second):
            world.compose.relabel(service, {**QUICK, "temporal.group": "gpu", "temporal.min": "0"})
        world.source.fill("orders", 34)
        report = await world.tick()
        await world.finish()
        assert sum(each.wished or 0 for each in report.services) == 4
        assert world.compose.count(first) + world.compose.count(second) <= 2


class TestWhatIsShown:
    async def test_rows_show_portions_of_the_whole(self, world: World) -> None:
        pair(world)
        world.source.fill("orders", 34)
        shown = present.tick(await world.tick(act=False), Redactor())
        (first, second) = shown["services"]
        assert (first["backlog"], second["backlog"]) == (20, 14)
        assert first["whole_backlog"] == second["whole_backlog"] == 34
        assert first["shared_with"] == ["shop/b"]
        assert [part["whole"] for part in first["parts"]] == [0, 34]
        (reason,) = first["reasons"]
        assert reason["text"] == "20 waiting tasks of 34, shared with shop/b, at target 10 → 2"

    async def test_a_service_that_is_alone_shows_its_backlog_as_the_whole(
        self, world: World
    ) -> None:
        world.compose.add("shop/a", QUICK)
        world.source.fill("orders", 34)
        (shown,) = present.tick(await world.tick(act=False), Redactor())["services"]
        assert (shown["backlog"], shown["whole_backlog"], shown["shared_with"]) == (34, 34, [])

    async def test_doctor_says_it_too(self, world: World) -> None:
        pair(world)
        world.source.fill("orders", 34)
        report = await world.tick(act=False)
        said = [finding.text for finding in examine_services(report)]
        assert any(text.startswith("follows orders: 14 of 34 waiting") for text in said)
