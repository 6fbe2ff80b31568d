"""Chosen tasks of a real Swarm stop while their service is frozen, and it is left as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from autoscaler.core.label_values import SwarmChoice
from autoscaler.core.model import Replica, ScalingAction, Service, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.frost import MARK, NOWHERE
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from tests.real.agents import EngineAgents
from tests.real.stages import STUBBORN, SwarmStage, docker
from tests.real.waiting import until

pytestmark = pytest.mark.swarm

LABELS = {"temporal.queue": "orders", "temporal.swarm-choice": "any"}


class Site:
    """One service with agents, and what the manager knows of it."""

    def __init__(self, stage: SwarmStage, engine: Engine, agents: EngineAgents) -> None:
        self.stage = stage
        self.agents = agents
        self.id = ServiceId("swarm", stage.name("worker"))
        self._engine = engine
        self.orchestrator = self.fresh()

    def fresh(self) -> SwarmOrchestrator:
        """Return the orchestrator of a daemon that has just begun."""
        projects = Projects(self._engine, [self.stage.project])
        return SwarmOrchestrator(
            self._engine, clock=lambda: datetime.now(UTC), projects=projects, agents=self.agents
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

    async def cut_off(self, *chosen: Replica) -> None:
        """Let a daemon end for good when it has frozen the service, before anything is stopped."""

        async def never(*_: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        reached, restored = asyncio.Event(), asyncio.Event()
        dying = self.fresh()
        agents = EngineAgents(self.agents.engines)
        agents.drain = never  # type: ignore[method-assign]
        dying = SwarmOrchestrator(
            DeadAfter(self._engine, restored),  # type: ignore[arg-type]
            clock=lambda: datetime.now(UTC),
            agents=agents,
        )
        action = ScalingAction(self.id, len(self.running()), len(self.running()) - len(chosen))
        change = asyncio.create_task(dying.stop(action, Choice(chosen, by_name=chosen)))
        await reached.wait()
        restored.set()
        change.cancel()
        await asyncio.gather(change, return_exceptions=True)


class DeadAfter:
    """An engine that a daemon can no longer reach after an event."""

    def __init__(self, engine: Engine, event: asyncio.Event) -> None:
        self._engine = engine
        self._event = event

    async def call(self, *arguments: Any) -> Any:
        if self._event.is_set():
            raise asyncio.CancelledError
        return await self._engine.call(*arguments)


@pytest.fixture
async def site(swarm_stage: SwarmStage, engine: Engine) -> AsyncIterator[Site]:
    node = docker("info", "--format={{.Swarm.NodeID}}").strip()
    agents = EngineAgents({node: engine})
    yield Site(swarm_stage, engine, agents)
    await agents.close()


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


async def test_what_a_daemon_that_was_killed_left_frozen_is_put_right_by_the_next(
    site: Site,
) -> None:
    site.stage.up({"worker": 3}, {"worker": LABELS})
    before, spec = site.running(), site.row()["Spec"]
    await site.cut_off((await site.replicas())[1])
    assert is_frozen(site.row()["Spec"])
    service = await site.seen()
    assert service.frozen
    assert "frozen" in str(service.refusal)

    await settle(site)

    assert site.row()["Spec"] == spec
    assert site.running() == before


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


async def settle(site: Site) -> None:
    """Restore the service as the ticks of a daemon do, until nothing is left to restore."""
    async with asyncio.timeout(60):
        while (await site.seen()).frozen or is_frozen(site.row().get("PreviousSpec")):
            await site.orchestrator.restore(site.id)
            await asyncio.sleep(0.2)
