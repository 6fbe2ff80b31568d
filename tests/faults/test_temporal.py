"""Faults of Temporal: replicas are held meanwhile, and follow the backlog again afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.e2e.conftest import labels
from tests.faults.conftest import Run, Watch, running, settle, watched
from tests.real.daemon import DaemonProcess
from tests.real.gate import Gate
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async

ENDPOINT = "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT"


def scaled(daemon: DaemonProcess, event: str = "scaling in") -> bool:
    """Return whether the daemon has scaled in, or has logged another `event`."""
    return any(line["event"] == event for line in daemon.lines)


async def test_down_at_the_start(
    compose_stage: ComposeStage, run: Run, tmp_path: Path, queue: str
) -> None:
    server = TemporalServer(tmp_path)
    compose_stage.up({"worker": 2}, {"worker": labels(queue)})
    daemon = run(compose_stage.project, **{ENDPOINT: server.endpoint})
    daemon.wait_for("cannot scale")
    assert len(compose_stage.running("worker")) == 2
    watch = Watch(daemon)

    server.start()
    try:
        await server.enqueue(queue, 30)
        await running(compose_stage, 3)
        assert not scaled(daemon)
        await watch.recovered()
    finally:
        server.stop()


async def test_restarted_with_a_count_that_may_be_doubled(
    compose_stage: ComposeStage, own_temporal: TemporalServer, run: Run, queue: str
) -> None:
    tasks = await own_temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue, max="4")})
    daemon = run(compose_stage.project, **{ENDPOINT: own_temporal.endpoint})
    await running(compose_stage, 3)
    watch = Watch(daemon)

    own_temporal.stop()
    daemon.wait_for("cannot scale")
    own_temporal.start()
    daemon.wait_for("recovered")

    assert len(compose_stage.running("worker")) >= 3
    assert not scaled(daemon)
    async with own_temporal.working(queue):
        await asyncio.gather(*(task.result() for task in tasks))
        # The server keeps part of a doubled count until a worker polls the empty task queue.
        await settle(compose_stage, 1)
    counts = [line["desired"] for line in daemon.lines if line["event"] == "scaling out"]
    assert max(counts) <= 4
    await watch.recovered()


async def test_hung(
    compose_stage: ComposeStage, own_temporal: TemporalServer, run: Run, queue: str
) -> None:
    tasks = await own_temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon = run(compose_stage.project, **{ENDPOINT: own_temporal.endpoint})
    await running(compose_stage, 3)
    watch = Watch(daemon)

    own_temporal.freeze()
    try:
        line = daemon.wait_for("cannot scale")
        assert "did not answer in time" in line["error"]
        daemon.wait_for("tick", after=len(daemon.lines), failed=True)
        assert len(compose_stage.running("worker")) == 3
    finally:
        own_temporal.thaw()

    daemon.wait_for("recovered")
    assert not scaled(daemon)
    await own_temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


async def test_slow(
    compose_stage: ComposeStage,
    temporal: TemporalServer,
    temporal_gate: Gate,
    run: Run,
    queue: str,
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    temporal_gate.delay = 0.3
    daemon, watch = watched(run, compose_stage, **{ENDPOINT: temporal_gate.endpoint})

    tasks = await temporal.enqueue(queue, 30)
    await running(compose_stage, 3)
    # This is longer than the daemon waits for an answer.
    temporal_gate.delay = 8
    daemon.wait_for("cannot scale")
    assert len(compose_stage.running("worker")) == 3

    temporal_gate.delay = 0
    daemon.wait_for("recovered")
    assert not scaled(daemon)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


async def test_more_calls_than_the_server_allows(
    compose_stage: ComposeStage, own_temporal: TemporalServer, run: Run, queue: str
) -> None:
    """The server has a limit of its own and answers RESOURCE_EXHAUSTED."""
    await own_temporal.enqueue(queue, 30)
    many = ",".join([queue, *(f"{queue}-{number}" for number in range(20))])
    compose_stage.up({"worker": 1}, {"worker": labels(many)})
    # The daemon's default budget would not let it make so many calls.
    unbounded = {ENDPOINT: own_temporal.endpoint, "AUTOSCALER_RPC_BUDGET": "1000"}
    daemon = run(compose_stage.project, **unbounded)
    await running(compose_stage, 3)
    watch = Watch(daemon)

    own_temporal.stop()
    own_temporal.start(frontend__namespaceRPS=1, frontend__globalNamespaceRPS=1)
    await until_async(
        lambda: any("RESOURCE_EXHAUSTED" in line.get("error", "") for line in daemon.lines),
        "a refusal",
    )
    assert len(compose_stage.running("worker")) >= 3

    own_temporal.stop()
    own_temporal.start()
    daemon.wait_for("recovered")
    assert not scaled(daemon)
    await watch.recovered()


async def test_namespace_deleted(
    compose_stage: ComposeStage, own_temporal: TemporalServer, run: Run, queue: str
) -> None:
    own_temporal.create_namespace("shop")
    await own_temporal.enqueue(queue, 30, "shop")
    compose_stage.up({"worker": 1}, {"worker": labels(queue, namespace="shop")})
    daemon = run(compose_stage.project, **{ENDPOINT: own_temporal.endpoint})
    await running(compose_stage, 3)
    watch = Watch(daemon)

    own_temporal.delete_namespace("shop")
    line = daemon.wait_for("cannot scale")
    assert "check that namespace shop exists there" in line["error"]
    assert len(compose_stage.running("worker")) == 3
    assert not scaled(daemon)

    own_temporal.create_namespace("shop")
    daemon.wait_for("recovered")
    await settle(compose_stage, 1)
    await watch.recovered()
