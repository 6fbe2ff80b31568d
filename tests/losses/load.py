"""The tasks of the services at work."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.enums.v1 import TimeoutType
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from tests.losses.columns import Column
from tests.losses.ledger import Task

WORKFLOWS = "workflows"
"""The task queue of the workflows. A worker in this process has them; it is never stopped."""

LOAD = 0.6
"""Tasks at once, for each replica that is wished. So some replicas are idle, and most are busy."""
SHORTEST = 1.0
LATE = 30.0
"""Seconds beyond its own time after which Temporal takes an attempt for lost. worker.py, too."""


@workflow.defn
class RemoteTask:
    """One activity on the task queue of a column."""

    @workflow.run
    async def run(self, queue: str, seconds: float) -> None:
        """Wait for the activity, however often it has to be tried."""
        await workflow.execute_activity(
            "work",
            seconds,
            task_queue=queue,
            start_to_close_timeout=timedelta(seconds=seconds + LATE),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=1)),
        )


class Load:
    """Tasks for every column, until it is `over`."""

    def __init__(
        self, wished: Mapping[str, int], over: asyncio.Event, seed: int, longest: float
    ) -> None:
        """Follow the `wished` replicas of each column; the longest task takes `longest` seconds."""
        self.tasks: dict[str, Task] = {}
        self._wished = wished
        self._over = over
        self._seed = seed
        self._longest = longest
        self._numbers = itertools.count(1)

    async def feed(self, client: Client, column: Column) -> None:
        """Keep the replicas of a column at work; in the end, wait for the tasks."""
        dice = random.Random(f"{self._seed} feed {column.name}")
        open_: set[asyncio.Task[None]] = set()
        while not await passed(self._over, 0.5):
            done = {each for each in open_ if each.done()}
            open_ -= done
            for each in done:
                each.result()  # What goes wrong with a task ends the program.
            while len(open_) < LOAD * self._wished[column.name]:
                # Most tasks are short, and one in fifty takes more than 50 s.
                seconds = min(SHORTEST * dice.paretovariate(1), self._longest)
                open_.add(asyncio.create_task(self._run(client, column, seconds)))
        # A task that is lost at the very end is tried again after its time is over.
        if open_:
            await asyncio.wait(open_, timeout=2 * self._longest + 2 * LATE)
        for each in open_:
            each.cancel()

    async def _run(self, client: Client, column: Column, seconds: float) -> None:
        """Run one task and read from its history how often it was tried."""
        id_ = f"{column.name}-{next(self._numbers)}"
        self.tasks[id_] = Task(id_, seconds, None)
        while self.tasks[id_].attempts is None:
            try:
                await self._start(client, column, id_, seconds)
                handle = client.get_workflow_handle(id_)
                await handle.result()
                self.tasks[id_] = await read(handle, seconds)
            except (RPCError, RuntimeError):
                await asyncio.sleep(1)

    @staticmethod
    async def _start(client: Client, column: Column, id_: str, seconds: float) -> None:
        """Start the workflow of a task, if it was not started before."""
        local = column.local
        # The answer to an earlier call may have been lost.
        with suppress(WorkflowAlreadyStartedError):
            await client.start_workflow(
                "LocalTask" if local else "RemoteTask",
                args=[seconds] if local else [column.name, seconds],
                id=id_,
                task_queue=column.name if local else WORKFLOWS,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                # This ends a workflow task whose worker is gone, and must survive a stall.
                task_timeout=timedelta(seconds=LATE),
            )


async def passed(over: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until it is over; return whether it is."""
    with suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), seconds)
    return over.is_set()


async def read(handle: WorkflowHandle[Any, Any], seconds: float) -> Task:
    """Return a task that is done, as its history has it; one attempt takes so many seconds.

    A history has no attempts of local activities: the journals alone have them. But it says when
    Temporal gave up the workflow task in which one ran.
    """
    attempts, timed_out = 1, []
    async for event in handle.fetch_history_events():
        started = event.activity_task_started_event_attributes
        attempts = max(attempts, started.attempt)
        given_up = event.workflow_task_timed_out_event_attributes
        if given_up.timeout_type == TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE:
            timed_out.append(event.event_time.ToMicroseconds() / 1e6)
    return Task(handle.id, seconds, attempts, timed_out)
