"""Why a service has no replicas: stopped by hand, crashed, never started, or scaled to zero."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autoscaler.orchestrators.compose.containers import LEFT_BEHIND
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from tests.e2e.conftest import RunDaemon, labels
from tests.fakes.clock import Clock
from tests.real.daemon import DaemonProcess, autoscaler
from tests.real.stages import ComposeStage, Stage, SwarmStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async

CRASHES = ("sh", "-c", "echo connecting; echo 'no such table: orders' >&2; exit 3")
ENDS_A_SECOND_LATER = ("sh", "-c", "sleep 1; echo 'no such table: orders' >&2; exit 3")
ENDS_WHEN_IT_MAY = (
    *("sh", "-c"),
    "trap 'until [ -e /may-end ]; do sleep 0.1; done; exit' TERM; while :; do sleep 0.1; done",
)
BY_HAND = "keeps 0: its replicas were stopped by hand; start one to let it scale again"


class Commands:
    """What an operator asks beside the daemon."""

    def __init__(self, folder: Path, temporal: TemporalServer) -> None:
        self._folder = folder
        self.temporal = temporal

    def plan(self, stage: Stage) -> tuple[int, Mapping[str, Any]]:
        """Plan a stage with one service; return the exit code and the service."""
        done = autoscaler(
            self._folder,
            "plan",
            "--json",
            AUTOSCALER_PROJECTS=stage.project,
            TEMPORAL_ADDRESS=self.temporal.endpoint,
        )
        (service,) = json.loads(done.stdout)["services"]
        return done.returncode, service

    def status(self, daemon: DaemonProcess) -> int:
        """Return the exit code of `autoscaler status` for a daemon."""
        listen = daemon.url.removeprefix("http://").rstrip("/")
        return autoscaler(self._folder, "status", AUTOSCALER_LISTEN=listen).returncode


@pytest.fixture
def commands(tmp_path: Path, temporal: TemporalServer) -> Commands:
    return Commands(tmp_path, temporal)


def codes(service: Mapping[str, Any]) -> list[str]:
    return [reason["code"] for reason in service["reasons"]]


@pytest.mark.engine
async def test_a_crash_is_named_counted_and_started_again_after_growing_pauses(
    compose_stage: ComposeStage, run_daemon: RunDaemon, commands: Commands, queue: str
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue, min="1")}, command=ENDS_A_SECOND_LATER)
    daemon = run_daemon(compose_stage)
    name = compose_stage.name("worker")

    first = daemon.wait_for("cannot scale", services=[name])
    assert "ended by itself with exit code 3 (no such table: orders)" in first["error"]
    assert "started again after 10s" in first["error"]
    held = daemon.wait_for("held", service=name)
    assert held["reasons"][-1].startswith("after a crash, more are started in ")

    again = daemon.wait_for("scaling out", service=name)
    assert (again["replicas"], again["desired"]) == (0, 1)
    second = daemon.wait_for("cannot scale", after=daemon.lines.index(again))
    assert "started again after 20s" in second["error"]

    # The first one may have ended before the daemon began to watch.
    assert daemon.metric("autoscaler_crashed_replicas_total", name) >= 1
    # On a slow machine the next trial may run while somebody asks. It ends a second later.
    await until_async(lambda: commands.status(daemon) == 1, "a crash in the status")
    plans: list[tuple[int, Mapping[str, Any]]] = []

    def shows_the_crash() -> bool:
        plans.append(commands.plan(compose_stage))
        return plans[-1][0] == 1

    await until_async(shows_the_crash, "a crash in the plan")
    service = plans[-1][1]
    assert "exit code 3 (no such table: orders)" in service["errors"][0]
    assert codes(service)[-1] == "crashed"


@pytest.mark.engine
async def test_what_crashed_before_the_daemon_began_is_started_again(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)}, command=CRASHES)
    await until_async(lambda: compose_stage.states() == ["exited"], "a crash")

    daemon = run_daemon(compose_stage)

    assert "exit code 3 (no such table: orders)" in daemon.wait_for("cannot scale")["error"]
    trial = daemon.wait_for("scaling out")
    assert (trial["replicas"], trial["desired"]) == (0, 1)
    assert trial["reasons"][-1] == "a trial after a crash → 1"


@pytest.mark.engine
@pytest.mark.parametrize("least", ["0", "1"])
async def test_what_is_stopped_while_the_daemon_watches_is_left_alone(
    compose_stage: ComposeStage,
    run_daemon: RunDaemon,
    commands: Commands,
    queue: str,
    least: str,
) -> None:
    await commands.temporal.enqueue(queue, 20)
    compose_stage.up({"worker": 2}, {"worker": labels(queue, min=least)})
    daemon = run_daemon(compose_stage)
    daemon.wait_for("tick", failed=False)

    compose_stage.compose("stop", "--timeout", "1")

    daemon.wait_for("held", reasons=["20 waiting tasks at target 10 → 2", BY_HAND])
    after = len(daemon.lines)
    for _ in range(2):
        daemon.wait_for("tick", after=len(daemon.lines), failed=False)
    assert not compose_stage.running("worker")
    assert commands.status(daemon) == 0

    compose_stage.compose("start")
    await until_async(lambda: len(compose_stage.running("worker")) == 2, "2 replicas")
    assert not [line for line in daemon.lines[after:] if line["event"] == "cannot scale"]


@pytest.mark.engine
@pytest.mark.parametrize(("signal", "code"), [("TERM", 143), ("KILL", 137)])
async def test_what_was_stopped_before_the_daemon_began_is_left_alone(
    compose_stage: ComposeStage, commands: Commands, queue: str, signal: str, code: int
) -> None:
    await commands.temporal.enqueue(queue, 20)
    dies = ("sh", "-c", f"trap 'exit {code}' TERM; while :; do sleep 0.1; done")
    compose_stage.up({"worker": 1}, {"worker": labels(queue)}, command=dies)
    compose_stage.compose("kill", "--signal", signal)
    await until_async(lambda: compose_stage.states() == ["exited"], "the end")

    returned, service = commands.plan(compose_stage)

    assert (returned, service["desired"]) == (0, 0)
    assert codes(service)[-1] == "stopped-by-hand"


@pytest.mark.swarm
async def test_a_min_that_is_raised_at_zero_is_followed(
    swarm_stage: SwarmStage, run_daemon: RunDaemon, queue: str
) -> None:
    swarm_stage.up({"worker": 1}, {"worker": labels(queue, min="0", cooldown="0s")})
    run_daemon(swarm_stage).wait_for("scaling in", desired=0)
    await until_async(lambda: not swarm_stage.running("worker"), "no replica")

    update(swarm_stage, "--label-add", "temporal.min=2")

    await until_async(lambda: len(swarm_stage.running("worker")) == 2, "2 replicas")


@pytest.mark.swarm
async def test_a_swarm_service_that_somebody_scales_to_zero_is_left_alone(
    swarm_stage: SwarmStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 20)
    swarm_stage.up({"worker": 2}, {"worker": labels(queue)})
    daemon = run_daemon(swarm_stage)
    daemon.wait_for("tick", failed=False)

    update(swarm_stage, "--replicas", "0")
    daemon.wait_for("held", reasons=["20 waiting tasks at target 10 → 2", BY_HAND])
    for _ in range(2):
        daemon.wait_for("tick", after=len(daemon.lines), failed=False)
    assert not [line for line in daemon.lines if line["event"] == "scaling out"]

    update(swarm_stage, "--replicas", "1")
    await until_async(lambda: len(swarm_stage.running("worker")) == 2, "2 replicas")


@pytest.mark.swarm
async def test_a_swarm_task_that_is_not_started_again_is_trouble(
    swarm_stage: SwarmStage, commands: Commands, queue: str
) -> None:
    await commands.temporal.enqueue(queue, 20)
    swarm_stage.up(
        {"worker": 1},
        {"worker": labels(queue)},
        command=CRASHES,
        deploy={"restart_policy": {"condition": "none"}},
        await_running=False,
    )
    await until_async(lambda: swarm_stage.failed("worker"), "the end of the task")

    code, service = commands.plan(swarm_stage)
    assert code == 1
    assert "non-zero exit (3)" in service["errors"][0]
    assert codes(service)[-1] == "crashed"


@pytest.mark.engine
async def test_nothing_is_made_behind_a_down_while_the_last_replica_drains(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    compose_stage.up(
        {"worker": 1},
        {"worker": labels(queue, min="0", cooldown="0s", scale_in__window="0s")},
        command=ENDS_WHEN_IT_MAY,
        stop_grace_period="60s",
    )
    (worker,) = compose_stage.running("worker")
    daemon = run_daemon(compose_stage)
    await until_async(lambda: signals(worker) == 1, "the daemon's stop signal")

    down = asyncio.create_task(asyncio.to_thread(compose_stage.compose, "down"))
    await until_async(lambda: signals(worker) == 2, "the stop signal of Compose")
    await temporal.enqueue(queue, 30)
    held = daemon.wait_for("held", service=compose_stage.name("worker"))
    docker("exec", worker, "touch", "/may-end")
    await down

    assert "somebody else is changing its containers" in str(held["reasons"])
    assert compose_stage.states() == []


def signals(container: str) -> int:
    """Return how many signals a container has got."""
    chosen = (f"--filter=container={container}", "--filter=event=kill", "--format=.")
    return len(docker("events", "--since=10m", "--until=0s", *chosen).split())


def update(stage: SwarmStage, *arguments: str) -> None:
    docker("service", "update", "--quiet", "--detach", *arguments, stage.name("worker"))


@pytest.mark.engine
async def test_what_was_created_and_not_started_waits_for_compose(
    compose_stage: ComposeStage,
) -> None:
    compose_stage.write(["worker"], {"worker": labels("orders")})
    compose_stage.compose("create")
    engine, clock = Engine(), Clock()
    clock.now = datetime.now(UTC)
    orchestrator = ComposeOrchestrator(
        engine, clock=clock, projects=Projects(engine, [compose_stage.project])
    )

    (young,) = await orchestrator.discover()
    clock.advance((LEFT_BEHIND + timedelta(minutes=1)).total_seconds())
    (old,) = await orchestrator.discover()
    engine.close()

    assert young.refusal is not None
    assert "has not been started yet" in young.refusal
    assert old.refusal is not None
    assert "never started, so its secrets may be missing; run `docker compose up" in old.refusal
    assert (old.ending, old.replicas) == (None, 0)
