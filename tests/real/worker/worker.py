"""A worker for the tests. It runs in a container, and the environment configures it."""

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
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

TRACES = Path("/traces")
HOST = socket.gethostname()
LONGEST = timedelta(hours=1)


@activity.defn
async def run_until_released() -> None:
    """Leave a file that names the attempt and the host; run until `release`, or for RUN_SECONDS."""
    info = activity.info()
    (TRACES / f"{info.workflow_id}#{info.attempt}@{HOST}").touch()
    end = time.monotonic() + float(os.environ.get("RUN_SECONDS", "inf"))
    while not (TRACES / "release").exists() and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.2)


@workflow.defn
class Task:
    """One activity, or one local activity."""

    @workflow.run
    async def run(self, local: bool) -> None:  # noqa: FBT001 - workflows take positional arguments
        """Wait for the activity, however often it has to be tried."""
        if local:
            await workflow.execute_local_activity(
                run_until_released, start_to_close_timeout=LONGEST
            )
        else:
            await workflow.execute_activity(run_until_released, start_to_close_timeout=LONGEST)


@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class Pinned:
    """A workflow that stays on the build that it began on, until it gets the signal to end."""

    def __init__(self) -> None:
        self._over = False

    @workflow.signal
    def end(self) -> None:
        """Let the workflow end."""
        self._over = True

    @workflow.run
    async def run(self) -> None:
        """Wait for the signal."""
        await workflow.wait_condition(lambda: self._over)


async def main() -> None:
    """Work until SIGTERM, then finish the running activities.

    With SIGTERM=ignored there is no handler: as process 1 of its container, this one then goes on.
    With AFTERWARDS=hang it never ends once its worker is over.
    """
    asked = os.environ
    seconds = float(asked.get("HEARTBEAT_SECONDS", "2"))
    runtime = Runtime(
        telemetry=TelemetryConfig(),
        worker_heartbeat_interval=timedelta(seconds=seconds) if seconds else None,
    )
    client = await Client.connect(**ClientConfig.load_client_connect_config(), runtime=runtime)
    stop = asyncio.Event()
    if asked.get("SIGTERM") != "ignored":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    build = asked.get("BUILD_ID")
    async with Worker(
        client,
        task_queue=asked["TASK_QUEUE"],
        workflows=[Pinned] if build else [Task],
        activities=[] if build else [run_until_released],
        workflow_runner=UnsandboxedWorkflowRunner(),
        # Few tasks at once, so that several workflows spread over several replicas.
        max_concurrent_workflow_tasks=2,
        max_concurrent_activities=None if build else int(asked.get("SLOTS", "1")),
        disable_eager_activity_execution=True,
        graceful_shutdown_timeout=timedelta(seconds=float(asked.get("SHUTDOWN_SECONDS", "50"))),
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(asked.get("DEPLOYMENT", "none"), build),
            use_worker_versioning=True,
        )
        if build
        else None,
    ):
        (TRACES / f"ready-{HOST}").touch()
        await stop.wait()
    if asked.get("AFTERWARDS") == "hang":
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
