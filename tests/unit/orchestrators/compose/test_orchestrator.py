"""Compose services: a replica is made whole and started, or nothing of it is left behind."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from docker.errors import APIError, DockerException

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.containers import LEFT_BEHIND
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import EngineError, Json, Lane
from tests.fakes.clock import START, Clock

T = TypeVar("T")

WEB = ServiceId("compose", "shop/web")
RECORDED: Json = json.loads(
    (Path(__file__).parents[3] / "data/inspects/api-1.41.json").read_text()
)["web-1"]
NETWORKS = ("shop_default", "shop_front")
"""Those beside the first: on API 1.41 they are connected after the create."""


class Host:
    """An engine that runs one replica of a service, and refuses what a test says."""

    base_url, api_version, timeout = "http+docker://localhost", "1.41", 60

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []
        """What was done to each container that was made, in order."""
        self.asked: list[str] = []
        """What was tried."""
        self.refuses: Callable[[str, str], bool] = lambda _step, _container: False
        self.made: dict[str, Json] = {}
        self.others: list[Json] = []
        """What other containers of the service differ in."""

    async def call(self, what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        self.asked.append(what)
        try:
            return work(self)
        except DockerException as error:
            raise EngineError(str(error)) from error

    def _step(self, step: str, container: str) -> None:
        self.steps.append((step, container))
        if self.refuses(step, container):
            raise APIError(f"no {step} for {container}")

    def ping(self) -> bool:
        self._step("ping", "the engine")
        return True

    def containers(self, **_: Any) -> list[Json]:
        labels = RECORDED["Config"]["Labels"]
        row = {"Id": RECORDED["Id"], "Names": [RECORDED["Name"]], "Created": 1000}
        row |= {"State": "running", "Status": "Up", "Labels": labels}
        return [row, *(row | other for other in self.others)]

    def inspect_container(self, _container: str) -> Json:
        state = {"FinishedAt": "0001-01-01T00:00:00Z", "StartedAt": "2026-01-01T00:00:01Z"}
        return copy.deepcopy(RECORDED) | {"State": state}

    def inspect_image(self, _image: str) -> Json:
        return {"Id": RECORDED["Image"]}

    def diff(self, _container: str) -> None:
        """Nothing was copied into it."""

    def create_container_from_config(self, body: Json, name: str) -> Json:
        self._step("create", name)
        self.made[name] = body
        return {"Id": name}

    def post(self, url: str, *, json: Json, timeout: int) -> requests.Response:
        assert timeout == self.timeout
        network = url.removeprefix("http+docker://localhost/v1.41/networks/")
        self._step(f"connect {network.removesuffix('/connect')}", json["Container"])
        answer = requests.Response()
        answer.status_code = 200
        return answer

    def start(self, container: str) -> None:
        self._step("start", container)

    def remove_container(self, container: str, *, v: bool, force: bool) -> None:
        assert v
        assert force
        self.steps.append(("remove", container))


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def compose(host: Host) -> ComposeOrchestrator:
    return ComposeOrchestrator(host, clock=Clock())  # type: ignore[arg-type]


def steps(host: Host, container: str) -> list[str]:
    return [step for step, name in host.steps if name == container]


async def test_a_replica_is_created_joined_to_its_networks_and_then_started(
    host: Host, compose: ComposeOrchestrator
) -> None:
    await compose.grow(ScalingAction(WEB, 1, 2))

    made = steps(host, "shop-web-2")
    assert (made[0], made[-1]) == ("create", "start")
    assert sorted(made[1:-1]) == [f"connect {network}" for network in NETWORKS]
    assert host.made["shop-web-2"]["Labels"][recipe.NUMBER] == "2"


@pytest.mark.parametrize("step", [*(f"connect {network}" for network in NETWORKS), "start"])
async def test_what_cannot_be_finished_is_removed_and_the_others_go_on(
    host: Host, compose: ComposeOrchestrator, step: str
) -> None:
    host.refuses = lambda tried, container: (tried, container) == (step, "shop-web-3")

    with pytest.raises(OrchestratorError, match="1 of 3 replicas could not be started") as caught:
        await compose.grow(ScalingAction(WEB, 1, 4))

    assert f"no {step} for shop-web-3" in str(caught.value)
    assert steps(host, "shop-web-3")[-1] == "remove"
    for whole in ("shop-web-2", "shop-web-4"):
        assert steps(host, whole)[-1] == "start"


async def test_what_was_not_even_created_is_not_removed(
    host: Host, compose: ComposeOrchestrator
) -> None:
    host.refuses = lambda step, _container: step == "create"
    with pytest.raises(OrchestratorError, match="1 of 1 replicas could not be started"):
        await compose.grow(ScalingAction(WEB, 1, 2))
    assert steps(host, "shop-web-2") == ["create"]


def event(action: str, container: str = "another", **attributes: str) -> Json:
    labels = {recipe.PROJECT: "shop", recipe.SERVICE: "web"} | attributes
    return {
        "Type": "container",
        "Action": action,
        "Actor": {"ID": container, "Attributes": labels | {"name": f"shop-web-{container}"}},
    }


class TestOtherHands:
    async def test_while_somebody_else_changes_a_service_it_is_refused(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        assert compose.happened(event("create")) == timedelta(seconds=2)

        (service,) = await compose.discover()
        assert service.refusal is not None
        with pytest.raises(OrchestratorError, match="somebody else is changing its containers"):
            await compose.grow(ScalingAction(WEB, 1, 2))
        assert host.steps == []

    async def test_nothing_more_is_created_once_somebody_else_begins(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()

        def begin(step: str, container: str) -> bool:
            if (step, container) == ("create", "shop-web-2"):
                compose.happened(event("create"))
            return False

        host.refuses = begin
        with pytest.raises(OrchestratorError, match=r"2 of 3 .* not created: somebody else"):
            await compose.grow(ScalingAction(WEB, 1, 4))
        assert list(host.made) == ["shop-web-2"]

    async def test_our_own_events_are_nobody_elses(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        noticed = []

        def tell(_step: str, container: str) -> bool:
            noticed.append(compose.happened(event("create", container.rpartition("-")[2])))
            return False

        host.refuses = tell
        await compose.grow(ScalingAction(WEB, 1, 2))
        assert set(noticed) == {None}
        (service,) = await compose.discover()
        assert service.refusal is None

    async def test_events_of_services_without_our_labels_ask_for_no_other_look(
        self, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        assert compose.happened(event("create", **{recipe.SERVICE: "other"})) is None


class TestLooking:
    """With the engine's events at hand, containers are listed only where something happened."""

    LIST, PING = "listing containers", "asking whether the engine answers"

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def compose(self, host: Host, clock: Clock) -> ComposeOrchestrator:
        made = ComposeOrchestrator(host, clock=clock)  # type: ignore[arg-type]
        made.stream_began()
        return made

    async def asked(self, host: Host, compose: ComposeOrchestrator) -> list[str]:
        """Look for services; return which of both calls that took."""
        host.asked.clear()
        assert [service.replicas for service in await compose.discover()] == [1]
        return [what for what in host.asked if what in (self.LIST, self.PING)]

    async def test_while_nothing_happens_the_engine_is_only_asked_whether_it_answers(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        assert await self.asked(host, compose) == [self.LIST]
        assert await self.asked(host, compose) == [self.PING]

    async def test_after_an_event_containers_are_listed(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        compose.happened(event("start"))
        assert await self.asked(host, compose) == [self.LIST]

    async def test_an_event_of_a_swarm_service_says_nothing_of_containers(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        compose.happened({"Type": "service", "Action": "update", "Actor": {"ID": "id1"}})
        assert await self.asked(host, compose) == [self.PING]

    async def test_after_the_stream_of_events_broke_off_containers_are_listed(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        compose.stream_ended()
        assert await self.asked(host, compose) == [self.LIST]

    async def test_after_a_change_from_here_they_are_listed_before_its_events_arrive(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        await compose.grow(ScalingAction(WEB, 1, 2))
        assert await self.asked(host, compose) == [self.LIST]

    async def test_the_work_of_others_is_seen_without_a_new_list(
        self, host: Host, compose: ComposeOrchestrator, clock: Clock
    ) -> None:
        refusals = []
        for happens in (lambda: None, lambda: compose.happened(event("create")), lambda: None):
            happens()
            refusals += [service.refusal is not None for service in await compose.discover()]
            clock.advance(2)
        assert refusals == [False, True, False]
        assert host.asked.count(self.LIST) == 2

    async def test_what_depends_on_time_is_seen_without_a_new_list(
        self, host: Host, compose: ComposeOrchestrator, clock: Clock
    ) -> None:
        clock.advance(LEFT_BEHIND.total_seconds() - 10)
        host.others = [{"Id": "never", "Created": START.timestamp(), "State": "created"}]
        left = []
        for _ in range(2):
            left += [service.left_behind for service in await compose.discover()]
            clock.advance(20)
        assert left == [0, 1]
        assert host.asked.count(self.LIST) == 1

    async def test_a_change_is_made_of_what_is_there_not_of_what_was_listed(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        host.asked.clear()
        await compose.replicas(WEB)
        assert self.LIST in host.asked
