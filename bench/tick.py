"""What a tick costs: python bench/tick.py [PART ...]

Parts: tick, memory, idle, start. Without any, all of them.

`tick` compares one tick over 100, 1,000 and 5,000 services with queues of their own with the bare
loop of the same calls on the same client library. At 100 services a real Temporal server
answers, beyond it the stub of bench/stubs.py; the engine is a stub everywhere. The others measure
the daemon as a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from measure import Row, queue_name, run_parts
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    PollWorkflowTaskQueueRequest,
)
from temporalio.client import Client
from temporalio.service import GrpcCompression, RPCError

from autoscaler.app import build
from autoscaler.cli.run import OBJECTS_BETWEEN_SEARCHES
from autoscaler.core.integration import Integration
from autoscaler.settings import Settings
from autoscaler.sources.calls import AT_ONCE
from autoscaler.sources.temporal import LAG
from autoscaler.telemetry.logging import LogObserver, make_logger
from tests.real.daemon import DaemonProcess
from tests.real.temporal import TemporalServer

GRPC = Path(__file__).parents[1] / ".cache" / "bench"
"""Where the set-up puts grpcio: Temporal's client would load it, if it were in .venv."""
TYPES = (
    TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
)
DEADLINE = timedelta(seconds=5)
MOMENT = timedelta(seconds=3)
"""For a poll; the server refuses those that would last less than 2 s."""
SIZES = (100, 1000, 5000)
REAL, STUB = "dev server", "stub"
"""What answers."""
REAL_UP_TO = 100
"""Beyond it the dev server refuses calls."""
AT_LEAST = 500
"""Services in a round: with fewer, it has several ticks. One alone takes a tenth of a second, and
says more of the machine than of either."""
MOST_CALLS = 10_000
"""What is measured is the work of the daemon, not its restraint."""
REST = 1.5
"""Seconds between two loads: a server lets so many calls a second through in a namespace."""
INTERVAL = timedelta(seconds=5) + LAG
"""Between two ticks of the daemon."""
MEGABYTE = 1024
"""In the unit of /proc, which is KiB."""
IDLE_SERVICES, IDLE_SECONDS = 100, 30
LIBRARIES = "import docker, pydantic_settings, structlog, temporalio.service, typer"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """Seconds of a tick or a loop, on average over each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def add(self, work: Callable[[], Awaitable[object]], times: int) -> None:
        """Measure one round. What earlier work has left to collect is not part of it."""
        taken, used = 0.0, 0.0
        for _ in range(times):
            await asyncio.sleep(REST)
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            await work()
            taken += time.perf_counter() - wall
            used += time.process_time() - cpu
        self.wall.append(taken / times)
        self.cpu.append(used / times)


@contextlib.contextmanager
def stubs(services: int) -> Iterator[dict[str, str]]:
    """Run the stubs; the variables that lead to them come out."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "docker.sock"
        command = [sys.executable, str(Path(__file__).with_name("stubs.py"))]
        with subprocess.Popen(  # noqa: S603 - our own script
            [*command, str(services), str(socket)],
            env={**os.environ, "PYTHONPATH": str(GRPC)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            try:
                port = process.stdout.readline().strip()
                yield {
                    "DOCKER_HOST": f"unix://{socket}",
                    "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": f"127.0.0.1:{port}",
                }
            finally:
                process.terminate()


class SteppingClock:
    """A clock on which as much passes between two ticks as does between two polls of the daemon.

    A tick finds no readings to reuse, and a list of containers as old as in the daemon.
    """

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self._now

    def step(self) -> None:
        """Let a poll interval pass."""
        self._now += INTERVAL


async def bare(client: Client, numbers: range) -> None:
    """Make the calls of one tick with nothing around them."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def call(number: int, type_: TaskQueueType.ValueType) -> None:
        request = DescribeTaskQueueRequest(
            namespace="default",
            task_queue=TaskQueue(name=queue_name(number)),
            task_queue_type=type_,
            report_stats=True,
        )
        async with gate:
            await client.workflow_service.describe_task_queue(
                request, retry=False, timeout=DEADLINE
            )

    await asyncio.gather(*(call(number, type_) for number in numbers for type_ in TYPES))


async def warm_up(client: Client, services: int) -> None:
    """Let the server load every queue: it refuses too many that are new at once."""
    for begin in range(0, services, AT_ONCE):
        numbers = range(begin, min(services, begin + AT_ONCE))
        for _ in range(20):
            with contextlib.suppress(RPCError):
                await bare(client, numbers)
                break
    await asyncio.gather(*(poll(client, number) for number in range(services)))


async def poll(client: Client, number: int) -> None:
    """Be the worker of a queue for a moment: a queue without any is a warning in every tick."""
    request = PollWorkflowTaskQueueRequest(
        namespace="default", task_queue=TaskQueue(name=queue_name(number)), identity="bench"
    )
    with contextlib.suppress(RPCError):
        await client.workflow_service.poll_workflow_task_queue(request, timeout=MOMENT)


@contextlib.asynccontextmanager
async def temporal_for(services: int, stub: str) -> AsyncIterator[tuple[str, str]]:
    """Run what answers for so many services: its name and its endpoint."""
    if services > REAL_UP_TO:
        yield STUB, stub
        return
    with tempfile.TemporaryDirectory() as folder:
        server = TemporalServer(Path(folder))
        server.start()
        try:
            yield REAL, server.endpoint
        finally:
            server.stop()


async def compare(services: int, rounds: int) -> tuple[str, Cost, Cost]:
    """Measure ticks and bare loops in turn; return who answered, our cost and the bare one."""
    gc.set_threshold(OBJECTS_BETWEEN_SEARCHES)
    with stubs(services) as variables:
        stub = variables["AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT"]
        os.environ["DOCKER_HOST"] = variables["DOCKER_HOST"]
        async with temporal_for(services, stub) as (answering, endpoint):
            clock = SteppingClock()
            settings = Settings(
                integrations={"default": Integration(endpoint=endpoint)}, rpc_budget=MOST_CALLS
            )
            app = build(settings, clock)
            observer = LogObserver(make_logger("warning", json=True))
            client = await Client.connect(endpoint, grpc_compression=GrpcCompression.NONE)
            ours, theirs = Cost(), Cost()

            async def tick() -> None:
                clock.step()
                report = await app.reconciler.tick(act=False)
                observer.observe(report)
                read = sum(service.backlog is not None for service in report.services)
                if read != services:
                    raise SystemExit(f"{read} of {services} backlogs could be read")

            if answering == REAL:
                await warm_up(client, services)
            watching = asyncio.create_task(app.watcher.watch(lambda: None))
            await asyncio.sleep(REST)
            await tick()
            times = max(1, AT_LEAST // services)
            for _ in range(rounds):
                await ours.add(tick, times)
                await theirs.add(lambda: bare(client, range(services)), times)
            watching.cancel()
            return answering, ours, theirs


def ticks(rounds: int, sizes: Sequence[int] = SIZES) -> list[Row]:
    """A tick against the bare loop of its calls."""
    rows, each = [], {}
    for services in sizes:
        answering, ours, theirs = asyncio.run(compare(services, rounds))
        name = f"tick over {services:,} services ({answering})"
        rows += [
            Row(f"{name}, wall", ours.wall),
            Row.ratio(f"{name}, wall: bare loop", ours.wall, theirs.wall, 1.2),
            Row.ratio(f"{name}, CPU: bare loop", ours.cpu, theirs.cpu, 1.2),
        ]
        each[services] = [seconds / services for seconds in ours.cpu]
    least, *_, most = sizes
    growth = f"CPU of a service in a tick, at {most:,}: at {least:,} services"
    return [*rows, Row.ratio(growth, each[most], each[least])]


def memory(rounds: int) -> list[Row]:
    """Resident memory of the daemon once it has ticked some times."""
    rows = []
    for services, reach in ((100, None), (1000, 120), (5000, 250)):
        with running(services, {"AUTOSCALER_POLL_INTERVAL": "1s"}) as daemon:
            figures = []
            for _ in range(rounds):
                daemon.wait_for("tick", after=len(daemon.lines))
                figures.append(resident(daemon.pid))
        rows.append(Row(f"resident memory at {services:,} services", figures, "MiB", reach))
    return rows


def idle(rounds: int) -> list[Row]:
    """CPU of a daemon whose services have nothing to do, and of the bare loop of its calls."""
    ours, theirs = [], []
    settings = {"AUTOSCALER_POLL_INTERVAL": "5s"}
    with stubs(IDLE_SERVICES) as variables, daemon_of(variables | settings) as daemon:
        daemon.wait_for("tick", after=2)
        for _ in range(rounds):
            before, began = cpu(daemon.pid), time.monotonic()
            time.sleep(IDLE_SECONDS)
            spent = cpu(daemon.pid) - before
            ours.append(100 * spent / (time.monotonic() - began))
            endpoint = variables["AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT"]
            theirs.append(100 * asyncio.run(bare_at_rest(endpoint, rounds)))
    what = f"CPU at {IDLE_SERVICES} services and polls each 5 s"
    return [
        Row(what, ours, "% of a core", 2),
        Row(f"{what}, bare loop", theirs, "% of a core"),
        Row.ratio(f"{what}: bare loop", ours, theirs),
    ]


async def bare_at_rest(endpoint: str, loops: int) -> float:
    """Return the share of a core that bare loops take which come as seldom as ticks."""
    client = await Client.connect(endpoint, grpc_compression=GrpcCompression.NONE)
    await bare(client, range(IDLE_SERVICES))
    used = 0.0
    for _ in range(loops):
        await asyncio.sleep(INTERVAL.total_seconds())
        began = time.process_time()
        await bare(client, range(IDLE_SERVICES))
        used += time.process_time() - began
    return used / loops / INTERVAL.total_seconds()


def start(rounds: int) -> list[Row]:
    """From the start of the process to the end of its first tick."""
    ours, theirs = [], []
    with stubs(10) as variables:
        for _ in range(rounds):
            began = time.monotonic()
            with daemon_of(variables) as daemon:
                daemon.wait_for("tick")
                ours.append(time.monotonic() - began)
            with folder_of_ours() as folder:
                began = time.monotonic()
                subprocess.run([sys.executable, "-c", LIBRARIES], cwd=folder, check=True)  # noqa: S603 - our own
                theirs.append(time.monotonic() - began)
    what = "start of the process to its first tick"
    return [Row(what, ours, "s", 1.5), Row.ratio(f"{what}: importing its libraries", ours, theirs)]


@contextlib.contextmanager
def running(services: int, settings: dict[str, str]) -> Iterator[DaemonProcess]:
    """Run the daemon against the stubs until it has ticked once."""
    settings |= {"AUTOSCALER_RPC_BUDGET": str(MOST_CALLS)}
    with stubs(services) as variables, daemon_of(variables | settings) as daemon:
        daemon.wait_for("tick", services=services, failed=False)
        yield daemon


@contextlib.contextmanager
def daemon_of(settings: dict[str, str]) -> Iterator[DaemonProcess]:
    """Run the daemon in a folder of its own."""
    with folder_of_ours() as folder, DaemonProcess(folder, settings) as daemon:
        yield daemon


@contextlib.contextmanager
def folder_of_ours() -> Iterator[Path]:
    """Make a folder to run Python in, where no .env lies and no grpcio is found.

    The tests' grpcio is in no image, and Temporal's client imports it where it finds it.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "grpc.py").write_text("raise ImportError\n", "utf-8")
        yield Path(folder)


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return next(
        int(line.split()[1]) / MEGABYTE for line in status.splitlines() if line.startswith("VmRSS")
    )


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


PARTS = {"tick": (ticks, 11), "memory": (memory, 3), "idle": (idle, 5), "start": (start, 15)}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
