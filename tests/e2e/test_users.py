"""What users do with Compose and Swarm while the daemon runs is noticed at once and respected.

Most daemons here poll every ten minutes, so what happens sooner is the effect of an event.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.daemon import DaemonProcess
from tests.real.stages import TINY_IMAGE, ComposeStage, Stage, SwarmStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import free_port, free_ports, until_async

FAR_APART = {"AUTOSCALER_POLL_INTERVAL": "10m"}
CRASHING = ("sh", "-c", "sleep 0.2; exit 3")


async def test_a_new_service_is_scaled_at_once(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    daemon = run_daemon(stage, **FAR_APART)
    daemon.wait_for("tick")

    stage.up({"worker": 1}, {"worker": labels(queue)})

    await until_async(lambda: len(stage.running("worker")) == 3, "3 replicas")


async def test_a_change_of_labels_takes_effect_at_once(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    stage.up({"worker": 1}, {"worker": labels(queue, max="1")})
    daemon = run_daemon(stage, **FAR_APART)
    daemon.wait_for("tick")

    stage.up({"worker": 1}, {"worker": labels(queue, max="2")})

    await until_async(lambda: len(stage.running("worker")) == 2, "2 replicas")


@pytest.mark.swarm
async def test_a_label_that_was_changed_is_a_line_of_the_log(
    swarm_stage: SwarmStage, run_daemon: RunDaemon, queue: str
) -> None:
    swarm_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon = run_daemon(swarm_stage, **FAR_APART)
    daemon.wait_for("tick")

    service = swarm_stage.name("worker")
    docker("service", "update", "--detach", "--label-add=temporal.mode=off", service)

    line = daemon.wait_for("labels changed", service=service)
    assert line["changes"] == ["temporal.mode: not set -> off"]


async def test_replicas_that_a_redeploy_removed_are_restored_at_once(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 40)
    stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon = run_daemon(stage, **FAR_APART)
    await until_async(lambda: len(stage.running("worker")) == 4, "4 replicas")

    seen = len(daemon.lines)
    if isinstance(stage, ComposeStage):
        stage.compose("up", "--detach")
    else:
        stage.up({"worker": 1}, {"worker": labels(queue)})

    daemon.wait_for("scaling out", after=seen, desired=4)
    await until_async(lambda: len(stage.running("worker")) == 4, "4 replicas again")


@pytest.mark.engine
async def test_compose_down_is_respected(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 40)
    # The replicas end one after the other, like busy workers.
    slow_end = ("sh", "-c", "trap 'sleep $(($$ % 5)); exit' TERM; sleep 600 & wait")
    compose_stage.up(
        {"worker": 4}, {"worker": labels(queue)}, command=slow_end, stop_grace_period="30s"
    )
    daemon = run_daemon(compose_stage)
    daemon.wait_for("tick")
    seen = len(daemon.lines)

    compose_stage.compose("down")

    daemon.wait_for("service gone", after=seen)
    filter_ = f"--filter=label=com.docker.compose.project={compose_stage.project}"
    assert docker("ps", "--all", "--quiet", filter_) == ""
    assert not [line for line in daemon.lines[seen:] if line["event"].startswith("scaling")]


@pytest.mark.engine
async def test_compose_stop_is_respected_and_start_wakes_the_service(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 40)
    compose_stage.up({"worker": 4}, {"worker": labels(queue)})
    daemon = run_daemon(compose_stage, AUTOSCALER_POLL_INTERVAL="1s")
    daemon.wait_for("tick")

    compose_stage.compose("stop")
    seen = len(daemon.lines)
    for _ in range(5):
        daemon.wait_for("tick", after=len(daemon.lines))
    assert not compose_stage.running("worker")
    assert not [line for line in daemon.lines[seen:] if line["event"].startswith("scaling")]

    compose_stage.compose("start")
    await until_async(lambda: len(compose_stage.running("worker")) == 4, "4 replicas")


@pytest.mark.engine
async def test_a_replica_that_somebody_removes_is_replaced(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 3}, {"worker": labels(queue)})
    daemon = run_daemon(compose_stage, **FAR_APART)
    daemon.wait_for("tick")
    victim = compose_stage.running("worker").pop()

    docker("rm", "--force", victim)

    daemon.wait_for("scaling out", desired=3)
    await until_async(lambda: len(compose_stage.running("worker")) == 3, "3 replicas")


@pytest.mark.engine
async def test_outdated_replicas_are_stopped_first_and_the_newest_configuration_is_the_template(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    compose_stage.up({"worker": 3}, {"worker": {**labels(queue), "version": "old"}})
    compose_stage.write(["worker"], {"worker": {**labels(queue), "version": "new"}})
    # This adds one replica with the new configuration and keeps the old ones.
    compose_stage.compose("up", "--detach", "--no-recreate", "--scale=worker=4")
    assert versions(compose_stage) == ["new", "old", "old", "old"]
    daemon = run_daemon(compose_stage)
    daemon.wait_for("scaling in", desired=1)
    await until_async(lambda: versions(compose_stage) == ["new"], "only the new configuration")

    await temporal.enqueue(queue, 30)

    await until_async(lambda: versions(compose_stage) == ["new"] * 3, "3 of the new configuration")


def versions(stage: ComposeStage) -> list[str]:
    # One call, because a draining replica may be gone between `docker ps` and `docker inspect`.
    mine = f"--filter=label=com.docker.compose.project={stage.project}"
    return sorted(docker("ps", '--format={{.Label "version"}}', mine).split())


@pytest.mark.engine
async def test_new_replicas_have_the_secrets_and_configs_that_compose_copies(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 20)
    compose_stage.up(
        {"worker": 1},
        {"worker": labels(queue)},
        secrets=["token"],
        configs=[{"source": "greeting", "target": "/etc/app/greeting"}],
        top={
            "secrets": {"token": {"environment": "HOME"}},
            "configs": {"greeting": {"content": "good morning"}},
        },
    )
    run_daemon(compose_stage)
    await until_async(lambda: len(compose_stage.running("worker")) == 2, "2 replicas")

    seen = {
        docker("exec", container, "cat", "/run/secrets/token", "/etc/app/greeting")
        for container in compose_stage.running("worker")
    }
    assert len(seen) == 1
    assert seen.pop().endswith("good morning")


@pytest.mark.engine
async def test_a_container_that_was_never_started_is_neither_a_replica_nor_a_template(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    """A daemon that is killed while it makes a replica leaves such a container, without secrets."""
    await temporal.enqueue(queue, 30)
    compose_stage.up(
        {"worker": 1},
        {"worker": labels(queue)},
        secrets=["token"],
        top={"secrets": {"token": {"environment": "HOME"}}},
    )
    compose_stage.compose("up", "--no-start", "--no-recreate", "--scale=worker=2")
    assert sorted(compose_stage.states()) == ["created", "running"]

    run_daemon(compose_stage)
    await until_async(lambda: len(compose_stage.running("worker")) == 3, "3 replicas")

    for container in compose_stage.running("worker"):
        assert docker("exec", container, "cat", "/run/secrets/token")


@pytest.mark.engine
async def test_replicas_that_end_by_themselves_stop_growth_with_the_reason(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 50)
    only_the_first_lives = ("sh", "-c", "mkdir /shared/first && exec sleep 600; exit 3")
    compose_stage.up(
        {"worker": 1},
        {"worker": labels(queue)},
        command=only_the_first_lives,
        volumes=["shared:/shared"],
        top={"volumes": {"shared": {}}},
    )

    daemon = run_daemon(compose_stage)

    daemon.wait_for("scaling out", desired=5)
    line = daemon.wait_for("held", service=compose_stage.name("worker"))
    assert line["reasons"][-1].startswith("after a crash, more are started in ")
    error = daemon.wait_for("cannot scale")["error"]
    assert "ended by itself with exit code 3" in error
    await until_async(lambda: len(compose_stage.running("worker")) == 1, "only the first replica")


@pytest.mark.engine
async def test_a_failed_start_is_reported_and_leaves_no_container_behind(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 60)
    # Three ports for six replicas: some replicas find no free port.
    ports = free_ports(3)
    compose_stage.up(
        {"worker": 1, "other": 1},
        {"worker": labels(queue), "other": labels(queue)},
        ports=[f"127.0.0.1:{ports[0]}-{ports[-1]}:80"],
    )

    daemon = run_daemon(compose_stage)

    line = daemon.wait_for("cannot scale")
    assert "replicas could not be started" in line["error"]
    # The daemon keeps trying: only after its end is certainly no container being made.
    assert daemon.terminate() == 0
    assert "created" not in compose_stage.states()


@pytest.mark.engine
async def test_a_container_name_in_use_is_reported_and_used_once_it_is_free(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 20)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    stranger = docker("create", f"--name={compose_stage.project}-worker-2", TINY_IMAGE).strip()
    try:
        line = run_daemon(compose_stage).wait_for("cannot scale")
        assert "already in use by container" in line["error"]
        assert len(compose_stage.running("worker")) == 1
    finally:
        docker("rm", stranger)

    await until_async(lambda: len(compose_stage.running("worker")) == 2, "2 replicas")


@pytest.mark.engine
async def test_new_replicas_have_the_image_that_runs_even_where_its_name_is_gone(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 20)
    image = f"{compose_stage.project}:1"
    docker("tag", TINY_IMAGE, image)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)}, image=image)
    docker("rmi", image)

    run_daemon(compose_stage)

    await until_async(lambda: len(compose_stage.running("worker")) == 2, "2 replicas")
    images = docker("inspect", "--format={{.Image}}", *compose_stage.running("worker")).split()
    assert len(set(images)) == 1


@pytest.mark.engine
async def test_a_service_with_a_fixed_port_keeps_its_one_replica_and_says_why(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    port = free_port()
    compose_stage.up({"worker": 1}, {"worker": labels(queue)}, ports=[f"127.0.0.1:{port}:80"])

    line = run_daemon(compose_stage).wait_for("held")

    assert line["reasons"][-1] == (
        f"3 needed, at most 1: host port {port} is published for 80/tcp, and only one container can"
        " have it; publish a range of ports or none"
    )
    assert len(compose_stage.running("worker")) == 1


@pytest.mark.swarm
async def test_labels_in_the_wrong_place_of_a_stack_are_named(
    swarm_stage: SwarmStage, run_daemon: RunDaemon, queue: str
) -> None:
    swarm_stage.up({"worker": 2}, {}, container_labels=labels(queue))

    line = run_daemon(swarm_stage).wait_for("cannot scale")

    assert line["services"] == [swarm_stage.name("worker")]
    assert "move them under deploy.labels" in line["error"]
    assert len(swarm_stage.running("worker")) == 2


@pytest.mark.swarm
async def test_tasks_that_cannot_be_placed_stop_growth_with_the_reason_of_the_swarm(
    swarm_stage: SwarmStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    swarm_stage.up(
        {"worker": 1},
        {"worker": labels(f"{queue},{queue}-more")},
        deploy={"placement": {"max_replicas_per_node": 1}},
    )
    daemon = run_daemon(swarm_stage)
    daemon.wait_for("scaling out", desired=3)

    await temporal.enqueue(f"{queue}-more", 30)

    line = daemon.wait_for("held", service=swarm_stage.name("worker"))
    assert "at most 3: a task cannot be placed (no suitable node" in line["reasons"][-1]
    assert swarm_stage.desired("worker") == 3


@pytest.mark.swarm
async def test_tasks_that_keep_failing_stop_growth_with_their_own_error(
    swarm_stage: SwarmStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    swarm_stage.up({"worker": 2}, {"worker": labels(queue)}, command=CRASHING, await_running=False)
    await until_async(lambda: swarm_stage.failed("worker"), "a task that has failed")

    line = run_daemon(swarm_stage).wait_for("cannot scale")

    assert "non-zero exit (3)" in line["error"]
    assert swarm_stage.desired("worker") == 2


HEALTHY_AFTER_A_WHILE = {
    "command": ["sh", "-c", "sleep 6; touch /healthy; trap 'exit 0' TERM; sleep 3600 & wait"],
    "healthcheck": {"test": ["CMD", "test", "-e", "/healthy"], "interval": "1s", "retries": 60},
}
WAITS = {"depends_on": {"database": {"condition": "service_healthy"}}}
ENDS_AT_ONCE = ("sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait")


@pytest.mark.engine
async def test_while_compose_waits_for_what_a_service_depends_on_nothing_is_started_or_made(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 30)
    daemon = run_daemon(compose_stage)
    daemon.wait_for("tick")
    began = engine_time()

    compose_stage.up(
        {"database": 1, "worker": 3},
        {"worker": labels(queue, max="3")},
        command=ENDS_AT_ONCE,
        each={"database": HEALTHY_AFTER_A_WHILE, "worker": WAITS},
    )

    line = daemon.wait_for("held", service=compose_stage.name("worker"))
    assert "docker compose may still be at work" in line["reasons"][-1]
    settled(daemon)
    assert started(compose_stage, began) == ["database-1", "worker-1", "worker-2", "worker-3"]


@pytest.mark.engine
async def test_while_compose_recreates_several_services_none_has_more_than_its_max(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 100)
    others = ["second", "third", "fourth"]
    replicas = {"database": 1, "worker": 3, **dict.fromkeys(others, 2)}
    policies = {each: labels(queue, max=str(replicas[each])) for each in ("worker", *others)}
    each = {"database": HEALTHY_AFTER_A_WHILE, "worker": WAITS, "fourth": WAITS}
    compose_stage.up(replicas, policies, command=ENDS_AT_ONCE, each=each)
    daemon = run_daemon(compose_stage)
    daemon.wait_for("tick", failed=False)
    began = engine_time()

    environment = {"VERSION": "2"}
    compose_stage.up(replicas, policies, command=ENDS_AT_ONCE, environment=environment, each=each)

    settled(daemon)
    expected = [f"{name}-{n}" for name, number in replicas.items() for n in range(1, number + 1)]
    assert started(compose_stage, began) == sorted(expected)


def settled(daemon: DaemonProcess) -> None:
    """Wait until the daemon has looked so often that nobody is at work any more."""
    for _ in range(5):
        daemon.wait_for("tick", after=len(daemon.lines), failed=False)


def engine_time() -> str:
    """Return the engine's time."""
    return docker("info", "--format={{.SystemTime}}").strip()


def started(stage: ComposeStage, since: str) -> list[str]:
    """Return every container of the project that was started since a time, once for each start."""
    names = docker(
        "events",
        f"--since={since}",
        f"--until={engine_time()}",
        "--filter=event=start",
        f"--filter=label=com.docker.compose.project={stage.project}",
        "--format={{.Actor.Attributes.name}}",
    ).split()
    return sorted(name.removeprefix(f"{stage.project}-") for name in names)
