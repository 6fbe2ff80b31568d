"""Short tasks for the worker of docs/graceful-shutdown.md. This file is mounted beside it."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow

TRACES = Path("/traces")
HOST = socket.gethostname()
TASK_QUEUE = os.environ["TASK_QUEUE"]


@activity.defn
async def take_half_a_second() -> None:
    """Leave a file that names the attempt and the host; end soon."""
    info = activity.info()
    (TRACES / f"{info.workflow_id}#{info.attempt}@{HOST}").touch()
    await asyncio.sleep(0.5)


@workflow.defn
class Short:
    """One short activity."""

    @workflow.run
    async def run(self) -> None:
        """Wait for the activity, however often it has to be tried."""
        await workflow.execute_activity(
            take_half_a_second, start_to_close_timeout=timedelta(minutes=1)
        )


WORKFLOWS = [Short]
ACTIVITIES = [take_half_a_second]
