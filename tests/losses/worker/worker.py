"""A worker of `make losses`. It runs in a container, and the environment configures it.

Every attempt that begins and every one that ends well is a line of a file named like the host.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

JOURNAL = Path("/traces") / socket.gethostname()
LATE = 30
"""Seconds beyond its own time after which an attempt counts as lost."""


@activity.defn
async def work(seconds: float) -> None:
    """Take this long."""
    note("begun")
    await asyncio.sleep(seconds)
    note("ended")


def note(what: str) -> None:
    """Write a line about the running attempt."""
    with JOURNAL.open("a") as journal:
        journal.write(f"{what} {activity.info().workflow_id} {time.time()}\n")


@workflow.defn
class LocalTask:
    """One local activity."""

    @workflow.run
    async def run(self, seconds: float) -> None:
        """Wait for the activity, however often it has to be tried."""
        limit = timedelta(seconds=seconds + LATE)
        await workflow.execute_local_activity(work, seconds, start_to_close_timeout=limit)


async def main() -> None:
    """Work until SIGTERM, then finish what runs. Without HANDLES, nothing listens to SIGTERM."""
    asked = os.environ
    seconds = float(asked["HEARTBEAT_SECONDS"])
    runtime = Runtime(
        telemetry=TelemetryConfig(),
        worker_heartbeat_interval=timedelta(seconds=seconds) if seconds else None,
    )
    client = await Client.connect(**ClientConfig.load_client_connect_config(), runtime=runtime)
    stop = asyncio.Event()
    if "HANDLES" in asked:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    local = "LOCAL" in asked
    async with Worker(
        client,
        task_queue=asked["TASK_QUEUE"],
        workflows=[LocalTask] if local else [],
        activities=[work],
        workflow_runner=UnsandboxedWorkflowRunner(),
        # One task at once, so that tasks spread over the replicas. A worker of workflows needs room
        # for two of their tasks.
        max_concurrent_workflow_tasks=2 if local else None,
        max_concurrent_activities=1,
        max_concurrent_local_activities=1,
        disable_eager_activity_execution=True,
        graceful_shutdown_timeout=timedelta(hours=1),
    ):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
