"""Ticks of services that share a group or a total: who gets what, and what nobody may touch."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.groups import Groups
from autoscaler.core.model import ServiceId
from autoscaler.core.reason import ReasonCode
from autoscaler.core.report import LimitReport, ServiceReport, TickReport
from tests.unit import scarcity

USUAL = {
    "max": "30",
    "min": "0",
    "cooldown": "0s",
    "scale-in.window": "0s",
    "group": "gpu",
}


class World(scarcity.World):
    """Services in groups."""

    def __init__(self, groups: Groups) -> None:
        super().__init__(USUAL, groups=groups)

    def counts(self) -> dict[str, int]:
        """Return how many replicas each service has."""
        there = {**self.compose.services, **self.swarm.services}
        return {str(id_): service.replicas for id_, service in there.items()}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(Groups({"gpu": 10}))
    yield made
    await made.tick(act=False)


def of(report: TickReport, id_: ServiceId) -> ServiceReport:
    """Return what a tick says of one service."""
    (found,) = [service for service in report.services if service.service == id_]
    return found


def why(report: ServiceReport) -> str:
    """Return the reason of the share."""
    return " ".join(str(each) for each in report.reasons if each.code is ReasonCode.SHARED)


class TestGroups:
    async def test_services_of_both_orchestrators_share_a_group(self, world: World) -> None:
        world.add("orders", waiting=200)
        mails = world.add("swarm-mails", waiting=200)
        report = await world.settle()
        assert world.counts() == {"orders": 5, "swarm-mails": 5}
        assert of(report, mails).wished == 20
        assert why(of(report, mails)) == "wants 20, gets 5: group gpu; shared with orders"
        assert report.limits == (LimitReport("group gpu", 10, 2, 40),)

    async def test_who_finishes_leaves_the_room_to_the_others(self, world: World) -> None:
        world.add("orders", waiting=200)
        world.add("mails", waiting=200)
        await world.settle()
        world.source.fill("orders", 0)
        await world.settle(3)
        assert world.counts() == {"orders": 0, "mails": 10}

    async def test_a_higher_priority_takes_over_what_is_idle(self, world: World) -> None:
        batch = world.add("batch", waiting=200)
        await world.settle(2)
        assert world.counts() == {"batch": 10}
        world.add("orders", waiting=80, replicas=0, priority="10")
        report = await world.settle(3)
        assert world.counts() == {"batch": 2, "orders": 8}
        assert why(of(report, batch)) == "wants 20, gets 2: group gpu; orders has priority 10"

    async def test_a_service_outside_the_group_is_not_held(self, world: World) -> None:
        world.add("orders", waiting=200)
        world.add("other", waiting=200, group="none")
        await world.settle()
        assert world.counts() == {"orders": 10, "other": 20}

    async def test_the_total_limits_all_services_together(self) -> None:
        world = World(Groups(of_all=6))
        world.add("orders", waiting=200)
        world.add("swarm-mails", waiting=200, group="none")
        await world.settle()
        assert world.counts() == {"orders": 3, "swarm-mails": 3}

    async def test_nothing_moves_once_everybody_has_a_part(self, world: World) -> None:
        for name in ("orders", "mails", "swarm-batch"):
            world.add(name, waiting=200)
        await world.settle()
        begun = len(world.compose.actions) + len(world.swarm.actions)
        report = await world.settle(5)
        assert len(world.compose.actions) + len(world.swarm.actions) == begun
        assert sum(world.counts().values()) == 10
        assert not any(service.action for service in report.services)


class TestUnknownGroups:
    async def test_a_group_without_a_limit_is_named_with_the_nearest(self, world: World) -> None:
        orders = world.add("orders", waiting=200, group="gpus")
        report = await world.settle()
        assert world.counts() == {"orders": 20}
        (warning,) = of(report, orders).warnings
        assert warning == (
            "group 'gpus' has no limit, the nearest is gpu: set AUTOSCALER_GROUPS__GPUS for the"
            " daemon, or correct the label group"
        )

    async def test_without_any_limit_there_is_no_nearest(self) -> None:
        world = World(Groups())
        orders = world.add("orders", waiting=0)
        (warning,) = of(await world.tick(act=False), orders).warnings
        assert warning.startswith("group 'gpu' has no limit: set AUTOSCALER_GROUPS__GPU")


class TestCare:
    async def test_busy_replicas_stay_and_the_others_wait_for_them(self, world: World) -> None:
        batch = world.add("batch", waiting=200, replicas=10)
        world.source.running = {f"batch-{number}": 1 for number in range(1, 8)}
        world.add("orders", waiting=80, replicas=0, priority="10")
        report = await world.settle(2)
        assert world.counts() == {"batch": 7, "orders": 3}
        assert ReasonCode.BUSY in {each.code for each in of(report, batch).reasons}

    async def test_nobody_is_stopped_where_it_is_unknown_what_is_in_flight(
        self, world: World
    ) -> None:
        world.add("batch", waiting=200, replicas=10)
        world.source.heartbeats_fail = "no answer"
        world.add("orders", waiting=80, replicas=0, priority="10")
        await world.settle(2)
        assert world.counts() == {"batch": 10, "orders": 0}

    async def test_a_service_whose_backlog_is_unknown_keeps_its_replicas(
        self, world: World
    ) -> None:
        world.add("batch", waiting=200, replicas=10)
        world.source.fail("batch", "no answer")
        world.add("orders", waiting=80, replicas=0, priority="10")
        await world.settle(2)
        assert world.counts() == {"batch": 10, "orders": 0}

    @pytest.mark.parametrize("mode", ["off", "pause-in", "dry-run"])
    async def test_a_service_that_must_not_shrink_keeps_its_replicas(
        self, world: World, mode: str
    ) -> None:
        world.add("batch", waiting=200, replicas=6, mode=mode)
        world.add("orders", waiting=80, replicas=0, priority="10")
        await world.settle(3)
        assert world.counts() == {"batch": 6, "orders": 4}

    async def test_a_service_that_is_only_reported_on_holds_nobody_back(self, world: World) -> None:
        world.add("batch", waiting=200, replicas=2, priority="10", mode="dry-run")
        world.add("orders", waiting=200, replicas=0)
        await world.settle(2)
        assert world.counts() == {"batch": 2, "orders": 8}

    async def test_what_an_orchestrator_runs_that_does_not_answer_counts_as_before(
        self, world: World
    ) -> None:
        world.add("swarm-mails", waiting=60, replicas=6)
        world.add("orders", waiting=0)
        await world.settle()
        world.swarm.unreachable = OrchestratorError("no manager")
        world.source.fill("orders", 200)
        await world.settle(2)
        assert world.counts() == {"swarm-mails": 6, "orders": 4}

    async def test_nothing_grows_into_a_limit_of_services_that_were_never_seen(
        self, world: World
    ) -> None:
        world.add("swarm-mails", waiting=60, replicas=9)
        world.swarm.unreachable = OrchestratorError("no manager")
        orders = world.add("orders", waiting=200)
        report = await world.settle(2)
        assert world.counts() == {"swarm-mails": 9, "orders": 1}
        assert why(of(report, orders)) == "wants 20, gets 1: group gpu; no answer yet from swarm"
        assert report.limits == ()
        world.swarm.unreachable = None
        await world.settle(2)
        assert world.counts() == {"swarm-mails": 5, "orders": 5}

    async def test_a_service_with_wrong_labels_keeps_what_it_has_and_counts(self) -> None:
        world = World(Groups(of_all=10))
        world.add("broken", waiting=0, replicas=4, max="many")
        world.add("orders", waiting=200)
        await world.settle(2)
        assert world.counts() == {"broken": 4, "orders": 6}

    async def test_what_drains_takes_room_until_it_has_ended(self, world: World) -> None:
        batch = world.add("batch", waiting=0, replicas=1)
        world.compose.drain(batch, 7)
        orders = world.add("orders", waiting=200, replicas=0)
        report = await world.settle(2)
        assert world.counts()["orders"] == 3
        assert why(of(report, orders)).endswith("replicas of batch have to end first")

    async def test_a_service_at_rest_gives_back_what_others_need(self, world: World) -> None:
        world.add("batch", waiting=80, replicas=8)
        await world.settle(2)
        world.add("orders", waiting=80, replicas=0, priority="10")
        for _ in range(4):
            await world.tick(anew=False)
            await world.reconciler.close(scarcity.PATIENCE)
        assert world.counts() == {"batch": 2, "orders": 8}

    async def test_a_plan_shows_the_share_and_changes_nothing(self, world: World) -> None:
        orders = world.add("orders", waiting=200)
        world.add("mails", waiting=200)
        report = await world.tick(act=False)
        assert (of(report, orders).wished, of(report, orders).desired) == (20, 5)
        assert world.counts() == {"orders": 1, "mails": 1}
