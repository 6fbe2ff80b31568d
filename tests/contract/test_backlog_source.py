"""What every source of backlogs keeps to: the fake one and Temporal."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.integration import Integration
from autoscaler.core.model import QueueStats, TaskQueue
from autoscaler.core.spec import QueueType
from autoscaler.integrations.order import Integrations
from autoscaler.ports import BacklogSource
from autoscaler.sources.connections import Connections
from autoscaler.sources.temporal import TemporalBacklogSource
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.real.temporal import TemporalServer


@dataclass(frozen=True)
class Case:
    """A source, and how a test fills a task queue of it."""

    source: BacklogSource
    fill: Callable[[str, int], Awaitable[object]]
    broken: TaskQueue
    """A task queue that cannot be read."""


def task_queue(type_: QueueType = QueueType.WORKFLOW, integration: str = "default") -> TaskQueue:
    return TaskQueue(integration, None, f"queue-{uuid.uuid4().hex[:8]}", type_)


def fake() -> Case:
    source = FakeBacklogSource()
    broken = task_queue()
    source.fail(broken.name, "no Temporal")

    async def fill(queue: str, waiting: int) -> None:
        source.fill(queue, waiting)

    return Case(source, fill, broken)


def real(temporal: TemporalServer) -> Case:
    integrations = Integrations({"default": Integration(endpoint=temporal.endpoint)}, Integration)
    source = TemporalBacklogSource(Connections(integrations), Clock())
    return Case(source, temporal.enqueue, task_queue(integration="unknown"))


@pytest.fixture(params=["fake", "temporal"])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "fake":
        return fake()
    return real(request.getfixturevalue("temporal"))


async def test_an_empty_queue_is_read_as_zero(case: Case) -> None:
    queue = task_queue()

    readings = await case.source.read([queue])

    assert list(readings) == [queue]
    assert isinstance(readings[queue], QueueStats)
    assert readings[queue].waiting == 0


async def test_waiting_tasks_are_counted_for_their_type_only(case: Case) -> None:
    queue = task_queue()
    await case.fill(queue.name, 7)
    others = TaskQueue(queue.integration, None, queue.name, QueueType.ACTIVITY)

    readings = await case.source.read([queue, others])

    assert [readings[each].waiting for each in (queue, others)] == [7, 0]  # type: ignore[union-attr]


async def test_what_cannot_be_read_is_unknown_and_the_others_are_read(case: Case) -> None:
    queue = task_queue()

    readings = await case.source.read([case.broken, queue])

    assert isinstance(readings[case.broken], BacklogUnavailable)
    assert str(readings[case.broken])
    assert isinstance(readings[queue], QueueStats)


async def test_reading_nothing_answers_nothing(case: Case) -> None:
    assert await case.source.read([]) == {}
