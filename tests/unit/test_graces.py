"""Services that leave their tasks no time to end are named, where tasks are seen that need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.core.errors import InFlightUnavailable, OrchestratorError
from autoscaler.core.in_flight import SlotKind, Slots, Worker, WorkerQuery
from autoscaler.core.stopping import outlasted
from autoscaler.graces import ARRIVES_WITHIN, GraceExaminer
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels

ORDERS = {"temporal.queue": "orders"}
INTERVAL = timedelta(seconds=10)


class World:
    """Services without a stop grace, and workers that report every 10 s."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.compose = FakeOrchestrator()
        self.ends_after = timedelta.max
        """How long tasks take."""
        self.began = self.clock.now
        self.ahead = timedelta()
        """How far the workers' clocks are ahead."""
        self.asked: list[WorkerQuery] = []
        self.failure: Exception | None = None
        self.waits: list[timedelta] = []

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        """Return a worker for each host, with one task after the other since the beginning."""
        self.asked.append(query)
        if self.failure is not None:
            raise self.failure
        at = self.began + (self.clock.now - self.began) // INTERVAL * INTERVAL
        done = int((at - self.began) / self.ends_after)
        slots = {SlotKind.ACTIVITY: Slots(used=1, free=1, processed=done)}
        return [
            Worker(host, host, at + self.ahead, INTERVAL, leaving=False, slots=slots)
            for host in query.hosts
        ]

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def named(self) -> dict[str, str]:
        """Return what is said of each service."""
        examiner = GraceExaminer(
            [self.compose],
            self,  # type: ignore[arg-type]
            by_labels(),
            lambda: self.clock.now,
            self.sleep,
        )
        return {each.subject: each.text for each in await examiner.examine(self.waits.append)}


@pytest.fixture
def world() -> World:
    return World()


async def test_a_service_with_a_task_that_takes_longer_is_named(world: World) -> None:
    world.compose.add("shop/worker", ORDERS, grace=None, replicas=2)
    assert await world.named() == {"service shop/worker": outlasted(timedelta(seconds=10))}
    assert world.waits == [2 * INTERVAL + ARRIVES_WITHIN]


async def test_tasks_that_may_be_short_are_not_taken_for_long_ones(world: World) -> None:
    world.compose.add("shop/worker", ORDERS, grace=None)
    world.ends_after = timedelta(seconds=9)
    assert await world.named() == {}
    assert world.waits


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(lambda it: it.add("shop/worker", ORDERS), id="a-chosen-grace"),
        pytest.param(lambda it: it.add("shop/worker", ORDERS, grace=None, replicas=0), id="zero"),
        pytest.param(
            lambda it: it.add("shop/worker", {**ORDERS, "temporal.mode": "off"}, grace=None),
            id="off",
        ),
        pytest.param(
            lambda it: it.add("shop/worker", {**ORDERS, "temporal.busy": "ignore"}, grace=None),
            id="heartbeats-are-not-asked",
        ),
        pytest.param(
            lambda it: it.add("shop/worker", ORDERS, grace=None, refusal="its own"), id="refused"
        ),
        pytest.param(
            lambda it: it.add("shop/worker", {"temporal.queue": ""}, grace=None), id="wrong-labels"
        ),
        pytest.param(
            lambda it: setattr(it, "unreachable", OrchestratorError("gone")), id="no-engine"
        ),
    ],
)
async def test_of_others_nobody_is_asked(
    world: World, prepare: Callable[[FakeOrchestrator], object]
) -> None:
    prepare(world.compose)
    assert await world.named() == {}
    assert (world.asked, world.waits) == ([], [])


async def test_where_workers_cannot_be_asked_nothing_is_said(world: World) -> None:
    world.compose.add("shop/worker", ORDERS, grace=None)
    world.failure = InFlightUnavailable("no heartbeats")
    assert await world.named() == {}
    assert world.waits == []


async def test_where_nothing_runs_nobody_waits(world: World) -> None:
    world.compose.add("shop/worker", ORDERS, grace=None)
    answer = world.workers

    async def idle(query: WorkerQuery) -> Sequence[Worker]:
        return [replace(each, slots={}) for each in await answer(query)]

    world.workers = idle  # type: ignore[method-assign]
    assert await world.named() == {}
    assert world.waits == []


async def test_a_clock_that_is_ahead_does_not_make_it_wait_for_ever(world: World) -> None:
    world.compose.add("shop/worker", ORDERS, grace=None)
    world.ahead = timedelta(hours=1)
    await world.named()
    assert world.waits == [timedelta(seconds=67)]
