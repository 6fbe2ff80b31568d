"""Workers in TypeScript are scaled like those in Python: out, in, and never in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.crew import Crew
from tests.real.daemon import DaemonProcess
from tests.real.stages import ComposeStage
from tests.real.waiting import until_async

pytestmark = [pytest.mark.engine, pytest.mark.typescript]


@pytest.fixture
def daemon(
    compose_stage: ComposeStage, crew: Crew, run_daemon: RunDaemon
) -> Callable[[], DaemonProcess]:
    """Return a function that starts a daemon with the Temporal server of the workers."""
    endpoint = {"AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": crew.endpoint}
    return lambda: run_daemon(compose_stage, **endpoint)


def hosts(stage: ComposeStage) -> set[str]:
    """Return the host names of the running replicas."""
    return {container[:12] for container in stage.running("worker")}


async def test_they_grow_with_the_backlog_and_shrink_without_losing_a_task(
    compose_stage: ComposeStage, crew: Crew, daemon: Callable[[], DaemonProcess], queue: str
) -> None:
    asked = labels(queue, target="1", max="3", busy="protect", scale_in__window="0s")
    compose_stage.up({"worker": 1}, {"worker": asked}, **crew.in_typescript())
    watching = daemon()
    tasks = [await crew.start() for _ in range(6)]
    watching.wait_for("scaling out", desired=3)
    await until_async(lambda: len(crew.hosts_at_work()) == 3, "3 replicas at work")

    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    watching.wait_for("scaling in", desired=1)
    await until_async(lambda: len(hosts(compose_stage)) == 1, "1 replica")
    assert crew.lost() == []


async def test_a_busy_one_stays_until_it_has_finished(
    compose_stage: ComposeStage, crew: Crew, daemon: Callable[[], DaemonProcess], queue: str
) -> None:
    asked = labels(queue, busy="protect", scale_in__window="0s")
    # Heartbeats alone protect: the grace is far shorter than the tasks.
    compose_stage.up({"worker": 3}, {"worker": asked}, **crew.in_typescript(grace="2s"))
    await until_async(lambda: crew.ready() == 3, "3 workers")
    tasks = await crew.begin(2)
    at_work = crew.hosts_at_work()
    await crew.reported()

    watching = daemon()
    shrunk = watching.wait_for("scaling in", desired=2)
    assert shrunk["reasons"][-1] == "2 replicas may not be stopped (2 at work) → 2"
    await until_async(lambda: hosts(compose_stage) == at_work, "only the busy replicas")
    watching.wait_for("tick", after=len(watching.lines))
    assert hosts(compose_stage) == at_work

    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    await until_async(lambda: len(hosts(compose_stage)) == 1, "1 replica")
    assert crew.lost() == []
    name = compose_stage.name("worker")
    assert watching.metric("autoscaler_interrupted_replicas_total", name) == 0
