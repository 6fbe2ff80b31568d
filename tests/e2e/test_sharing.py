"""Services of Compose and Swarm share a group and a total, on real parts."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.e2e.conftest import RunDaemon, labels
from tests.real.daemon import DaemonProcess
from tests.real.stages import ComposeStage, SwarmStage, docker
from tests.real.temporal import Tasks, TemporalServer
from tests.real.waiting import until_async

pytestmark = [pytest.mark.engine, pytest.mark.swarm]

SERVICES = ("batch", "orders", "mails")
WAITING = 60
"""Tasks of each service, which wishes six replicas for them at target 10."""


class Shop:
    """Two services of Compose and one of Swarm, each with a task queue of its own."""

    def __init__(self, compose: ComposeStage, swarm: SwarmStage, queue: str) -> None:
        self.compose, self.swarm = compose, swarm
        self.queues = {name: f"{queue}-{name}" for name in SERVICES}
        self.tasks: dict[str, Tasks] = {}

    async def open(self, temporal: TemporalServer, **given: Mapping[str, str]) -> None:
        """Start all with one replica and WAITING tasks. Labels are given by names of services."""
        asked = {
            name: labels(queue, max="20", **given.get(name, {}))
            for name, queue in self.queues.items()
        }
        self.compose.up({"batch": 1, "orders": 1}, asked)
        self.swarm.up({"mails": 1}, asked)
        for name, queue in self.queues.items():
            self.tasks[name] = await temporal.enqueue(queue, WAITING)

    def stage(self, name: str) -> ComposeStage | SwarmStage:
        """Return where a service runs."""
        return self.swarm if name == "mails" else self.compose

    def counts(self) -> dict[str, int]:
        """Return how many replicas of each service run."""
        return {name: len(self.stage(name).running(name)) for name in SERVICES}

    def name(self, service: str) -> str:
        """Return the autoscaler's name of a service."""
        return self.stage(service).name(service)

    @property
    def projects(self) -> str:
        """What a daemon has to look after."""
        return f"{self.compose.project},{self.swarm.project}"

    def containers(self) -> int:
        """Count all containers that run or are just being stopped, of all services together."""
        ours = (
            f"com.docker.compose.project={self.compose.project}",
            f"com.docker.stack.namespace={self.swarm.project}",
        )
        found = [docker("ps", "--quiet", f"--filter=label={each}").split() for each in ours]
        return sum(map(len, found))


class Watch:
    """Counts containers again and again, and keeps the largest number."""

    def __init__(self, count: Callable[[], int]) -> None:
        self.most = 0
        self._count = count
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def _go_on(self) -> None:
        while not self._over.wait(0.1):
            self.most = max(self.most, self._count())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def shop(compose_stage: ComposeStage, swarm_stage: SwarmStage, queue: str) -> Shop:
    return Shop(compose_stage, swarm_stage, queue)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of services files, without any."""
    path = tmp_path / "services"
    path.mkdir()
    return path


def write(folder: Path, services: Mapping[str, Mapping[str, object]]) -> None:
    """Write a services file as editors do: under another name, which is changed afterwards."""
    new = folder / "shop.yaml.new"
    new.write_text(yaml.safe_dump({"services": services}))
    new.rename(folder / "shop.yaml")


def shown(daemon: DaemonProcess) -> Any:
    """Return what the daemon answers to programs."""
    with urllib.request.urlopen(f"{daemon.url.rstrip('/')}/api/services", timeout=30) as answer:
        return json.loads(answer.read())


async def test_three_services_share_a_group_and_priorities_change_live(
    shop: Shop, temporal: TemporalServer, run_daemon: RunDaemon, folder: Path
) -> None:
    group = {"group": "database"}
    await shop.open(temporal, batch=group, orders=group, mails=group)
    with Watch(shop.containers) as watch:
        daemon = run_daemon(
            shop.compose,
            AUTOSCALER_PROJECTS=shop.projects,
            AUTOSCALER_GROUPS__DATABASE="9",
            AUTOSCALER_SERVICES=str(folder),
        )
        equal = {"batch": 3, "orders": 3, "mails": 3}
        await until_async(lambda: shop.counts() == equal, "equal parts")
        assert daemon.metric("autoscaler_wished_replicas", shop.name("orders")) == 6
        assert shown(daemon)["limits"] == [
            {"name": "group database", "most": 9, "replicas": 9, "wished": 18}
        ]

        write(folder, {shop.name("orders"): {"priority": 10}})
        await until_async(lambda: shop.counts()["orders"] == 6, "all that it wishes")
        await until_async(lambda: sum(shop.counts().values()) == 9, "a full group")
        assert min(shop.counts().values()) >= 1
        reasons = {
            reason["text"]
            for service in shown(daemon)["services"]
            for reason in service["reasons"]
            if reason["code"] == "shared"
        }
        first = f"group database; {shop.name('orders')} has priority 10"
        assert reasons == {f"wants 6, gets 2: {first}", f"wants 6, gets 1: {first}"}

        write(folder, {shop.name("batch"): {"weight": 4}})
        await until_async(lambda: shop.counts()["batch"] == 6, "the larger part")
        await until_async(lambda: sum(shop.counts().values()) == 9, "a full group")
        assert min(shop.counts().values()) >= 1
    assert watch.most <= 9
    assert "Traceback" not in daemon.text


async def test_a_group_and_a_total_hold_at_once_and_who_finishes_leaves_room(
    shop: Shop, run_daemon: RunDaemon, temporal: TemporalServer
) -> None:
    gpu = {"group": "gpu"}
    await shop.open(temporal, batch=gpu)
    with Watch(shop.containers) as watch:
        daemon = run_daemon(
            shop.compose,
            AUTOSCALER_PROJECTS=shop.projects,
            AUTOSCALER_GROUPS__GPU="2",
            AUTOSCALER_MAX_REPLICAS="8",
        )
        parts = {"batch": 2, "orders": 3, "mails": 3}
        await until_async(lambda: shop.counts() == parts, "a part for each")
        await temporal.drain(shop.queues["mails"], shop.tasks["mails"])
        rest = {"batch": 2, "orders": 5, "mails": 1}
        await until_async(lambda: shop.counts() == rest, "the part of who has finished")
    assert watch.most <= 8
    assert "Traceback" not in daemon.text
