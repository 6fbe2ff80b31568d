"""A replica that we make equals the one that `docker compose up --scale` makes."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from docker import APIClient

from autoscaler.core.errors import OrchestratorError
from autoscaler.orchestrators.engine import Json
from tests.interop import rich
from tests.interop.comparison import differences
from tests.interop.conftest import Open
from tests.interop.engines import Engine
from tests.interop.projects import BUSY, Compose, Project, ours, scale
from tests.real.stages import TINY_IMAGE
from tests.real.waiting import until


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
        # Podman shows the network of another container as that of those who use it.
        if not each["HostConfig"]["NetworkMode"].startswith("container:")
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
        server = () if project.engine.is_podman else ("127.0.0.11",)
        answer = project.run_in("ports-1", "nslookup", name, *server)
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


async def test_an_entrypoint_of_the_image_that_the_file_takes_away_stays_away(
    project: Open,
) -> None:
    stage = project({})
    image = f"{stage.name}:1"
    (stage.folder / "Dockerfile").write_text(f'FROM {TINY_IMAGE}\nENTRYPOINT ["/bin/false"]\n')
    stage.engine.docker("build", "--quiet", f"--tag={image}", str(stage.folder))
    worker = {"image": image, "entrypoint": [""], "command": BUSY, "labels": rich.LABELS}
    stage.write({"services": {"worker": worker}})
    try:
        stage.up()

        await scale(stage, "worker", to=2)

        assert stage.states() == {"worker-1": "running", "worker-2": "running"}
        first, second = (each["Config"] for each in stage.inspects().values())
        assert (first["Entrypoint"], first["Cmd"]) == (second["Entrypoint"], second["Cmd"])
    finally:
        stage.close()
        stage.engine.docker("rmi", image)


CONFIG, SECRET = "of the config\n", "of the environment"
COPIED = {
    "/etc/app/settings": ("config", {}),
    "/from-the-image/deep/settings": ("config", {"mode": 0o640}),
    "/anonymous/settings": ("config", {"uid": "65534"}),
    "/settings": ("config", {}),
    "/run/secrets/token": ("secret", {}),
    "/anonymous/private/token": ("secret", {"mode": 0o400}),
    "/tmp/of-the-service/token": ("secret", {"mode": 0o644}),
}
"""Where Compose copies a config or a secret: among others, over a file of the image, into a folder
that the image declares as a volume, and into an anonymous volume of the file."""
IN_VOLUMES = ("/from-the-image/deep/settings", "/anonymous/settings", "/anonymous/private/token")
"""Those of them that lie in a volume. On Podman, they are lost with Compose too."""


def places(engine: Engine) -> dict[str, tuple[str, Json]]:
    """Return those of COPIED that a container has on this engine."""
    lost = IN_VOLUMES if engine.is_podman else ()
    return {path: what for path, what in COPIED.items() if path not in lost}


DOCKERFILE = f"""
FROM {TINY_IMAGE}
RUN mkdir -p /etc/app /from-the-image/deep
RUN for each in /etc/app/settings /from-the-image/deep/own; do \\
  echo image > $each; touch -d "2026-01-01 00:00" $each; done
VOLUME /from-the-image
"""
TELLING = 2
"""Seconds after which the end of a container says nothing of its files: they are dated in whole
seconds, and one that has the second of the end was made before the next start."""
WRITES = (
    "mkdir -p /tmp/of-the-service/deep; for each in $$(seq 300); do echo own > /tmp/of-the-service/"
    "deep/$$each; done; echo own > /anonymous/own; touch /from-the-image/written"
)


@pytest.fixture
def copied(project: Open) -> Iterator[Project]:
    """A service with configs and secrets in all kinds of places; it also writes files itself."""
    references: dict[str, list[Json]] = {"config": [], "secret": []}
    stage = project({}, TDA_TOKEN=SECRET)
    for target, (kind, options) in places(stage.engine).items():
        references[kind].append({"source": kind, "target": target, **options})
    image = f"{stage.name}:1"
    (stage.folder / "Dockerfile").write_text(DOCKERFILE)
    stage.engine.docker("build", "--quiet", f"--tag={image}", str(stage.folder))
    worker = {
        "image": image,
        "command": ["sh", "-c", f"{WRITES}; {BUSY[-1]}"],
        "stop_grace_period": "1s",
        "labels": rich.LABELS,
        "volumes": ["/anonymous"],
        "configs": references["config"],
        "secrets": references["secret"],
    }
    stage.write(
        {
            "services": {"worker": worker},
            "configs": {"config": {"content": CONFIG}},
            "secrets": {"secret": {"environment": "TDA_TOKEN"}},
        }
    )
    yield stage
    stage.close()
    stage.engine.docker("rmi", image)


def contents(stage: Project, container: str) -> dict[str, str]:
    """Return the rights and contents of all that Compose copies."""
    return {
        path: stage.run_in(container, "stat", "-c", "%a %u %g ", path)
        + stage.run_in(container, "cat", path)
        for path in places(stage.engine)
    }


def times(stage: Project, container: str) -> dict[str, str]:
    """Return when all that Compose copies was last changed, in whole seconds."""
    return {
        path: stage.run_in(container, "stat", "-c", "%Y", path) for path in places(stage.engine)
    }


async def test_what_compose_copies_is_copied_wherever_it_lies(copied: Project) -> None:
    copied.up()
    stage = copied
    stage.run_in("worker-1", "sh", "-c", "until [ -e /from-the-image/written ]; do sleep 0.1; done")

    await scale(stage, "worker", to=2)

    assert contents(stage, "worker-2") == contents(stage, "worker-1")
    for path, (kind, _) in places(stage.engine).items():
        expected = {"config": CONFIG, "secret": SECRET}[kind]
        assert stage.run_in("worker-2", "cat", path) == expected


async def test_a_copy_of_a_copy_has_it_too_whenever_it_was_made_and_whatever_our_clock_says(
    copied: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest replica is copied. A busy engine creates it long after the files were read."""
    copied.up()
    monkeypatch.setattr(time, "time", lambda: datetime(2026, 1, 1, tzinfo=UTC).timestamp())

    await scale(copied, "worker", to=2)
    await scale(copied, "worker", to=3)

    assert contents(copied, "worker-3") == contents(copied, "worker-1")


async def test_what_the_service_writes_is_not_copied(copied: Project) -> None:
    copied.up()
    written = "/anonymous/mine /from-the-image/mine /etc/app/mine /tmp/of-the-service/mine /mine"
    copied.run_in("worker-1", "touch", *written.split())

    await scale(copied, "worker", to=2)

    for path in written.split():
        assert copied.run_in("worker-2", "sh", "-c", f"test -e {path} || echo none") == "none\n"


async def test_files_that_the_service_has_written_are_not_asked_for_one_by_one(
    copied: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied.up()
    # A service writes most of its files later than in the first seconds of its life.
    write = "mkdir -p /cache; cd /cache; for each in $(seq 1000); do echo own > $each; done"
    copied.run_in("worker-1", "sh", "-c", f"{write}; touch -d '2040-01-01 00:00' *")
    asked: list[str] = []
    head = APIClient.head

    def counted(client: APIClient, url: str, **options: Any) -> requests.Response:
        asked.append(options["params"]["path"])
        return head(client, url, **options)

    monkeypatch.setattr(APIClient, "head", counted)

    await scale(copied, "worker", to=2)

    assert set(COPIED) & set(asked)
    assert [path for path in asked if path.startswith("/cache/")] == []
    assert contents(copied, "worker-2") == contents(copied, "worker-1")


async def test_what_compose_copies_again_before_a_later_start_is_copied(copied: Project) -> None:
    copied.up()
    before = times(copied, "worker-1")
    await asyncio.sleep(TELLING)
    copied.compose("stop")
    copied.up()

    if times(copied, "worker-1") == before:
        # Compose 2.26 copies before the first start only: then nobody can tell any more.
        with pytest.raises(OrchestratorError, match="worker-1 has been restarted, so nobody can"):
            await scale(copied, "worker", to=2)
        return
    await scale(copied, "worker", to=2)

    assert contents(copied, "worker-2") == contents(copied, "worker-1")


async def test_what_nobody_can_tell_from_the_services_own_files_is_refused_in_words(
    copied: Project,
) -> None:
    """After a restart without Compose, a secret that may be written looks like the service's."""
    copied.up()
    await asyncio.sleep(TELLING)
    copied.engine.docker("restart", copied.container("worker-1"))

    with pytest.raises(OrchestratorError, match="worker-1 has been restarted, so nobody can tell"):
        await scale(copied, "worker", to=2)

    assert copied.states() == {"worker-1": "running"}


@pytest.fixture
def overlay(engine: Engine) -> Iterator[str]:
    """A network of Swarm that containers of Compose may join."""
    if engine.docker("info", "--format={{.Swarm.LocalNodeState}}").strip() != "active":
        pytest.skip("this engine is in no Swarm")
    name = f"tda-{uuid.uuid4().hex[:8]}"
    engine.docker("network", "create", "--driver=overlay", "--attachable", name)
    yield name
    # Swarm learns a little later that no container uses it any more.
    until(lambda: engine.attempt("network", "rm", name).returncode == 0, f"the end of {name}")


async def test_on_an_overlay_network_each_replica_has_an_address_of_its_own(
    overlay: str, project: Open
) -> None:
    """Swarm writes the address that it has assigned into the place of a fixed one."""
    worker = {"image": TINY_IMAGE, "command": BUSY, "labels": rich.LABELS}
    stage = project(
        {
            "services": {"worker": worker},
            "networks": {"default": {"external": True, "name": overlay}},
        }
    )
    stage.up(worker=2)
    first, by_compose = (stage.inspects()[name] for name in ("worker-1", "worker-2"))
    assert first["NetworkSettings"]["Networks"][overlay]["IPAMConfig"]["IPv4Address"]

    async with ours(stage) as hands:
        (service,) = await hands.discover()
        assert service.ceiling is None
        await hands.scale("worker", to=3)

    by_us = stage.inspects()["worker-3"]
    addresses = {
        each["NetworkSettings"]["Networks"][overlay]["IPAddress"]
        for each in (first, by_compose, by_us)
    }
    assert len(addresses) == 3
    named = json.loads(json.dumps(by_us).replace("worker-3", "worker-2"))
    number = "Config/Labels/com.docker.compose.container-number"
    address = f"NetworkSettings/Networks/{overlay}/IPAMConfig/IPv4Address"
    assert [
        each
        for each in differences(by_compose, named)
        if not each.startswith((number, address, "ResolvConfPath", "HostnamePath"))
    ] == []


async def test_links_and_networks_by_mode_have_the_aliases_that_compose_gives(
    project: Open, engine: Engine
) -> None:
    stage = project({})
    network = f"{stage.name}-of-its-own"
    one = {"image": TINY_IMAGE, "command": BUSY, "stop_grace_period": "1s", "labels": rich.LABELS}
    services = {
        "database": {**one, "container_name": f"{stage.name}-special"},
        "store": one,
        "linked": {**one, "links": ["database", "store:shop-1"]},
        "joined": {**one, "network_mode": network},
    }
    stage.write({"services": services})
    engine.docker("network", "create", network)
    try:
        stage.up(linked=2, joined=2)
        by_compose = stage.inspects()
        for service in ("linked", "joined"):
            engine.docker("rm", "--force", stage.container(f"{service}-2"))
            await scale(stage, service, to=2)
            name = f"{service}-2"
            assert differences(by_compose[name], stage.inspects()[name]) == []
    finally:
        stage.close()
        engine.docker("network", "rm", network)
