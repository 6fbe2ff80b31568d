"""The main job on real parts: services follow the backlog of their task queues."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.daemon import environment
from tests.real.stages import STUBBORN, ComposeStage, Stage, SwarmStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async


async def test_100_waiting_tasks_at_target_10_become_10_replicas_and_an_empty_queue_becomes_min(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    stage.up({"worker": 1}, {"worker": labels(queue, max="20")})
    daemon = run_daemon(stage)
    daemon.wait_for("tick")

    seen = len(daemon.lines)
    tasks = await temporal.enqueue(queue, 100)
    counted = len(daemon.lines)
    line = daemon.wait_for("scaling out", after=seen, desired=10)
    assert daemon.reads(counted, line) <= 2
    # Temporal adds new tasks with a delay, so the last few may not be counted yet.
    assert 90 < line["backlog"] <= 100
    # What waits is counted on the partitions where that is newer than the server's own figures.
    said = [reason.replace(" (counted now)", "") for reason in line["reasons"]]
    assert said == [f"{line['backlog']} waiting tasks at target 10 → 10"]
    await until_async(lambda: len(stage.running("worker")) == 10, "10 replicas")

    await temporal.drain(queue, tasks)
    line = daemon.wait_for("scaling in", desired=1)
    assert line["backlog"] == 0
    await until_async(lambda: len(stage.running("worker")) == 1, "1 replica")


async def test_five_waiting_tasks_need_one_replica(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 5)
    stage.up({"worker": 3}, {"worker": labels(queue)})

    line = run_daemon(stage).wait_for("scaling in")

    assert (line["backlog"], line["replicas"], line["desired"]) == (5, 3, 1)
    await until_async(lambda: len(stage.running("worker")) == 1, "1 replica")


async def test_more_than_max_times_target_becomes_max(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 60)
    stage.up({"worker": 1}, {"worker": labels(queue, max="4")})

    daemon = run_daemon(stage)
    line = daemon.wait_for("scaling out")

    assert daemon.reads(0, line) <= 2
    assert line["desired"] == 4
    assert line["reasons"] == ["60 waiting tasks at target 10 → 6 needed, at most 4 (max)"]
    await until_async(lambda: len(stage.running("worker")) == 4, "4 replicas")


async def test_scales_to_zero_and_wakes_from_it(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    stage.up({"worker": 2}, {"worker": labels(queue, min="0", cooldown="10s")})
    run_daemon(stage).wait_for("scaling in", desired=0)
    await until_async(lambda: not stage.running("worker"), "no replica")

    await temporal.enqueue(queue, 15)

    await until_async(lambda: len(stage.running("worker")) == 2, "2 replicas")


@pytest.mark.engine
async def test_a_daemon_that_has_just_started_wakes_a_service_from_zero(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    """With `min` 0, a service at zero does not count as stopped by hand."""
    compose_stage.up({"worker": 1}, {"worker": labels(queue, min="0")})
    compose_stage.compose("stop", "--timeout", "1")
    await temporal.enqueue(queue, 15)

    run_daemon(compose_stage)

    await until_async(lambda: len(compose_stage.running("worker")) == 2, "2 replicas")


@pytest.mark.swarm
async def test_one_daemon_follows_services_of_compose_and_of_swarm(
    compose_stage: ComposeStage,
    swarm_stage: SwarmStage,
    temporal: TemporalServer,
    run_daemon: RunDaemon,
    queue: str,
) -> None:
    await temporal.enqueue(queue, 20)
    await temporal.enqueue(f"{queue}-swarm", 20)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    swarm_stage.up({"worker": 1}, {"worker": labels(f"{queue}-swarm")})

    both = f"{compose_stage.project},{swarm_stage.project}"
    run_daemon(compose_stage, AUTOSCALER_PROJECTS=both)

    await until_async(lambda: len(compose_stage.running("worker")) == 2, "2 on Compose")
    await until_async(lambda: len(swarm_stage.running("worker")) == 2, "2 on Swarm")


async def test_two_services_share_one_queue_in_portions_of_their_own_targets(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 40)
    stage.up(
        {"coarse": 1, "fine": 1},
        {"coarse": labels(queue, target="10"), "fine": labels(queue, target="5")},
    )
    run_daemon(stage)

    # 10 and 5, 10 and 5, and the last 10.
    await until_async(lambda: len(stage.running("coarse")) == 3, "3 replicas")
    await until_async(lambda: len(stage.running("fine")) == 2, "2 replicas")


async def test_all_wrong_labels_are_named_and_the_other_services_are_scaled(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 20)
    wrong = {"temporal.queue": queue, "temporal.tarqet": "1", "temporal.max": "many"}
    stage.up({"wrong": 2, "right": 1}, {"wrong": wrong, "right": labels(queue)})
    daemon = run_daemon(stage)

    await until_async(lambda: len(stage.running("right")) == 2, "2 replicas")

    errors = [line["error"] for line in daemon.lines if line["event"] == "cannot scale"]
    assert errors == [
        "temporal.max='many' must be a whole number from 1 to 10000, not below min",
        "temporal.tarqet='1' is not a label, the nearest is temporal.target",
    ]
    assert len(stage.running("wrong")) == 2


@pytest.mark.engine
async def test_a_slow_graceful_stop_delays_no_other_service(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    slow, quick = labels(queue), labels(f"{queue}-quick")
    compose_stage.up(
        {"slow": 2, "quick": 1},
        {"slow": slow, "quick": quick},
        command=STUBBORN,
        stop_grace_period="600s",
    )
    daemon = run_daemon(compose_stage)
    daemon.wait_for("scaling in", service=compose_stage.name("slow"))

    await temporal.enqueue(f"{queue}-quick", 30)
    await until_async(lambda: len(compose_stage.running("quick")) == 3, "3 replicas")

    assert len(compose_stage.running("slow")) == 2, "the grace period was cut short"
    assert daemon.terminate() == 0


@pytest.mark.engine
async def test_compose_treats_the_new_replicas_as_its_own(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 50)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon = run_daemon(compose_stage)
    await until_async(lambda: len(compose_stage.running("worker")) == 5, "5 replicas")

    names = [f"{compose_stage.project}-worker-{number}" for number in range(1, 6)]
    assert sorted(compose_stage.listed()) == names

    before = compose_stage.running("worker")
    compose_stage.compose("up", "--detach", "--scale=worker=5")
    assert compose_stage.running("worker") == before, "Compose has recreated containers"

    assert daemon.terminate() == 0
    compose_stage.compose("down", "--timeout", "1")
    filter_ = f"--filter=label=com.docker.compose.project={compose_stage.project}"
    assert docker("ps", "--all", "--quiet", filter_) == ""


@pytest.mark.engine
async def test_a_service_stopped_by_hand_is_left_alone_until_a_replica_runs_again(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 20)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    compose_stage.compose("stop", "--timeout", "1")
    daemon = run_daemon(compose_stage)
    daemon.wait_for("tick", after=len(daemon.lines))
    daemon.wait_for("tick", after=len(daemon.lines))
    assert not compose_stage.running("worker")

    compose_stage.compose("start")

    await until_async(lambda: len(compose_stage.running("worker")) == 2, "2 replicas")


@pytest.mark.swarm
async def test_growing_a_swarm_service_keeps_its_running_tasks(
    swarm_stage: SwarmStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 40)
    swarm_stage.up({"worker": 3}, {"worker": labels(queue)})
    before = swarm_stage.running("worker")

    run_daemon(swarm_stage)
    await until_async(lambda: len(swarm_stage.running("worker")) == 4, "4 replicas")

    assert before < swarm_stage.running("worker")


async def test_plan_says_what_would_be_done_and_changes_nothing(
    stage: Stage, temporal: TemporalServer, tmp_path: Path, queue: str
) -> None:
    await temporal.enqueue(queue, 100)
    stage.up({"worker": 1}, {"worker": labels(queue)})

    plan = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "autoscaler", "plan", "--json"),
        cwd=tmp_path,
        env=environment(
            {"AUTOSCALER_PROJECTS": stage.project, "TEMPORAL_ADDRESS": temporal.endpoint}
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await plan.communicate()

    assert plan.returncode == 0
    (planned,) = json.loads(printed)["services"]
    assert (planned["service"], planned["orchestrator"]) == (
        stage.name("worker"),
        stage.orchestrator,
    )
    assert (planned["queues"], planned["backlog"]) == ([queue], 100)
    assert (planned["replicas"], planned["desired"]) == (1, 10)
    assert [reason["text"] for reason in planned["reasons"]] == [
        "100 waiting tasks at target 10 → 10"
    ]
    assert (planned["warnings"], planned["errors"]) == ([], [])
    assert len(stage.running("worker")) == 1
