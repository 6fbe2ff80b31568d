"""Ticks on a host whose memory is scarce, or unknown."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.model import ServiceId
from autoscaler.core.reason import ReasonCode
from autoscaler.core.report import TickReport
from autoscaler.reconcile import Reconciler
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels
from tests.unit import scarcity

USUAL = {"max": "500", "scale-in.window": "0s", "busy": "ignore"}
TOTAL, RESERVE, REPLICA = 10_000, 1_000, 100


class FakeHost:
    """A host on which each replica of Compose takes the same."""

    def __init__(self, compose: FakeOrchestrator) -> None:
        self._compose = compose
        self.others = 0
        """What other programs take."""
        self.failure: OrchestratorError | None = None
        self.unknowable = False
        self.warnings: tuple[str, ...] = ()
        self.asked: list[Collection[ServiceId]] = []
        """Who wanted to grow, each time that somebody asked."""

    async def memory(
        self, services: Collection[ServiceId], growing: Collection[ServiceId]
    ) -> HostMemory | None:
        self.asked.append(growing)
        if self.failure is not None:
            raise self.failure
        if self.unknowable:
            return None
        counts = {id_: self._compose.count(id_) for id_ in services}
        free = TOTAL - self.others - REPLICA * sum(counts.values())
        costs = dict.fromkeys(services, REPLICA)
        return HostMemory(TOTAL, free, RESERVE, costs, counts)


class World(scarcity.World):
    """Services on a host with so much memory."""

    def __init__(self) -> None:
        compose = FakeOrchestrator("compose")
        self.host = FakeHost(compose)
        super().__init__(USUAL, compose=compose, host=self.host)


@pytest.fixture
def world() -> World:
    return World()


def why(report: TickReport) -> str:
    """Return the reasons of the share."""
    reasons = [reason for service in report.services for reason in service.reasons]
    return " ".join(str(reason) for reason in reasons if reason.code is ReasonCode.SHARED)


async def test_growth_leaves_the_reserve_free_and_says_why_it_ends(world: World) -> None:
    orders = world.add("orders", waiting=4000)
    report = await world.settle(3)
    assert world.compose.count(orders) == 90
    assert why(report) == "wants 400, gets 90: memory of the host"
    assert report.memory is not None
    assert report.memory.free == RESERVE


async def test_services_share_it_by_priority(world: World) -> None:
    first = world.add("first", waiting=600, priority="10")
    second = world.add("second", waiting=4000)
    report = await world.settle(3)
    assert (world.compose.count(first), world.compose.count(second)) == (60, 30)
    assert why(report) == "wants 400, gets 30: memory of the host; first has priority 10"
    world.source.fill("first", 10)
    await world.settle(3)
    assert (world.compose.count(first), world.compose.count(second)) == (1, 89)


async def test_what_a_change_under_way_will_start_is_taken(world: World) -> None:
    orders = world.add("orders", waiting=600)
    mails = world.add("mails", waiting=10)
    gate = world.compose.hold(orders)
    await world.tick()
    # Sixty replicas are being started, and not one of them takes anything yet.
    world.source.fill("mails", 600)
    await world.tick()
    await world.compose.until(mails, 30)
    gate.set()
    await world.reconciler.close(scarcity.PATIENCE)
    assert (world.compose.count(orders), world.compose.count(mails)) == (60, 30)


async def test_nobody_loses_a_replica_when_others_use_up_the_reserve(world: World) -> None:
    orders = world.add("orders", waiting=4000)
    await world.settle(3)
    world.host.others = 3 * RESERVE
    report = await world.settle(3)
    assert world.compose.count(orders) == 90
    assert why(report) == "wants 400, gets 90: memory of the host"


async def test_it_is_read_in_full_only_where_a_service_of_compose_wants_to_grow(
    world: World,
) -> None:
    orders = world.add("orders", waiting=10)
    world.add("swarm-mails", waiting=200)
    await world.settle()
    world.source.fill("orders", 20)
    await world.settle(2)
    assert world.host.asked == [frozenset(), {orders}, frozenset()]


async def test_swarm_leaves_it_to_its_scheduler(world: World) -> None:
    world.host.others = TOTAL
    mails = world.add("swarm-mails", waiting=200)
    report = await world.settle(2)
    assert world.swarm.count(mails) == 20
    assert report.memory is None


class TestUnknown:
    async def test_growth_waits_until_it_is_known(self, world: World) -> None:
        orders = world.add("orders", waiting=200, replicas=5)
        world.host.failure = OrchestratorError("the engine does not answer")
        report = await world.settle(2)
        assert world.compose.count(orders) == 5
        assert why(report) == (
            "wants 20, gets 5: memory of the host is unknown, so growth waits:"
            " the engine does not answer"
        )
        assert not report.failed
        world.host.failure = None
        await world.settle()
        assert world.compose.count(orders) == 20

    async def test_nothing_is_stopped_for_that_and_the_rest_goes_on(self, world: World) -> None:
        orders = world.add("orders", waiting=200, replicas=5)
        quiet = world.add("quiet", waiting=0, replicas=3)
        mails = world.add("swarm-mails", waiting=200)
        world.host.failure = OrchestratorError("the engine does not answer")
        await world.settle(2)
        assert (world.compose.count(orders), world.compose.count(quiet)) == (5, 1)
        assert world.swarm.count(mails) == 20

    async def test_where_it_can_never_be_known_it_holds_nothing_back(self, world: World) -> None:
        orders = world.add("orders", waiting=2000)
        world.host.unknowable = True
        await world.settle()
        assert world.compose.count(orders) == 200


async def test_what_is_not_known_is_reported(world: World) -> None:
    world.add("orders", waiting=10)
    world.host.warnings = ("statistics are refused",)
    assert (await world.settle()).memory_warnings == ("statistics are refused",)


async def test_without_a_host_nothing_is_reported(world: World) -> None:
    world.add("orders", waiting=10)
    reconciler = Reconciler([world.compose], world.source, by_labels(), clock=world.clock)
    report = await reconciler.tick()
    assert (report.memory, report.memory_warnings) == (None, ())
