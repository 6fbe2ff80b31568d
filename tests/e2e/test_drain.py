"""A replica that is told to stop finishes its tasks, and ends: real workers, engine and server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.crew import Crew, Handle, ServerInDocker
from tests.real.daemon import DaemonProcess, autoscaler
from tests.real.stages import ComposeStage, docker
from tests.real.waiting import until_async

pytestmark = pytest.mark.engine

Daemon = Callable[[], DaemonProcess]
GRACE = "2s"


@pytest.fixture
def daemon(
    compose_stage: ComposeStage, server_in_docker: ServerInDocker, run_daemon: RunDaemon
) -> Daemon:
    """Return a function that starts a daemon with the Temporal server in the container."""
    endpoint = {"AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": server_in_docker.endpoint}
    return lambda: run_daemon(compose_stage, **endpoint)


class Scene:
    """Two workers, one of which is more than the backlog calls for."""

    def __init__(self, stage: ComposeStage, crew: Crew, queue: str) -> None:
        self.stage = stage
        self.crew = crew
        self._queue = queue

    def up(self, options: dict[str, Any], **wanted: str) -> None:
        """Run two workers."""
        wanted = {"busy": "protect", "scale_in__window": "0s"} | wanted
        self.stage.up({"worker": 2}, {"worker": labels(self._queue, **wanted)}, **options)

    async def up_and_secretly_at_work(
        self, options: dict[str, Any] | None = None, **wanted: str
    ) -> list[Handle]:
        """Run two workers, each with a task that began just after a heartbeat."""
        self.up(self.crew.service(grace=GRACE, HEARTBEAT_SECONDS="60") | (options or {}), **wanted)
        await self.crew.just_reported(2)
        return await self.crew.begin(2)

    def all(self) -> set[str]:
        """Return the ids of the containers, also of those that do not run."""
        filter_ = f"--filter=label=com.docker.compose.project={self.stage.project}"
        return set(docker("ps", "--all", "--quiet", "--no-trunc", filter_).split())

    async def alone(self) -> None:
        """Wait until there is one container."""
        await until_async(lambda: len(self.all()) == 1, "a single container")


@pytest.fixture
def scene(compose_stage: ComposeStage, crew: Crew, queue: str) -> Scene:
    return Scene(compose_stage, crew, queue)


async def test_a_task_that_takes_longer_than_the_grace_is_finished(
    scene: Scene, daemon: Daemon
) -> None:
    tasks = await scene.up_and_secretly_at_work({"restart": "always"})
    watching = daemon()
    line = watching.wait_for("finishing")
    assert line["because"].startswith("draining, 1 task running, ")
    assert line["because"].endswith(" beyond its grace")

    # Ten more ticks, and heartbeats, change nothing.
    for _ in range(10):
        watching.wait_for("tick", after=len(watching.lines))
    assert len(scene.stage.running("worker")) == 2
    scene.crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    await scene.alone()
    assert scene.crew.lost() == []
    assert not [line for line in watching.lines if line["event"] == "killed"]


async def test_once_its_drain_is_over_it_is_killed(scene: Scene, daemon: Daemon) -> None:
    tasks = await scene.up_and_secretly_at_work(drain="10s")
    watching = daemon()
    watching.wait_for("finishing")
    line = watching.wait_for("killed")
    assert line["because"] == "is killed, its drain of 10s is over, 1 task running"
    await scene.alone()
    # The task of the other worker is finished. Temporal tries the lost one again after its timeout,
    # which is longer than a test.
    scene.crew.release()
    ends = [asyncio.create_task(task.result()) for task in tasks]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    assert sum(each.done() for each in ends) == 1
    for each in ends:
        each.cancel()


async def test_a_process_that_hangs_is_killed_when_its_worker_reports_nothing(
    scene: Scene, daemon: Daemon
) -> None:
    scene.up(scene.crew.service(grace=GRACE, AFTERWARDS="hang"))
    await scene.crew.reporting(2)
    line = daemon().wait_for("killed")
    assert line["because"] == "is killed, its grace is over and it runs no task"
    await scene.alone()


async def test_where_no_worker_reports_the_grace_is_the_end(scene: Scene, daemon: Daemon) -> None:
    scene.up(scene.crew.service(grace=GRACE, AFTERWARDS="hang", HEARTBEAT_SECONDS="0"))
    await until_async(lambda: scene.crew.ready() == 2, "2 workers")
    line = daemon().wait_for("killed")
    assert line["because"] == "is killed, its grace is over and no worker reports"
    await scene.alone()


async def test_workers_that_ignore_their_signal_are_taken_back_and_no_other_is_stopped(
    scene: Scene, daemon: Daemon
) -> None:
    deaf = {**scene.crew.service(grace=GRACE, SIGTERM="ignored"), "init": False}
    scene.up(deaf)
    await scene.crew.reporting(2)
    before = scene.stage.running("worker")
    first = daemon()
    taken = first.wait_for("taken back")
    held = first.wait_for("held", after=first.lines.index(taken))
    assert held["desired"] == 2
    assert held["reasons"][-1].endswith("ignores its stop signal, so none is stopped → keeps 2")
    # The warning is written just after.
    first.wait_for("tick", after=first.lines.index(held))
    warnings = [line["warning"] for line in first.lines if line["event"] == "warning"]
    assert [each for each in warnings if "set `init: true` in the Compose file" in each]

    # It works on, and another daemon comes to know it as well.
    tasks = await scene.crew.begin(2)
    first.kill()
    second = daemon()
    second.wait_for("taken back")
    scene.crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    for _ in range(10):
        second.wait_for("tick", after=len(second.lines))
    assert scene.stage.running("worker") == before
    assert scene.crew.lost() == []
    assert not [line for line in second.lines if line["event"] == "scaling in"]

    # Other containers are stopped as ever.
    scene.up(deaf | {"init": True})
    second.wait_for("scaling in")
    await scene.alone()


async def test_the_next_daemon_takes_up_the_drain_of_one_that_was_killed(
    scene: Scene, daemon: Daemon, tmp_path: Path
) -> None:
    tasks = await scene.up_and_secretly_at_work({"restart": "unless-stopped"})
    first = daemon()
    first.wait_for("finishing")
    first.kill()

    second = daemon()
    line = second.wait_for("finishing")
    assert line["because"].startswith("draining, 1 task running, ")
    planned = autoscaler(
        tmp_path,
        "plan",
        "--json",
        AUTOSCALER_PROJECTS=scene.stage.project,
        AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT=scene.crew.endpoint,
    )
    (service,) = json.loads(planned.stdout)["services"]
    assert (service["replicas"], service["desired"], service["draining"]) == (1, 1, 1)
    assert [each["fate"] for each in service["drains"]] == ["finish"]
    assert service["drains"][0]["text"].startswith("draining, 1 task running, ")

    scene.crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    await scene.alone()
    assert scene.crew.lost() == []
