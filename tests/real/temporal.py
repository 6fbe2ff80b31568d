"""A Temporal dev server, and workflow tasks that wait on it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from temporalio import workflow
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.real.waiting import LIMIT, free_port, until

Tasks = Sequence[WorkflowHandle[Any, Any]]


@workflow.defn(name="Waiting")
class Waiting:
    """A workflow whose first task waits for a worker and completes the workflow."""

    @workflow.run
    async def run(self) -> None:
        """End at once."""


class TemporalServer:
    """`temporal server start-dev` on a free port of the loopback address."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Keep the data in a folder. `environment` is added to the environment of this process."""
        self._port, self._metrics_port = free_port(), free_port()
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self, **dynamic: object) -> None:
        """Start the server and wait until it answers. Port and data stay the same over restarts.

        `dynamic` is the server's dynamic configuration, with `__` for each dot.
        """
        command = [self._cli(), "server", "start-dev", "--headless", "--log-level", "error"]
        command += ["--port", str(self._port), "--metrics-port", str(self._metrics_port)]
        command += ["--db-filename", str(self._folder / "temporal.db")]
        for key, value in dynamic.items():
            pair = f"{key.replace('__', '.')}={json.dumps(value)}"
            command += ["--dynamic-config-value", pair]
        with (self._folder / "temporal.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        until(lambda: self._describe("default"), f"Temporal at {self.endpoint}")

    def stop(self) -> None:
        """Stop the server if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def freeze(self) -> None:
        """Suspend the server: it keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def calls(self, operation: str) -> int:
        """Return how many calls of an operation the server has answered so far."""
        with urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        # The counter service_requests misses the first call of each series; the latencies have it.
        counter = re.compile(
            rf'^service_latency_count{{.*operation="{operation}",service_name="frontend"}} (\d+)$',
            re.MULTILINE,
        )
        return sum(int(count) for count in counter.findall(metrics))

    def create_namespace(self, name: str) -> None:
        """Add a namespace and wait until the server knows it."""
        command = [self._cli(), "operator", "namespace", "create", name]
        subprocess.run([*command, "--address", self.endpoint], check=True, timeout=30)
        until(lambda: self._describe(name), f"namespace {name}")

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace."""
        command = [self._cli(), "operator", "namespace", "delete", "--namespace", name, "--yes"]
        subprocess.run([*command, "--address", self.endpoint], check=True, timeout=30)

    async def client(self, namespace: str = "default") -> Client:
        return await Client.connect(self.endpoint, namespace=namespace)

    async def enqueue(self, queue: str, number: int, namespace: str = "default") -> Tasks:
        """Put `number` workflow tasks on a new task queue that no worker polls.

        Returns when the server counts all of them. This takes a moment: the server adds tasks with
        a delay, and caches its count of a task queue for 5 s.
        """
        tasks = await self.put(queue, number, namespace)
        async with asyncio.timeout(LIMIT):
            # The server does not announce it.
            while await self.waiting(queue, namespace) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        return tasks

    async def put(self, queue: str, number: int, namespace: str = "default") -> Tasks:
        """Put `number` workflow tasks on a task queue, and do not wait for them to be counted."""
        client = await self.client(namespace)
        gate = asyncio.Semaphore(32)

        async def start() -> WorkflowHandle[Any, Any]:
            async with gate:
                return await client.start_workflow(
                    "Waiting", id=f"waiting-{uuid.uuid4()}", task_queue=queue
                )

        return await asyncio.gather(*(start() for _ in range(number)))

    async def waiting(self, queue: str, namespace: str = "default") -> int:
        """Return how many workflow tasks wait, as the server's own figures say it."""
        client = await self.client(namespace)
        return await self._waiting(client, queue)

    async def _waiting(self, client: Client, queue: str) -> int:
        request = DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            report_stats=True,
        )
        answer = await client.workflow_service.describe_task_queue(request)
        return answer.stats.approximate_backlog_count

    async def drain(self, queue: str, tasks: Tasks) -> None:
        """Run a worker until these tasks are done."""
        async with self.working(queue):
            await asyncio.gather(*(task.result() for task in tasks))

    async def emptied(self, queue: str) -> None:
        """Wait until the server counts no waiting workflow task in a task queue."""
        client = await self.client()
        async with asyncio.timeout(LIMIT):
            while await self._waiting(client, queue):  # noqa: ASYNC110 - it does not announce it
                await asyncio.sleep(0.2)

    @asynccontextmanager
    async def working(self, queue: str) -> AsyncIterator[None]:
        """Let a worker poll a task queue while the block runs."""
        client = await self.client()
        runner = UnsandboxedWorkflowRunner()
        async with Worker(client, task_queue=queue, workflows=[Waiting], workflow_runner=runner):
            yield

    def _describe(self, namespace: str) -> bool:
        command = [self._cli(), "operator", "namespace", "describe", namespace]
        answer = subprocess.run(
            [*command, "--address", self.endpoint], capture_output=True, check=False, timeout=30
        )
        return answer.returncode == 0

    @staticmethod
    def _cli() -> str:
        return str(Path(sys.executable).parent / "temporal")
