"""The memory of the engine's host: what is free, and what a replica takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from autoscaler.core.findings import Outcome
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.model import ServiceId
from autoscaler.core.sizes import Reserve
from autoscaler.orchestrators.compose.consumption import FRESH
from autoscaler.orchestrators.compose.inventory import Inventory
from autoscaler.orchestrators.compose.memory import (
    GROWS_FOR,
    GROWS_UNSEEN_FOR,
    SHOWN_AFTER,
    TOTAL_HOLDS,
    UNSHOWN,
    EngineHost,
)
from autoscaler.orchestrators.engine import DOCKER, EngineError, Lane
from tests.fakes.clock import Clock

T = TypeVar("T")

GIB = 2**30
MIB = 2**20
TOTAL = 16 * GIB
WEB, MAILS = ServiceId("compose", "shop/web"), ServiceId("compose", "shop/mails")
OLD = timedelta(days=1)
"""The age of replicas that have grown."""


class FakeEngine:
    """An engine whose containers use some memory."""

    base_url, api_version, timeout = "http://engine", "1.41", 60
    product = DOCKER

    def __init__(self, clock: Clock) -> None:
        self.total: int | None = TOTAL
        self.cgroup_driver = "cgroupfs"
        self.used: dict[str, int] = {}
        self.host_configs: dict[str, dict[str, int]] = {}
        self.images: dict[str, str] = {}
        self.refused: set[str] = set()
        """Kinds of call that a proxy refuses: `info`, `stats`."""
        self.broken: EngineError | None = None
        self.asked: list[str] = []
        self._clock = clock
        self.gone: set[str] = set()
        """Containers that went after they were listed."""
        self._rows: dict[str, dict[str, Any]] = {}
        self._current = ""

    def add(
        self, service: str, number: int = 1, *, age: timedelta = OLD, used: int | None = None
    ) -> str:
        """Run a replica that uses some memory; return its id."""
        id_ = f"{service}-{number}"
        prefix = "com.docker.compose"
        labels = {"project": "shop", "service": service, "container-number": str(number)}
        self._rows[id_] = {
            "Id": id_,
            "Names": [f"/shop-{id_}"],
            "Created": int((self._clock.now - age).timestamp()),
            "State": "running",
            "ImageID": "image",
            "Labels": {f"{prefix}.{key}": value for key, value in labels.items()}
            | {f"{prefix}.config-hash": "hash"},
        }
        if used is not None:
            self.used[id_] = used
        return id_

    def remove(self, id_: str) -> None:
        del self._rows[id_]

    def run_image(self, id_: str, image: str) -> None:
        """Let a replica run another version."""
        self._rows[id_]["ImageID"] = image

    def stop(self, id_: str) -> None:
        self._rows[id_]["State"] = "exited"

    def start(self, id_: str) -> None:
        self._rows[id_]["State"] = "running"

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        return work(self)

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        return [*self._rows.values()]

    def ping(self) -> bool:
        return True

    def info(self) -> dict[str, Any]:
        self._ask("info")
        driver = {"CgroupDriver": self.cgroup_driver}
        return driver if self.total is None else {**driver, "MemTotal": self.total}

    def inspect_container(self, id_: str) -> dict[str, Any]:
        if id_ in self.gone:
            raise EngineError("no such container", 404)
        return {
            "Id": id_,
            "Name": self._rows[id_]["Names"][0],
            "Config": {"Labels": self._rows[id_]["Labels"]},
            "HostConfig": self.host_configs.get(id_, {}),
            "NetworkSettings": {},
        }

    def get(self, url: str, **_: object) -> FakeEngine:
        self._current = url.split("/")[-2]
        self._ask("stats")
        return self

    def raise_for_status(self) -> None:
        """The refusals are raised by `get`."""

    def json(self) -> dict[str, Any]:
        used = self.used.get(self._current)
        return {"memory_stats": {} if used is None else {"usage": used}}

    def _ask(self, kind: str) -> None:
        self.asked.append(kind)
        if self.broken is not None:
            raise self.broken
        if kind in self.refused:
            raise EngineError(f"{kind} failed: the Docker Engine answered 403", 403)


class Site:
    """A host with an engine, and a daemon that looks at its memory."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.engine = FakeEngine(self.clock)
        self.meminfo = folder / "meminfo"
        self.inventory = Inventory(self.engine, self.clock)  # type: ignore[arg-type]
        self.host = EngineHost(
            self.engine,  # type: ignore[arg-type]
            self.inventory,
            Reserve(share=0.1),
            self.clock,
            self.meminfo,
        )
        self.free(6 * GIB)

    def free(self, available: int, total: int = TOTAL) -> None:
        """Let so much be free on this machine."""
        self.meminfo.write_text(
            f"MemTotal:       {total // 1024} kB\nMemFree:         1000 kB\n"
            f"MemAvailable:   {available // 1024} kB\nBuffers:         20 kB\n"
        )

    async def look(self, *growing: ServiceId) -> HostMemory | None:
        """Look at the containers, then at the memory."""
        self.clock.advance(FRESH.total_seconds())
        services = await self.inventory.listed_now()
        return await self.host.memory(services.keys(), growing)

    async def known(self, *growing: ServiceId) -> HostMemory:
        """Look where the memory is known; any service wants to grow unless some are named."""
        found = await self.look(*(growing or (WEB,)))
        assert found is not None
        return found

    async def cost(self, service: ServiceId = WEB) -> int | None:
        return (await self.known()).costs.get(service)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class TestWhatIsFree:
    async def test_this_machine_tells_where_it_is_the_engines_host(self, site: Site) -> None:
        site.engine.add("web", used=GIB)
        memory = await site.known()
        assert (memory.total, memory.free, memory.reserve) == (TOTAL, 6 * GIB, TOTAL // 10)
        assert site.host.warnings == ()

    async def test_on_another_host_it_is_what_no_container_uses(self, site: Site) -> None:
        site.free(6 * GIB, total=8 * GIB)
        site.engine.add("web", used=3 * GIB)
        site.engine.add("database", used=2 * GIB)
        memory = await site.known()
        assert (memory.total, memory.free) == (TOTAL, 11 * GIB)

    async def test_without_such_a_file_it_is_the_same(self, site: Site) -> None:
        site.meminfo.unlink()
        site.engine.add("web", used=3 * GIB)
        assert (await site.known()).free == 13 * GIB

    async def test_there_what_is_reserved_counts_where_statistics_are_refused(
        self, site: Site
    ) -> None:
        site.meminfo.unlink()
        site.engine.refused = {"stats"}
        for number in (1, 2):
            site.engine.host_configs[site.engine.add("web", number)] = {"Memory": GIB}
        assert (await site.known()).free == 14 * GIB

    @pytest.mark.parametrize("text", ["", "MemTotal: many\n", "MemTotal:  1 kB\n"])
    async def test_a_file_that_does_not_tell_is_none(self, site: Site, text: str) -> None:
        site.meminfo.write_text(text)
        site.engine.add("web", used=GIB)
        assert (await site.known()).free == 15 * GIB

    @pytest.mark.parametrize("total", [None, 0])
    async def test_an_engine_that_does_not_know_its_host_leaves_it_to_this_machine(
        self, site: Site, total: int | None
    ) -> None:
        site.engine.total = total
        assert (await site.known()).free == 6 * GIB

    async def test_the_engine_is_asked_for_its_host_from_time_to_time(self, site: Site) -> None:
        for _ in range(3):
            await site.look()
        assert site.engine.asked == ["info"]
        site.clock.advance(TOTAL_HOLDS.total_seconds())
        await site.look()
        assert site.engine.asked == ["info", "info"]


class TestNobodyWantsToGrow:
    async def test_nothing_is_read_of_containers(self, site: Site) -> None:
        site.engine.add("web", used=GIB)
        memory = await site.look()
        assert memory == HostMemory(TOTAL, 6 * GIB, TOTAL // 10)
        assert "stats" not in site.engine.asked

    async def test_on_another_host_nothing_is_known_then(self, site: Site) -> None:
        site.meminfo.unlink()
        assert await site.look() is None


class TestWhatAReplicaTakes:
    async def test_its_reservation_comes_first(self, site: Site) -> None:
        id_ = site.engine.add("web", used=GIB)
        site.engine.host_configs[id_] = {"MemoryReservation": 200 * MIB, "Memory": 2 * GIB}
        assert await site.cost() == 200 * MIB

    async def test_then_the_most_that_one_was_seen_to_use(self, site: Site) -> None:
        for number, used in enumerate((300, 500, 400), 1):
            id_ = site.engine.add("web", number, used=used * MIB)
            site.engine.host_configs[id_] = {"Memory": 2 * GIB}
        assert await site.cost() == 500 * MIB

    async def test_then_its_limit(self, site: Site) -> None:
        site.engine.host_configs[site.engine.add("web")] = {"Memory": 2 * GIB}
        assert await site.cost() == 2 * GIB

    async def test_else_nobody_knows_which_is_said_until_somebody_does(self, site: Site) -> None:
        id_ = site.engine.add("web")
        assert await site.cost() is None
        (warning,) = site.host.warnings
        assert warning == (
            "nobody knows how much memory a replica of shop/web takes, so it is not counted;"
            " set its mem_reservation or mem_limit"
        )
        site.engine.used[id_] = 500 * MIB
        assert await site.cost() == 500 * MIB
        assert site.host.warnings == ()

    async def test_that_is_said_no_more_when_the_service_is_gone(self, site: Site) -> None:
        id_ = site.engine.add("web")
        await site.look(WEB)
        site.engine.remove(id_)
        await site.look()
        assert site.host.warnings == ()

    async def test_a_container_that_went_a_moment_ago_is_no_error(self, site: Site) -> None:
        site.engine.gone.add(site.engine.add("web"))
        assert await site.cost() is None

    async def test_services_that_do_not_want_to_grow_have_a_cost_too(self, site: Site) -> None:
        site.engine.add("mails", used=500 * MIB)
        assert await site.cost(MAILS) == 500 * MIB

    async def test_the_most_is_remembered_when_they_use_less_and_when_they_stop(
        self, site: Site
    ) -> None:
        id_ = site.engine.add("web", used=500 * MIB)
        await site.look(WEB)
        site.engine.used[id_] = 100 * MIB
        assert await site.cost() == 500 * MIB
        site.engine.stop(id_)
        assert await site.cost() == 500 * MIB

    async def test_another_version_takes_what_it_takes(self, site: Site) -> None:
        id_ = site.engine.add("web", used=500 * MIB)
        await site.look(WEB)
        site.engine.run_image(id_, "another")
        site.engine.used[id_] = 300 * MIB
        assert await site.cost() == 300 * MIB

    async def test_replicas_of_another_version_do_not_tell(self, site: Site) -> None:
        site.engine.run_image(site.engine.add("web", 1, used=900 * MIB), "outdated")
        site.engine.add("web", 2, age=OLD / 2, used=300 * MIB)
        assert await site.cost() == 300 * MIB

    async def test_it_is_forgotten_with_the_service(self, site: Site) -> None:
        id_ = site.engine.add("web", used=500 * MIB)
        await site.look(WEB)
        site.engine.remove(id_)
        await site.look()
        site.engine.add("web", used=300 * MIB)
        assert await site.cost() == 300 * MIB

    async def test_a_change_of_the_limit_counts(self, site: Site) -> None:
        id_ = site.engine.add("web")
        site.engine.host_configs[id_] = {"Memory": GIB}
        await site.look(WEB)
        site.engine.host_configs[id_] = {"Memory": 2 * GIB}
        site.inventory.happened(id_, "update")
        assert await site.cost() == 2 * GIB


class TestReplicasThatAreAllNew:
    async def test_each_counts_with_more_than_it_has_shown(self, site: Site) -> None:
        site.engine.add("web", age=SHOWN_AFTER / 2, used=20 * MIB)
        assert await site.cost() == UNSHOWN

    async def test_but_with_no_more_than_its_limit(self, site: Site) -> None:
        id_ = site.engine.add("web", age=SHOWN_AFTER / 2, used=20 * MIB)
        site.engine.host_configs[id_] = {"Memory": 128 * MIB}
        assert await site.cost() == 128 * MIB

    async def test_what_one_uses_already_counts(self, site: Site) -> None:
        site.engine.add("web", age=SHOWN_AFTER / 2, used=GIB)
        assert await site.cost() == GIB

    async def test_once_one_has_run_for_a_while_it_is_known(self, site: Site) -> None:
        site.engine.add("web", age=SHOWN_AFTER / 2, used=20 * MIB)
        await site.look(WEB)
        site.clock.advance(SHOWN_AFTER.total_seconds())
        assert await site.cost() == 20 * MIB


class TestWhatIsStillToBeTaken:
    async def test_a_new_replica_will_take_what_another_takes(self, site: Site) -> None:
        site.engine.add("web", 1, used=500 * MIB)
        site.engine.add("web", 2, age=GROWS_FOR / 2, used=100 * MIB)
        memory = await site.known()
        assert memory.growing == 400 * MIB
        assert memory.counted == {WEB: 2}

    async def test_one_that_has_run_for_long_takes_no_more(self, site: Site) -> None:
        site.engine.add("web", 1, used=500 * MIB)
        site.engine.add("web", 2, age=GROWS_FOR, used=100 * MIB)
        assert (await site.known()).growing == 0

    async def test_one_that_was_started_again_is_new(self, site: Site) -> None:
        site.engine.add("web", 1, used=500 * MIB)
        id_ = site.engine.add("web", 2, used=100 * MIB)
        site.inventory.happened(id_, "start")
        assert (await site.known()).growing == 400 * MIB

    async def test_it_counts_for_services_that_do_not_want_to_grow(self, site: Site) -> None:
        site.engine.add("mails", 1, used=500 * MIB)
        site.engine.add("mails", 2, age=GROWS_FOR / 2, used=200 * MIB)
        assert (await site.known(WEB)).growing == 300 * MIB

    async def test_where_nobody_may_read_it_counts_for_a_shorter_time(self, site: Site) -> None:
        site.engine.refused = {"stats"}
        id_ = site.engine.add("web", age=GROWS_UNSEEN_FOR / 2)
        site.engine.host_configs[id_] = {"Memory": GIB}
        assert (await site.known()).growing == GIB
        site.clock.advance(GROWS_UNSEEN_FOR.total_seconds())
        assert (await site.known()).growing == 0


class TestRefusals:
    async def test_without_statistics_reservations_and_limits_count(self, site: Site) -> None:
        site.engine.refused = {"stats"}
        site.engine.host_configs = {
            site.engine.add("web"): {"MemoryReservation": 200 * MIB, "Memory": GIB},
            site.engine.add("mails"): {"Memory": 300 * MIB},
        }
        memory = await site.known()
        assert memory.costs == {WEB: 200 * MIB, MAILS: 300 * MIB}
        assert memory.free == 6 * GIB
        (warning,) = site.host.warnings
        assert warning == (
            "nobody can tell what replicas use (stats failed: the Docker Engine answered 403): what"
            " is reserved for them counts, or else their limit; let the proxy before the socket"
            " pass GET /containers/<id>/stats"
        )

    async def test_an_engine_without_cgroups_is_not_asked_for_statistics(self, site: Site) -> None:
        site.engine.cgroup_driver = "none"
        site.meminfo.unlink()
        site.engine.host_configs[site.engine.add("web", used=9 * GIB)] = {"Memory": GIB}
        memory = await site.known()
        assert memory.costs == {WEB: GIB}
        assert memory.free == 15 * GIB
        assert "stats" not in site.engine.asked
        (warning,) = site.host.warnings
        assert warning == (
            "nobody can tell what replicas use (the engine has no cgroups): what is reserved for"
            " them counts, or else their limit; see docs/engines.md"
        )

    async def test_without_the_engines_word_this_machine_counts(self, site: Site) -> None:
        site.engine.refused = {"info"}
        assert (await site.known()).free == 6 * GIB
        assert site.host.warnings[0].startswith("nobody can tell how much memory the engine's host")

    async def test_without_either_nothing_is_known_and_nothing_fails(self, site: Site) -> None:
        site.engine.refused = {"info", "stats"}
        site.meminfo.unlink()
        assert await site.look(WEB) is None
        assert (await site.host.examine()).outcome is Outcome.WARNING

    @pytest.mark.parametrize("status", [None, 500])
    async def test_any_other_error_is_raised(self, site: Site, status: int | None) -> None:
        site.engine.add("web", used=GIB)
        await site.look(WEB)
        site.engine.broken = EngineError("out of order", status)
        with pytest.raises(EngineError, match="out of order"):
            await site.look(WEB)
        site.engine.broken = None
        assert (await site.known()).free == 6 * GIB


class TestDoctor:
    async def test_it_says_what_is_free(self, site: Site) -> None:
        finding = await site.host.examine()
        assert finding.outcome is Outcome.OK
        assert finding.text == (
            "memory of the host: 6 GiB of 16 GiB free; growth on Compose leaves 1.6 GiB"
        )

    async def test_it_says_that_the_host_is_another_one(self, site: Site) -> None:
        site.meminfo.unlink()
        assert "16 GiB on another host than this" in (await site.host.examine()).text

    async def test_it_says_why_nothing_is_known(self, site: Site) -> None:
        site.engine.broken = EngineError("no answer")
        finding = await site.host.examine()
        assert (finding.outcome, finding.text) == (
            Outcome.WRONG,
            "memory of the host is unknown: no answer",
        )
