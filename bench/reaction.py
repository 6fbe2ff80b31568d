"""How soon the daemon acts on a backlog: python bench/reaction.py

Services run on a real engine with a real Temporal server; the daemon is a process with its default
settings. Tasks are added to the task queues at random moments. Measured is the time from the first
waiting task beyond the target until the daemon calls the engine to create the next replica, and
until the engine has created it. The goal: the call comes within one poll interval and half a second
in 95 of 100 cases. For comparison, KEDA's documentation has 30 s between polls, and the HPA 15 s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import tempfile
import threading
import time
import uuid
from pathlib import Path

import docker
from measure import Row, publish
from temporalio.client import Client

from autoscaler.settings import Settings
from tests.real.daemon import DaemonProcess
from tests.real.gate import Gate
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer, Waiting

SOCKET = Path("/var/run/docker.sock")
CREATE = re.compile(rb"POST /v[0-9.]+/containers/create\?name=\S*-(worker-\d+)-\d+ ")
SERVICES, STEPS = 10, 6
"""Each step adds a task, and with target 1 a replica, to each service."""
POLL = Settings.model_fields["poll_interval"].default.total_seconds()
SLACK = 0.5
KEDA = 30 + 15
PERCENTILE = 95


class Creations:
    """The times at which the engine created containers of a project, by service."""

    def __init__(self, project: str) -> None:
        self.at: dict[str, list[float]] = {}
        filters = {
            "type": "container",
            "event": "create",
            "label": f"com.docker.compose.project={project}",
        }
        self._stream = docker.from_env().events(decode=True, filters=filters)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        for event in self._stream:
            service = event["Actor"]["Attributes"]["com.docker.compose.service"]
            self.at.setdefault(service, []).append(event["timeNano"] / 1e9)


class Calls(Gate):
    """Stands before the engine, and records when the daemon calls it to create containers."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, SOCKET)
        self.at: dict[str, list[float]] = {}

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        for service in CREATE.findall(data):
            self.at.setdefault(service.decode(), []).append(time.time())
        await super()._pass_on(data, writer)


Taken = tuple[float, float]
"""Seconds until the call, and until the container was created."""


async def one(client: Client, name: str, calls: Calls, creations: Creations) -> list[Taken]:
    """Add tasks to one service, one after the other, and return how long each took."""
    taken = []
    for step in range(STEPS + 1):
        await asyncio.sleep(random.uniform(0, POLL))  # noqa: S311 - no secret
        began = time.time()
        await client.start_workflow(Waiting.run, id=f"{name}-{uuid.uuid4()}", task_queue=name)
        if step == 0:
            continue  # The target is 1 task for each replica, and one replica already runs.
        async with asyncio.timeout(KEDA):
            # The events arrive on another thread.
            while len(creations.at.get(name, ())) < step:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        taken.append((calls.at[name][step - 1] - began, creations.at[name][step - 1] - began))
    return taken


async def react(endpoint: str, calls: Calls, creations: Creations) -> list[Taken]:
    """Measure all services at the same time."""
    client = await Client.connect(endpoint)
    names = [f"worker-{number}" for number in range(SERVICES)]
    each = await asyncio.gather(*(one(client, name, calls, creations) for name in names))
    return [seconds for taken in each for seconds in taken]


def measure() -> list[Row]:
    """Run the daemon over some services and measure its reactions."""
    with tempfile.TemporaryDirectory() as folder:
        server, stage = TemporalServer(Path(folder)), ComposeStage(Path(folder))
        try:
            server.start()
            names = [f"worker-{number}" for number in range(SERVICES)]
            labels = {
                name: {"temporal.queue": name, "temporal.target": "1", "temporal.max": "50"}
                for name in names
            }
            stage.up(dict.fromkeys(names, 1), labels, network_mode="none")
            creations = Creations(stage.project)
            settings = {
                "AUTOSCALER_PROJECTS": stage.project,
                "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": server.endpoint,
            }
            with Calls(Path(folder) / "docker.sock") as calls:
                settings["DOCKER_HOST"] = calls.endpoint
                with DaemonProcess(Path(folder), settings) as daemon:
                    daemon.wait_for("tick", services=SERVICES)
                    taken = asyncio.run(react(server.endpoint, calls, creations))
        finally:
            server.stop()
            stage.close()
    called, created = ([*each] for each in zip(*taken, strict=True))
    worst = statistics.quantiles(called, n=100)[PERCENTILE - 1]
    slowest = statistics.quantiles(created, n=100)[PERCENTILE - 1]
    what = "from the first task beyond the target to the create call"
    return [
        Row(f"{what}, each", called),
        Row(f"{what}, {PERCENTILE} of 100 within", [worst], "s", POLL + SLACK),
        Row(
            f"the same: poll interval of {POLL:g} s and {SLACK} s",
            [worst / (POLL + SLACK)],
            "ratio",
            1,
        ),
        Row(f"the same: KEDA's documented {KEDA} s", [worst / KEDA], "ratio"),
        Row("until the engine has created it, each", created),
        Row(f"until the engine has created it, {PERCENTILE} of 100 within", [slowest], "s"),
    ]


def main() -> None:
    """Measure, print, and write it down."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    publish("reaction", measure())
    # The interpreter does not end normally: the Temporal client can crash it right after a call.
    os._exit(0)


if __name__ == "__main__":
    main()
