"""Replicas that another process has told to stop drain, and are none any more."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoscaler.core.model import ScalingAction, Service
from autoscaler.core.protect import choose_in_order
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from tests.real.daemon import autoscaler
from tests.real.stages import ComposeStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import LIMIT, until

pytestmark = pytest.mark.engine

LABELS = {"temporal.queue": "orders", "temporal.busy": "ignore"}
PATIENT = ("sh", "-c", "trap '' TERM HUP USR1; echo ready; sleep 3600 & wait; wait; wait; wait")
"""A process that outlives every signal but SIGKILL."""


class Site:
    """A project, as processes see it that have just begun."""

    def __init__(self, stage: ComposeStage, engine: Engine) -> None:
        self.stage = stage
        self._engine = engine

    def fresh(self) -> ComposeOrchestrator:
        """Return an orchestrator that has not seen anything happen."""
        projects = Projects(self._engine, [self.stage.project])
        return ComposeOrchestrator(self._engine, clock=lambda: datetime.now(UTC), projects=projects)

    async def counts(self) -> tuple[int, int]:
        """Return the replicas and those that drain, as a fresh orchestrator sees them."""
        service = await seen(self.fresh())
        return service.replicas, service.draining

    def up(self, replicas: int, **options: object) -> list[str]:
        """Run replicas that take a minute to stop, and return their ids."""
        settings = {"command": PATIENT, "stop_grace_period": "60s", **options}
        self.stage.up({"worker": replicas}, {"worker": LABELS}, **settings)
        found = sorted(self.stage.running("worker"))
        # Before its handlers are in place, a signal would end it.
        until(lambda: all("ready" in docker("logs", each) for each in found), "their handlers")
        return found


@pytest.fixture
def site(compose_stage: ComposeStage, engine: Engine) -> Site:
    return Site(compose_stage, engine)


async def seen(orchestrator: ComposeOrchestrator) -> Service:
    (service,) = await orchestrator.discover()
    return service


async def test_those_that_a_daemon_drains_are_known_to_a_fresh_process(
    site: Site,
) -> None:
    site.up(5)
    first = site.fresh()
    service = await seen(first)
    choice = choose_in_order(await first.replicas(service.id), 4)

    await first.stop(ScalingAction(service.id, 5, 1), choice)

    async with asyncio.timeout(LIMIT):
        # The orchestrator does not announce that it has sent the signals.
        while await site.counts() != (1, 4):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    second = site.fresh()
    assert (await seen(second)).refusal is None
    assert await second.replicas(service.id) == await first.replicas(service.id)

    docker("kill", *(each.id for each in choice.replicas))
    await first.close(timedelta(seconds=30))
    after = await seen(second)
    assert (after.replicas, after.draining) == (1, 0)


async def test_where_all_are_on_their_way_the_service_is_left_alone(
    site: Site,
) -> None:
    docker("kill", "--signal=TERM", *site.up(2))
    service = await seen(site.fresh())
    assert (service.replicas, service.draining) == (0, 2)
    assert service.refusal is not None
    assert service.refusal.startswith("somebody else is changing its containers")


@pytest.mark.parametrize(
    ("signal", "options", "draining"),
    [
        pytest.param("HUP", {}, 0, id="a-reload"),
        pytest.param("USR1", {"stop_signal": "SIGUSR1"}, 1, id="its-own-stop-signal"),
        pytest.param("TERM", {"stop_signal": "SIGUSR1"}, 0, id="another-than-its-own"),
    ],
)
async def test_only_the_stop_signal_tells_a_replica_to_stop(
    site: Site, signal: str, options: dict[str, str], draining: int
) -> None:
    first, _ = site.up(2, **options)
    docker("kill", f"--signal={signal}", first)
    assert await site.counts() == (2 - draining, draining)


async def test_one_that_was_restarted_meanwhile_is_a_replica(site: Site) -> None:
    first, _ = site.up(2)
    docker("restart", "--time=0", first)
    assert await site.counts() == (2, 0)


async def test_plan_does_not_count_what_the_daemon_beside_it_drains(
    site: Site, temporal: TemporalServer, tmp_path: Path
) -> None:
    *going, _ = site.up(5)
    docker("kill", "--signal=TERM", *going)

    done = autoscaler(
        tmp_path,
        "plan",
        "--json",
        AUTOSCALER_PROJECTS=site.stage.project,
        TEMPORAL_ADDRESS=temporal.endpoint,
    )

    (service,) = json.loads(done.stdout)["services"]
    assert (service["replicas"], service["desired"], service["draining"]) == (1, 1, 4)
