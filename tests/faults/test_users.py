"""What users do at the worst moments."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from functools import partial

import pytest

from tests.e2e.conftest import labels
from tests.faults.conftest import Run, Watch, settle, watched
from tests.interop.engines import outer
from tests.real.gate import EngineGate
from tests.real.stages import ComposeStage, SwarmStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import until, until_async

A_MINUTE = 100
"""Changes of labels per minute."""
WITHOUT_PAUSE = 20
"""Seconds of changes without a pause between them."""


def inspected(stage: ComposeStage, form: str) -> Counter[str]:
    """Format every running replica with this template; count each word."""
    return Counter(docker("inspect", f"--format={form}", *stage.running("worker")).split())


async def test_up_trims_while_it_scales_out(
    compose_stage: ComposeStage,
    engine_gate: EngineGate,
    temporal: TemporalServer,
    run: Run,
    queue: str,
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon, watch = watched(run, compose_stage, DOCKER_HOST=engine_gate.endpoint)

    engine_gate.delay = 0.2
    tasks = await temporal.enqueue(queue, 60)
    daemon.wait_for("scaling out", desired=6)
    compose_stage.compose("up", "--detach")
    engine_gate.delay = 0

    await settle(compose_stage, 6)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


async def test_down_while_it_scales_out(
    compose_stage: ComposeStage,
    engine_gate: EngineGate,
    temporal: TemporalServer,
    run: Run,
    queue: str,
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon, watch = watched(run, compose_stage, DOCKER_HOST=engine_gate.endpoint)

    engine_gate.delay = 0.2
    await temporal.enqueue(queue, 60)
    daemon.wait_for("scaling out", desired=6)
    # Compose misses containers that are made after it has listed them, so users repeat `down`.
    compose_stage.compose("down", "--timeout", "1")
    engine_gate.delay = 0
    compose_stage.compose("down", "--timeout", "1")

    daemon.wait_for("service gone")
    for _ in range(3):
        daemon.wait_for("tick", after=len(daemon.lines))
    assert compose_stage.states() == []
    await watch.recovered()


async def test_file_changed_while_it_is_scaled_out(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, queue: str
) -> None:
    tasks = await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)}, environment={"VERSION": "old"})
    daemon = run(compose_stage.project)
    await settle(compose_stage, 3)
    watch = Watch(daemon)

    compose_stage.write(["worker"], {"worker": labels(queue)}, environment={"VERSION": "new"})
    compose_stage.compose("up", "--detach")

    await settle(compose_stage, 3)
    variables = inspected(compose_stage, "{{range .Config.Env}}{{println .}}{{end}}")
    assert (variables["VERSION=new"], variables["VERSION=old"]) == (3, 0)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


async def test_a_replica_renamed(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, queue: str
) -> None:
    tasks = await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon = run(compose_stage.project)
    await settle(compose_stage, 3)
    watch = Watch(daemon)

    docker("rename", f"{compose_stage.project}-worker-2", f"{compose_stage.project}-mine")
    docker("rm", "--force", f"{compose_stage.project}-worker-3")
    await settle(compose_stage, 3)
    assert f"{compose_stage.project}-mine" in compose_stage.names()

    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


async def test_a_replica_paused(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, queue: str
) -> None:
    """A paused replica counts, and is stopped like any other, with its grace period."""
    tasks = await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon = run(compose_stage.project)
    await settle(compose_stage, 3)
    watch = Watch(daemon)

    docker("pause", f"{compose_stage.project}-worker-3")
    seen = len(daemon.lines)
    for _ in range(3):
        daemon.wait_for("tick", after=len(daemon.lines))
    assert not [line for line in daemon.lines[seen:] if line["event"].startswith("scaling")]
    assert len(compose_stage.running("worker")) == 3

    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


async def test_replicas_removed_while_it_scales_out(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, queue: str
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    _, watch = watched(run, compose_stage)

    tasks = await temporal.enqueue(queue, 60)
    await until_async(lambda: len(compose_stage.running("worker")) > 3, "some replicas")
    docker("rm", "--force", *sorted(compose_stage.running("worker"))[:3])

    await settle(compose_stage, 6)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


def updated(service: str, change: str) -> bool:
    """Change a service; return False where another change came first and the user must retry."""
    done = outer().attempt("service", "update", "--detach", "--quiet", change, service)
    assert done.returncode == 0 or "update out of sequence" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.swarm
async def test_labels_that_change_a_hundred_times_a_minute(
    swarm_stage: SwarmStage, temporal: TemporalServer, run: Run, queue: str
) -> None:
    tasks = await temporal.enqueue(queue, 30)
    swarm_stage.up({"worker": 1}, {"worker": labels(queue, max="2")})
    daemon = run(swarm_stage.project)
    name = swarm_stage.name("worker")
    await until_async(lambda: swarm_stage.desired("worker") == 2, "2 replicas")
    watch = Watch(daemon)

    for change in range(25):
        limit = f"--label-add=temporal.max={2 + change % 2}"
        await until_async(partial(updated, name, limit), "a change")
        await asyncio.sleep(60 / A_MINUTE)
    await until_async(lambda: updated(name, "--label-add=temporal.max=3"), "the last change")

    until(lambda: swarm_stage.desired("worker") == len(swarm_stage.running("worker")) == 3, "3")
    assert not [line for line in daemon.lines if line["event"] == "cannot scale"]
    await temporal.drain(queue, tasks)
    await until_async(lambda: len(swarm_stage.running("worker")) == 1, "1 replica")
    await watch.recovered()


async def test_labels_of_a_compose_service_that_change_without_pause(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, queue: str
) -> None:
    """With each change, Compose recreates one container and removes the others, without a pause."""
    tasks = await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue, max="2")})
    daemon = run(compose_stage.project)
    await settle(compose_stage, 2)
    watch = Watch(daemon)

    async def change(limit: int) -> None:
        compose_stage.write(["worker"], {"worker": labels(queue, max=str(limit))})
        await asyncio.to_thread(compose_stage.compose, "up", "--detach", "--timeout", "0")

    end, limits = time.monotonic() + WITHOUT_PAUSE, itertools.cycle((3, 2))
    while time.monotonic() < end:
        await change(next(limits))
    await change(3)

    await settle(compose_stage, 3)
    assert inspected(compose_stage, '{{index .Config.Labels "temporal.max"}}') == {"3": 3}
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()
