"""At zero, one stopped replica stays: what the service is made from again."""

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
    """Bring a project up and its workers to zero."""
    stage.up(worker=replicas)
    await scale(stage, "worker", to=0)
    return stage


async def test_only_ps_a_shows_the_one_that_stays(project: Open) -> None:
    stage = await at_zero(project(plain()))
    assert stage.states() == {"base-1": "running", "worker-1": "exited"}
    assert stage.listed() == {"base-1"}
    assert stage.listed("--all") == {"base-1", "worker-1"}


@pytest.mark.parametrize("command", ["up --detach", "start", "restart"])
async def test_compose_runs_it_again(project: Open, command: str) -> None:
    stage = await at_zero(project(plain()))
    kept = stage.ids("worker")

    stage.compose(*command.split())

    assert stage.states() == {"base-1": "running", "worker-1": "running"}
    assert stage.ids("worker") == kept


async def test_stop_leaves_it(project: Open) -> None:
    stage = await at_zero(project(plain()))
    stage.compose("stop")
    assert stage.states() == {"base-1": "exited", "worker-1": "exited"}


@pytest.mark.parametrize("command", ["down", "rm --stop --force"])
async def test_compose_removes_it(project: Open, command: str) -> None:
    stage = await at_zero(project(plain()))
    stage.compose(*command.split())
    assert stage.states() == {}


async def test_a_changed_file_makes_it_anew(project: Open) -> None:
    stage = await at_zero(project(plain()))
    kept = stage.ids("worker")
    stage.write(plain(version="2"))

    stage.up()

    assert stage.states() == {"base-1": "running", "worker-1": "running"}
    assert stage.ids("worker") != kept


async def test_with_no_replicas_in_the_file_up_removes_it(project: Open) -> None:
    """Nothing is left to copy then: documented, as it cannot be helped."""
    stage = await at_zero(project(plain()))
    stage.write(plain(file_replicas=0))
    stage.up()
    assert stage.states() == {"base-1": "running"}


async def test_waking_runs_it_again_and_copies_it(project: Open) -> None:
    stage = await at_zero(project(plain()))
    kept = stage.ids("worker")

    await scale(stage, "worker", to=3)

    assert set(stage.ids("worker")) == names("worker", (1, 2, 3))
    assert kept.items() <= stage.ids("worker").items()


@pytest.fixture
def nested(engine: Engine) -> NestedEngine:
    """An engine that may be restarted: nobody else uses it."""
    if not isinstance(engine, NestedEngine):
        pytest.skip("this machine's engine has other users: it is not restarted")
    return engine


async def test_it_outlives_a_restart_of_the_engine(nested: NestedEngine, project: Open) -> None:
    afterwards = {
        "no": "exited",
        "unless-stopped": "exited",
        # The engine runs it again, as the policy says; a daemon at zero stops it again.
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


async def test_the_daemon_wakes_it_after_a_restart_of_the_engine(
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
    """Return the workers that run."""
    return {
        name
        for name, state in stage.states().items()
        if name.startswith("worker") and state == "running"
    }
