"""Compose services: a replica is made whole and started, or nothing of it is left behind."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
import requests
from docker.errors import APIError, DockerException

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.core.protect import Stopped, choose_in_order
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.containers import LEFT_BEHIND
from autoscaler.orchestrators.compose.leaving import signal_number
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import DOCKER, PODMAN, EngineError, Json, Lane
from autoscaler.orchestrators.projects import OWN_SERVICE, Projects
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
        self.product = DOCKER
        self.steps: list[tuple[str, str]] = []
        """What was done to each container that was made, in order."""
        self.asked: list[str] = []
        """What was tried."""
        self.refuses: Callable[[str, str], bool] = lambda _step, _container: False
        self.made: dict[str, Json] = {}
        self.others: list[Json] = []
        """What other containers of the service differ in."""
        self.past: list[Json] = []
        """Events before the process began."""
        self.created: dict[str, str] = {}
        """When these containers were created."""

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

    def inspect_container(self, container: str) -> Json:
        state: Json = {"FinishedAt": "0001-01-01T00:00:00Z", "Running": False}
        state |= {"StartedAt": "2026-01-01T00:00:01Z", "ExitCode": 0, "Error": "as it is"}
        created = self.created.get(container, RECORDED["Created"])
        return copy.deepcopy(RECORDED) | {"State": state, "Created": created}

    def inspect_image(self, _image: str) -> Json:
        return {"Id": RECORDED["Image"]}

    def top(self, _container: str, _arguments: str) -> Json:
        """Return no process: what replicas do with signals is not known here."""
        return {"Processes": None}

    def diff(self, _container: str) -> None:
        """Nothing was copied into it."""

    def get(self, url: str, **_: Any) -> requests.Response:
        """Return the time, past events, or one of its volumes, which are empty."""
        answer = requests.Response()
        answer.status_code = 200
        answer.headers["Date"] = format_datetime(START, usegmt=True)
        events = b"\n".join(json.dumps(event).encode() for event in self.past)
        answer.raw = io.BytesIO(events if url.endswith("/events") else bytes(tarfile.RECORDSIZE))
        return answer

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

    def kill(self, container: str, *, signal: str) -> None:
        assert signal
        self._step("kill", container)

    def remove_container(self, container: str, *, v: bool, force: bool = False) -> None:
        """Remove one. Only a replica that could not be started is removed by force."""
        assert v
        assert force == (container in self.made)
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
    with pytest.raises(OrchestratorError, match="1 of 1 replica could not be started"):
        await compose.grow(ScalingAction(WEB, 1, 2))
    assert steps(host, "shop-web-2") == ["create"]


def event(action: str, container: str = "another", **attributes: str) -> Json:
    labels = {recipe.PROJECT: "shop", recipe.SERVICE: "web"} | attributes
    return {
        "Type": "container",
        "Action": action,
        "Actor": {"ID": container, "Attributes": labels | {"name": f"shop-web-{container}"}},
    }


class TestVersion:
    """Another configuration or image is another version: what was learnt of it is forgotten."""

    async def test_it_changes_with_the_newest_containers_configuration_and_image(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        versions = set()
        labels = RECORDED["Config"]["Labels"]
        for changed in (
            {},
            {"ImageID": "sha256:new"},
            {"Labels": labels | {recipe.CONFIG_HASH: "another"}},
        ):
            host.others = [{"Id": "2", "Created": 2000} | changed]
            (service,) = await compose.discover()
            versions.add(service.version)
        assert len(versions) == 3


async def test_the_service_that_the_daemon_is_part_of_is_left_alone(host: Host) -> None:
    class Inside(Projects):
        async def own_labels(self) -> Mapping[str, str]:
            return RECORDED["Config"]["Labels"]  # type: ignore[no-any-return]

    clock = Clock()
    compose = ComposeOrchestrator(host, clock=clock, projects=Inside(host))  # type: ignore[arg-type]
    (service,) = await compose.discover()
    assert service.refusal == OWN_SERVICE


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

    async def test_podman_tells_of_no_signal_so_an_end_may_be_anybodys_work(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        host.product, host.others = PODMAN, [TestToldToStopBefore.SECOND]
        await compose.discover()
        assert compose.happened(event("die", "second", exitCode="0"))
        host.others = [TestToldToStopBefore.SECOND | {"State": "exited"}]
        (service,) = await compose.discover()
        assert (service.ending, service.crashed) == (None, 0)
        assert "somebody else is changing its containers" in str(service.refusal)

    @pytest.mark.parametrize(("product", "code"), [(PODMAN, "3"), (DOCKER, "0")])
    async def test_an_end_is_a_crash_where_nobody_can_have_stopped_the_replica(
        self, host: Host, compose: ComposeOrchestrator, product: str, code: str
    ) -> None:
        host.product, host.others = product, [TestToldToStopBefore.SECOND]
        await compose.discover()
        compose.happened(event("die", "second", exitCode=code))
        (service,) = await compose.discover()
        assert (service.crashed, service.refusal) == (1, None)

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

    async def test_a_replica_that_drains_may_be_stopped_by_somebody_else_as_well(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        """Nothing is made behind the back of `docker compose down` while the last ones drain."""
        await compose.discover()
        choice = choose_in_order(await compose.replicas(WEB), 1)
        await compose.stop(ScalingAction(WEB, 1, 0), choice)
        await asyncio.sleep(0)  # Now it begins.
        last = RECORDED["Id"]
        assert steps(host, last) == ["kill"]

        assert compose.happened(event("kill", last)) is None, "the event of our signal"
        (service,) = await compose.discover()
        assert service.refusal is None

        assert compose.happened(event("kill", last)) == timedelta(seconds=2)
        (service,) = await compose.discover()
        assert "somebody else is changing its containers" in str(service.refusal)
        compose.happened(event("die", last))
        await compose.close(timedelta(seconds=10))

    async def test_events_of_services_without_our_labels_ask_for_no_other_look(
        self, compose: ComposeOrchestrator
    ) -> None:
        await compose.discover()
        assert compose.happened(event("create", **{recipe.SERVICE: "other"})) is None


class TestBeingStarted:
    """Between the create and the start of a container, Compose may wait for minutes."""

    BATCH, LATER = "2026-01-01T00:00:00.9Z", "2026-01-01T00:00:01.1Z"
    """Before and after the start of the replica that runs."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def compose(self, host: Host, clock: Clock) -> ComposeOrchestrator:
        return ComposeOrchestrator(host, clock=clock)  # type: ignore[arg-type]

    def create(self, host: Host, at: str, **changes: Any) -> None:
        """Let another container be there that was created and not started."""
        row = {"Id": "new", "Names": ["/shop-web-2"], "State": "created"}
        host.others.append({**row, "Created": START.timestamp(), **changes})
        host.created["new"] = at

    async def refusal(self, compose: ComposeOrchestrator) -> str | None:
        (service,) = await compose.discover()
        return service.refusal

    async def test_a_service_is_left_alone_until_all_of_its_first_replicas_are_started(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        self.create(host, self.BATCH)
        refusal = await self.refusal(compose)
        assert refusal is not None
        assert refusal.startswith("shop-web-2 was created and has not been started yet")
        with pytest.raises(OrchestratorError, match="docker compose may still be at work"):
            await compose.grow(ScalingAction(WEB, 1, 2))
        assert host.steps == []

    async def test_for_at_most_five_minutes(
        self, host: Host, compose: ComposeOrchestrator, clock: Clock
    ) -> None:
        self.create(host, self.BATCH)
        clock.advance(LEFT_BEHIND.total_seconds() + 1)
        assert await self.refusal(compose) is None

    async def test_so_it_is_while_no_replica_of_the_configuration_runs(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        changed = RECORDED["Config"]["Labels"] | {recipe.CONFIG_HASH: "changed"}
        self.create(host, self.LATER, Labels=changed)
        assert await self.refusal(compose) is not None

    async def test_what_was_created_beside_a_running_one_was_left_by_a_killed_daemon(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        self.create(host, self.LATER)
        assert await self.refusal(compose) is None

    async def test_unless_others_were_seen_to_create_it(
        self, host: Host, compose: ComposeOrchestrator, clock: Clock
    ) -> None:
        await compose.discover()
        compose.happened(event("create", "new"))
        self.create(host, self.LATER)
        clock.advance(10)
        assert await self.refusal(compose) is not None

    async def test_what_the_daemon_itself_is_making_is_nobody_elses(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        """A list may show it as it was just before its start."""
        await compose.grow(ScalingAction(WEB, 1, 2))
        self.create(host, self.BATCH)
        assert await self.refusal(compose) is None


class TestToldToStopBefore:
    """Replicas that somebody told to stop before the daemon began, and that still run."""

    SECOND: ClassVar[Json] = {
        "Id": "second",
        "Names": ["/shop-web-2"],
        "Created": 1001,
        "Labels": RECORDED["Config"]["Labels"] | {recipe.NUMBER: "2"},
    }

    def kill(self, container: str) -> Json:
        told = event("kill", container)
        number = signal_number(RECORDED["Config"]["StopSignal"])
        told["Actor"]["Attributes"]["signal"] = str(number)
        return told | {"timeNano": int(START.timestamp() * 1_000_000_000)}

    async def test_they_drain_and_are_no_replicas(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        host.others, host.past = [self.SECOND], [self.kill("second")]
        (service,) = await compose.discover()
        assert (service.replicas, service.draining, service.refusal) == (1, 1, None)
        assert [each.id for each in await compose.replicas(WEB)] == [RECORDED["Id"]]

    async def test_new_ones_are_made_beside_them(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        host.others, host.past = [self.SECOND], [self.kill("second")]
        await compose.discover()
        await compose.grow(ScalingAction(WEB, 1, 2))
        assert list(host.made) == ["shop-web-3"]

    async def test_where_all_are_on_their_way_the_service_is_left_alone(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        host.past = [self.kill(RECORDED["Id"])]
        (service,) = await compose.discover()
        assert (service.replicas, service.draining) == (0, 1)
        assert service.refusal is not None
        with pytest.raises(OrchestratorError, match="somebody else is changing its containers"):
            await compose.grow(ScalingAction(WEB, 0, 1))

    async def test_their_end_is_no_crash(self, host: Host, compose: ComposeOrchestrator) -> None:
        host.others, host.past = [self.SECOND], [self.kill("second")]
        await compose.discover()
        compose.happened(event("die", "second"))
        host.others = [self.SECOND | {"State": "exited"}]
        (service,) = await compose.discover()
        assert (service.ending, service.crashed) == (None, 0)

    async def test_taken_up_it_is_removed_when_it_has_ended_and_that_is_no_crash(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        host.others, host.past = [self.SECOND], [self.kill("second")]
        await compose.discover()
        (drain,) = compose.drains
        compose.take_up(drain)
        compose.happened(event("die", "second"))
        host.others = [self.SECOND | {"State": "exited"}]
        (service,) = await compose.discover()
        assert (service.ending, service.crashed, service.refusal) == (None, 0, None)
        await compose.close(timedelta(seconds=10))
        assert steps(host, "second") == ["remove"]

    async def test_one_that_is_taken_back_and_ends_after_all_has_not_crashed(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        host.others, host.past = [self.SECOND], [self.kill("second")]
        await compose.discover()
        (drain,) = compose.drains
        compose.take_back(drain, ignores=True)
        (service,) = await compose.discover()
        assert (service.replicas, service.draining) == (2, 0)
        assert service.ignoring == ("shop-web-2",)
        action = ScalingAction(WEB, 2, 1)
        choice = choose_in_order(await compose.replicas(WEB), 1)
        assert await compose.stop(action, choice) == Stopped()

        compose.happened(event("die", "second"))
        host.others = [self.SECOND | {"State": "exited"}]
        (service,) = await compose.discover()
        assert (service.ending, service.crashed, service.ignoring) == (None, 0, ())

    async def test_one_that_is_started_again_is_a_replica(
        self, host: Host, compose: ComposeOrchestrator
    ) -> None:
        host.others, host.past = [self.SECOND], [self.kill("second")]
        await compose.discover()
        compose.happened(event("die", "second"))
        compose.happened(event("start", "second"))
        (service,) = await compose.discover()
        assert (service.replicas, service.draining) == (2, 0)


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
