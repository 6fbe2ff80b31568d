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

# Longer than any activity takes, so that a replica told to stop finishes what it runs; shorter
# than the service's stop_grace_period, after which Docker kills it.
GRACEFUL_SHUTDOWN = timedelta(seconds=20)

# Tells Temporal, and with it the autoscaler, which worker is busy. By default once a minute.
HEARTBEAT = timedelta(seconds=10)

LONGEST_PAUSE = 5.0
"""Seconds between two attempts to reach Temporal, at most."""

log = logging.getLogger("worker")


async def connect() -> Client:
    """Connect to the Temporal of the TEMPORAL_* variables, waiting until it is there.

    A stack on Swarm starts everything at once, so Temporal may well come after its workers.
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
    """Work until cancelled, then finish the activities that run."""
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
            # Else a worker may start the activities of its own workflows without putting them in
            # the queue, where the backlog would count them and other replicas could take them.
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
