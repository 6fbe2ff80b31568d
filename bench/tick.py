"""What a tick costs: python bench/tick.py [PART ...]

Parts: tick, memory, idle, start. Without any, all of them.

`tick` compares one tick over 100, 1,000 and 5,000 services with queues of their own with the bare
loop of the same calls on the same client library. At 100 services a real Temporal server
answers, beyond it the stub of bench/stubs.py; the engine is a stub everywhere. Both are processes
of their own (bench/ticking.py), that take turns tick by tick. The others measure the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from measure import Row, queue_name, run_parts
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError
from ticking import BARE, DAEMON, INTERVAL, MOST_CALLS, READY, bare, connect

from autoscaler.sources.temporal.calls import AT_ONCE
from tests.real.daemon import DaemonProcess
from tests.real.temporal import TemporalServer

GRPC = Path(__file__).parents[1] / ".cache" / "bench"
"""Where the set-up puts grpcio: Temporal's client would load it, if it were in .venv."""
ENDPOINT = "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT"
MOMENT = timedelta(seconds=3)
"""For a poll; the server refuses those that would last less than 2 s."""
SIZES = (100, 1000, 5000)
TO_REACH = {100: 1.5}
"""CPU of a tick as a multiple of its bare calls, by services. More services only have to work."""
REAL, STUB = "dev server", "stub"
"""What answers."""
REAL_UP_TO = 100
"""Beyond it the dev server refuses calls."""
AT_LEAST = 400
"""Services in a round: with fewer, it has several ticks. One alone takes a tenth of a second, and
says more of the machine than of either."""
REST = {STUB: 1.5, REAL: INTERVAL.total_seconds()}
"""Seconds between two loads, so that the work of one does not fall into the next. A real server
counts a task queue again for the first call that comes 5 s after the last count: within less than a
poll interval, one side could cause the count for both."""
NO_COLLECTION = {"GOGC": "off", "GOMEMLIMIT": "4GiB"}
"""For the server: after every fourth load or so it would collect its garbage, for as long as a load
takes. Turns go by count as well, and it would come to the same side again and again."""
MEGABYTE = 1024
"""In the unit of /proc, which is KiB."""
IDLE_SERVICES, IDLE_SECONDS = 100, 30
LIBRARIES = "import docker, pydantic_settings, structlog, temporalio.service, typer"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """Seconds of a tick or a loop, the mean of each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, figures: Sequence[tuple[float, float]]) -> None:
        """Add a round: of each load its seconds of wall and of CPU."""
        for costs, seconds in zip((self.wall, self.cpu), zip(*figures, strict=True), strict=True):
            costs.append(sum(seconds) / len(seconds))


@contextlib.contextmanager
def stubs(services: int, waiting: int = 5) -> Iterator[dict[str, str]]:
    """Run the stubs; the variables that lead to them come out.

    So many tasks are `waiting` in each task queue. Where any are, one a second comes and one goes.
    """
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "docker.sock"
        command = [sys.executable, str(Path(__file__).with_name("stubs.py"))]
        with subprocess.Popen(  # noqa: S603 - our own script
            [*command, str(services), str(socket), str(waiting)],
            env={**os.environ, "PYTHONPATH": str(GRPC)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            try:
                port = process.stdout.readline().strip()
                yield {
                    "DOCKER_HOST": f"unix://{socket}",
                    ENDPOINT: f"127.0.0.1:{port}",
                }
            finally:
                process.terminate()


async def warm_up(endpoint: str, services: int) -> None:
    """Let the server load every queue: it refuses too many that are new at once."""
    client = await connect(endpoint)
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


@contextlib.contextmanager
def temporal_for(services: int, stub: str) -> Iterator[tuple[str, str]]:
    """Run what answers for so many services: its name and its endpoint."""
    if services > REAL_UP_TO:
        yield STUB, stub
        return
    with tempfile.TemporaryDirectory() as folder:
        server = TemporalServer(Path(folder), NO_COLLECTION)
        server.start()
        try:
            yield REAL, server.endpoint
        finally:
            server.stop()


class Side:
    """A process that ticks, or makes the calls alone, when it is told to."""

    def __init__(
        self, name: str, endpoint: str, services: int, environment: Mapping[str, str]
    ) -> None:
        """Start it."""
        script = str(Path(__file__).with_name("ticking.py"))
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, script, name, endpoint, str(services)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.cost = Cost()

    def __enter__(self) -> Self:
        """Wait until it has connected, and worked once."""
        if self._line() != READY:
            raise SystemExit("a side of the comparison has not begun")
        return self

    def __exit__(self, *_: object) -> None:
        """Let it end."""
        self._process.communicate()

    def one(self) -> tuple[float, float]:
        """Have it work once, and return the seconds of wall and of CPU.

        Raises SystemExit where it has ended.
        """
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        wall, cpu = map(float, self._line().split())
        return wall, cpu

    def _line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a side of the comparison has ended")
        return line.strip()


def compare(services: int, rounds: int) -> tuple[str, Cost, Cost]:
    """Measure ticks and bare loops in turn; return who answered, our cost and the bare one."""
    times = max(1, AT_LEAST // services)
    with (
        stubs(services) as variables,
        temporal_for(services, variables[ENDPOINT]) as (who, endpoint),
    ):
        if who == REAL:
            asyncio.run(warm_up(endpoint, services))
        with (
            Side(DAEMON, endpoint, services, variables) as ours,
            Side(BARE, endpoint, services, variables) as theirs,
        ):
            turns = itertools.cycle(((ours, theirs), (theirs, ours)))
            for _ in range(rounds):
                taken: dict[Side, list[tuple[float, float]]] = {ours: [], theirs: []}
                for _ in range(times):
                    for side in next(turns):
                        time.sleep(REST[who])
                        taken[side].append(side.one())
                for side, figures in taken.items():
                    side.cost.add(figures)
        return who, ours.cost, theirs.cost


def ticks(rounds: int, sizes: Sequence[int] = SIZES) -> list[Row]:
    """A tick against the bare loop of its calls."""
    rows, each = [], {}
    for services in sizes:
        answering, ours, theirs = compare(services, rounds)
        name = f"tick over {services:,} services ({answering})"
        rows += [
            Row(f"{name}, wall", ours.wall),
            Row.ratio(f"{name}, wall: bare loop", ours.wall, theirs.wall),
            Row.ratio(f"{name}, CPU: bare loop", ours.cpu, theirs.cpu, TO_REACH.get(services)),
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
    """CPU of a daemon at its defaults: with services at rest, and with busy ones."""
    busy = f"CPU at {IDLE_SERVICES} services that all have tasks"
    return [*_at_rest(rounds), Row(busy, _loads(rounds, waiting=5)[0], "% of a core")]


def _at_rest(rounds: int) -> list[Row]:
    ours, theirs = _loads(rounds, waiting=0)
    what = f"CPU at {IDLE_SERVICES} services at rest"
    return [
        Row(what, ours, "% of a core", 2),
        Row(f"{what}, bare loop", theirs, "% of a core"),
        Row.ratio(f"{what}: bare loop", ours, theirs),
    ]


def _loads(rounds: int, *, waiting: int) -> tuple[list[float], list[float]]:
    """Return the load of the daemon in each round, and of a bare loop of its calls, in percent."""
    ours, theirs = [], []
    with stubs(IDLE_SERVICES, waiting) as variables, daemon_of(variables) as daemon:
        daemon.wait_for("tick", after=2)
        # Until the windows of the beginning are over, each service is decided at every look.
        time.sleep(IDLE_SECONDS)
        for _ in range(rounds):
            before, began = cpu(daemon.pid), time.monotonic()
            time.sleep(IDLE_SECONDS)
            spent = cpu(daemon.pid) - before
            ours.append(100 * spent / (time.monotonic() - began))
            endpoint = variables[ENDPOINT]
            theirs.append(100 * asyncio.run(bare_at_rest(endpoint, rounds)))
    return ours, theirs


async def bare_at_rest(endpoint: str, loops: int) -> float:
    """Return the share of a core that bare loops take which come as seldom as ticks."""
    client = await connect(endpoint)
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
