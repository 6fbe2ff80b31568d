"""A soak test: one daemon, 50 services, random faults. The daemon's usage must not grow.

Usage: python -m tests.faults.soak MINUTES [SEED]

The faults happen to a nested engine and to a Temporal server of this test. Each round has every
fault once, in random order. The first five minutes, about one round, fill the daemon's pools. The
usage in every five minutes is printed as a row of a table. The exit code is 1 when the usage grew,
when a service does not have the replicas that its labels call for in the end, or when the daemon
wrote something that is no log line.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from temporalio.service import RPCError

from tests.interop.engines import NestedEngine
from tests.real.daemon import DaemonProcess
from tests.real.gate import EngineGate, Gate
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer
from tests.real.usage import Usage
from tests.real.waiting import until_async

ENGINE = "26.1"
SERVICES = [f"s{number:02}" for number in range(50)]
PERIOD = 300.0
"""Seconds in one row of the table. The first row is not compared: the pools fill then."""
SAMPLE = 5.0
"""Seconds between two samples of the process."""
PAUSE = 12.0
"""Seconds without a fault after each fault."""
GROWTH = Usage(memory=8.0, threads=8, sockets=8)
"""How much the last median may be above the second. One leak in each round would be more."""

Samples = list[Usage]


def labels(service: str) -> Mapping[str, str]:
    """Return the labels of one service: one to three replicas, which are no workers."""
    return {
        "temporal.queue": service,
        "temporal.queue-types": "workflow",
        "temporal.target": "10",
        "temporal.max": "3",
        "temporal.scale-in.window": "10s",
        "temporal.busy": "ignore",
    }


class Soak:
    """The daemon, its services, engine and Temporal server, and the faults."""

    def __init__(self, folder: Path, parts: ExitStack, dice: random.Random) -> None:
        self._dice = dice
        self._queued: dict[str, list[object]] = {}
        self.server = TemporalServer(folder)
        self.server.start()
        parts.callback(self.server.stop)
        self.engine = NestedEngine(ENGINE)
        parts.callback(self.engine.close)
        self.host = self.engine.environment["DOCKER_HOST"]
        socket = Path(self.host.removeprefix("unix://"))
        self.engine_gate = parts.enter_context(EngineGate(folder / "gate.sock", socket))
        self.temporal_gate = parts.enter_context(Gate.before(self.server.endpoint))
        self.stage = ComposeStage(folder, self.host)
        self.stage.up(
            dict.fromkeys(SERVICES, 1),
            {each: labels(each) for each in SERVICES},
            restart="unless-stopped",
        )
        self.daemon = parts.enter_context(
            DaemonProcess(
                folder,
                {
                    "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": self.temporal_gate.endpoint,
                    "DOCKER_HOST": self.engine_gate.endpoint,
                },
            )
        )
        self.daemon.wait_for("tick", failed=False)

    def faults(self) -> Sequence[Callable[[], object]]:
        """Return all faults. A fault is over when its function returns."""
        return (
            self._temporal_hangs,
            self._temporal_is_cut_off,
            self._temporal_is_slow,
            self._temporal_restarts,
            self._engine_hangs,
            self._engine_is_cut_off,
            self._engine_is_slow,
            self._engine_restarts,
            self._replicas_are_removed,
            self._replicas_are_killed,
            self._a_replica_is_paused,
            self._compose_up_trims,
        )

    def _temporal_hangs(self) -> None:
        with _hanging(self.temporal_gate):
            time.sleep(8)

    def _temporal_is_cut_off(self) -> None:
        with _cut_off(self.temporal_gate):
            time.sleep(8)

    def _temporal_is_slow(self) -> None:
        with _slow(self.temporal_gate, 0.3):
            time.sleep(8)

    def _temporal_restarts(self) -> None:
        self.server.stop()
        self.server.start()

    def _engine_hangs(self) -> None:
        with _hanging(self.engine_gate):
            time.sleep(8)

    def _engine_is_cut_off(self) -> None:
        with _cut_off(self.engine_gate):
            time.sleep(8)

    def _engine_is_slow(self) -> None:
        with _slow(self.engine_gate, 0.2):
            time.sleep(8)

    def _engine_restarts(self) -> None:
        self.engine.restart()

    def _replicas_are_removed(self) -> None:
        for replica in self._some():
            self.engine.attempt("rm", "--force", replica)

    def _replicas_are_killed(self) -> None:
        for replica in self._some():
            self.engine.attempt("kill", replica)

    def _a_replica_is_paused(self) -> None:
        for replica in self._some()[:1]:
            self.engine.attempt("pause", replica)
            time.sleep(5)
            self.engine.attempt("unpause", replica)

    def _compose_up_trims(self) -> None:
        self.stage.compose("up", "--detach", *self._dice.sample(SERVICES, 5))

    def _some(self) -> list[str]:
        """Choose up to four replicas, never the last of a service: it would be gone for good.

        Only services with a backlog are chosen, so that no scale-in stops the others meanwhile.
        """
        form = '--format={{.ID}} {{.Label "com.docker.compose.service"}}'
        replicas: dict[str, list[str]] = {}
        for line in self.engine.docker("ps", "--no-trunc", form).splitlines():
            container, service = line.split()
            replicas.setdefault(service, []).append(container)
        able = [
            self._dice.choice(members)
            for service, members in replicas.items()
            if len(members) > 1 and service in self._queued
        ]
        return self._dice.sample(able, min(4, len(able)))

    async def load(self) -> None:
        """Fill and empty task queues, one after the other, until cancelled."""
        while True:
            queue = self._dice.choice(SERVICES)
            with suppress(RPCError, RuntimeError, TimeoutError, OSError):
                async with asyncio.timeout(20):
                    await (self.empty(queue) if queue in self._queued else self._fill(queue))
            await asyncio.sleep(1)

    async def _fill(self, queue: str) -> None:
        client = await self.server.client()
        self._queued[queue] = []
        for number in range(self._dice.randint(11, 30)):
            name = f"{queue}-{time.monotonic_ns()}-{number}"
            await client.start_workflow("Waiting", id=name, task_queue=queue)

    async def empty(self, queue: str) -> None:
        """Run a worker until a task queue is empty."""
        client = await self.server.client()
        handles = [
            client.get_workflow_handle(each.id)
            async for each in client.list_workflows(
                f"TaskQueue='{queue}' AND ExecutionStatus='Running'"
            )
        ]
        await self.server.drain(queue, handles)
        self._queued.pop(queue, None)

    async def unrest(self, until: float) -> None:
        """Run one fault after the other until the time `until`; each round has every fault once."""
        while True:
            for fault in self._dice.sample(self.faults(), len(self.faults())):
                if time.monotonic() > until:
                    return
                print(f"{time.strftime('%H:%M:%S')} {fault.__name__[1:]}", flush=True)
                await asyncio.to_thread(fault)
                await asyncio.sleep(PAUSE)

    def settled(self) -> bool:
        """Return whether every service has one running replica and no more."""
        mine = f"--filter=label=com.docker.compose.project={self.stage.project}"
        form = '--format={{.Label "com.docker.compose.service"}} {{.State}}'
        running = [
            line.split()[0]
            for line in self.engine.docker("ps", "--all", form, mine).splitlines()
            if line.endswith("running")
        ]
        return sorted(running) == SERVICES


@contextmanager
def _hanging(gate: Gate) -> Iterator[None]:
    gate.hang()
    yield
    gate.release()


@contextmanager
def _cut_off(gate: Gate) -> Iterator[None]:
    gate.cut()
    yield
    gate.mend()


@contextmanager
def _slow(gate: Gate, delay: float) -> Iterator[None]:
    gate.delay = delay
    yield
    gate.delay = 0.0


async def watch(pid: int, rows: list[Samples], began: float) -> None:
    """Take samples of the process until cancelled; print a row as soon as it is complete."""
    while True:
        row = int((time.monotonic() - began) // PERIOD)
        while len(rows) <= row:
            if rows:
                print(table_row(len(rows) - 1, rows[-1]), flush=True)
            rows.append([])
        rows[row].append(Usage.of(pid))
        await asyncio.sleep(SAMPLE)


def table_row(number: int, samples: Samples) -> str:
    """Return one row: the minutes, then minimum, median and maximum of each figure."""
    first, last = number * PERIOD / 60, (number + 1) * PERIOD / 60
    cells = [f"{first:.0f}-{last:.0f}", str(len(samples))]
    for name in ("memory", "threads", "sockets"):
        values = [getattr(each, name) for each in samples]
        figures = (min(values), statistics.median(values), max(values))
        cells.append(" / ".join(f"{figure:.1f}".removesuffix(".0") for figure in figures))
    return f"| {' | '.join(cells)} |"


def median(samples: Samples) -> Usage:
    """Return the median of each figure."""
    return Usage(
        statistics.median(each.memory for each in samples),
        round(statistics.median(each.threads for each in samples)),
        round(statistics.median(each.sockets for each in samples)),
    )


def grown(rows: Sequence[Samples]) -> list[str]:
    """Name what is higher in the last five minutes than in the second five minutes."""
    if len(rows) < 3:
        return []
    before, after = median(rows[1]), median([each for row in rows[-2:] for each in row][-60:])
    return [
        f"{name} grew from {getattr(before, name)} to {getattr(after, name)}"
        for name in ("memory", "threads", "sockets")
        if getattr(after, name) > getattr(before, name) + getattr(GROWTH, name)
    ]


async def run(minutes: float, seed: int) -> list[str]:
    """Run the soak test for this number of minutes; return what is wrong in the end."""
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="tda-soak-")))
        soak = await asyncio.to_thread(Soak, folder, parts, random.Random(seed))
        rows: list[Samples] = []
        began = time.monotonic()
        watching = asyncio.create_task(watch(soak.daemon.pid, rows, began))
        loading = asyncio.create_task(soak.load())
        print(f"seed {seed}; | minutes | samples | memory, MiB | threads | sockets |", flush=True)
        await soak.unrest(began + minutes * 60)
        loading.cancel()
        watching.cancel()
        for queue in SERVICES:
            await soak.empty(queue)
        wrong = grown(rows)
        try:
            await until_async(soak.settled, "one replica of each service", limit=180)
        except AssertionError as error:
            wrong.append(f"{error}: {soak.stage.states()}")
        lines = soak.daemon.lines
        wrong += [str(line) for line in lines if line["event"] == "not JSON"]
        if not soak.daemon.alive():
            wrong.append("the daemon has ended")
        for number, row in enumerate(rows):
            print(table_row(number, row))
        for event in ("tick", "scaling out", "scaling in", "cannot scale", "recovered"):
            print(f"{event}: {sum(line['event'] == event for line in lines)}")
        print(f"containers in the end: {dict(Counter(soak.stage.states()))}")
    return wrong


def main() -> int:
    """Run the command line; return its exit code."""
    minutes = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    wrong = asyncio.run(run(minutes, seed))
    print("\n".join(wrong) or "nothing grew, and every service has its one replica")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
