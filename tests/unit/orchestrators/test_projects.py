"""What AUTOSCALER_PROJECTS=auto means, wherever the process runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from autoscaler.orchestrators.engine import EngineError, Lane
from autoscaler.orchestrators.place import Place
from autoscaler.orchestrators.projects import SWARM_SERVICE, Projects

T = TypeVar("T")
OWN = "a1" * 32
SHOP = {"com.docker.compose.project": "shop"}
STACK = {"com.docker.stack.namespace": "shop"}


class Host:
    """An engine with containers and tasks, by their containers' ids."""

    def __init__(self) -> None:
        self.containers_: dict[str, dict[str, str] | None] = {}
        self.tasks_: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.down: EngineError | None = None
        self.no_manager: EngineError | None = None

    async def call(self, what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        self.asked.append(what)
        if self.down is not None:
            raise self.down
        return work(self)

    def containers(self, **options: Any) -> list[dict[str, Any]]:
        assert options["all"]
        ids = options["filters"]["id"]
        return [
            {"Id": id_, "Labels": self.containers_[id_]} for id_ in ids if id_ in self.containers_
        ]

    def tasks(self) -> list[dict[str, Any]]:
        if self.no_manager is not None:
            raise self.no_manager
        return [
            {"Status": {}, "Spec": {}},
            *(
                {
                    "Status": {"ContainerStatus": {"ContainerID": id_}},
                    "Spec": {"ContainerSpec": {"Labels": labels}},
                    "ServiceID": "id-of-the-service",
                }
                for id_, labels in self.tasks_.items()
            ),
        ]


@pytest.fixture
def host() -> Host:
    return Host()


async def looked_after(host: Host, wanted: str = "auto", place: Place | None = None) -> str:
    inside = Place(containers=(OWN,))
    made = Projects(host, [wanted], inside if place is None else place)  # type: ignore[arg-type]
    return str(await made.territory())


@pytest.mark.parametrize("labels", [SHOP, STACK])
async def test_it_is_the_project_or_stack_of_its_own_container(
    host: Host, labels: dict[str, str]
) -> None:
    host.containers_[OWN] = labels
    assert await looked_after(host) == "project shop"


@pytest.mark.parametrize("labels", [None, {}, {"com.docker.swarm.service.name": "autoscaler"}])
async def test_a_container_of_no_project_looks_after_all(
    host: Host, labels: dict[str, str] | None
) -> None:
    host.containers_[OWN] = labels
    assert await looked_after(host) == "all projects"


async def test_a_task_on_another_node_is_found_by_its_manager(host: Host) -> None:
    host.tasks_[OWN] = STACK
    assert await looked_after(host) == "project shop"


async def test_a_container_of_another_engine_looks_after_all(host: Host) -> None:
    host.no_manager = EngineError("not a swarm manager", 503)
    assert await looked_after(host) == "all projects"


@pytest.mark.parametrize(
    ("wanted", "place", "words"),
    [
        ("auto", Place(), "all projects"),
        ("*", None, "all projects"),
        ("mail", None, "project mail"),
    ],
)
async def test_without_a_container_or_with_names_the_engine_is_not_asked(
    host: Host, wanted: str, place: Place | None, words: str
) -> None:
    assert await looked_after(host, wanted, place) == words
    assert host.asked == []


async def test_what_is_not_known_is_never_all_and_is_asked_again(host: Host) -> None:
    host.containers_[OWN] = SHOP
    projects = Projects(host, ["auto"], Place(containers=(OWN,)))  # type: ignore[arg-type]
    host.down = EngineError("no answer")
    with pytest.raises(EngineError):
        await projects.territory()
    host.down = None
    assert str(await projects.territory()) == "project shop"
    host.asked.clear()
    await projects.territory()
    assert host.asked == []


class TestOwnLabels:
    """The daemon knows the service that it is part of, and does not scale it."""

    async def test_they_are_those_of_its_container_and_asked_for_once(self, host: Host) -> None:
        host.containers_[OWN] = SHOP
        projects = Projects(host, ["*"], Place(containers=(OWN,)))  # type: ignore[arg-type]
        assert await projects.own_labels() == SHOP
        host.asked.clear()
        assert await projects.own_labels() == SHOP
        assert host.asked == []

    async def test_a_task_on_another_node_names_its_service(self, host: Host) -> None:
        host.tasks_[OWN] = STACK
        projects = Projects(host, ["*"], Place(containers=(OWN,)))  # type: ignore[arg-type]
        assert (await projects.own_labels())[SWARM_SERVICE] == "id-of-the-service"

    async def test_without_a_container_there_are_none_and_the_engine_is_not_asked(
        self, host: Host
    ) -> None:
        assert await Projects(host, ["*"], Place()).own_labels() == {}  # type: ignore[arg-type]
        assert host.asked == []
