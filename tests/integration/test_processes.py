"""Several processes with workers on one host: what their heartbeats say of the whole replica."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight, Standing, Worker, WorkerQuery, standings
from autoscaler.core.integration import Integration
from autoscaler.core.model import Replica
from autoscaler.integrations.order import Integrations
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from tests.fakes.clock import Clock
from tests.real.temporal import TemporalServer
from tests.real.waiting import LIMIT

ROOT = Path(__file__).parents[2]


class Host:
    """This host, as if it were a replica: its processes, and what is known of their work."""

    def __init__(self, temporal: TemporalServer, namespace: str) -> None:
        self._arguments = [temporal.endpoint, namespace, f"queue-{uuid.uuid4().hex[:8]}"]
        settings = Integration(endpoint=temporal.endpoint, namespace=namespace)
        known = Integrations({"default": settings}, Integration)
        self._source = TemporalBacklogSource(Connections(known), Clock())
        self._replica = Replica("r1", socket.gethostname())
        self._history = History.seed(1, datetime.now(UTC))
        self.processes: list[subprocess.Popen[bytes]] = []

    def begin(self) -> subprocess.Popen[bytes]:
        """Start a process with a worker."""
        command = [sys.executable, "-m", "tests.real.small_worker", *self._arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.processes.append(subprocess.Popen(command, cwd=ROOT, env=environment))
        return self.processes[-1]

    async def becomes(self, standing: Standing, *, listed: int) -> list[Worker]:
        """Look until the replica stands so while the server lists this many workers.

        Each has to name its interval: its first heartbeat, without one, is fresh for a minute.
        """
        query = WorkerQuery("default", None, frozenset({self._replica.host or ""}), frozenset())
        async with asyncio.timeout(LIMIT):
            while True:
                workers = list(await self._source.workers(query))
                in_flight = InFlight((self._replica,), tuple(workers))
                now = datetime.now(UTC)
                self._history = self._history.observe_in_flight(in_flight, now)
                known = standings(in_flight, now, self._history.crews)
                settled = len(workers) == listed and all(each.interval for each in workers)
                if settled and known["r1"] is standing:
                    return workers
                await asyncio.sleep(0.1)


@pytest.fixture
def host(temporal: TemporalServer) -> Iterator[Host]:
    namespace = f"ns-{uuid.uuid4().hex[:8]}"
    temporal.create_namespace(namespace)
    made = Host(temporal, namespace)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


async def test_a_replica_is_idle_while_both_of_its_processes_report(host: Host) -> None:
    first, second = host.begin(), host.begin()

    workers = await host.becomes(Standing.IDLE, listed=2)

    assert {worker.process for worker in workers} == {str(first.pid), str(second.pid)}
    assert all(worker.tells and worker.began is not None for worker in workers)


async def test_a_process_that_was_killed_is_missed_until_another_takes_its_place(
    host: Host,
) -> None:
    host.begin()
    killed = host.begin()
    await host.becomes(Standing.IDLE, listed=2)

    killed.kill()
    await host.becomes(Standing.SILENT, listed=2)

    host.begin()
    await host.becomes(Standing.IDLE, listed=3)


async def test_a_process_that_shuts_down_is_not_missed(host: Host) -> None:
    host.begin()
    leaving = host.begin()
    await host.becomes(Standing.IDLE, listed=2)

    leaving.terminate()
    await asyncio.to_thread(leaving.wait)

    workers = await host.becomes(Standing.IDLE, listed=2)
    while all(worker.fresh(datetime.now(UTC)) for worker in workers):
        workers = await host.becomes(Standing.IDLE, listed=2)


async def test_a_process_that_is_started_again_after_a_crash_is_alone(host: Host) -> None:
    killed = host.begin()
    await host.becomes(Standing.IDLE, listed=1)
    killed.kill()
    killed.wait()

    host.begin()

    workers = await host.becomes(Standing.IDLE, listed=2)
    while all(worker.fresh(datetime.now(UTC)) for worker in workers):
        workers = await host.becomes(Standing.IDLE, listed=2)
