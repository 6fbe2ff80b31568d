"""Faults of the engine. Most happen to a nested engine: other tests use this machine's engine."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.orchestrators.compose.hands import QUIET
from tests.e2e.conftest import labels
from tests.faults.conftest import ENGINE, Run, Watch, running, settle, watched
from tests.interop.engines import NestedEngine
from tests.real.daemon import DaemonProcess
from tests.real.gate import EngineGate
from tests.real.skewed import SKEW
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer

LASTING = {"restart": "unless-stopped"}
AN_HOUR = "3600"


def scaled_in(daemon: DaemonProcess) -> bool:
    """Return whether the daemon has scaled in."""
    return any(line["event"] == "scaling in" for line in daemon.lines)


async def test_restarted(
    engine: NestedEngine,
    nested_stage: ComposeStage,
    temporal: TemporalServer,
    run: Run,
    queue: str,
) -> None:
    tasks = await temporal.enqueue(queue, 30)
    nested_stage.up({"worker": 1}, {"worker": labels(queue)}, **LASTING)
    daemon = run(nested_stage.project, DOCKER_HOST=engine.environment["DOCKER_HOST"])
    await settle(nested_stage, 3)
    watch = Watch(daemon)

    engine.restart()
    await settle(nested_stage, 3)
    daemon.wait_for("tick", after=len(daemon.lines), failed=False)
    await settle(nested_stage, 3)
    assert not scaled_in(daemon)

    await temporal.drain(queue, tasks)
    await settle(nested_stage, 1)
    await watch.recovered()


async def test_hung(
    engine: NestedEngine,
    nested_stage: ComposeStage,
    temporal: TemporalServer,
    run: Run,
    queue: str,
) -> None:
    nested_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon, watch = watched(run, nested_stage, DOCKER_HOST=engine.environment["DOCKER_HOST"])

    engine.freeze()
    try:
        tasks = await temporal.enqueue(queue, 30)
        assert daemon.alive()
    finally:
        engine.thaw()

    await settle(nested_stage, 3)
    await temporal.drain(queue, tasks)
    await settle(nested_stage, 1)
    await watch.recovered()


async def test_slow(  # noqa: PLR0913, PLR0917
    engine: NestedEngine,  # noqa: ARG001 - it is behind the gate
    nested_stage: ComposeStage,
    nested_gate: EngineGate,
    temporal: TemporalServer,
    run: Run,
    queue: str,
) -> None:
    nested_stage.up({"worker": 1}, {"worker": labels(queue)})
    nested_gate.delay = 0.3
    _, watch = watched(run, nested_stage, DOCKER_HOST=nested_gate.endpoint)

    tasks = await temporal.enqueue(queue, 30)
    await settle(nested_stage, 3)
    await temporal.drain(queue, tasks)
    await settle(nested_stage, 1)
    await watch.recovered()


async def test_socket_gone_and_back(
    compose_stage: ComposeStage,
    engine_gate: EngineGate,
    temporal: TemporalServer,
    run: Run,
    queue: str,
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon, watch = watched(run, compose_stage, DOCKER_HOST=engine_gate.endpoint)

    engine_gate.cut()
    line = daemon.wait_for("cannot scale")
    assert "no Docker Engine answers" in line["error"]
    tasks = await temporal.enqueue(queue, 30)
    assert len(compose_stage.running("worker")) == 1

    engine_gate.mend()
    daemon.wait_for("recovered")
    await settle(compose_stage, 3)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


@pytest.mark.parametrize("step", range(1, 5))
async def test_socket_gone_in_the_middle_of_a_scale(  # noqa: PLR0913, PLR0917
    compose_stage: ComposeStage,
    engine_gate: EngineGate,
    temporal: TemporalServer,
    run: Run,
    tmp_path: Path,
    queue: str,
    step: int,
) -> None:
    """Two replicas take two calls each, create and start. The answer to one call is lost.

    The engine comes back when what the daemon did is no longer just now: its events come late.
    """
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon, watch = watched(
        run, compose_stage, module="tests.real.skewed", DOCKER_HOST=engine_gate.endpoint
    )

    engine_gate.after_change(step, engine_gate.cut_at_once)
    tasks = await temporal.enqueue(queue, 30)
    daemon.wait_for("cannot scale")
    await asyncio.sleep(2 * QUIET.total_seconds())
    engine_gate.mend()
    await running(compose_stage, 3)

    (tmp_path / SKEW).write_text(AN_HOUR)
    await settle(compose_stage, 3)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


@pytest.fixture
def small_engine(tmp_path: Path) -> Iterator[NestedEngine]:
    """An engine whose disk can be filled."""
    with tempfile.NamedTemporaryFile("w", dir=tmp_path, suffix=".json") as settings:
        json.dump({"data-root": "/small"}, settings)
        settings.flush()
        nested = NestedEngine(
            ENGINE,
            "--tmpfs=/small:size=64m,exec,dev,suid",
            f"--volume={settings.name}:/etc/docker/daemon.json:ro",
        )
        yield nested
        nested.close()


async def test_disk_full_at_create(
    small_engine: NestedEngine, temporal: TemporalServer, run: Run, tmp_path: Path, queue: str
) -> None:
    host = small_engine.environment["DOCKER_HOST"]
    stage = ComposeStage(tmp_path, host)
    stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon, watch = watched(run, stage, DOCKER_HOST=host)

    small_engine.inside("sh", "-c", "cat /dev/zero >/small/filling 2>/dev/null || true")
    tasks = await temporal.enqueue(queue, 30)
    line = daemon.wait_for("cannot scale")
    assert "no space left on device" in line["error"]
    assert len(stage.running("worker")) == 1

    small_engine.inside("rm", "/small/filling")
    await settle(stage, 3)
    await temporal.drain(queue, tasks)
    await settle(stage, 1)
    await watch.recovered()


HUNGRY = ("sh", "-c", "if [ -e /shared/hunger ]; then exec tail /dev/zero; fi; exec sleep 600")


async def test_out_of_memory_at_start(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, tmp_path: Path, queue: str
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    compose_stage.up(
        {"worker": 1},
        {"worker": labels(queue)},
        command=HUNGRY,
        mem_limit="16m",
        volumes=[f"{shared}:/shared"],
    )
    daemon, watch = watched(run, compose_stage)

    (shared / "hunger").touch()
    tasks = await temporal.enqueue(queue, 30)
    line = daemon.wait_for("cannot scale", services=[compose_stage.name("worker")])
    assert "ended by itself with exit code 137" in line["error"]
    assert len(compose_stage.running("worker")) == 1

    (shared / "hunger").unlink()
    await settle(compose_stage, 3)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


async def test_image_removed(
    engine: NestedEngine,
    nested_stage: ComposeStage,
    temporal: TemporalServer,
    run: Run,
    queue: str,
) -> None:
    """While a container runs, the layers of its image stay, and the image id still works."""
    image = f"{nested_stage.project}:1"
    engine.docker("tag", "autoscaler-test/busybox:1", image)
    nested_stage.up({"worker": 1}, {"worker": labels(queue)}, image=image)
    _, watch = watched(run, nested_stage, DOCKER_HOST=engine.environment["DOCKER_HOST"])

    engine.docker("rmi", "--force", image)
    tasks = await temporal.enqueue(queue, 30)
    await settle(nested_stage, 3)
    await temporal.drain(queue, tasks)
    await settle(nested_stage, 1)
    await watch.recovered()
