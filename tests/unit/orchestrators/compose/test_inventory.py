"""The list of containers holds for as long as the engine's events report nothing new."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose.inventory import LONGEST, Inventory
from autoscaler.orchestrators.engine import EngineError, Lane
from autoscaler.orchestrators.projects import Projects
from tests.fakes.clock import Clock

T = TypeVar("T")
LIST, PING, INSPECT = "list", "ping", "inspect"


class Host:
    """An engine with containers, which writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.rows = [container("web")]
        self.while_listing: Callable[[], None] = lambda: None
        self.hangs = False
        self.host_configs: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        """Containers that went after they were listed."""

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        return work(self)

    def ping(self) -> bool:
        self.asked.append(PING)
        if self.hangs:
            raise EngineError("no answer")
        return True

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        self.asked.append(LIST)
        self.while_listing()
        return self.rows

    def inspect_container(self, id_: str) -> dict[str, Any]:
        self.asked.append(INSPECT)
        if id_ in self.gone:
            raise EngineError("no such container", 404)
        (row,) = [row for row in self.rows if row["Id"] == id_]
        return {
            "Id": id_,
            "Name": row["Names"][0],
            "Config": {"Labels": row["Labels"], "StopTimeout": 7},
            "HostConfig": self.host_configs.get(id_, {}),
            "NetworkSettings": {},
        }


def container(service: str, number: int = 1, project: str = "shop") -> dict[str, Any]:
    """Return a row of the engine's list."""
    prefix = "com.docker.compose"
    labels = {"project": project, "service": service, "container-number": str(number)}
    return {
        "Id": f"{project}-{service}-{number}",
        "Names": [f"/{project}-{service}-{number}"],
        "Created": 1000,
        "State": "running",
        "Labels": {f"{prefix}.{key}": value for key, value in labels.items()}
        | {f"{prefix}.config-hash": "hash"},
    }


def by_hand(name: str) -> dict[str, Any]:
    """Return the row of a container that neither Compose nor Swarm made."""
    return {"Id": name, "Names": [f"/{name}"], "Created": 1000, "State": "running", "Labels": {}}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def inventory(host: Host, clock: Clock) -> Inventory:
    """Return an inventory that has just been listed, while events arrive."""
    made = Inventory(host, clock)  # type: ignore[arg-type]
    made.watched(watched=True)
    await made.containers()
    host.asked.clear()
    return made


async def asked(inventory: Inventory, host: Host) -> list[str]:
    """Look once, and return what the engine was asked."""
    host.asked.clear()
    await inventory.containers()
    return host.asked


async def states(inventory: Inventory) -> list[str]:
    """Look once, and return the states of all containers."""
    groups = await inventory.containers()
    return [each.state for found in groups.values() for each in found.containers]


async def test_containers_are_grouped_by_their_service(host: Host, clock: Clock) -> None:
    host.rows = [container("web"), container("web", 2), container("db")]
    groups = await Inventory(host, clock).containers()  # type: ignore[arg-type]
    assert {id_: [each.number for each in found.containers] for id_, found in groups.items()} == {
        ServiceId("compose", "shop/web"): [1, 2],
        ServiceId("compose", "shop/db"): [1],
    }


async def test_only_the_projects_that_were_named_count(host: Host, clock: Clock) -> None:
    host.rows = [container("web"), container("web", project="mail")]
    named = Projects(host, ["mail"])  # type: ignore[arg-type]
    inventory = Inventory(host, clock, named)  # type: ignore[arg-type]
    groups = await inventory.containers()
    assert list(groups) == [ServiceId("compose", "mail/web")]
    assert list(inventory.others) == [ServiceId("compose", "shop/web")]
    assert inventory.projects == {"mail", "shop"}


class TestEnds:
    """The engine lists a container as running for a while after it has told of its end."""

    async def test_a_container_whose_end_was_told_does_not_run(
        self, inventory: Inventory, host: Host
    ) -> None:
        inventory.happened("shop-web-1", "die")
        assert await states(inventory) == ["exited"]
        assert await asked(inventory, host) == [LIST], "the engine's list is still behind"

    async def test_what_the_engine_says_counts_once_it_says_otherwise(
        self, inventory: Inventory, host: Host
    ) -> None:
        inventory.happened("shop-web-1", "die")
        host.rows[0]["State"] = "restarting"
        assert await states(inventory) == ["restarting"]
        assert await asked(inventory, host) == [PING]

    async def test_what_was_started_again_runs(self, inventory: Inventory) -> None:
        inventory.happened("shop-web-1", "die")
        inventory.happened("shop-web-1", "start")
        assert await states(inventory) == ["running"]

    async def test_it_is_forgotten_where_a_start_may_have_been_missed(
        self, inventory: Inventory
    ) -> None:
        inventory.happened("shop-web-1", "die")
        inventory.watched(watched=False)
        inventory.watched(watched=True)
        assert await states(inventory) == ["running"]


class TestKeeping:
    async def test_while_nothing_happens_the_engine_is_only_asked_whether_it_answers(
        self, inventory: Inventory, host: Host
    ) -> None:
        assert await asked(inventory, host) == [PING]

    async def test_an_engine_that_hangs_is_an_error_although_nothing_happened(
        self, inventory: Inventory, host: Host
    ) -> None:
        host.hangs = True
        with pytest.raises(EngineError, match="no answer"):
            await inventory.containers()

    async def test_a_change_ends_it(self, inventory: Inventory, host: Host) -> None:
        inventory.changed()
        assert await asked(inventory, host) == [LIST]
        assert await asked(inventory, host) == [PING]

    async def test_so_does_a_change_while_containers_are_listed(
        self, inventory: Inventory, host: Host
    ) -> None:
        inventory.changed()
        host.while_listing = inventory.changed
        await inventory.containers()
        host.while_listing = lambda: None
        assert await asked(inventory, host) == [LIST]

    async def test_while_no_events_arrive_every_look_lists_them(
        self, inventory: Inventory, host: Host
    ) -> None:
        inventory.watched(watched=False)
        assert await asked(inventory, host) == [LIST]
        assert await asked(inventory, host) == [LIST]

    async def test_what_happened_before_events_arrived_is_unknown(
        self, inventory: Inventory, host: Host
    ) -> None:
        inventory.watched(watched=False)
        await inventory.containers()
        inventory.watched(watched=True)
        assert await asked(inventory, host) == [LIST]

    async def test_after_a_minute_they_are_listed_in_case_an_event_was_lost(
        self, inventory: Inventory, host: Host, clock: Clock
    ) -> None:
        clock.advance((LONGEST - timedelta(seconds=1)).total_seconds())
        assert await asked(inventory, host) == [PING]
        clock.advance(1)
        assert await asked(inventory, host) == [LIST]

    async def test_after_the_clock_was_set_back_they_are_listed(
        self, inventory: Inventory, host: Host, clock: Clock
    ) -> None:
        clock.advance(-1)
        assert await asked(inventory, host) == [LIST]

    async def test_a_list_of_right_now_is_always_a_new_one(
        self, inventory: Inventory, host: Host
    ) -> None:
        await inventory.listed_now()
        assert host.asked == [LIST]


class TestTraits:
    async def test_each_container_is_inspected_once(self, inventory: Inventory, host: Host) -> None:
        for _ in range(2):
            for group in (await inventory.listed_now()).values():
                assert (await inventory.traits(group.template)).grace == 7
        assert host.asked.count(INSPECT) == 1

    async def test_a_container_that_was_renamed_is_inspected_again(
        self, inventory: Inventory, host: Host
    ) -> None:
        for name in ("/0123456789ab_shop-web-1", "/shop-web-1"):
            host.rows[0]["Names"] = [name]
            for group in (await inventory.listed_now()).values():
                await inventory.traits(group.template)
        assert host.asked.count(INSPECT) == 2

    async def test_nothing_is_kept_of_containers_that_are_gone(
        self, inventory: Inventory, host: Host
    ) -> None:
        (web,) = (await inventory.listed_now()).values()
        await inventory.traits(web.template)
        rows, host.rows = host.rows, []
        await inventory.listed_now()
        host.rows = rows
        await inventory.traits(web.template)
        assert host.asked.count(INSPECT) == 2


class TestUses:
    """What other containers use of replicas."""

    async def uses(self, inventory: Inventory) -> list[str]:
        groups = (await inventory.listed_now()).values()
        found = await inventory.uses(list(groups))
        return [use.words for uses in found.values() for use in uses]

    async def test_a_container_made_by_hand_is_inspected_once(
        self, inventory: Inventory, host: Host
    ) -> None:
        host.rows.append(by_hand("proxy"))
        host.host_configs["proxy"] = {"PidMode": "container:shop-web-1"}
        for _ in range(2):
            assert await self.uses(inventory) == ["shop-web-1 by proxy"]
        assert host.asked.count(INSPECT) == 1

    async def test_of_any_other_the_list_shows_its_network_without_an_inspect(
        self, inventory: Inventory, host: Host
    ) -> None:
        joined = {"HostConfig": {"NetworkMode": "container:shop-web-1"}}
        host.rows.append(container("proxy") | joined)
        assert await self.uses(inventory) == ["shop-web-1 by shop-proxy-1"]
        assert INSPECT not in host.asked

    async def test_one_that_is_gone_by_the_time_of_its_inspect_uses_nothing(
        self, inventory: Inventory, host: Host
    ) -> None:
        host.rows.append(by_hand("proxy"))
        host.gone.add("proxy")
        assert await self.uses(inventory) == []
