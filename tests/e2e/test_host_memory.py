"""Growth on Compose leaves a reserve of the host's memory free, on a real engine.

The replicas are no workers: they only take memory, as files of a tmpfs. Two minutes after they were
added in vain, the daemon takes their backlog for a phantom, so no test takes longer after its
growth. Other tests use memory at the same time, so what is asserted has margins.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import pytest

from autoscaler.orchestrators.compose.memory import SHOWN_AFTER
from tests.e2e.conftest import RunDaemon, labels
from tests.real.daemon import DaemonProcess
from tests.real.proxy import hardened_proxy
from tests.real.stages import ComposeStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import until, until_async

pytestmark = pytest.mark.engine

MIB = 2**20
REPLICA = 100
"""MiB that a replica takes."""
MARGIN = 800
"""MiB that others on this machine may take or give back during a test. What the services wish would
take far more."""
MOST_BEYOND = MARGIN // REPLICA
"""Replicas that fit into what others give back."""


def taking(*steps: int, every: float = 2) -> dict[str, Any]:
    """Return the options of a service whose replicas take so many MiB, one step after another."""
    fills = "".join(
        f"dd if=/dev/zero of=/fill/{turn} bs=1M count={mebibytes} 2>/dev/null; sleep {every};"
        for turn, mebibytes in enumerate(steps)
    )
    command = ("sh", "-c", f"trap 'exit 0' TERM; {fills} echo full; sleep 3600 & wait")
    return {"command": command, "tmpfs": ["/fill"]}


def available() -> int:
    """Return the MiB that programs can still take on this machine."""
    found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    assert found
    return int(found[1]) // 1024


@contextmanager
def least_available() -> Iterator[list[int]]:
    """Watch the memory while the block runs, and keep the least that was free at any time."""
    least, over = [available()], Event()

    def watch() -> None:
        while not over.wait(0.2):
            least[0] = min(least[0], available())

    watching = Thread(target=watch)
    watching.start()
    try:
        yield least
    finally:
        over.set()
        watching.join()


def room_for(replicas: int) -> tuple[int, str]:
    """Return the reserve, in MiB and as a setting, that leaves room for so many more replicas."""
    reserve = available() - replicas * REPLICA - REPLICA // 2
    return reserve, f"{reserve}MiB"


def service(daemon: DaemonProcess, name: str) -> Any:
    """Return what the daemon says of a service; an empty object before its first tick."""
    with urlopen(f"{daemon.url.rstrip('/')}/api/services", timeout=30) as answer:
        services = json.load(answer)["services"]
    return next((each for each in services if each["service"] == name), {})


def held_by_memory(daemon: DaemonProcess, name: str) -> bool:
    """Whether the daemon says that the memory of the host holds a service back."""
    texts = [reason["text"] for reason in service(daemon, name).get("reasons", ())]
    return any("memory of the host" in text for text in texts)


async def await_shown(stage: ComposeStage, *services: str) -> None:
    """Wait until all replicas of these services have shown what they take."""
    await_full(stage, *services)
    # Nothing announces that they have run for so long.
    await asyncio.sleep(SHOWN_AFTER.total_seconds())


def await_full(stage: ComposeStage, *services: str) -> None:
    """Wait until all replicas of these services have taken what they take."""
    replicas = [each for name in services for each in stage.running(name)]
    until(lambda: all("full" in docker("logs", each) for each in replicas), "full replicas")


async def test_three_services_share_the_memory_by_priority_and_weight(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    first, light, heavy = f"{queue}-first", f"{queue}-light", f"{queue}-heavy"
    tasks = await temporal.enqueue(first, 40)
    await temporal.enqueue(light, 200)
    await temporal.enqueue(heavy, 200)
    given = {
        "first": labels(first, max="20", priority="10"),
        "light": labels(light, max="20"),
        "heavy": labels(heavy, max="20", weight="2"),
    }
    compose_stage.up(dict.fromkeys(given, 1), given, **taking(REPLICA, every=0))
    await await_shown(compose_stage, *given)
    reserve, setting = room_for(7)

    def running() -> dict[str, int]:
        return {name: len(compose_stage.running(name)) for name in given}

    with least_available() as least:
        daemon = run_daemon(compose_stage, AUTOSCALER_HOST_RESERVE=setting)
        await until_async(lambda: running()["first"] == 4, "what comes first has its wish")
        await until_async(lambda: sum(running().values()) >= 8, "most of ten replicas")
        heavy_name = compose_stage.name("heavy")
        await until_async(lambda: held_by_memory(daemon, heavy_name), "a reason")
        await asyncio.sleep(5)
        shared = running()
        assert shared["first"] == 4
        assert shared["heavy"] > shared["light"] >= 1
        assert sum(shared.values()) <= 10 + MOST_BEYOND
        await temporal.drain(first, tasks)
        await until_async(lambda: running()["first"] == 1, "one finishes")
        others = shared["light"] + shared["heavy"]
        await until_async(
            lambda: running()["light"] + running()["heavy"] >= others + 2, "the others take over"
        )
        await asyncio.sleep(5)
    assert least[0] >= reserve - REPLICA - MARGIN
    assert sum(running().values()) <= 10 + MOST_BEYOND
    assert "true" not in docker(
        "inspect",
        "--format={{.State.OOMKilled}}",
        *(each for name in given for each in compose_stage.running(name)),
    )


@pytest.mark.parametrize("grown", [True, False], ids=["one-has-grown", "all-are-new"])
async def test_growth_stops_before_replicas_have_taken_what_they_will_take(
    compose_stage: ComposeStage,
    temporal: TemporalServer,
    run_daemon: RunDaemon,
    queue: str,
    grown: bool,  # noqa: FBT001
) -> None:
    await temporal.enqueue(queue, 300)
    steps = taking(20, 20, 20, 20, 20)
    compose_stage.up({"worker": 1}, {"worker": labels(queue, max="30")}, **steps)
    if grown:
        await await_shown(compose_stage, "worker")
    reserve, setting = room_for(8 if grown else 9)

    with least_available() as least:
        daemon = run_daemon(compose_stage, AUTOSCALER_HOST_RESERVE=setting)
        name = compose_stage.name("worker")
        await until_async(lambda: held_by_memory(daemon, name), "a reason")
        assert service(daemon, name)["wished"] == 30
        await until_async(lambda: len(compose_stage.running("worker")) >= 7, "some growth")
        await asyncio.sleep(15)
        await_full(compose_stage, "worker")

    assert len(compose_stage.running("worker")) <= 9 + MOST_BEYOND
    assert least[0] >= reserve - REPLICA - MARGIN


async def test_the_hardened_proxy_lets_all_questions_through(
    compose_stage: ComposeStage,
    temporal: TemporalServer,
    run_daemon: RunDaemon,
    queue: str,
    tmp_path: Path,
) -> None:
    await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    with hardened_proxy(tmp_path) as address:
        daemon = run_daemon(compose_stage, DOCKER_HOST=address, AUTOSCALER_ORCHESTRATORS="compose")
        await until_async(lambda: len(compose_stage.running("worker")) == 3, "three replicas")
        assert [line for line in daemon.lines if line["event"] == "warning"] == []
        daemon.terminate()


async def test_limits_count_where_a_proxy_refuses_statistics_and_that_is_said_once(
    compose_stage: ComposeStage,
    temporal: TemporalServer,
    run_daemon: RunDaemon,
    queue: str,
    tmp_path: Path,
) -> None:
    await temporal.enqueue(queue, 300)
    options = {**taking(10, every=0), "mem_limit": f"{REPLICA}m"}
    compose_stage.up({"worker": 1}, {"worker": labels(queue, max="30")}, **options)
    _, setting = room_for(8)

    with hardened_proxy(tmp_path, "/stats", "/info") as address:
        daemon = run_daemon(
            compose_stage,
            DOCKER_HOST=address,
            AUTOSCALER_ORCHESTRATORS="compose",
            AUTOSCALER_HOST_RESERVE=setting,
        )
        line = daemon.wait_for("scaling out")
        assert 2 <= line["desired"] <= 9 + MOST_BEYOND
        name = compose_stage.name("worker")
        await until_async(lambda: held_by_memory(daemon, name), "a reason")
        await asyncio.sleep(5)
        daemon.terminate()
    said = [each["warning"] for each in daemon.lines if each["event"] == "warning"]
    assert len([each for each in said if "/stats" in each]) == 1, said
    assert len([each for each in said if "GET /info" in each]) == 1, said
