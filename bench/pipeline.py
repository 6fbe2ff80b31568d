"""The document pipeline under a burst: python bench/pipeline.py [--documents 2000]

Uses the workers of compose/quickstart in real containers, and a real Temporal server. The same
burst of documents is processed four times: under the autoscaler as a process of its own; by one
replica; by twenty replicas; and under KEDA's rules as in autoscaler/simulation/keda.py, which a
small driver applies with the code that makes our replicas. The time is measured from the burst
until all documents are done. Replica-seconds are counted from the running containers, over the same
time for all four. Once everything is done, KEDA's rules depend on time alone: the 5 minutes until
they scale in are computed, not waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker
from measure import Row, publish
from temporalio.client import Client
from temporalio.service import RPCError

from autoscaler.core.label_values import QueueType
from autoscaler.core.model import QueueStats, ServiceId
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.simulation.controllers import Observation
from autoscaler.simulation.keda import HPA_SYNC, Keda
from autoscaler.sources.temporal.queues import read_queue
from tests.real.changes import change_replicas
from tests.real.daemon import DaemonProcess
from tests.real.waiting import free_port

FILE = Path(__file__).parents[1] / "compose" / "quickstart" / "compose.yaml"
QUEUE, WORKFLOW = "document-processing", "ProcessDocumentWorkflow"
DOCUMENT = b"The invoice for the second quarter is attached to this letter."
SECONDS_EACH = 0.3
"""Seconds of work for a document: few, so that one replica alone gets all of them done."""
FEW, MANY, TARGET = 1, 20, 10
"""min, max and target in the labels of the worker."""
STARTS_AT_ONCE = 64
SAMPLE = 0.5
"""Seconds between two counts of the running containers."""
LIMIT = 900
"""Seconds after which a burst that is not done fails."""


@dataclass
class Run:
    """How the burst went under one controller."""

    drained: float = 0
    """Seconds until all documents were done."""
    replicas: list[tuple[float, int]] = field(default_factory=list)
    """Running containers, by seconds since the burst."""

    def replica_seconds(self, until: float) -> float:
        """Return the replica-seconds until then; the latest number is taken to stay."""
        ends = [at for at, _ in self.replicas[1:]] + [max(until, self.replicas[-1][0])]
        return sum(
            number * (min(end, until) - min(begin, until))
            for (begin, number), end in zip(self.replicas, ends, strict=True)
        )


class Pipeline:
    """The quickstart, as a Compose project of its own."""

    def __init__(self) -> None:
        self.project = f"tda-bench-{uuid.uuid4().hex[:6]}"
        self._port = free_port()
        self._engine = docker.from_env()
        self.service = ServiceId("compose", f"{self.project}/worker")
        self.orchestrator = ComposeOrchestrator(
            Engine(), clock=lambda: datetime.now(UTC), projects=[self.project]
        )

    @property
    def endpoint(self) -> str:
        """Host and port of its Temporal server."""
        return f"127.0.0.1:{self._port}"

    def compose(self, *arguments: str) -> None:
        """Run a command of docker compose on the project."""
        command = ["docker", "compose", "--project-name", self.project, "--file", str(FILE)]
        environment = {
            **os.environ,
            "TEMPORAL_PORT": str(self._port),
            "DOCUMENT_SECONDS": str(SECONDS_EACH),
        }
        subprocess.run(  # noqa: S603 - our own file
            [*command, *arguments], env=environment, check=True, capture_output=True, timeout=300
        )

    def running(self) -> int:
        """Return the number of running workers."""
        labels = [
            f"com.docker.compose.project={self.project}",
            "com.docker.compose.service=worker",
        ]
        return len(self._engine.api.containers(filters={"label": labels}))

    async def scale(self, desired: int) -> None:
        """Change the number of workers, and wait until replicas that stop have ended."""
        current = await asyncio.to_thread(self.running)
        if current != desired:
            await change_replicas(self.orchestrator, self.service, current, desired)
            await self.orchestrator.close(timedelta(minutes=2))

    async def waiting(self, client: Client) -> int:
        """Return the backlog of workflows and activities, as KEDA counts it."""
        types = (QueueType.WORKFLOW, QueueType.ACTIVITY)
        service = client.service_client
        each = [await read_queue(service, "default", QUEUE, type_) for type_ in types]
        return sum(stats.waiting for stats in each)


async def burst(pipeline: Pipeline, client: Client, documents: int, *, settles: bool) -> Run:
    """Upload all documents and wait until they are done; with `settles`, also for the scale-in."""
    run, gate = Run(), asyncio.Semaphore(STARTS_AT_ONCE)
    prefix = f"document-{uuid.uuid4().hex[:8]}"
    began = time.monotonic()

    async def upload(number: int) -> None:
        async with gate:
            await client.start_workflow(
                WORKFLOW, DOCUMENT, id=f"{prefix}-{number}", task_queue=QUEUE
            )

    async def watch() -> None:
        while True:
            number = await asyncio.to_thread(pipeline.running)
            run.replicas.append((time.monotonic() - began, number))
            await asyncio.sleep(SAMPLE)

    watching = asyncio.create_task(watch())
    try:
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*(upload(number) for number in range(documents)))
            query = f"WorkflowId STARTS_WITH '{prefix}' AND ExecutionStatus = 'Completed'"
            done = 0
            while done < documents:
                await asyncio.sleep(SAMPLE)
                # A server that is busy with the burst may not answer in time.
                with contextlib.suppress(RPCError):
                    done = (await client.count_workflows(query)).count
            run.drained = time.monotonic() - began
            while settles and run.replicas[-1][1] > FEW:  # noqa: ASYNC110
                await asyncio.sleep(SAMPLE)
    finally:
        watching.cancel()
    return run


async def fixed(pipeline: Pipeline, client: Client, documents: int, replicas: int) -> Run:
    """Process the burst with a fixed number of replicas."""
    await pipeline.scale(replicas)
    return await burst(pipeline, client, documents, settles=False)


async def ours(pipeline: Pipeline, client: Client, documents: int) -> Run:
    """Process the burst under the autoscaler, with the labels of the example."""
    await pipeline.scale(FEW)
    settings = {
        "AUTOSCALER_PROJECTS": pipeline.project,
        "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": pipeline.endpoint,
    }
    with tempfile.TemporaryDirectory() as folder, DaemonProcess(Path(folder), settings) as daemon:
        await asyncio.to_thread(daemon.wait_for, "tick", services=1)
        return await burst(pipeline, client, documents, settles=True)


async def keda(pipeline: Pipeline, client: Client, documents: int) -> Run:
    """Process the burst under KEDA's rules; it comes half-way between two decisions of the HPA."""
    await pipeline.scale(FEW)
    rules = Keda(TARGET, least=FEW, most=MANY)
    rules.start(datetime.now(UTC))

    async def control() -> None:
        while True:
            began = time.monotonic()
            observation = Observation(
                datetime.now(UTC),
                await asyncio.to_thread(pipeline.running),
                _stats(await pipeline.waiting(client)),
            )
            await pipeline.scale(rules.decide(observation).desired)
            await asyncio.sleep(HPA_SYNC.total_seconds() - (time.monotonic() - began))

    controlling = asyncio.create_task(control())
    try:
        await asyncio.sleep(HPA_SYNC.total_seconds() / 2)
        run = await burst(pipeline, client, documents, settles=False)
    finally:
        controlling.cancel()
    at, replicas = run.replicas[-1]
    now = datetime.now(UTC)
    while replicas > FEW:
        at, now = at + HPA_SYNC.total_seconds(), now + HPA_SYNC
        replicas = rules.decide(Observation(now, replicas, _stats(0))).desired
        run.replicas.append((at, replicas))
    return run


def _stats(waiting: int) -> QueueStats:
    return QueueStats(waiting, timedelta(), 0.0, 0.0)


async def compare(documents: int) -> list[Row]:
    """Process the same burst four times, one after the other; return the rows of the table."""
    pipeline = Pipeline()
    try:
        pipeline.compose("up", "--detach", "--no-build", "temporal", "worker")
        client = await Client.connect(pipeline.endpoint)
        runs = {
            "ours": await ours(pipeline, client, documents),
            "fixed at 20": await fixed(pipeline, client, documents, MANY),
            "KEDA's rules": await keda(pipeline, client, documents),
            "fixed at 1": await fixed(pipeline, client, documents, FEW),
        }
    finally:
        pipeline.compose("down", "--volumes", "--timeout", "1")
    until = max(run.replicas[-1][0] for run in runs.values())
    mine = runs.pop("ours")
    spent = mine.replica_seconds(until)
    rows = [
        Row(f"{documents:,} documents, ours: time to drain", [mine.drained]),
        Row(f"ours: replica-seconds in {until:.0f} s", [spent], "s"),
    ]
    for name, run in runs.items():
        theirs = run.replica_seconds(until)
        rows += [
            Row(f"{name}: time to drain", [run.drained]),
            Row(f"{name}: replica-seconds in {until:.0f} s", [theirs], "s"),
            Row(f"time to drain, ours: {name}", [mine.drained / run.drained], "ratio"),
            Row(f"replica-seconds, ours: {name}", [spent / theirs], "ratio"),
        ]
    return rows


def main() -> None:
    """Compare, print the table and write it to docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2000)
    asked = parser.parse_args()
    publish("pipeline", asyncio.run(compare(asked.documents)))
    # Not sys.exit: the Temporal client can crash an interpreter that ends right after a call.
    os._exit(0)


if __name__ == "__main__":
    main()
