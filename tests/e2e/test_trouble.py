"""Each problem is reported in one clear line; replicas are held, and the daemon continues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.daemon import autoscaler
from tests.real.stages import IDLE, TINY_IMAGE, ComposeStage, Stage, SwarmStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import free_port, until_async

AT_ONCE = {"temporal.scale-in.window": "0s"}


@pytest.mark.engine
async def test_while_temporal_is_down_replicas_are_held_and_the_daemon_continues(
    compose_stage: ComposeStage, own_temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    own_temporal.start()
    await own_temporal.enqueue(queue, 30)
    # Temporal may count waiting tasks twice after its restart; with this `max` nothing grows.
    compose_stage.up({"worker": 3}, {"worker": labels(queue, max="3") | AT_ONCE})
    daemon = run_daemon(
        compose_stage,
        AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT=own_temporal.endpoint,
        AUTOSCALER_POLL_INTERVAL="1s",
    )
    daemon.wait_for("tick", failed=False)

    own_temporal.stop()
    line = daemon.wait_for("cannot scale")
    for _ in range(3):
        daemon.wait_for("tick", after=len(daemon.lines), failed=True)

    assert line["services"] == [compose_stage.name("worker")]
    assert f"reading backlogs in namespace default at {own_temporal.endpoint}" in line["error"]
    assert "check the endpoint" in line["error"]
    assert len(compose_stage.running("worker")) == 3

    own_temporal.start()
    daemon.wait_for("recovered")
    assert daemon.alive()
    assert not [line for line in daemon.lines if line["event"] in ("scaling in", "not JSON")]


@pytest.mark.engine
async def test_plan_names_each_connection_that_fails_and_plans_the_other_services(
    compose_stage: ComposeStage, temporal: TemporalServer, tmp_path: Path, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    nobody = f"127.0.0.1:{free_port()}"
    named = {
        "right": labels(queue),
        "down": labels(queue, integration="down"),
        "unknown": labels(queue, integration="nowhere"),
        "lost": labels(queue, namespace="no-such-namespace"),
    }
    compose_stage.up(dict.fromkeys(named, 1), named)

    done = autoscaler(
        tmp_path,
        "plan",
        "--json",
        AUTOSCALER_PROJECTS=compose_stage.project,
        AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT=temporal.endpoint,
        AUTOSCALER_INTEGRATIONS__DOWN__ENDPOINT=nobody,
    )

    assert (done.returncode, done.stderr) == (1, "")
    planned = {
        each["service"].partition("/")[2]: each for each in json.loads(done.stdout)["services"]
    }
    assert planned.pop("right")["desired"] == 3
    words = {
        "down": [nobody, "check the endpoint"],
        "unknown": ["integration nowhere is not known (known: default, down)", "correct the label"],
        "lost": [temporal.endpoint, "check that namespace no-such-namespace exists there"],
    }
    for service, each in planned.items():
        assert (each["backlog"], each["replicas"], each["desired"]) == (None, 1, 1)
        (error,) = each["errors"]
        assert "\n" not in error
        assert all(word in error for word in words[service]), error


def reasons(stage: Stage, temporal: TemporalServer, folder: Path) -> dict[str, tuple[int, str]]:
    """Plan a stage; return each service's desired replicas, and its last reason or its errors."""
    done = autoscaler(
        folder,
        "plan",
        "--json",
        AUTOSCALER_PROJECTS=stage.project,
        TEMPORAL_ADDRESS=temporal.endpoint,
    )
    start = len(stage.name(""))
    return {
        each["service"][start:]: (
            each["desired"],
            "; ".join(each["errors"]) or each["reasons"][-1]["text"],
        )
        for each in json.loads(done.stdout)["services"]
    }


@pytest.mark.engine
async def test_a_service_that_cannot_have_copies_keeps_its_one_replica_and_plan_says_why(
    compose_stage: ComposeStage, temporal: TemporalServer, tmp_path: Path, queue: str
) -> None:
    names = ("named", "published", "numbered", "free")
    for name in names:
        await temporal.enqueue(f"{queue}-{name}", 30)
    port, third = free_port(), 16 + hash(queue) % 200
    own_name = f"{compose_stage.project}-of-its-own"
    plain = {
        name: {"image": TINY_IMAGE, "command": list(IDLE), "labels": labels(f"{queue}-{name}")}
        for name in names
    }
    services = {
        "named": {**plain["named"], "container_name": own_name},
        "published": {**plain["published"], "ports": [f"127.0.0.1:{port}:80"]},
        "numbered": {
            **plain["numbered"],
            "networks": {"numbers": {"ipv4_address": f"10.231.{third}.7"}},
        },
        "free": plain["free"],
    }
    numbers = {"ipam": {"config": [{"subnet": f"10.231.{third}.0/24"}]}}
    compose_stage.up({}, {}, top={"services": services, "networks": {"numbers": numbers}})

    assert reasons(compose_stage, temporal, tmp_path) == {
        "named": (
            1,
            (
                f"3 needed, at most 1: container_name is set to {own_name}, and names are"
                " unique; remove container_name to let the service scale"
            ),
        ),
        "published": (
            1,
            (
                f"3 needed, at most 1: host port {port} is published for 80/tcp, and only one"
                " container can have it; publish a range of ports or none"
            ),
        ),
        "numbered": (
            1,
            (
                f"3 needed, at most 1: it has the fixed address 10.231.{third}.7 in network"
                f" {compose_stage.project}_numbers; remove it to let the service scale"
            ),
        ),
        "free": (3, "30 waiting tasks at target 10 → 3"),
    }


MODES = {"everywhere": "global", "once": "replicated-job", "once-everywhere": "global-job"}


@pytest.fixture
def without_a_number(swarm_stage: SwarmStage, queue: str) -> Iterator[SwarmStage]:
    """Services of the modes that have no number of replicas."""
    marks = {"com.docker.stack.namespace": swarm_stage.project, **labels(queue)}
    for service, mode in MODES.items():
        docker(
            "service", "create", "--detach", "--quiet", "--no-resolve-image",
            f"--name={swarm_stage.name(service)}", f"--mode={mode}", "--network=host",
            "--stop-grace-period=1s",
            *(f"--label={key}={value}" for key, value in marks.items()),
            TINY_IMAGE, *(IDLE if mode == "global" else ("true",)),
        )  # fmt: skip
    yield swarm_stage
    # Swarm leaves the containers of jobs behind (seen on Engine 20.10.24).
    jobs = [swarm_stage.name(service) for service, mode in MODES.items() if mode != "global"]
    docker("service", "rm", *jobs)
    for job in jobs:
        mine = f"--filter=label=com.docker.swarm.service.name={job}"
        for container in docker("ps", "--all", "--quiet", mine).split():
            docker("rm", "--force", container)


@pytest.mark.swarm
async def test_services_without_a_number_of_replicas_are_left_alone_and_plan_says_why(
    without_a_number: SwarmStage, temporal: TemporalServer, tmp_path: Path, queue: str
) -> None:
    await temporal.enqueue(queue, 30)

    assert reasons(without_a_number, temporal, tmp_path) == {
        service: (
            0,
            (
                f"keeps 0: its mode is {mode}, and only replicated services have a number of"
                " replicas to change; deploy it with mode replicated"
            ),
        )
        for service, mode in MODES.items()
    }


@pytest.mark.engine
async def test_a_missing_image_is_reported_and_the_kept_replica_still_starts(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    image = f"{compose_stage.project}:1"
    # This image is a new one: removing a second name of TINY_IMAGE would not remove an image.
    made = docker("create", TINY_IMAGE).strip()
    docker("commit", "--message=of its own", made, image)
    docker("rm", made)
    asked = labels(queue, min="0", cooldown="0s") | AT_ONCE
    compose_stage.up({"worker": 1}, {"worker": asked}, image=image)
    daemon = run_daemon(compose_stage)
    await until_async(lambda: compose_stage.states() == ["exited"], "no replica")
    docker("rmi", "--force", image)

    await temporal.enqueue(queue, 30)

    line = daemon.wait_for("cannot scale")
    assert "No such image" in line["error"]
    await until_async(lambda: len(compose_stage.running("worker")) == 1, "the kept replica")
    assert daemon.terminate() == 0
    assert compose_stage.states() == ["running"]
