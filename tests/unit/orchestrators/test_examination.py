"""What the doctor says of an engine: what answers, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import docker
import pytest
import requests
from docker.errors import APIError, DockerException

from autoscaler.core.findings import Outcome
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.examination import examine_engine


def answer(status: int, message: str = "so it is") -> requests.Response:
    """Return an answer of the engine, or of a proxy before it."""
    made = requests.Response()
    made.status_code = status
    made._content = f'{{"message": "{message}"}}'.encode()
    return made


class Socket:
    """An engine that is a Swarm manager, or what stands before it; statuses can be set."""

    base_url = "http+docker://localhost"
    api_version = "1.41"
    timeout = 60

    def __init__(self) -> None:
        self.statuses = {"containers": 200, "services": 200, "kill": 404}
        self.posts: list[str] = []
        self.asked_for_services = False
        self.product = "Engine"
        self.proxies: dict[str, str] = {}

    def get_adapter(self, _url: str) -> None:
        """Nothing is sent anywhere."""

    def close(self) -> None:
        """Nothing is open."""

    def version(self, **_: Any) -> dict[str, Any]:
        parts = [{"Name": self.product}]
        return {"Version": "28.5.2", "ApiVersion": self.api_version, "Components": parts}

    def containers(self, **_: Any) -> list[object]:
        return self._list("containers")

    def services(self, **_: Any) -> list[object]:
        self.asked_for_services = True
        return self._list("services")

    def post(self, url: str, **_: Any) -> requests.Response:
        self.posts.append(url)
        return answer(self.statuses["kill"])

    def _list(self, what: str) -> list[object]:
        status = self.statuses[what]
        if status != 200:
            words = {503: "This node is not a swarm manager", 404: "Not Found"}.get(
                status, "Forbidden"
            )
            raise APIError("no", response=answer(status), explanation=words)
        return []


@pytest.fixture
def socket(monkeypatch: pytest.MonkeyPatch) -> Socket:
    made = Socket()
    monkeypatch.setattr(docker, "from_env", lambda **_: SimpleNamespace(api=made))
    return made


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine({"DOCKER_HOST": "tcp://proxy:2375"})
    yield made
    made.close()


async def told(engine: Engine) -> list[tuple[Outcome, str]]:
    found = await examine_engine(engine)
    assert {finding.subject for finding in found} == {"engine"}
    return [(finding.outcome, finding.text) for finding in found]


async def test_one_that_is_well_says_what_it_is_and_what_is_allowed(
    socket: Socket, engine: Engine
) -> None:
    assert await told(engine) == [
        (Outcome.OK, "Docker Engine 28.5.2 answers at tcp://proxy:2375 (API 1.41)"),
        (Outcome.OK, "containers can be listed"),
        (Outcome.OK, "containers can be changed"),
        (Outcome.OK, "it is a Swarm manager: Compose and Swarm services are looked after"),
    ]
    assert socket.statuses["kill"] == 404


async def test_podman_is_called_by_its_name_and_has_no_swarm(
    socket: Socket, engine: Engine
) -> None:
    socket.product = "Podman Engine"
    socket.statuses["services"] = 404
    found = await told(engine)
    assert (Outcome.OK, "Podman 28.5.2 answers at tcp://proxy:2375 (API 1.41)") in found
    assert (Outcome.OK, "it has no Swarm: Compose services are looked after") in found


async def test_whether_changes_are_allowed_is_tried_on_a_container_that_cannot_exist(
    socket: Socket, engine: Engine
) -> None:
    await told(engine)
    await told(engine)
    names = {url.split("/containers/")[1] for url in socket.posts}
    assert len(names) == 2
    assert all(len(name) == 64 + len("/kill") for name in names)


@pytest.mark.parametrize(
    ("statuses", "outcome", "words"),
    [
        pytest.param({"containers": 403}, Outcome.WRONG, "a proxy before the socket", id="no-look"),
        pytest.param({"kill": 403}, Outcome.WARNING, "AUTOSCALER_DRY_RUN=true", id="no-change"),
        pytest.param({"services": 503}, Outcome.OK, "it is no Swarm manager", id="no-manager"),
        pytest.param(
            {"services": 403}, Outcome.OK, "a proxy before the socket lets no Swarm", id="no-swarm"
        ),
    ],
)
async def test_what_is_not_there_or_not_allowed_comes_with_what_to_do(
    socket: Socket, engine: Engine, statuses: dict[str, int], outcome: Outcome, words: str
) -> None:
    socket.statuses |= statuses
    assert [kind for kind, text in await told(engine) if words in text] == [outcome]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["compose"], "Compose services are looked after; AUTOSCALER_ORCHESTRATORS leaves out"),
        (["swarm"], "it is a Swarm manager: Swarm services are looked after"),
        (["compose", "swarm"], "it is a Swarm manager: Compose and Swarm services are"),
    ],
)
async def test_it_says_which_services_are_looked_after_by_the_settings(
    socket: Socket, engine: Engine, names: list[str], words: str
) -> None:
    (told,) = [each.text for each in await examine_engine(engine, names) if words in each.text]
    assert ("Compose's" in told) is (names == ["swarm"])
    assert ("Swarm's" in told) is (names == ["compose"])
    assert socket.asked_for_services is ("swarm" in names)


@pytest.mark.parametrize(("status", "required"), [(503, True), (403, True), (500, False)])
async def test_what_the_tick_reports_of_the_swarm_is_not_called_right_here(
    socket: Socket,
    engine: Engine,
    status: int,
    required: bool,  # noqa: FBT001 - a column of the table
) -> None:
    socket.statuses["services"] = status
    found = await examine_engine(engine, ["compose", "swarm"], required=required)
    assert not [each.text for each in found if "looked after" in each.text]


async def test_one_that_does_not_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    def refuse(**_: Any) -> None:
        raise DockerException("no") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(docker, "from_env", refuse)
    ((outcome, text),) = await told(engine)
    assert outcome is Outcome.WRONG
    assert "no Docker Engine answers at tcp://proxy:2375 (Permission denied)" in text
    assert "may read and write the socket" in text
