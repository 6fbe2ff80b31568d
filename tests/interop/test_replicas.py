"""A replica that we make equals the one that `docker compose up --scale` makes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from autoscaler.core.errors import OrchestratorError
from autoscaler.orchestrators.engine import Json
from tests.interop import rich
from tests.interop.comparison import differences
from tests.interop.conftest import Open
from tests.interop.projects import BUSY, Compose, Project, scale
from tests.real.stages import TINY_IMAGE


@dataclass(frozen=True, slots=True)
class Pair:
    """The second replica of each service of a project: made by Compose, and then again by us."""

    project: Project
    by_compose: dict[str, Json]
    by_us: dict[str, Json]
    failures: dict[str, OrchestratorError]

    def need(self, service: str) -> None:
        """Fail the test where we could not make the replica."""
        if service in self.failures:
            pytest.fail(str(self.failures[service]))


@pytest.fixture(scope="session")
def pair(compose: Compose) -> Iterator[Pair]:
    project = Project(compose, {}, rich.VARIABLES)
    try:
        rich.prepare(project)
        two_of_each = [f"--scale={service}=2" for service in rich.SCALED]
        project.compose("--profile=extra", "up", "--detach", *two_of_each)
        by_compose = project.inspects()
        seconds = [project.container(f"{service}-2") for service in rich.SCALED]
        project.engine.docker("rm", "--force", "--volumes", *seconds)
        failures = {}
        for service in rich.SCALED:
            try:
                asyncio.run(scale(project, service, to=2))
            except OrchestratorError as error:
                failures[service] = error
        yield Pair(project, by_compose, project.inspects(), failures)
    finally:
        project.close()


@pytest.mark.parametrize("service", rich.SCALED)
def test_our_replica_equals_the_one_that_compose_makes(pair: Pair, service: str) -> None:
    pair.need(service)
    name = f"{service}-2"
    assert differences(pair.by_compose[name], pair.by_us[name]) == []


def test_no_two_replicas_share_a_hardware_address(pair: Pair) -> None:
    addresses = [
        endpoint["MacAddress"]
        for each in pair.by_us.values()
        for endpoint in each["NetworkSettings"]["Networks"].values()
        if endpoint["MacAddress"]
    ]
    assert len(addresses) == len(set(addresses))


def test_our_replica_has_the_secrets_and_configs_that_compose_copies(pair: Pair) -> None:
    pair.need("web")
    files = {
        "/run/secrets/token": "from the environment",
        "/private/token": "from the environment",
        "/run/secrets/file-token": "of the file",
        "/etc/app/inline": "good morning\n",
        "/etc/app/greeting": "good evening",
    }
    for path, content in files.items():
        assert pair.project.run_in("web-2", "cat", path) == content
    rights = ("stat", "-c", "%n %a %u %g", *files)
    assert pair.project.run_in("web-2", *rights) == pair.project.run_in("web-1", *rights)


@pytest.mark.parametrize("folder", ["/anonymous", "/anonymous-long"])
def test_the_data_of_an_anonymous_volume_is_not_shared(pair: Pair, folder: str) -> None:
    pair.need("web")
    pair.project.run_in("web-1", "touch", f"{folder}/of-the-first")
    assert pair.project.run_in("web-2", "ls", folder) == ""


@pytest.mark.parametrize(
    ("folder", "again"), [("/named", "/named-long"), ("/bound-long", "/bound")]
)
def test_named_volumes_and_folders_are_shared(pair: Pair, folder: str, again: str) -> None:
    pair.need("web")
    pair.project.run_in("web-1", "touch", f"{folder}/of-the-first")
    assert "of-the-first" in pair.project.run_in("web-2", "ls", again)


def test_a_replica_is_found_by_its_own_name_and_its_services_but_not_by_its_templates(
    pair: Pair,
) -> None:
    pair.need("web")
    project = pair.project
    network = f"{project.name}_front"
    first, second = (
        pair.by_us[name]["NetworkSettings"]["Networks"][network]["IPAddress"]
        for name in ("web-1", "web-2")
    )

    def found(name: str) -> set[str]:
        # This service shares only this network with `web`.
        answer = project.run_in("ports-1", "nslookup", name, "127.0.0.11")
        return set(re.findall(r"^Address(?: \d+)?: ([\d.]+)$", answer, re.MULTILINE))

    assert found(project.container("web-1")) == {first}
    assert found(project.container("web-2")) == {second}
    assert found("web") == found("shop") == found("web-front") == {first, second}


async def test_a_fixed_hardware_address_is_not_given_twice(project: Open) -> None:
    """Compose would give it twice: two containers of a network then have the same address."""
    fixed = "02:42:c0:00:02:07"
    worker = {"image": TINY_IMAGE, "command": BUSY, "mac_address": fixed}
    stage = project({"services": {"worker": worker}})
    stage.up()

    await scale(stage, "worker", to=2)

    first, second = (
        endpoint["MacAddress"]
        for name in ("worker-1", "worker-2")
        for endpoint in stage.inspects()[name]["NetworkSettings"]["Networks"].values()
    )
    # Compose 2.26 drops the address on engine 25 and later: the first has another one there.
    assert second not in (first, fixed)
