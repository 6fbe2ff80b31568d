"""No fault makes the daemon stop a worker with a running task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import labels
from tests.faults.conftest import Run, Watch
from tests.real.crew import Crew, ServerInDocker
from tests.real.daemon import DaemonProcess
from tests.real.gate import EngineGate
from tests.real.stages import ComposeStage
from tests.real.waiting import until_async

LABELS = {"busy": "protect", "scale_in__window": "0s"}


@pytest.fixture
def server() -> Iterator[ServerInDocker]:
    """A Temporal server that workers in containers can reach, and that a test may restart."""
    server = ServerInDocker()
    try:
        server.start()
        yield server
    finally:
        server.stop()


async def two_ticks(daemon: DaemonProcess) -> None:
    """Wait until two more ticks have gone well."""
    for _ in range(2):
        daemon.wait_for("tick", after=len(daemon.lines), failed=False)


async def test_no_busy_worker_is_stopped_whatever_happens(  # noqa: PLR0913, PLR0917
    server: ServerInDocker,
    compose_stage: ComposeStage,
    engine_gate: EngineGate,
    run: Run,
    tmp_path: Path,
    queue: str,
) -> None:
    crew = Crew(server, tmp_path, queue)
    options = crew.service(HEARTBEAT_SECONDS="2")
    compose_stage.up({"worker": 4}, {"worker": labels(queue, **LABELS)}, **options)
    await until_async(lambda: crew.ready() == 4, "4 workers")
    tasks = await crew.begin(2)
    at_work = crew.hosts_at_work()
    await crew.reported()

    def daemon() -> DaemonProcess:
        endpoint = {"AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": server.endpoint}
        return run(compose_stage.project, DOCKER_HOST=engine_gate.endpoint, **endpoint)

    def hosts() -> set[str]:
        return {container[:12] for container in compose_stage.running("worker")}

    first = daemon()
    await until_async(lambda: hosts() == at_work, "only the busy replicas")
    server.restart()
    await two_ticks(first)
    assert hosts() == at_work

    first.kill()
    engine_gate.cut()
    second = daemon()
    second.wait_for("cannot scale")
    engine_gate.mend()
    await two_ticks(second)
    assert hosts() == at_work
    watch = Watch(second)

    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    await until_async(lambda: len(hosts()) == 1, "1 replica")
    assert crew.lost() == []
    await watch.recovered()
