"""At zero, one stopped replica is kept: new replicas are made from it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.interop.conftest import Open
from tests.interop.engines import Engine, NestedEngine
from tests.interop.projects import Project, names, plain, scale
from tests.real.daemon import DaemonProcess
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async


async def at_zero(stage: Project, replicas: int = 2) -> Project:
    """Start a project and scale its workers to zero."""
    stage.up(worker=replicas)
    await scale(stage, "worker", to=0)
    return stage


async def test_only_ps_all_shows_the_kept_replica(project: Open) -> None:
    stage = await at_zero(project(plain()))
    assert stage.states() == {"base-1": "running", "worker-1": "exited"}
    assert stage.listed() == {"base-1"}
    assert stage.listed("--all") == {"base-1", "worker-1"}


@pytest.mark.parametrize("command", ["up --detach", "start", "restart"])
async def test_compose_starts_the_kept_replica(project: Open, command: str) -> None:
    stage = await at_zero(project(plain()))
    kept = stage.ids("worker")

    stage.compose(*command.split())

    assert stage.states() == {"base-1": "running", "worker-1": "running"}
    assert stage.ids("worker") == kept


async def test_stop_keeps_the_replica(project: Open) -> None:
    stage = await at_zero(project(plain()))
    stage.compose("stop")
    assert stage.states() == {"base-1": "exited", "worker-1": "exited"}


@pytest.mark.parametrize("command", ["down", "rm --stop --force"])
async def test_compose_removes_the_kept_replica(project: Open, command: str) -> None:
    stage = await at_zero(project(plain()))
    stage.compose(*command.split())
    assert stage.states() == {}


async def test_a_changed_file_recreates_the_kept_replica(project: Open) -> None:
    stage = await at_zero(project(plain()))
    kept = stage.ids("worker")
    stage.write(plain(version="2"))

    stage.up()

    assert stage.states() == {"base-1": "running", "worker-1": "running"}
    assert stage.ids("worker") != kept


async def test_up_removes_the_kept_replica_where_the_file_has_no_replicas(project: Open) -> None:
    """No container is left to copy then. This cannot be avoided, and is documented."""
    stage = await at_zero(project(plain()))
    stage.write(plain(file_replicas=0))
    stage.up()
    assert stage.states() == {"base-1": "running"}


async def test_waking_starts_the_kept_replica_and_copies_it(project: Open) -> None:
    stage = await at_zero(project(plain()))
    kept = stage.ids("worker")

    await scale(stage, "worker", to=3)

    assert set(stage.ids("worker")) == names("worker", (1, 2, 3))
    assert kept.items() <= stage.ids("worker").items()


@pytest.fixture
def nested(engine: Engine) -> NestedEngine:
    """A nested engine, which a test may restart."""
    if not isinstance(engine, NestedEngine):
        pytest.skip("this machine's engine has other users and is not restarted")
    return engine


async def test_the_kept_replica_survives_a_restart_of_the_engine(
    nested: NestedEngine, project: Open
) -> None:
    afterwards = {
        "no": "exited",
        "unless-stopped": "exited",
        # The policy tells the engine to start it; a daemon at zero stops it again.
        "always": "running",
    }
    worker = plain()["services"]["worker"] | {"depends_on": []}
    stage = project({"services": {policy: worker | {"restart": policy} for policy in afterwards}})
    stage.up()
    for policy in afterwards:
        await scale(stage, policy, to=0)
    kept = {policy: stage.ids(policy) for policy in afterwards}

    nested.restart()

    assert {policy: stage.ids(policy) for policy in afterwards} == kept
    assert stage.states() == {f"{policy}-1": state for policy, state in afterwards.items()}
    for policy in afterwards:
        await scale(stage, policy, to=2)
    assert stage.states() == {f"{p}-{n}": "running" for p in sorted(afterwards) for n in (1, 2)}


async def test_the_daemon_wakes_the_service_after_a_restart_of_the_engine(
    nested: NestedEngine, project: Open, temporal: TemporalServer, tmp_path: Path
) -> None:
    queue = f"queue-{uuid.uuid4().hex[:8]}"
    content = plain()
    content["services"]["worker"]["labels"] = {
        "temporal.queue": queue,
        "temporal.min": "0",
        "temporal.target": "10",
        "temporal.scale-in.window": "1s",
        "temporal.cooldown": "1s",
    }
    stage = project(content)
    stage.up(worker=2)
    settings = {
        "DOCKER_HOST": nested.environment["DOCKER_HOST"],
        "AUTOSCALER_PROJECTS": stage.name,
        "AUTOSCALER_POLL_INTERVAL": "1s",
        "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": temporal.endpoint,
    }
    with DaemonProcess(tmp_path, settings) as daemon:
        daemon.wait_for("scaling in", desired=0)
        await until_async(lambda: stage.states().get("worker-1") == "exited", "no replicas")

        nested.restart()
        await temporal.enqueue(queue, 25)

        await until_async(lambda: running(stage) == names("worker", (1, 2, 3)), "3 replicas")
        assert daemon.alive()


def running(stage: Project) -> set[str]:
    """Return the running workers."""
    return {
        name
        for name, state in stage.states().items()
        if name.startswith("worker") and state == "running"
    }
