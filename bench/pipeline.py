"""The document pipeline: python bench/pipeline.py [burst] [steady]

Uses the workers of compose/quickstart in real containers, and a real Temporal server. The same
documents are processed under the autoscaler as a process of its own; by fixed numbers of replicas;
and under KEDA's rules as in autoscaler/simulation/keda.py, which a small driver applies with the
code that makes our replicas.

- burst: 2,000 documents at once. The time is measured until all are done.
- steady: 6 documents a second for ten minutes. For each document, the time is measured from its
  upload until it is done.

Replica-seconds are counted from the running containers, over the same time for all. Once everything
is done, KEDA's rules depend on time alone: the 5 minutes until they scale in are computed, not
waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import docker
from measure import Row, run_parts
from temporalio.client import Client
from temporalio.service import RPCError

from autoscaler.core.backlog import QueueStats
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from autoscaler.simulation.controllers import Observation
from autoscaler.simulation.keda import HPA_SYNC, Keda
from autoscaler.sources.temporal.queues import ask_queue, read_queue
from tests.real.changes import change_replicas
from tests.real.daemon import DaemonProcess
from tests.real.waiting import free_port

FILE = Path(__file__).parents[1] / "compose" / "quickstart" / "compose.yaml"
QUEUE, WORKFLOW = "document-processing", "ProcessDocumentWorkflow"
DOCUMENT = b"The invoice for the second quarter is attached to this letter."
BURST = 2000
"""Documents at once."""
BURST_SECONDS = 0.3
"""Seconds of work for each of them: few, so that one replica alone gets all of them done."""
PER_SECOND, STEADY_FOR = 5, 600.0
"""Documents a second that arrive steadily, and for how many seconds."""
STEADY_SECONDS = 2.5
"""Seconds of work for each of them."""
FEW, MANY, TARGET = 1, 20, 10
"""min, max and target in the labels of the worker."""
STARTS_AT_ONCE = 64
SAMPLE = 0.5
"""Seconds between two counts of the running containers."""
LIMIT = 900
"""Seconds after which documents that are not done fail the run."""
PERCENTILE = 95


@dataclass
class Run:
    """How it went under one controller."""

    drained: float = 0
    """Seconds until all documents were done."""
    each: list[float] = field(default_factory=list)
    """For each document, the seconds from its upload until it was done."""
    replicas: list[tuple[float, int]] = field(default_factory=list)
    """Running containers, by seconds since the first upload."""

    @property
    def turns(self) -> int:
        """How often the number of replicas went up after down, or down after up."""
        numbers = [number for _, number in self.replicas]
        steps = [b > a for a, b in pairwise(numbers) if a != b]
        return sum(a != b for a, b in pairwise(steps))

    def replica_seconds(self, until: float) -> float:
        """Return the replica-seconds until then; the latest number is taken to stay."""
        ends = [at for at, _ in self.replicas[1:]] + [max(until, self.replicas[-1][0])]
        return sum(
            number * (min(end, until) - min(begin, until))
            for (begin, number), end in zip(self.replicas, ends, strict=True)
        )


class Pipeline:
    """The quickstart, as a Compose project of its own."""

    def __init__(self, seconds: float) -> None:
        """Let each document be this many seconds of work."""
        self._seconds = seconds
        self.project = f"tda-bench-{uuid.uuid4().hex[:6]}"
        self._port = free_port()
        self._engine = docker.from_env()
        self.service = ServiceId("compose", f"{self.project}/worker")
        engine = Engine()
        self.orchestrator = ComposeOrchestrator(
            engine, clock=lambda: datetime.now(UTC), projects=Projects(engine, [self.project])
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
            "DOCUMENT_SECONDS": str(self._seconds),
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
        each = [read_queue(await ask_queue(service, "default", QUEUE, each)) for each in types]
        return sum(stats.waiting for stats in each)


@dataclass(frozen=True)
class Work:
    """Documents that arrive in the same way under each controller."""

    documents: int
    per_second: float | None = None
    """None where all arrive at once."""

    async def run(self, pipeline: Pipeline, client: Client, *, settles: bool) -> Run:
        """Upload all documents and wait until they are done.

        With `settles`, wait also until the replicas have been scaled in.
        """
        run = Run()
        prefix = f"document-{uuid.uuid4().hex[:8]}"
        began = time.monotonic()

        async def watch() -> None:
            while True:
                number = await asyncio.to_thread(pipeline.running)
                run.replicas.append((time.monotonic() - began, number))
                await asyncio.sleep(SAMPLE)

        watching = asyncio.create_task(watch())
        try:
            async with asyncio.timeout(LIMIT):
                await self._upload(client, prefix, began)
                query = f"WorkflowId STARTS_WITH '{prefix}' AND ExecutionStatus = 'Completed'"
                done = 0
                while done < self.documents:
                    await asyncio.sleep(SAMPLE)
                    # A server that is busy with a burst may not answer in time.
                    with contextlib.suppress(RPCError):
                        done = (await client.count_workflows(query)).count
                run.drained = time.monotonic() - began
                while settles and run.replicas[-1][1] > FEW:  # noqa: ASYNC110
                    await asyncio.sleep(SAMPLE)
        finally:
            watching.cancel()
        async for each in client.list_workflows(query):
            if each.close_time is not None:
                run.each.append((each.close_time - each.start_time).total_seconds())
        return run

    async def _upload(self, client: Client, prefix: str, began: float) -> None:
        gate = asyncio.Semaphore(STARTS_AT_ONCE)

        async def upload(number: int) -> None:
            if self.per_second is not None:
                due = began + number / self.per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            async with gate:
                await client.start_workflow(
                    WORKFLOW, DOCUMENT, id=f"{prefix}-{number}", task_queue=QUEUE
                )

        await asyncio.gather(*(upload(number) for number in range(self.documents)))


async def fixed(pipeline: Pipeline, client: Client, work: Work, replicas: int) -> Run:
    """Process the documents with a fixed number of replicas."""
    await pipeline.scale(replicas)
    return await work.run(pipeline, client, settles=False)


async def ours(pipeline: Pipeline, client: Client, work: Work) -> Run:
    """Process the documents under the autoscaler, with the labels of the example."""
    await pipeline.scale(FEW)
    settings = {
        "AUTOSCALER_PROJECTS": pipeline.project,
        "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": pipeline.endpoint,
    }
    with tempfile.TemporaryDirectory() as folder, DaemonProcess(Path(folder), settings) as daemon:
        await asyncio.to_thread(daemon.wait_for, "tick", services=1)
        return await work.run(pipeline, client, settles=True)


async def keda(pipeline: Pipeline, client: Client, work: Work) -> Run:
    """Process the documents under KEDA's rules, from half-way between two decisions of the HPA."""
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
        run = await work.run(pipeline, client, settles=False)
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


Way = Callable[[Pipeline, Client, Work], Awaitable[Run]]
WAYS: Mapping[str, Way] = {
    "ours": ours,
    "KEDA's rules": keda,
    "fixed at 20": partial(fixed, replicas=MANY),
    "fixed at 1": partial(fixed, replicas=FEW),
}


async def _runs(work: Work, seconds: float, names: Sequence[str]) -> Mapping[str, Run]:
    """Process the same documents in each of these ways, one after the other."""
    pipeline = Pipeline(seconds)
    try:
        pipeline.compose("up", "--detach", "--no-build", "temporal", "worker")
        client = await Client.connect(pipeline.endpoint)
        return {name: await WAYS[name](pipeline, client, work) for name in names}
    finally:
        pipeline.compose("down", "--volumes", "--timeout", "1")


def _spent(runs: Mapping[str, Run]) -> Mapping[str, float]:
    """Return the replica-seconds of each way, over the time of the longest."""
    until = max(run.replicas[-1][0] for run in runs.values())
    return {name: run.replica_seconds(until) for name, run in runs.items()}


def burst(_: int) -> list[Row]:
    """Measure a burst; return the rows of the table."""
    runs = asyncio.run(_runs(Work(BURST), BURST_SECONDS, [*WAYS]))
    spent, mine = _spent(runs), runs["ours"]
    rows = []
    for name, run in runs.items():
        rows += [
            Row(f"{name}: time until all are done", [run.drained]),
            Row(f"{name}: replica-seconds", [spent[name]]),
        ]
        if run is not mine:
            rows += [
                Row(f"time, ours: {name}", [mine.drained / run.drained], "ratio"),
                Row(f"replica-seconds, ours: {name}", [spent["ours"] / spent[name]], "ratio"),
            ]
    return rows


def steady(_: int) -> list[Row]:
    """Measure steady arrivals; return the rows of the table."""
    work = Work(int(PER_SECOND * STEADY_FOR), PER_SECOND)
    runs = asyncio.run(_runs(work, STEADY_SECONDS, ["ours", "KEDA's rules", "fixed at 20"]))
    spent = _spent(runs)
    rows = []
    for name, run in runs.items():
        slow = statistics.quantiles(run.each, n=100)[PERCENTILE - 1]
        rows += [
            Row(f"{name}: a document is done after, on average", [statistics.mean(run.each)]),
            Row(f"{name}: {PERCENTILE} of 100 documents within", [slow]),
            Row(f"{name}: the slowest document", [max(run.each)]),
            Row(f"{name}: replica-seconds", [spent[name]]),
            Row(f"{name}: changes of direction", [run.turns], "times"),
        ]
    return rows


if __name__ == "__main__":
    run_parts(__doc__, {"burst": (burst, 1), "steady": (steady, 1)})
