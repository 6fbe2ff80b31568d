"""Backlogs as a real Temporal server reports them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.core.backlog import QueueStats, TaskQueue
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.integration import Integration
from autoscaler.core.label_values import QueueType
from autoscaler.core.reading import Reading
from autoscaler.integrations.order import Integrations
from autoscaler.reconcile import Reconciler
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels
from tests.real.temporal import TemporalServer
from tests.real.waiting import LIMIT, free_port


@pytest.fixture
def queue() -> str:
    return f"queue-{uuid.uuid4().hex[:8]}"


def source(
    clock: Callable[[], datetime] | None = None, **integrations: Integration
) -> TemporalBacklogSource:
    known = Integrations(integrations, Integration)
    return TemporalBacklogSource(Connections(known), clock or Clock())


def workflow_queue(
    name: str, integration: str = "default", namespace: str | None = None
) -> TaskQueue:
    return TaskQueue(integration, namespace, name, QueueType.WORKFLOW)


async def test_the_backlog_is_the_number_of_tasks_that_wait(
    temporal: TemporalServer, queue: str
) -> None:
    await temporal.enqueue(queue, 42)
    waiting = workflow_queue(queue)
    idle = TaskQueue("default", None, queue, QueueType.ACTIVITY)

    readings = await source(default=Integration(endpoint=temporal.endpoint)).read([waiting, idle])

    seen = readings[waiting]
    assert isinstance(seen, QueueStats)
    assert seen.waiting == 42
    assert seen.age > timedelta()
    assert readings[idle] == QueueStats(0, timedelta(), 0.0, 0.0)


async def test_a_queue_that_two_services_share_is_read_once_per_type_and_tick(
    temporal: TemporalServer, queue: str
) -> None:
    # One names the integration's own namespace, the other leaves it out; the case differs too.
    first = {"temporal.queue": queue}
    second = {
        "temporal.queue": queue,
        "temporal.namespace": "default",
        "temporal.integration": "Default",
    }
    services = FakeOrchestrator()
    services.add("first", first, replicas=1)
    services.add("second", second, replicas=1)
    clock = Clock()
    reading = source(clock, default=Integration(endpoint=temporal.endpoint))
    reconciler = Reconciler([services], reading, by_labels(), clock=clock)
    before = temporal.calls("DescribeTaskQueue")

    await reconciler.tick()
    assert temporal.calls("DescribeTaskQueue") == before + 2

    clock.advance(6)
    await reconciler.tick()
    assert temporal.calls("DescribeTaskQueue") == before + 4


async def test_a_namespace_of_its_own_has_a_backlog_of_its_own(
    temporal: TemporalServer, queue: str
) -> None:
    namespace = f"ns-{uuid.uuid4().hex[:8]}"
    temporal.create_namespace(namespace)
    await temporal.enqueue(queue, 3, namespace)
    here, there = workflow_queue(queue), workflow_queue(queue, namespace=namespace)

    readings = await source(default=Integration(endpoint=temporal.endpoint)).read([here, there])

    assert [readings[q].waiting for q in (here, there)] == [0, 3]  # type: ignore[union-attr]


async def test_an_error_says_what_was_tried_and_what_to_do_and_other_queues_are_read(
    temporal: TemporalServer, queue: str
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    reading = source(
        default=Integration(endpoint=temporal.endpoint),
        down=Integration(endpoint=nobody),
        encrypted=Integration(endpoint=temporal.endpoint, tls="on"),
        missing_file=Integration(endpoint=temporal.endpoint, api_key_file="/no/such/file"),
    )
    good = workflow_queue(queue)
    bad = {
        workflow_queue(queue, "down"): (nobody, "Connection refused", "check the endpoint"),
        workflow_queue(queue, "encrypted"): (temporal.endpoint, "set TLS to off"),
        workflow_queue(queue, "missing_file"): ("/no/such/file", "check the path"),
        workflow_queue(queue, "unknown"): ("integration unknown is not known", "known: "),
        workflow_queue(queue, namespace="nowhere"): ("NOT_FOUND", "check that namespace nowhere"),
    }

    readings = await reading.read([good, *bad])

    assert isinstance(readings[good], QueueStats)
    for task_queue, words in bad.items():
        error = readings[task_queue]
        assert isinstance(error, BacklogUnavailable)
        assert all(word in str(error) for word in words), str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("in_container", [True, False])
async def test_localhost_without_a_server_is_the_container_itself_in_a_container(
    queue: str, *, in_container: bool
) -> None:
    port = free_port()
    known = Integrations({"default": Integration(endpoint=f"localhost:{port}")}, Integration)
    connections = Connections(known, in_container=in_container)
    task_queue = workflow_queue(queue)
    readings = await TemporalBacklogSource(connections, Clock()).read([task_queue])
    hint = "localhost is the container itself (unless its network_mode is host): name the service"
    assert (hint in str(readings[task_queue])) is in_container
    assert (f"host.docker.internal:{port}" in str(readings[task_queue])) is in_container


async def test_a_server_that_comes_back_is_read_again_by_the_same_client(
    own_temporal: TemporalServer, queue: str
) -> None:
    clock = Clock()
    reading = source(clock, default=Integration(endpoint=own_temporal.endpoint))
    task_queue = workflow_queue(queue)
    assert isinstance((await reading.read([task_queue]))[task_queue], BacklogUnavailable)

    own_temporal.start()
    await own_temporal.enqueue(queue, 2)
    assert isinstance((await reading.read([task_queue]))[task_queue], BacklogUnavailable), (
        "it was read again before the back-off was over"
    )
    clock.advance(1)
    seen = (await reading.read([task_queue]))[task_queue]
    assert isinstance(seen, QueueStats)
    assert seen.waiting == 2

    own_temporal.stop()
    clock.advance(6)
    assert isinstance((await reading.read([task_queue]))[task_queue], BacklogUnavailable)

    own_temporal.start()
    clock.advance(1)
    assert isinstance((await reading.read([task_queue]))[task_queue], QueueStats)


MOST_TRIES = 5
"""A machine that is slow may put tasks no faster than the server counts them anew."""


async def read_until(
    reading: TemporalBacklogSource, queues: list[TaskQueue], waiting: int, *, at_zero: bool
) -> Mapping[TaskQueue, QueueStats]:
    """Read again and again until so many tasks wait in each task queue."""
    async with asyncio.timeout(LIMIT):
        while True:
            answers = await reading.read(queues, queues if at_zero else [])
            known = {queue: _known(answer) for queue, answer in answers.items()}
            if all(known[queue].waiting == waiting for queue in queues):
                return known
            await asyncio.sleep(0.1)


def _known(answer: Reading) -> QueueStats:
    assert isinstance(answer, QueueStats), answer
    return answer


def real_time() -> datetime:
    return datetime.now(UTC)


async def test_tasks_that_have_come_since_the_servers_figures_are_counted(
    temporal: TemporalServer,
) -> None:
    reading = source(real_time, default=Integration(endpoint=temporal.endpoint))
    for _ in range(MOST_TRIES):
        task_queue = workflow_queue(f"queue-{uuid.uuid4().hex[:8]}")
        await read_until(reading, [task_queue], 0, at_zero=False)
        await temporal.put(task_queue.name, 40)
        answer = (await read_until(reading, [task_queue], 40, at_zero=False))[task_queue]
        if await temporal.waiting(task_queue.name) < 40:
            assert answer.counted
            return
    pytest.fail("the server's own figures were never behind")


async def test_a_service_at_zero_sees_a_single_task_on_whatever_partition_it_is(
    temporal: TemporalServer,
) -> None:
    reading = source(real_time, default=Integration(endpoint=temporal.endpoint))
    for _ in range(MOST_TRIES):
        queues = [workflow_queue(f"queue-{uuid.uuid4().hex[:8]}") for _ in range(8)]
        await read_until(reading, queues, 0, at_zero=True)
        await asyncio.gather(*(temporal.put(each.name, 1) for each in queues))
        answers = await read_until(reading, queues, 1, at_zero=True)
        behind = {each for each in queues if not await temporal.waiting(each.name)}
        if behind:
            assert all(answers[each].counted for each in behind)
            return
    pytest.fail("the server's own figures were never behind")


async def test_the_reason_says_that_tasks_were_counted(temporal: TemporalServer) -> None:
    services = FakeOrchestrator()
    reading = source(real_time, default=Integration(endpoint=temporal.endpoint))
    reconciler = Reconciler([services], reading, by_labels(), clock=real_time)
    for _ in range(MOST_TRIES):
        name = f"queue-{uuid.uuid4().hex[:8]}"
        labels = {"temporal.queue": name, "temporal.queue-types": "workflow"}
        services.add(name, labels, replicas=1)
        await reconciler.tick(act=False)
        await temporal.put(name, 40)
        async with asyncio.timeout(LIMIT):
            while True:
                report = await reconciler.tick(act=False)
                (service,) = [each for each in report.services if each.service.name == name]
                if service.backlog == 40:
                    break
                await asyncio.sleep(0.1)
        if await temporal.waiting(name) < 40:
            assert str(service.reasons[0]) == "40 waiting tasks (counted now) at target 10 → 4"
            return
    pytest.fail("the server's own figures were never behind")
