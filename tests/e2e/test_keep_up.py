"""Enough replicas for the tasks that arrive: real workers, steady arrivals, a real server."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.crew import Crew, ServerInDocker
from tests.real.daemon import DaemonProcess
from tests.real.stages import ComposeStage
from tests.real.waiting import until_async

pytestmark = pytest.mark.engine

ARRIVING = 2.5
"""Tasks a second. A replica works on one task at a time, for one second: three must stay."""
ENOUGH = 3


def service(daemon: DaemonProcess) -> Any:
    """Return what the daemon says of the only service."""
    with urlopen(f"{daemon.url.rstrip('/')}/api/services", timeout=30) as answer:
        return json.load(answer)["services"][0]


@pytest.mark.parametrize(
    "busy",
    [
        pytest.param("protect", id="what-workers-report"),
        pytest.param("ignore", id="what-they-are-handed"),
    ],
)
async def test_replicas_that_arrivals_need_stay_while_no_task_waits(  # noqa: PLR0913 - fixtures
    compose_stage: ComposeStage,
    server_in_docker: ServerInDocker,
    crew: Crew,
    run_daemon: RunDaemon,
    queue: str,
    *,
    busy: str,
) -> None:
    asked = labels(queue, busy=busy, max="6", scale_in__window="5s")
    workers = crew.service(grace="10s", RUN_SECONDS="1", HEARTBEAT_SECONDS="2")
    compose_stage.up({"worker": 1}, {"worker": asked}, **workers)
    await until_async(lambda: crew.ready() == 1, "a worker")
    endpoint = {"AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": server_in_docker.endpoint}
    daemon = run_daemon(compose_stage, **endpoint)
    daemon.wait_for("tick", services=1)

    def kept_for_arrivals() -> bool:
        seen = service(daemon)
        arrive = [each["text"] for each in seen["reasons"] if "a second arrive" in each["text"]]
        return bool(arrive) and seen["backlog"] == 0 and seen["desired"] >= ENOUGH

    async with crew.traffic(ARRIVING, "Task") as tasks:
        await until_async(kept_for_arrivals, "replicas kept for what arrives", limit=180)
        learnt = daemon.metric("autoscaler_throughput_tasks", compose_stage.name("worker"))
        assert 0.5 < learnt < 1.1
        assert len(compose_stage.running("worker")) >= ENOUGH
    await until_async(lambda: len(compose_stage.running("worker")) == 1, "1 replica", limit=120)
    assert crew.lost() == []
    assert len(crew.attempts()) == len(tasks)
