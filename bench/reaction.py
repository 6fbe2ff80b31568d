"""How soon the daemon acts on tasks: python bench/reaction.py

Services run on a real engine with a real Temporal server; the daemon is a process with its default
settings. Tasks are added to one task queue after the other, at random moments. Measured is the time
until the daemon calls the engine:

- a burst of 30 tasks: from the first of them, with which a replica is missing, to the create call;
- one task for a service at zero: to the start call.

For comparison, KEDA's documentation has 30 s between polls, and the HPA 15 s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from measure import Row, publish

from tests.real.daemon import DaemonProcess
from tests.real.gate import Gate
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer

SOCKET = Path("/var/run/docker.sock")
CREATE = re.compile(rb"POST /v[0-9.]+/containers/create\?name=\S*-(worker-\d+)-\d+ ")
START = re.compile(rb"POST /v[0-9.]+/containers/([0-9a-f]+)/start ")
SERVICES, BURST = 10, 30
FEW = 4
"""Services at zero of which the budget of 40 calls lets every partition be counted each second."""
BURSTS, WAKES = 5, 5
"""How often each service is measured."""
SPREAD = 5.0
"""Seconds over which a moment is spread at random: as long as the server keeps its figures."""
LIMIT = 45.0
"""Seconds after which a reaction is missing."""
PERCENTILE = 95
GROWING = {"temporal.target": str(BURST), "temporal.max": "50"}
"""Each burst asks for one more replica."""
WAKING = {
    "temporal.min": "0",
    "temporal.busy": "ignore",
    "temporal.cooldown": "0s",
    "temporal.scale-in.window": "0s",
}


class Calls(Gate):
    """Stands before the engine, and records when the daemon creates and starts containers."""

    def __init__(self, place: Path, services: Mapping[str, str]) -> None:
        """Know the services of the containers that there are, by their ids."""
        super().__init__(place, SOCKET)
        self.at: dict[str, list[float]] = {}
        """By service: the calls that created a replica, or started one that was there before."""
        self._services = services

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        started = [self._services.get(id_.decode()) for id_ in START.findall(data)]
        created = [service.decode() for service in CREATE.findall(data)]
        for service in filter(None, (*started, *created)):
            self.at.setdefault(service, []).append(time.time())
        await super()._pass_on(data, writer)

    async def first_since(self, service: str, began: float) -> float:
        """Return the seconds from `began` to the first call for a service after it."""
        async with asyncio.timeout(LIMIT):
            # The calls pass on another thread.
            while not (later := [at for at in self.at.get(service, ()) if at >= began]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return later[0] - began


@dataclass(frozen=True, slots=True)
class Place:
    """Services that a daemon looks after, and what it is measured by."""

    server: TemporalServer
    stage: ComposeStage
    calls: Calls
    services: Sequence[str]


@contextmanager
def place(labels: Mapping[str, str], services: int) -> Iterator[Place]:
    """Run a daemon over services with these labels, one replica each."""
    with tempfile.TemporaryDirectory() as folder:
        server, stage = TemporalServer(Path(folder)), ComposeStage(Path(folder))
        try:
            server.start()
            names = [f"worker-{number}" for number in range(services)]
            each = {name: {"temporal.queue": name, **labels} for name in names}
            stage.up(dict.fromkeys(names, 1), each, network_mode="none")
            settings = {
                "AUTOSCALER_PROJECTS": stage.project,
                "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": server.endpoint,
            }
            with Calls(Path(folder) / "docker.sock", _services(stage.project)) as calls:
                settings["DOCKER_HOST"] = calls.endpoint
                with DaemonProcess(Path(folder), settings) as daemon:
                    daemon.wait_for("tick", services=services)
                    yield Place(server, calls=calls, stage=stage, services=names)
        finally:
            server.stop()
            stage.close()


def _services(project: str) -> Mapping[str, str]:
    """Return the service of each container of a project."""
    found = docker.from_env().containers.list(
        filters={"label": f"com.docker.compose.project={project}"}
    )
    return {str(each.id): each.labels["com.docker.compose.service"] for each in found}


async def grow(at: Place, name: str) -> float:
    """Let a burst come to a service, and return how long it took."""
    began = time.time()
    await at.server.put(name, BURST)
    return await at.calls.first_since(name, began)


async def wake(at: Place, name: str) -> float:
    """Let a single task come to a service at zero, and return how long it took."""
    began = time.time()
    tasks = await at.server.put(name, 1)
    taken = await at.calls.first_since(name, began)
    await running(at, name, wanted=True)
    # As a replica's own worker would, this one polls until the daemon stops the replica.
    async with at.server.working(name):
        await asyncio.gather(*(task.result() for task in tasks))
        await running(at, name, wanted=False)
    return taken


async def running(at: Place, name: str, *, wanted: bool) -> None:
    """Wait until a replica of a service runs, or until none does."""
    async with asyncio.timeout(LIMIT):
        # Nobody announces it here.
        while bool(await asyncio.to_thread(at.stage.running, name)) is not wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.5)


async def one_after_the_other(
    at: Place, one: Callable[[Place, str], Awaitable[float]], rounds: int
) -> list[float]:
    """Measure each service in each round, at random moments.

    What comes after a measurement, such as the end of a replica, goes on while others are measured.
    """
    going: dict[str, asyncio.Future[float]] = {}
    taken = []
    for name in [*at.services] * rounds:
        await asyncio.sleep(random.uniform(0, SPREAD))  # noqa: S311 - no secret
        if name in going:
            taken.append(await going[name])
        going[name] = asyncio.ensure_future(one(at, name))
    return [*taken, *await asyncio.gather(*going.values())]


async def bursts(at: Place) -> list[float]:
    """Let bursts come to services that each have what their one replica is there for."""
    await asyncio.gather(*(at.server.enqueue(name, BURST) for name in at.services))
    return await one_after_the_other(at, grow, BURSTS)


async def wakes(at: Place) -> list[float]:
    """Let single tasks come to services that have been brought to zero."""
    await asyncio.gather(*(running(at, name, wanted=False) for name in at.services))
    return await one_after_the_other(at, wake, WAKES)


def measure(
    labels: Mapping[str, str],
    services: int,
    what: Callable[[Place], Coroutine[Any, Any, list[float]]],
) -> list[float]:
    """Run a daemon over services with these labels, and measure it."""
    with place(labels, services) as at:
        return asyncio.run(what(at))


def rows(what: str, taken: list[float], median: float | None, worst: float | None) -> list[Row]:
    """Return the rows of one measurement, with what is to be reached."""
    slow = statistics.quantiles(taken, n=100)[PERCENTILE - 1]
    return [
        Row(f"{what}, each", taken),
        Row(f"{what}, half of them within", [statistics.median(taken)], "s", median),
        Row(f"{what}, {PERCENTILE} of 100 within", [slow], "s", worst),
    ]


def main() -> None:
    """Measure, print, and write it down."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    burst = f"a burst of {BURST} tasks at {SERVICES} services to the create call"
    few, many = (
        f"one task at {number} services at zero to the start call" for number in (FEW, SERVICES)
    )
    publish(
        "reaction",
        [
            *rows(burst, measure(GROWING, SERVICES, bursts), 1.0, 1.7),
            *rows(few, measure(WAKING, FEW, wakes), None, 1.7),
            *rows(many, measure(WAKING, SERVICES, wakes), None, None),
        ],
    )
    # The interpreter does not end normally: the Temporal client can crash it right after a call.
    os._exit(0)


if __name__ == "__main__":
    main()
