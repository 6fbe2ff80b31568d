"""Backlogs as a real Temporal server reports them."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.integration import Integration
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import QueueStats, TaskQueue
from autoscaler.integrations.order import Integrations
from autoscaler.reconcile import Reconciler
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels
from tests.real.temporal import TemporalServer
from tests.real.waiting import free_port


@pytest.fixture
def queue() -> str:
    return f"queue-{uuid.uuid4().hex[:8]}"


def source(clock: Clock | None = None, **integrations: Integration) -> TemporalBacklogSource:
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
