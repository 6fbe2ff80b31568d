"""Chosen tasks of a real Swarm stop while their service is frozen, and it is left as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from autoscaler.core.label_values import SwarmChoice
from autoscaler.core.model import Replica, ScalingAction, Service, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.frost import MARK, NOWHERE
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from autoscaler.orchestrators.swarm.rows import LEFT_FROZEN
from tests.real.agent import SECRET, AgentProcess, AgentsAt
from tests.real.stages import STUBBORN, SwarmStage, docker
from tests.real.waiting import LIMIT, until

pytestmark = pytest.mark.swarm

LABELS = {"temporal.queue": "orders", "temporal.swarm-choice": "any"}


class Site:
    """One service with agents, and what the manager knows of it."""

    def __init__(self, stage: SwarmStage, engine: Engine, agents: AgentsAt) -> None:
        self.stage = stage
        self.agents = agents
        self.id = ServiceId("swarm", stage.name("worker"))
        self._engine = engine
        self.orchestrator = self.fresh()

    def fresh(self, after: timedelta = timedelta()) -> SwarmOrchestrator:
        """Return the orchestrator of a daemon that has just begun, after so much more time."""
        projects = Projects(self._engine, [self.stage.project])
        return SwarmOrchestrator(
            self._engine,
            clock=lambda: datetime.now(UTC) + after,
            projects=projects,
            agents=self.agents,
        )

    async def seen(self) -> Service:
        """Return the service as a daemon that has just begun sees it."""
        (service,) = await self.fresh().discover()
        return service

    async def replicas(self) -> Sequence[Replica]:
        return await self.orchestrator.replicas(self.id, SwarmChoice.ANY)

    async def stop(self, *chosen: Replica) -> Stopped:
        """Stop these replicas."""
        now = self.row()["Spec"]["Mode"]["Replicated"]["Replicas"]
        action = ScalingAction(self.id, now, now - len(chosen))
        choice = Choice(tuple(await self.replicas()), by_name=chosen)
        return await self.orchestrator.stop(action, choice)

    def row(self) -> dict[str, Any]:
        """Return the service as the manager has it."""
        (found,) = json.loads(docker("service", "inspect", self.id.name))
        return dict(found)

    def running(self) -> set[str]:
        return self.stage.running("worker")

    async def kill_a_daemon(self, *chosen: Replica) -> None:
        """Let a daemon be killed that has frozen the service, and told these tasks to stop."""
        engine = MortalEngine(self._engine)
        dying = SwarmOrchestrator(
            engine,  # type: ignore[arg-type]
            clock=lambda: datetime.now(UTC),
            agents=self.agents,
        )
        self.agents.before_drain = engine.die
        replicas = len(self.running())
        action = ScalingAction(self.id, replicas, replicas - len(chosen))
        with pytest.raises(Killed):
            await dying.stop(action, Choice(chosen, by_name=chosen))
        self.agents.before_drain = lambda: None


class Killed(BaseException):
    """What a daemon that is killed sees."""


class MortalEngine:
    """An engine as a daemon sees it that is killed some time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dead = False

    def die(self) -> None:
        self._dead = True

    async def call(self, *arguments: Any) -> Any:
        if self._dead:
            raise Killed
        return await self._engine.call(*arguments)


@pytest.fixture
def agent(tmp_path: Path, swarm: None) -> Iterator[AgentProcess]:  # noqa: ARG001
    with AgentProcess(tmp_path, {}) as process:
        yield process


@pytest.fixture
def site(swarm_stage: SwarmStage, engine: Engine, agent: AgentProcess) -> Site:
    return Site(swarm_stage, engine, AgentsAt(engine, SecretStr(SECRET), agent.port))


def is_frozen(spec: dict[str, Any] | None) -> bool:
    return spec is not None and (
        MARK in spec["Labels"] or spec["TaskTemplate"]["Placement"].get("Platforms") == NOWHERE
    )


async def test_exactly_the_chosen_tasks_go_and_nothing_else_of_the_service_changes(
    site: Site,
) -> None:
    site.stage.up({"worker": 5}, {"worker": LABELS})
    before, spec = site.running(), site.row()["Spec"]
    found = await site.replicas()
    chosen = (found[1], found[3])
    assert not any(each.vacates for each in found)

    stopped = await site.stop(*chosen)

    assert set(stopped.replicas) == {each.id for each in chosen}
    assert site.running() == before - set(stopped.replicas)
    spec["Mode"]["Replicated"]["Replicas"] = 3
    assert site.row()["Spec"] == spec


async def test_a_rollback_afterwards_does_not_freeze_the_service(site: Site) -> None:
    site.stage.up({"worker": 3}, {"worker": LABELS})
    await site.stop((await site.replicas())[2])
    await settle(site)

    docker("service", "rollback", "--detach", site.id.name)

    assert not is_frozen(site.row()["Spec"])
    assert len(site.running()) == 2


@pytest.mark.parametrize("order", ["stop-first", "start-first"])
async def test_what_a_daemon_that_was_killed_left_frozen_is_put_right_by_the_next(
    site: Site, order: str
) -> None:
    """What it has stopped is replaced; nothing else is touched, whatever its updates are like."""
    update = {"order": order, "failure_action": "rollback", "monitor": "2s"}
    site.stage.up({"worker": 4}, {"worker": LABELS}, deploy={"update_config": update})
    before, spec = site.running(), site.row()["Spec"]
    chosen = (await site.replicas())[1]
    await site.kill_a_daemon(chosen)
    assert is_frozen(site.row()["Spec"])
    service = await site.seen()
    assert service.frozen
    assert "frozen" in str(service.refusal)

    await settle(site)

    until(lambda: len(site.running()) == 4, "a replacement")
    assert site.row()["Spec"] == spec
    assert site.running() >= before - {chosen.id}


async def test_what_was_left_frozen_is_put_right_although_its_labels_are_gone(site: Site) -> None:
    site.stage.up({"worker": 3}, {"worker": LABELS})
    before = site.running()
    chosen = (await site.replicas())[1]
    await site.kill_a_daemon(chosen)
    without = [f"--label-rm={name}" for name in LABELS]
    docker("service", "update", "--detach", *without, site.id.name)
    assert is_frozen(site.row()["Spec"])

    async with asyncio.timeout(LIMIT):
        while is_frozen(site.row()["Spec"]) or is_frozen(site.row().get("PreviousSpec")):
            later = site.fresh(after=timedelta(minutes=2))
            for service in await later.discover():
                assert service.refusal == LEFT_FROZEN
                await later.restore(service.id)
            await asyncio.sleep(0.2)

    until(lambda: len(site.running()) == 3, "a replacement")
    assert site.running() >= before - {chosen.id}
    assert await site.fresh(after=timedelta(minutes=2)).discover() == []


async def test_a_task_that_crashes_meanwhile_is_made_up_for(site: Site) -> None:
    site.stage.up({"worker": 4}, {"worker": LABELS})
    before = site.running()
    first, second, *_ = await site.replicas()

    def crash() -> None:
        docker("kill", str(container_of(first.id)))

    site.agents.before_drain = crash
    stopped = await site.stop(second)

    assert stopped.replicas == (second.id,)
    until(lambda: len(site.running()) == 3, "three tasks")
    assert site.running() >= before - {first.id, second.id}


async def test_a_rollout_that_begins_meanwhile_is_finished(site: Site) -> None:
    site.stage.up({"worker": 3}, {"worker": LABELS})

    def roll_out() -> None:
        docker("service", "update", "--detach", "--env-add=VERSION=2", site.id.name)

    site.agents.before_drain = roll_out
    stopped = await site.stop((await site.replicas())[1])

    assert stopped == Stopped()
    assert not is_frozen(site.row()["Spec"])
    until(lambda: (site.row().get("UpdateStatus") or {}).get("State") == "completed", "its end")
    until(lambda: len(site.running()) == 3, "three tasks")
    assert site.row()["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["VERSION=2"]


async def test_a_task_that_goes_on_behind_its_grace_is_not_counted_as_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took a task at the last moment: it finishes, ends, and the Swarm replaces it."""
    monkeypatch.setattr("autoscaler.orchestrators.swarm.choosing.END_LOOKS", 5)
    site.stage.up({"worker": 3}, {"worker": LABELS}, command=STUBBORN, stop_grace_period="20s")
    before = site.running()

    stopped = await site.stop((await site.replicas())[1])

    assert stopped == Stopped()
    assert not is_frozen(site.row()["Spec"])
    assert site.stage.desired("worker") == 3
    assert before == site.running()


async def test_a_number_that_somebody_else_sets_meanwhile_stays(site: Site) -> None:
    site.stage.up({"worker": 3}, {"worker": LABELS})

    def by_hand() -> None:
        docker("service", "scale", "--detach", f"{site.id.name}=6")

    site.agents.before_drain = by_hand
    stopped = await site.stop((await site.replicas())[1])

    assert stopped == Stopped()
    until(lambda: len(site.running()) == 6, "six tasks")
    assert not is_frozen(site.row()["Spec"])


def container_of(task: str) -> str:
    """Return the container of a task."""
    (found,) = json.loads(docker("inspect", "--type=task", task))
    return str(found["Status"]["ContainerStatus"]["ContainerID"])


async def settle(site: Site) -> None:
    """Restore the service as the ticks of a daemon do, until nothing is left to restore."""
    async with asyncio.timeout(LIMIT):
        while (await site.seen()).frozen or is_frozen(site.row().get("PreviousSpec")):
            await site.orchestrator.restore(site.id)
            await asyncio.sleep(0.2)
