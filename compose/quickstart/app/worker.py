"""A worker of the pipeline: the service that the autoscaler scales."""

import asyncio
import contextlib
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from app.activities import DocumentActivities
from app.workflow import TASK_QUEUE, ProcessDocumentWorkflow

ACTIVITIES_AT_ONCE = 2

# Longer than any activity takes, so that a replica that is told to stop finishes its activities;
# shorter than the service's stop_grace_period, after which Docker kills the replica.
GRACEFUL_SHUTDOWN = timedelta(seconds=20)

# Heartbeats tell Temporal, and so the autoscaler, which workers are busy. The default is 60 s.
HEARTBEAT = timedelta(seconds=10)

LONGEST_PAUSE = 5.0
"""The most seconds between two attempts to reach Temporal."""

log = logging.getLogger("worker")


async def connect() -> Client:
    """Connect to the Temporal server of the TEMPORAL_* variables; wait until it answers.

    A stack on Swarm starts everything at once, so the server may be ready after its workers.
    """
    runtime = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=HEARTBEAT)
    config = ClientConfig.load_client_connect_config()
    pause = 0.5
    while True:
        try:
            return await Client.connect(**config, runtime=runtime)
        except RuntimeError as error:
            log.warning("Temporal does not answer yet, trying again in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def work() -> None:
    """Work until cancelled, then finish the running activities."""
    activities = DocumentActivities(
        results=Path(os.environ.get("RESULTS", "results")),
        document_seconds=float(os.environ.get("DOCUMENT_SECONDS", "2.5")),
    )
    with ThreadPoolExecutor(ACTIVITIES_AT_ONCE) as threads:
        worker = Worker(
            await connect(),
            task_queue=TASK_QUEUE,
            workflows=[ProcessDocumentWorkflow],
            activities=[
                activities.extract_text,
                activities.analyze_content,
                activities.store_results,
            ],
            activity_executor=threads,
            max_concurrent_activities=ACTIVITIES_AT_ONCE,
            # Eager execution gives a worker the activities of its own workflows directly. They
            # must go through the task queue: there they count as backlog, and any replica can
            # take them.
            disable_eager_activity_execution=True,
            graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
        )
        async with worker:
            log.info("working on task queue %s", TASK_QUEUE)
            await asyncio.Event().wait()


async def main() -> None:
    """Work until Docker or Ctrl-C asks to stop."""
    working = asyncio.create_task(work())
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working
    log.info("stopped")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(main())
