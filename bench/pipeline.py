"""The document pipeline under a burst: python bench/pipeline.py [--documents 2000]

The workers of compose/quickstart in real containers, a real Temporal server, and the same burst of
documents for each of four: the autoscaler as a process of its own; one replica; twenty replicas;
and KEDA's rules as autoscaler/core/keda.py has them, applied by a small driver over the same code
that makes our replicas. From the burst until all documents are done; replica-seconds are counted
over the same time for all of them, by the running containers. What KEDA does once everything
is done depends on nothing any more and is computed, not waited for: it takes 5 minutes.
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

from autoscaler.core.model import QueueStats, ScalingAction, ServiceId
from autoscaler.core.spec import QueueType
from autoscaler.orchestrators.compose import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.simulation.keda import HPA_SYNC, Keda
from autoscaler.simulation.simulation import Seen
from autoscaler.sources.temporal.queues import read_queue
from tests.real.daemon import DaemonProcess
from tests.real.waiting import free_port

FILE = Path(__file__).parents[1] / "compose" / "quickstart" / "compose.yaml"
QUEUE, WORKFLOW = "document-processing", "ProcessDocumentWorkflow"
DOCUMENT = b"The invoice for the second quarter is attached to this letter."
SECONDS_EACH = 0.3
"""Of work for a document: short, so that one replica alone comes to an end."""
FEW, MANY, TARGET = 1, 20, 10
"""As the labels of the worker have them."""
STARTS_AT_ONCE = 64
SAMPLE = 0.5
"""Seconds between two looks at the containers."""
LIMIT = 900


@dataclass
class Run:
    """What one controller made of the burst."""

    drained: float = 0
    """Seconds until all documents were done."""
    replicas: list[tuple[float, int]] = field(default_factory=list)
    """Running containers, by seconds since the burst."""

    def replica_seconds(self, until: float) -> float:
        """Add up the replicas over time; the latest number stands from then on."""
        ends = [at for at, _ in self.replicas[1:]] + [max(until, self.replicas[-1][0])]
        return sum(
            number * (min(end, until) - min(begin, until))
            for (begin, number), end in zip(self.replicas, ends, strict=True)
        )


class Pipeline:
    """The quickstart as a project of its own."""

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
        """Where its Temporal answers."""
        return f"127.0.0.1:{self._port}"

    def compose(self, *arguments: str) -> None:
        """Run docker compose on it."""
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
        """Count the workers that run."""
        labels = [
            f"com.docker.compose.project={self.project}",
            "com.docker.compose.service=worker",
        ]
        return len(self._engine.api.containers(filters={"label": labels}))

    async def scale(self, desired: int) -> None:
        """Change the number of workers, to the end."""
        current = await asyncio.to_thread(self.running)
        if current != desired:
            action = ScalingAction(self.service, current, desired)
            await self.orchestrator.apply(action)
            await self.orchestrator.close(timedelta(minutes=2))

    async def waiting(self, client: Client) -> int:
        """Ask for the backlog, as KEDA does."""
        types = (QueueType.WORKFLOW, QueueType.ACTIVITY)
        service = client.service_client
        requests = [queue_request("default", QUEUE, type_) for type_ in types]
        each = [read_queue(await queue_call(service, request)()) for request in requests]
        return sum(stats.waiting for stats in each)


async def burst(pipeline: Pipeline, client: Client, documents: int, *, settles: bool) -> Run:
    """Upload all documents, and watch until all are done, or until few replicas are left."""
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
                # A server that is busy with the burst may not find the time to count.
                with contextlib.suppress(RPCError):
                    done = (await client.count_workflows(query)).count
            run.drained = time.monotonic() - began
            while settles and run.replicas[-1][1] > FEW:  # noqa: ASYNC110
                await asyncio.sleep(SAMPLE)
    finally:
        watching.cancel()
    return run


async def fixed(pipeline: Pipeline, client: Client, documents: int, replicas: int) -> Run:
    """Let so many replicas do it."""
    await pipeline.scale(replicas)
    return await burst(pipeline, client, documents, settles=False)


async def ours(pipeline: Pipeline, client: Client, documents: int) -> Run:
    """Let the autoscaler do it, with the labels of the example."""
    await pipeline.scale(FEW)
    settings = {
        "AUTOSCALER_PROJECTS": pipeline.project,
        "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": pipeline.endpoint,
    }
    with tempfile.TemporaryDirectory() as folder, DaemonProcess(Path(folder), settings) as daemon:
        await asyncio.to_thread(daemon.wait_for, "tick", services=1)
        return await burst(pipeline, client, documents, settles=True)


async def keda(pipeline: Pipeline, client: Client, documents: int) -> Run:
    """Let KEDA's rules do it; the burst comes half-way between two looks of the HPA."""
    await pipeline.scale(FEW)
    rules = Keda(TARGET, least=FEW, most=MANY)
    rules.start(datetime.now(UTC))

    async def look() -> None:
        while True:
            began = time.monotonic()
            seen = Seen(
                datetime.now(UTC),
                await asyncio.to_thread(pipeline.running),
                _stats(await pipeline.waiting(client)),
            )
            await pipeline.scale(rules.wanted(seen).replicas)
            await asyncio.sleep(HPA_SYNC.total_seconds() - (time.monotonic() - began))

    looking = asyncio.create_task(look())
    try:
        await asyncio.sleep(HPA_SYNC.total_seconds() / 2)
        run = await burst(pipeline, client, documents, settles=False)
    finally:
        looking.cancel()
    at, replicas = run.replicas[-1]
    now = datetime.now(UTC)
    while replicas > FEW:
        at, now = at + HPA_SYNC.total_seconds(), now + HPA_SYNC
        replicas = rules.wanted(Seen(now, replicas, _stats(0))).replicas
        run.replicas.append((at, replicas))
    return run


def _stats(waiting: int) -> QueueStats:
    return QueueStats(waiting, timedelta(), 0.0, 0.0)


async def compare(documents: int) -> list[Row]:
    """Let all four do the same work, one after the other."""
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
    """Compare, print, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2000)
    asked = parser.parse_args()
    publish("pipeline", asyncio.run(compare(asked.documents)))
    # Not the ordinary end: the Temporal client's own can crash right after a call.
    os._exit(0)


if __name__ == "__main__":
    main()
