"""A process with one worker, for tests on this host: `python -m tests.real.small_worker`.

It sends a heartbeat a second, and shuts its worker down on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker


@activity.defn
async def work() -> None:
    """Do nothing."""


async def main(endpoint: str, namespace: str, queue: str) -> None:
    """Work until SIGTERM."""
    runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=1))
    client = await Client.connect(endpoint, namespace=namespace, runtime=runtime)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Worker(client, task_queue=queue, activities=[work]):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
