"""Three nodes with real workers: the Swarm picks the tasks to stop, and no work is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from autoscaler.core.integration import Integration
from autoscaler.core.model import ServiceId
from autoscaler.core.report import ServiceReport
from autoscaler.integrations.order import Integrations
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from autoscaler.reconcile import Reconciler
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from tests.fakes.wishes import by_labels
from tests.matrix.cluster import Cluster, Stack
from tests.matrix.ours import now
from tests.real.crew import CODE, IMAGE, Crew, Handle, ServerInDocker
from tests.real.waiting import until_async

QUEUE = "busy-swarm"
BUSY_FOR = 45
"""Seconds that a long task takes."""
LABELS = {
    "temporal.queue": QUEUE,
    "temporal.max": "20",
    "temporal.scale-in.window": "0s",
}


@pytest.fixture
def server(cluster: Cluster) -> Iterator[ServerInDocker]:
    """A Temporal server on the network of the nodes."""
    server = ServerInDocker(cluster.network)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def daemon(cluster: Cluster, stack: Stack, server: ServerInDocker) -> AsyncIterator[Daemon]:
    engine = Engine(environment=cluster.manager.environment)
    yield Daemon(engine, stack, server)
    engine.close()


class Daemon:
    """The parts of the daemon, one tick at a time."""

    def __init__(self, engine: Engine, stack: Stack, server: ServerInDocker) -> None:
        known = {"default": Integration(endpoint=server.endpoint)}
        connections = Connections(Integrations(known, Integration))
        self._service = ServiceId("swarm", stack.service)
        self._orchestrator = SwarmOrchestrator(
            engine, clock=now, projects=Projects(engine, [stack.name])
        )
        self._reconciler = Reconciler(
            [self._orchestrator],
            TemporalBacklogSource(connections, now),
            by_labels(),
            clock=now,
        )

    async def next_to_go(self) -> set[str | None]:
        """Return the hosts of the tasks that the Swarm would stop first."""
        replicas = await self._orchestrator.replicas(self._service)
        return {each.host for each in replicas if each.turn == replicas[0].turn}

    async def tick(self) -> ServiceReport:
        """Tick, and wait until the changes are complete."""
        (report,) = (await self._reconciler.tick()).services
        await self._reconciler.close(timedelta(seconds=60))
        return report


async def attempts(client: Client, task: Handle) -> list[int]:
    """Return the attempt number of every activity of a workflow."""
    history = await client.get_workflow_handle(task.id).fetch_history()
    return [
        event.activity_task_started_event_attributes.attempt
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    ]


async def test_idle_tasks_are_stopped_as_far_as_the_order_allows_and_no_busy_one(
    cluster: Cluster, stack: Stack, server: ServerInDocker, daemon: Daemon, tmp_path: Path
) -> None:
    await asyncio.to_thread(cluster.bring, IMAGE)
    crew = Crew(server, tmp_path, QUEUE)
    stack.deploy(
        20,
        command=["python", "/code/worker.py"],
        image=IMAGE,
        init=True,
        stop_grace_period="60s",
        environment={
            "TEMPORAL_ADDRESS": server.address,
            "TASK_QUEUE": QUEUE,
            "RUN_SECONDS": str(BUSY_FOR),
        },
        configs=[{"source": "worker", "target": "/code/worker.py"}],
        volumes=[{"type": "tmpfs", "target": "/traces"}],
        labels_of_deploy=LABELS,
        top={"configs": {"worker": {"file": str(CODE / "worker.py")}}},
    )
    await crew.reporting(20)
    tasks = [await crew.start() for _ in range(5)]
    async with asyncio.timeout(60):
        while len(await crew.busy()) < 5:  # noqa: ASYNC110 - no event announces a heartbeat
            await asyncio.sleep(0.5)

    blocked = not (await daemon.next_to_go()).isdisjoint(await crew.busy())
    left, interrupted, reasons = [], 0, set[str]()
    ending = asyncio.gather(*(task.result() for task in tasks))
    while not ending.done():
        report = await daemon.tick()
        left.append(report.replicas)
        interrupted += report.interrupted
        reasons |= {reason.code for reason in report.reasons}
        await asyncio.sleep(0.5)

    client = await crew.client()
    assert [await attempts(client, task) for task in tasks] == [[1]] * 5
    assert interrupted == 0
    if blocked:
        assert left[0] == 20, "a busy task was next, and the number was lowered"
    else:
        assert min(left) < 20, "idle tasks were next, and none was stopped"
    assert "busy" in reasons

    async def down_to_one() -> None:
        while (await daemon.tick()).replicas > 1:  # noqa: ASYNC110 - each turn is a tick
            await asyncio.sleep(0.5)

    await asyncio.wait_for(down_to_one(), 90)
    await until_async(lambda: len(stack.running()) == 1, "1 task")
