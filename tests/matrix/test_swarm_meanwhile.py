"""What others do to a service while the daemon chooses its tasks, and services that it must not
choose from: no busy task is lost by the daemon, and nothing stays frozen.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from autoscaler.core.report import ServiceReport
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.swarm.frost import is_frozen
from autoscaler.orchestrators.swarm.reach import NO_PLACEMENT
from tests.interop.projects import BUSY
from tests.matrix.choice import labels
from tests.matrix.cluster import Cluster, Stack
from tests.matrix.ours import Ours
from tests.real.agent import AgentsAt
from tests.real.stages import TINY_IMAGE
from tests.real.waiting import LIMIT, until

TASKS = 6
LABELS = labels("any")
TICKS = 5


class Scene:
    """Six tasks on three nodes, two of them busy: one of these is the first in Swarm's order."""

    def __init__(self, cluster: Cluster, stack: Stack, engine: Engine, agents: AgentsAt) -> None:
        self.stack = stack
        self.manager = cluster.manager
        self.hands = Ours(cluster, stack, agents, engine)
        self.agents = agents
        self.stopped = 0
        agents.before_drain = self._count
        self.busy: set[str] = set()

    async def begin(self) -> None:
        """Let two of the tasks be busy, so that the order alone lets none go."""
        running = self.running
        first, *others = (each for each in await self.hands.replicas() if each.id in running)
        working = (first, others[2])
        self.busy = {each.id for each in working}
        self.hands.busy_on({str(each.host) for each in working})

    def meanwhile(self, *command: str) -> None:
        """Run a docker command on the manager when the first task is told to stop."""

        def once() -> None:
            self._count()
            self.agents.before_drain = self._count
            assert self.frozen, "tasks are chosen only while the service is frozen"
            self.manager.docker(*command)

        self.agents.before_drain = once

    async def only_busy_ones_are_left(self) -> None:
        """Tick until the idle tasks are gone, and nothing is frozen, also for a rollback."""
        deadline = time.monotonic() + LIMIT
        while self.running != self.busy or self.frozen or self.would_freeze:
            assert self.busy <= self.running, "a busy task was lost"
            assert time.monotonic() < deadline, (
                f"{len(self.running)} tasks are left, frozen: {self.frozen}, by a rollback:"
                f" {self.would_freeze}, update: {self.stack.update_state()},"
                f" {await self.hands.refusal()}"
            )
            await self.hands.tick()

    async def nothing_goes(self) -> ServiceReport:
        """Tick some times; return the last report."""
        before = self.running
        for _ in range(TICKS):
            report = await self.hands.tick()
            assert not self.frozen
        assert (self.running, self.stopped) == (before, 0)
        return report

    @property
    def running(self) -> set[str]:
        return set(self.stack.running())

    @property
    def frozen(self) -> bool:
        return is_frozen(self.row["Spec"])

    @property
    def would_freeze(self) -> bool:
        """Whether a rollback would freeze the service."""
        before = self.row.get("PreviousSpec")
        return before is not None and is_frozen(before)

    @property
    def row(self) -> dict[str, Any]:
        """The service as the manager has it."""
        text = self.manager.docker("service", "inspect", self.stack.service)
        return dict(json.loads(text)[0])

    def _count(self) -> None:
        self.stopped += 1


@pytest.fixture
async def scene(cluster: Cluster, stack: Stack) -> AsyncIterator[Scene]:
    await asyncio.to_thread(cluster.agents.ready)
    engine = Engine(cluster.manager.environment)
    yield Scene(cluster, stack, engine, cluster.agents.asked_by(engine, cluster.ids()))
    engine.close()


async def test_a_rollback_during_the_freeze(scene: Scene) -> None:
    scene.stack.deploy(TASKS, labels_of_deploy=LABELS)
    await scene.begin()
    scene.meanwhile("service", "rollback", "--detach", scene.stack.service)

    await scene.only_busy_ones_are_left()


async def test_a_deploy_of_the_same_file_during_the_freeze(scene: Scene) -> None:
    scene.stack.deploy(TASKS, labels_of_deploy=LABELS)
    await scene.begin()
    scene.meanwhile(*scene.stack.command)

    await scene.only_busy_ones_are_left()


async def test_while_a_rollout_is_paused_nothing_goes(scene: Scene) -> None:
    scene.stack.deploy(TASKS, labels_of_deploy=LABELS)
    scene.manager.docker(
        "service", "update", "--detach", "--update-failure-action=pause",
        "--update-monitor=60s", "--args=false", scene.stack.service,
    )  # fmt: skip
    until(lambda: scene.stack.update_state() == "paused", "a paused rollout")
    # One task was replaced, and fails.
    until(lambda: len(scene.running) == TASKS - 1, "the tasks that are left")
    await scene.begin()
    await scene.nothing_goes()

    scene.manager.docker("service", "rollback", "--detach", scene.stack.service)
    await scene.only_busy_ones_are_left()


async def test_with_max_attempts_only_the_order_is_used(scene: Scene) -> None:
    policy = {"condition": "any", "max_attempts": 3, "delay": "1s"}
    deploy = {"replicas": TASKS, "labels": LABELS, "restart_policy": policy}
    scene.stack.deploy(TASKS, deploy=deploy)
    await scene.begin()

    await scene.nothing_goes()


async def test_without_a_placement_only_the_order_is_used_and_a_warning_says_so(
    scene: Scene,
) -> None:
    """As a program makes it through the API; `docker service create` stores an empty one."""
    task = {
        "ContainerSpec": {"Image": TINY_IMAGE, "Command": BUSY},
        "RestartPolicy": {"Condition": "any"},
    }
    spec = {
        "Name": scene.stack.service,
        "Labels": LABELS | {"com.docker.stack.namespace": scene.stack.name},
        "TaskTemplate": task,
        "Mode": {"Replicated": {"Replicas": TASKS}},
    }
    await scene.hands.engine.call(
        "creating a service",
        lambda client: client.post(
            f"{client.base_url}/v{client.api_version}/services/create", json=spec
        ).raise_for_status(),
    )
    scene.stack.await_running(TASKS)
    await scene.begin()

    report = await scene.nothing_goes()

    assert any(NO_PLACEMENT in warning for warning in report.warnings)
    # `docker service inspect` would fill in an empty one.
    row = await scene.hands.engine.call(
        "inspecting the service", lambda client: client.inspect_service(scene.stack.service)
    )
    assert "Placement" not in row["Spec"]["TaskTemplate"]
