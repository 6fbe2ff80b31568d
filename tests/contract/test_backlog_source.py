"""What every backlog source does, the fake one and Temporal."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker as TemporalWorker

from autoscaler.core.backlog import QueueStats, TaskQueue
from autoscaler.core.errors import BacklogUnavailable, InFlightUnavailable
from autoscaler.core.in_flight import SlotKind, Worker, WorkerQuery
from autoscaler.core.integration import Integration
from autoscaler.core.label_values import QueueType
from autoscaler.integrations.order import Integrations
from autoscaler.ports import BacklogSource
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.real.temporal import TemporalServer
from tests.real.waiting import LIMIT


@dataclass(frozen=True)
class Case:
    """A source, and how a test fills its task queues."""

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


async def test_an_empty_queue_has_no_waiting_tasks(case: Case) -> None:
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


async def test_what_a_service_at_zero_waits_for_is_read_like_the_rest(case: Case) -> None:
    asleep, awake = task_queue(), task_queue()
    await case.fill(asleep.name, 1)

    readings = await case.source.read([asleep, awake], [asleep])

    assert [readings[each].waiting for each in (asleep, awake)] == [1, 0]  # type: ignore[union-attr]


async def test_reading_no_task_queues_returns_nothing(case: Case) -> None:
    assert await case.source.read([]) == {}


class Crew(Protocol):
    """A worker that sends heartbeats, and a source that reads them."""

    source: BacklogSource
    host: str

    async def begin(self) -> None:
        """Let the worker begin a task."""

    async def finish(self) -> None:
        """Let all tasks end."""

    def cut_off(self) -> None:
        """Make the heartbeats unreadable."""


class FakeCrew:
    def __init__(self) -> None:
        self.source = FakeBacklogSource()
        self.host = "r1"

    async def begin(self) -> None:
        running = self.source.running.get(self.host, 0)
        self.source.running[self.host] = running + 1

    async def finish(self) -> None:
        self.source.running.clear()

    def cut_off(self) -> None:
        self.source.heartbeats_fail = "no Temporal"


class RealCrew:
    """A worker in this process, with a namespace of its own and a heartbeat a second."""

    def __init__(self, temporal: TemporalServer, namespace: str) -> None:
        self.host = socket.gethostname()
        self.queue = f"queue-{uuid.uuid4().hex[:8]}"
        self._namespace = namespace
        self._integrations = {
            "default": Integration(endpoint=temporal.endpoint, namespace=namespace)
        }
        connections = Connections(Integrations(self._integrations, Integration))
        self.source = TemporalBacklogSource(connections, Clock())
        self._may_end = asyncio.Event()

    async def start(self, endpoint: str, runtime: Runtime) -> None:
        self._client = await Client.connect(endpoint, namespace=self._namespace, runtime=runtime)

        @activity.defn(name="Long")
        async def long() -> None:
            await self._may_end.wait()

        self._worker = TemporalWorker(
            self._client,
            task_queue=self.queue,
            activities=[long],
            max_concurrent_activities=5,
            graceful_shutdown_timeout=timedelta(seconds=LIMIT),
        )
        self._run = asyncio.create_task(self._worker.run())

    async def begin(self) -> None:
        await self._client.start_activity(
            "Long",
            id=f"long-{uuid.uuid4()}",
            task_queue=self.queue,
            start_to_close_timeout=timedelta(minutes=5),
        )

    async def finish(self) -> None:
        self._may_end.set()

    def cut_off(self) -> None:
        self._integrations["default"] = Integration(
            endpoint=self._integrations["default"].endpoint, namespace="nowhere"
        )

    def leave(self) -> None:
        """Tell the worker to stop; it finishes what it runs."""
        self._leaving = asyncio.create_task(self._worker.shutdown())

    async def close(self) -> None:
        self._may_end.set()
        await self._worker.shutdown()
        await self._run


@pytest.fixture(scope="session")
def every_second() -> Runtime:
    """A runtime whose workers send a heartbeat a second."""
    return Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=1))


@pytest.fixture
async def real_crew(temporal: TemporalServer, every_second: Runtime) -> AsyncIterator[RealCrew]:
    namespace = f"ns-{uuid.uuid4().hex[:8]}"
    await asyncio.to_thread(temporal.create_namespace, namespace)
    made = RealCrew(temporal, namespace)
    await made.start(temporal.endpoint, every_second)
    yield made
    await made.close()


@pytest.fixture(params=["fake", "temporal"])
def crew(request: pytest.FixtureRequest) -> Crew:
    if request.param == "fake":
        return FakeCrew()
    found: RealCrew = request.getfixturevalue("real_crew")
    return found


def query(hosts: Iterable[str] = (), queues: Iterable[str] = ()) -> WorkerQuery:
    return WorkerQuery("default", None, frozenset(hosts), frozenset(queues))


async def reported(
    crew: Crew, holds: Callable[[Worker], bool], asked: WorkerQuery | None = None
) -> Worker:
    """Poll until the only worker reports what is wanted."""
    async with asyncio.timeout(LIMIT):
        while True:
            found = await crew.source.workers(asked or query([crew.host]))
            if len(found) == 1 and holds(found[0]):
                return found[0]
            await asyncio.sleep(0.1)


async def test_a_worker_reports_before_its_first_task(crew: Crew) -> None:
    worker = await reported(crew, lambda _: True)

    assert worker.host == crew.host
    assert worker.running == 0
    assert not worker.leaving
    assert worker.fresh(datetime.now(UTC))


async def test_running_tasks_are_reported_until_they_end(crew: Crew) -> None:
    await crew.begin()
    await crew.begin()

    busy = await reported(crew, lambda worker: worker.running == 2)
    await crew.finish()
    idle = await reported(crew, lambda worker: worker.running == 0)

    assert busy.slots[SlotKind.ACTIVITY].used == 2
    assert idle.instance == busy.instance
    assert idle.fresh(datetime.now(UTC))


async def test_an_empty_query_returns_no_workers(crew: Crew) -> None:
    await reported(crew, lambda _: True)

    assert await crew.source.workers(query()) == []


async def test_heartbeats_that_cannot_be_read_are_an_error_of_one_line(crew: Crew) -> None:
    crew.cut_off()

    with pytest.raises(InFlightUnavailable) as caught:
        await crew.source.workers(query([crew.host]))
    assert str(caught.value)
    assert "\n" not in str(caught.value)


async def test_temporal_finds_workers_by_host_and_by_task_queue(real_crew: RealCrew) -> None:
    by_host = await reported(real_crew, lambda _: True)
    by_queue = await reported(real_crew, lambda _: True, query([], [real_crew.queue]))
    by_both = await reported(real_crew, lambda _: True, query([real_crew.host], [real_crew.queue]))

    assert by_host.instance == by_queue.instance == by_both.instance
    for elsewhere in (query(["elsewhere"]), query([], ["it's another"]), query(["back\\slash"])):
        assert await real_crew.source.workers(elsewhere) == []


async def test_temporal_reports_the_interval_after_the_first_heartbeat(real_crew: RealCrew) -> None:
    worker = await reported(real_crew, lambda worker: bool(worker.interval))

    assert worker.interval < timedelta(seconds=60)
    assert worker.slots[SlotKind.ACTIVITY].free == 5


async def test_temporal_lists_a_worker_that_shuts_down_with_the_tasks_it_still_runs(
    real_crew: RealCrew,
) -> None:
    await real_crew.begin()
    await reported(real_crew, lambda worker: worker.running == 1)

    real_crew.leave()
    leaving = await reported(real_crew, lambda worker: worker.leaving)

    assert leaving.running == 1
