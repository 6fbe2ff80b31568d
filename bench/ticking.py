"""One side of bench/tick.py, in a process of its own: ticking.py daemon|bare ENDPOINT SERVICES.

It says `ready`, and for each line that comes in, it makes one tick of the daemon or one bare loop
of the same calls, and answers with the seconds of wall and of CPU that it took.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from measure import queue_name
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import GrpcCompression

from autoscaler.app import build
from autoscaler.cli.run import OBJECTS_BETWEEN_SEARCHES
from autoscaler.core.integration import Integration
from autoscaler.core.sighting import LAG
from autoscaler.settings import Settings
from autoscaler.sources.temporal.calls import AT_ONCE
from autoscaler.telemetry.logging import LogObserver, make_logger

DAEMON, BARE = "daemon", "bare"
"""The sides."""
READY = "ready"
TYPES = (
    TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
)
DEADLINE = timedelta(seconds=5)
MOST_CALLS = 10_000
"""What is measured is the work of the daemon, not its restraint."""
INTERVAL = timedelta(seconds=5) + LAG
"""Between two ticks of the daemon."""

Work = Callable[[], Awaitable[object]]


class SteppingClock:
    """A clock on which as much passes between two ticks as does between two polls of the daemon.

    A tick finds no readings to reuse, and a list of containers as old as in the daemon.
    """

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self._now

    def step(self) -> None:
        """Let a poll interval pass."""
        self._now += INTERVAL


async def bare(client: Client, numbers: range) -> None:
    """Make the calls of one tick with nothing around them."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def call(number: int, type_: TaskQueueType.ValueType) -> None:
        request = DescribeTaskQueueRequest(
            namespace="default",
            task_queue=TaskQueue(name=queue_name(number)),
            task_queue_type=type_,
            report_stats=True,
        )
        async with gate:
            await client.workflow_service.describe_task_queue(
                request, retry=False, timeout=DEADLINE
            )

    await asyncio.gather(*(call(number, type_) for number in numbers for type_ in TYPES))


async def connect(endpoint: str) -> Client:
    """Connect a client with the settings of the daemon's own."""
    return await Client.connect(endpoint, grpc_compression=GrpcCompression.NONE)


async def serve(side: str, endpoint: str, services: int) -> None:
    """Make a tick or a loop for each line that comes in, and end the process when none does."""
    gc.set_threshold(OBJECTS_BETWEEN_SEARCHES)
    if side == DAEMON:
        await _answer(_ticks(endpoint, services))
    else:
        client = await connect(endpoint)
        await _answer(lambda: bare(client, range(services)))
    # Not the ordinary end: it would wait for threads that ask the engine, and the Temporal client's
    # own can crash right after a call.
    os._exit(0)


def _ticks(endpoint: str, services: int) -> Work:
    """Return what makes one tick over services of which nothing is to be scaled."""
    clock = SteppingClock()
    integration = Integration(endpoint=endpoint)
    app = build(Settings(integrations={"default": integration}, rpc_budget=MOST_CALLS), clock)
    observer = LogObserver(make_logger("warning", json=True))
    watching = asyncio.create_task(app.watcher.watch(lambda: None))

    async def tick() -> None:
        if watching.done():
            await watching
        clock.step()
        report = await app.reconciler.tick(act=False)
        observer.observe(report)
        read = sum(service.backlog is not None for service in report.services)
        if read != services:
            raise SystemExit(f"{read} of {services} backlogs could be read")

    return tick


async def _answer(work: Work) -> None:
    """Do a piece of work for each line. What earlier ones have left to collect is no part of it."""
    await work()
    print(READY, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        gc.collect()
        wall, used = time.perf_counter(), time.process_time()
        await work()
        wall, used = time.perf_counter() - wall, time.process_time() - used
        print(wall, used, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
