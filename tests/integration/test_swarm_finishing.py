"""A scale-in on a real Swarm waits for tasks that it would tell to stop once more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from autoscaler.core.model import Service, ServiceId
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from tests.real.changes import change_replicas
from tests.real.stages import SwarmStage, docker
from tests.real.waiting import LIMIT, until

pytestmark = pytest.mark.swarm

LABELS = {"temporal.queue": "orders"}
# Says how often it was told to stop, and finishes its work when the file is there.
FINISHES = ("sh", "-c", "trap 'echo told' TERM; while [ ! -e /done ]; do sleep 0.1; done")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def orchestrator(engine: Engine, swarm_stage: SwarmStage) -> SwarmOrchestrator:
    return SwarmOrchestrator(engine, clock=now, projects=Projects(engine, [swarm_stage.project]))


async def test_a_task_that_finishes_its_work_is_told_once(
    orchestrator: SwarmOrchestrator, swarm_stage: SwarmStage
) -> None:
    swarm_stage.up({"worker": 3}, {"worker": LABELS}, command=FINISHES, stop_grace_period="60s")
    service = ServiceId("swarm", swarm_stage.name("worker"))
    mine = f"--filter=label=com.docker.swarm.service.name={service.name}"

    def containers() -> list[str]:
        return docker("ps", "--quiet", mine).split()

    def told() -> list[int]:
        return sorted(docker("logs", each).count("told") for each in containers())

    async def seen() -> Service:
        (found,) = await orchestrator.discover()
        return found

    await change_replicas(orchestrator, service, 3, 2)
    until(lambda: told() == [0, 0, 1], "one task that was told")
    assert (await seen()).finishing == 1

    await change_replicas(orchestrator, service, 2, 1)
    assert (swarm_stage.desired("worker"), told()) == (2, [0, 0, 1])

    (finishing,) = [each for each in containers() if "told" in docker("logs", each)]
    docker("exec", finishing, "touch", "/done")

    async with asyncio.timeout(LIMIT):
        while (await seen()).finishing:  # noqa: ASYNC110 - the Swarm announces no end
            await asyncio.sleep(0.1)
    await change_replicas(orchestrator, service, 2, 1)
    assert swarm_stage.desired("worker") == 1
    for each in containers():
        docker("exec", each, "touch", "/done")


async def test_growth_takes_its_place_again_or_waits(
    orchestrator: SwarmOrchestrator, swarm_stage: SwarmStage
) -> None:
    swarm_stage.up({"worker": 4}, {"worker": LABELS}, command=FINISHES, stop_grace_period="60s")
    service = ServiceId("swarm", swarm_stage.name("worker"))
    mine = f"--filter=label=com.docker.swarm.service.name={service.name}"
    first = docker("ps", "--quiet", mine).split()

    def told() -> list[int]:
        return sorted(docker("logs", each).count("told") for each in first)

    await change_replicas(orchestrator, service, 4, 1)
    until(lambda: told() == [0, 1, 1, 1], "three tasks that were told")
    (seen,) = await orchestrator.discover()
    assert (seen.finishing, seen.least_growth) == (3, 3)

    await change_replicas(orchestrator, service, 1, 2)
    assert (swarm_stage.desired("worker"), told()) == (1, [0, 1, 1, 1])

    await change_replicas(orchestrator, service, 1, 4)
    until(lambda: len(docker("ps", "--quiet", mine).split()) == 7, "three more tasks")
    assert (swarm_stage.desired("worker"), told()) == (4, [0, 1, 1, 1])
    for each in docker("ps", "--quiet", mine).split():
        docker("exec", each, "touch", "/done")
