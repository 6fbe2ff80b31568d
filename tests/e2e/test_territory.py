"""A daemon in a container looks after its own project, and names what it leaves alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.stages import ComposeStage, SwarmStage, docker
from tests.real.waiting import until

IMAGE = "temporal-docker-autoscaler"
SOCKET = "/var/run/docker.sock"
LABELS = {"temporal.queue": "orders"}
DAEMON: dict[str, Any] = {
    "image": IMAGE,
    "command": ["run"],
    "volumes": [f"{SOCKET}:{SOCKET}"],
    "stop_grace_period": "10s",
}


@pytest.fixture
def other(tmp_path: Path) -> Iterator[ComposeStage]:
    """A second project on the same engine, which is removed after the test."""
    folder = tmp_path / "other"
    folder.mkdir()
    stage = ComposeStage(folder)
    yield stage
    stage.close()


def lines(container: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in docker("logs", container).splitlines()]


def container_of(stage: ComposeStage, service: str) -> str:
    (container,) = stage.running(service)
    return container


def doctor(container: str) -> str:
    """Run the doctor beside a daemon; no Temporal is there, so it does not end with 0."""
    command = ["docker", "exec", container, "autoscaler", "doctor"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout


@pytest.mark.engine
def test_its_own_project_is_the_first_line_and_others_are_left_alone(
    compose_stage: ComposeStage, other: ComposeStage
) -> None:
    other.up({"worker": 1}, {"worker": LABELS})
    compose_stage.up({"worker": 1, "scaler": 1}, {"worker": LABELS}, each={"scaler": DAEMON})
    scaler = container_of(compose_stage, "scaler")

    def left_alone() -> set[str]:
        return {
            name
            for line in lines(scaler)
            if line["event"] == "left alone"
            for name in line["services"]
        }

    until(lambda: other.name("worker") in left_alone(), "the other project's worker")
    written = lines(scaler)
    assert (written[0]["event"], written[0]["projects"]) == (
        "looking after",
        f"project {compose_stage.project}",
    )
    found = [line["service"] for line in written if line["event"] == "service found"]
    assert found == [compose_stage.name("worker")]


@pytest.mark.engine
def test_two_in_one_project_name_each_other(compose_stage: ComposeStage) -> None:
    two = {"one": DAEMON, "two": DAEMON}
    compose_stage.up({"worker": 1, "one": 1, "two": 1}, {"worker": LABELS}, each=two)
    one = container_of(compose_stage, "one")
    names = [f"{compose_stage.project}-{service}-1" for service in two]

    def warnings() -> list[str]:
        told = [line.get("warning", "") for name in names for line in lines(name)]
        return [each for each in told if "is another autoscaler" in each]

    # Whichever looks second sees the first at once, the first sees the second within a minute.
    until(lambda: len(warnings()) > 0, "a warning")
    assert f"looks after project {compose_stage.project} as well" in warnings()[0]
    assert f"containers {names[0]} and {names[1]} are autoscalers" in doctor(one)


@pytest.mark.swarm
def test_in_a_stack_it_is_the_stack(swarm_stage: SwarmStage) -> None:
    swarm_stage.up({"scaler": 1}, {}, **DAEMON)
    mine = f"--filter=label=com.docker.stack.namespace={swarm_stage.project}"
    container = docker("ps", "--quiet", mine).strip()
    until(lambda: bool(lines(container)), "the first line")
    assert lines(container)[0]["projects"] == f"project {swarm_stage.project}"


@pytest.mark.engine
@pytest.mark.parametrize("network", ["bridge", "host", "none"])
def test_outside_any_project_it_is_all_whatever_the_network(network: str) -> None:
    plan = ["plan", "--json"]
    options = ["--rm", f"--volume={SOCKET}:{SOCKET}", f"--network={network}"]
    command = ["docker", "run", *options, "--env=AUTOSCALER_ORCHESTRATORS=compose", IMAGE, *plan]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert json.loads(done.stdout)["left_alone"] == []
