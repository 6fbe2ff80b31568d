"""Scale-in interrupts no task: real workers, real tasks, a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.crew import Crew, ServerInDocker
from tests.real.daemon import DaemonProcess
from tests.real.stages import IDLE, ComposeStage
from tests.real.waiting import until_async

pytestmark = pytest.mark.engine

SOON = {"AUTOSCALER_POLL_INTERVAL": "1s"}
Daemon = Callable[..., DaemonProcess]


@pytest.fixture
def daemon(
    compose_stage: ComposeStage, server_in_docker: ServerInDocker, run_daemon: RunDaemon
) -> Daemon:
    """Return a function that starts a daemon with the Temporal server in the container."""

    def run() -> DaemonProcess:
        endpoint = {"AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": server_in_docker.endpoint}
        return run_daemon(compose_stage, **endpoint, **SOON)

    return run


def hosts(stage: ComposeStage, service: str = "worker") -> set[str]:
    """Return the host names of the running replicas."""
    return {container[:12] for container in stage.running(service)}


@pytest.mark.parametrize(
    ("local", "heartbeat"),
    [
        pytest.param(False, "2", id="activities"),
        pytest.param(True, "2", id="local-activities"),
        # The SDK's default. A heartbeat does not show what began after it.
        pytest.param(False, "60", id="at-the-default-heartbeat-interval"),
    ],
)
async def test_idle_replicas_are_stopped_and_busy_ones_stay_until_they_have_finished(  # noqa: PLR0913
    compose_stage: ComposeStage,
    crew: Crew,
    daemon: Daemon,
    queue: str,
    *,
    local: bool,
    heartbeat: str,
) -> None:
    asked = labels(queue, max="20", busy="protect")
    compose_stage.up({"worker": 20}, {"worker": asked}, **crew.service(HEARTBEAT_SECONDS=heartbeat))
    await until_async(lambda: crew.ready() == 20, "20 workers", limit=180)
    tasks = await crew.begin(5, local=local)
    at_work = crew.hosts_at_work()
    await crew.reported()

    first = daemon()
    first.wait_for("scaling in", desired=5)
    first.kill()
    second = daemon()
    await until_async(lambda: hosts(compose_stage) == at_work, "only the busy replicas")
    held = second.wait_for("held", desired=5)
    # The first such line may come while the last idle ones go.
    why = "5 replicas may not be stopped (5 at work) → "
    assert held["reasons"][-1] in {f"{why}5", f"{why}keeps 5"}

    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    await until_async(lambda: len(hosts(compose_stage)) == 1, "1 replica")
    assert crew.lost() == []
    assert interrupted(second, compose_stage) == 0
    assert not [
        line for line in first.lines + second.lines if line["event"] == "busy replicas stopped"
    ]


def interrupted(daemon: DaemonProcess, stage: ComposeStage, service: str = "worker") -> float:
    """Return how many replicas were stopped although they were known to be busy."""
    return daemon.metric("autoscaler_interrupted_replicas_total", stage.name(service))


async def test_a_service_that_wakes_again_reports_each_stop_once(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str
) -> None:
    """At zero the same container is kept and started again, under the same host name.

    So until its new worker reports, the latest report is the last one of the worker before it. It
    counts for as long as the time between that worker's last two reports, which is long here.
    """
    asked = labels(
        queue, target="1", min="0", max="1", busy="protect", cooldown="0s", scale_in__window="0s"
    )
    options = crew.service(HEARTBEAT_SECONDS="20", RUN_SECONDS="1")
    compose_stage.up({"worker": 1}, {"worker": asked}, **options)
    await crew.reporting(1)
    async with asyncio.timeout(60):
        while await crew.silence() < timedelta(seconds=14):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.5)

    watching = daemon()
    await until_async(lambda: not hosts(compose_stage), "no replica")
    task = await crew.start()
    await task.result()
    await until_async(lambda: not hosts(compose_stage), "no replica again")

    steps = [line["event"] for line in watching.lines if line["event"].startswith("scaling")]
    assert steps == ["scaling in", "scaling out", "scaling in"]
    assert crew.lost() == []


async def test_a_burst_during_a_drain_makes_new_replicas_at_once(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str
) -> None:
    asked = labels(queue, target="1", max="4", busy="ignore")
    compose_stage.up({"worker": 2}, {"worker": asked}, **crew.service())
    await until_async(lambda: crew.ready() == 2, "2 workers")
    tasks = await crew.begin(2)
    before = hosts(compose_stage)

    watching = daemon()
    watching.wait_for("scaling in", desired=1)
    # Both replicas go on working, also the draining one, so two more tasks find no free slot.
    tasks += [await crew.start() for _ in range(2)]
    watching.wait_for("scaling out")
    await until_async(lambda: len(hosts(compose_stage)) >= 3, "a new replica beside both")
    assert before < hosts(compose_stage)

    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    assert crew.lost() == []


async def test_with_steady_short_tasks_the_service_comes_down_to_what_it_needs(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str
) -> None:
    asked = labels(queue, min="2", busy="protect")
    # Worker and settings are those of docs/graceful-shutdown.md, except for the slots.
    compose_stage.up({"worker": 10}, {"worker": asked}, **crew.documented(SLOTS="2"))
    await crew.reporting(10)
    # A tenth of what ten replicas can do: they have 20 slots, and a task takes half a second.
    async with crew.traffic(per_second=4) as tasks:
        watching = daemon()
        await until_async(lambda: len(hosts(compose_stage)) == 2, "2 replicas", limit=180)
    assert crew.lost() == []
    assert len(crew.attempts()) == len(tasks)
    assert interrupted(watching, compose_stage) == 0


@pytest.mark.parametrize("target", ["50%", "none"])
async def test_a_fan_out_grows_with_slots_target_and_does_not_without(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str, target: str
) -> None:
    asked = labels(queue, slots_target=target)
    compose_stage.up({"worker": 1}, {"worker": asked}, **crew.service(grace="3s", SLOTS="4"))
    await until_async(lambda: crew.ready() == 1, "a worker")
    for _ in range(4):
        await crew.start()
    await until_async(lambda: len(crew.attempts()) == 4, "4 tasks in 4 slots")
    await crew.reported()

    watching = daemon()

    if target == "none":
        for _ in range(3):
            watching.wait_for("tick", after=len(watching.lines))
        assert not [line for line in watching.lines if line["event"].startswith("scaling")]
    else:
        line = watching.wait_for("scaling out", desired=2)
        assert line["backlog"] == 0
        assert line["reasons"] == ["4 of 4 activity slots in use, 50% aimed at → 2"]
        await until_async(lambda: len(hosts(compose_stage)) == 2, "2 replicas")
        too_short = "a task was seen to run for longer than the stop grace of 3s"
        await until_async(lambda: len(notes(watching, too_short)) == 1, "a warning about the grace")
    crew.release()


def notes(daemon: DaemonProcess, beginning: str) -> list[str]:
    """Return the warnings in the log that begin like this."""
    texts = (line["warning"] for line in daemon.lines if line["event"] == "warning")
    return [text for text in texts if text.startswith(beginning)]


async def test_without_heartbeats_the_grace_period_protects_and_one_warning_says_so(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str
) -> None:
    asked = labels(queue, busy="protect")
    compose_stage.up({"worker": 2}, {"worker": asked}, **crew.service(HEARTBEAT_SECONDS="0"))
    await until_async(lambda: crew.ready() == 2, "2 workers")
    (task,) = await crew.begin(1)

    watching = daemon()

    watching.wait_for("scaling in", desired=1)
    await until_async(lambda: len(hosts(compose_stage)) == 1 or crew.release(), "1 replica")
    await task.result()
    assert crew.lost() == []
    assert len(notes(watching, "no worker reports")) == 1


async def test_an_old_build_keeps_a_replica_until_it_is_drained_and_then_goes_to_zero(
    compose_stage: ComposeStage,
    crew: Crew,
    server_in_docker: ServerInDocker,
    daemon: Daemon,
    queue: str,
) -> None:
    def build(version: str) -> dict[str, str]:
        return labels(
            queue, deployment=queue, build_id=version, min="0", cooldown="2s", scale_in__window="2s"
        )

    staffed = crew.service(DEPLOYMENT=queue)
    old, new = ({"environment": {**staffed["environment"], "BUILD_ID": v}} for v in "12")
    compose_stage.up(
        {"old": 1, "new": 1, "both": 1},
        {"old": build("1"), "new": build("2"), "both": labels(queue, mode="dry-run")},
        **staffed,
        each={"old": old, "new": new, "both": {"command": list(IDLE)}},
    )
    await until_async(lambda: crew.ready() == 2, "a worker of each build")
    await server_in_docker.make_current(queue, "1")
    pinned = await crew.start("Pinned")
    await crew.begun(pinned)
    await server_in_docker.make_current(queue, "2")

    watching = daemon()
    # No task waits: the new build goes to zero, but the old build has an open workflow.
    watching.wait_for("scaling in", service=compose_stage.name("new"), desired=0)
    for _ in range(5):
        watching.wait_for("tick", after=len(watching.lines))
    assert len(hosts(compose_stage, "old")) == 1
    assert len(notes(watching, f"task queue {queue!r} belongs to Worker Deployment")) == 1

    await pinned.signal("end")
    await pinned.result()
    watching.wait_for("scaling in", service=compose_stage.name("old"), desired=0)
    await until_async(lambda: not hosts(compose_stage, "old"), "no replica of the old build")
    assert interrupted(watching, compose_stage, "old") == 0

    # The next workflow wakes the new build.
    late = await crew.start("Pinned")
    await late.signal("end")
    await late.result()
    assert hosts(compose_stage, "new")
