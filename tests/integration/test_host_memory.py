"""What a real engine says of its host's memory, and of what containers take."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autoscaler.core.host_memory import HostMemory
from autoscaler.core.model import ServiceId
from autoscaler.core.sizes import Reserve
from autoscaler.orchestrators.compose.inventory import Inventory
from autoscaler.orchestrators.compose.memory import MEMINFO, UNSHOWN, EngineHost
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from tests.real.daemon import autoscaler
from tests.real.stages import ComposeStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import until

pytestmark = pytest.mark.engine

MIB = 2**20
TAKEN = 100 * MIB
TAKING = ("sh", "-c", "dd if=/dev/zero of=/fill/all bs=1M count=100; echo full; sleep 3600")
"""A process that takes 100 MiB, as a file of a tmpfs."""


class Site:
    """A project, and a daemon that looks at the memory of its host."""

    def __init__(self, stage: ComposeStage, engine: Engine, meminfo: Path = MEMINFO) -> None:
        self.stage = stage
        self.clock = lambda: datetime.now(UTC)
        projects = Projects(engine, [stage.project])
        self.inventory = Inventory(engine, self.clock, projects)
        reserve = Reserve(share=0.1)
        self.host = EngineHost(engine, self.inventory, reserve, self.clock, meminfo)

    def service(self, name: str) -> ServiceId:
        return ServiceId("compose", self.stage.name(name))

    async def look(self, *growing: str) -> HostMemory | None:
        services = await self.inventory.listed_now()
        return await self.host.memory(services.keys(), [*map(self.service, growing)])

    async def known(self, *growing: str) -> HostMemory:
        found = await self.look(*growing)
        assert found is not None
        return found


def up(stage: ComposeStage) -> None:
    """Run replicas that take 100 MiB each: one plain, one reserved for, one limited."""
    names = ("plain", "reserved", "limited")
    stage.up(
        dict.fromkeys(names, 1),
        {},
        command=TAKING,
        tmpfs=["/fill"],
        each={
            "reserved": {"mem_reservation": "300m"},
            "limited": {"mem_limit": "200m"},
        },
    )
    replicas = [each for name in names for each in stage.running(name)]
    until(lambda: all("full" in docker("logs", each) for each in replicas), "full replicas")


async def test_reservation_then_use_then_limit(compose_stage: ComposeStage, engine: Engine) -> None:
    up(compose_stage)
    site = Site(compose_stage, engine)

    memory = await site.known("plain")

    costs = {id_.name.partition("/")[2]: cost for id_, cost in memory.costs.items()}
    assert costs["reserved"] == 300 * MIB
    # They have not run for long, so nobody knows yet whether this is all that they take.
    assert costs["plain"] == UNSHOWN
    assert costs["limited"] == 200 * MIB
    assert memory.counted == dict.fromkeys(memory.costs, 1)
    used = 300 * MIB + UNSHOWN + 200 * MIB - memory.growing
    assert 3 * TAKEN <= used <= 3 * TAKEN + 60 * MIB
    assert site.host.warnings == ()

    async with asyncio.timeout(60):
        while costs["plain"] == UNSHOWN:
            await asyncio.sleep(1)
            costs["plain"] = (await site.known("plain")).costs[site.service("plain")]
    assert TAKEN <= costs["plain"] <= TAKEN + 20 * MIB
    limited = (await site.known("plain")).costs[site.service("limited")]
    assert TAKEN <= limited <= TAKEN + 20 * MIB, "what was seen comes before the limit"


async def test_this_machine_is_the_engines_host(
    compose_stage: ComposeStage, engine: Engine
) -> None:
    compose_stage.up({"plain": 1}, {})
    memory = await Site(compose_stage, engine).known()
    info = int(docker("info", "--format={{.MemTotal}}"))
    assert memory.total == info
    assert 0 < memory.free < info
    assert memory.reserve == info // 10


async def test_elsewhere_what_no_container_uses_is_free(
    compose_stage: ComposeStage, engine: Engine, tmp_path: Path
) -> None:
    up(compose_stage)
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 2000 kB\nMemAvailable: 1000 kB\n")
    site = Site(compose_stage, engine, meminfo)
    assert await site.look() is None

    memory = await site.known("plain")

    assert memory.total == int(docker("info", "--format={{.MemTotal}}"))
    assert 0 < memory.free <= memory.total - 3 * TAKEN


async def test_one_that_has_stopped_uses_nothing(
    compose_stage: ComposeStage, engine: Engine
) -> None:
    compose_stage.up({"plain": 1}, {}, mem_limit="64m")
    compose_stage.stop_by_hand("plain")
    site = Site(compose_stage, engine)
    memory = await site.known("plain")
    assert memory.costs == {site.service("plain"): 64 * MIB}
    assert memory.counted == {site.service("plain"): 0}
    assert memory.growing == 0


def test_doctor_and_plan_say_what_is_known(
    compose_stage: ComposeStage, temporal: TemporalServer, tmp_path: Path
) -> None:
    compose_stage.up({"plain": 1}, {"plain": {"temporal.queue": "orders"}})
    settings = {
        "AUTOSCALER_PROJECTS": compose_stage.project,
        "TEMPORAL_ADDRESS": temporal.endpoint,
        "AUTOSCALER_HOST_RESERVE": "1GiB",
    }
    doctor = autoscaler(tmp_path, "doctor", **settings).stdout
    assert "ok       host: memory of the host: " in doctor
    assert "; growth on Compose leaves 1 GiB" in doctor
    assert "free, growth leaves 1 GiB" in autoscaler(tmp_path, "plan", **settings).stdout
    settings["AUTOSCALER_HOST_RESERVE"] = "0"
    assert "memory of the host" not in autoscaler(tmp_path, "doctor", **settings).stdout
    assert "memory of the host" not in autoscaler(tmp_path, "plan", **settings).stdout
