"""Services files change what is wanted of running services, and touch no replica for it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import RunDaemon, labels
from tests.real.crew import Crew, ServerInDocker
from tests.real.daemon import autoscaler
from tests.real.stages import ComposeStage, Stage
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of services files, without any."""
    path = tmp_path / "services"
    path.mkdir()
    return path


def write(folder: Path, services: Mapping[str, Mapping[str, object]]) -> Path:
    """Write a file as editors do: under another name, which is changed afterwards."""
    new = folder / "shop.yaml.new"
    new.write_text(yaml.safe_dump({"services": services}))
    return new.rename(folder / "shop.yaml")


def wanted(queue: str, **others: str) -> dict[str, str]:
    """Return the values of a service at target 10 for a file, without the prefix of labels."""
    return {
        name.removeprefix("temporal."): value for name, value in labels(queue, **others).items()
    }


@pytest.mark.engine
async def test_a_larger_max_adds_replicas_beside_busy_ones(  # noqa: PLR0913, PLR0917 - all real parts
    compose_stage: ComposeStage,
    crew: Crew,
    server_in_docker: ServerInDocker,
    run_daemon: RunDaemon,
    queue: str,
    folder: Path,
) -> None:
    asked = labels(queue, target="1", max="4", busy="protect")
    compose_stage.up({"worker": 4}, {"worker": asked}, **crew.service(HEARTBEAT_SECONDS="2"))
    await until_async(lambda: crew.ready() == 4, "4 workers", limit=180)
    tasks = await crew.begin(4)
    tasks += [await crew.start() for _ in range(6)]
    before = compose_stage.running("worker")
    daemon = run_daemon(
        compose_stage,
        AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT=server_in_docker.endpoint,
        AUTOSCALER_SERVICES=str(folder),
    )
    daemon.wait_for("tick")

    write(folder, {compose_stage.name("worker"): {"max": 6}})

    changed = daemon.wait_for("labels changed")
    assert changed["changes"] == ["temporal.max: 4 -> 6 (shop.yaml:3)"]
    await until_async(lambda: len(compose_stage.running("worker")) == 6, "6 replicas")
    assert before < compose_stage.running("worker")
    assert shown(daemon.url)["temporal.max"] == {"value": "6", "origin": "shop.yaml:3"}

    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    assert crew.lost() == []


def shown(url: str) -> dict[str, dict[str, str]]:
    """Return the values of the only service, as the daemon at `url` shows them."""
    with urllib.request.urlopen(f"{url.rstrip('/')}/api/services", timeout=30) as answer:
        (service,) = json.loads(answer.read())["services"]
    values: dict[str, dict[str, str]] = service["values"]
    return values


async def test_a_project_without_any_label_is_scaled_by_a_file_and_given_back_without_it(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str, folder: Path
) -> None:
    await temporal.enqueue(queue, 30)
    stage.up({"worker": 1, "other": 1}, {})
    first = stage.running("worker")
    daemon = run_daemon(stage, AUTOSCALER_SERVICES=str(folder), AUTOSCALER_POLL_INTERVAL="10m")
    daemon.wait_for("tick")

    file = write(folder, {stage.name("worker"): wanted(queue)})
    daemon.wait_for("service found")
    await until_async(lambda: len(stage.running("worker")) == 3, "3 replicas")
    assert first < stage.running("worker")
    replicas = stage.running("worker")

    file.unlink()
    gone = daemon.wait_for("service gone")
    assert stage.name("worker") in gone["service"]
    daemon.terminate()
    assert stage.running("worker") == replicas
    assert len(stage.running("other")) == 1


async def test_a_wrong_file_is_named_once_and_what_it_said_before_counts(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str, folder: Path
) -> None:
    await temporal.enqueue(queue, 60)
    stage.up({"worker": 1}, {"worker": labels(queue, max="2")})
    write(folder, {stage.name("worker"): {"max": 3}})
    daemon = run_daemon(stage, AUTOSCALER_SERVICES=str(folder))
    await until_async(lambda: len(stage.running("worker")) == 3, "3 replicas")

    write(folder, {stage.name("worker"): {"max": "many", "targt": 1}})
    daemon.wait_for("warning")
    write(folder, {stage.name("worker"): {"max": 4}})
    await until_async(lambda: len(stage.running("worker")) == 4, "4 replicas")

    first, second = [line["warning"] for line in daemon.lines if line["event"] == "warning"]
    assert first.startswith("services file shop.yaml:3: max='many' must be a whole number from 1")
    assert second.startswith("services file shop.yaml:4: targt='1' is not a label, the nearest is")
    assert "Traceback" not in daemon.text


@pytest.mark.engine
async def test_plan_and_doctor_go_by_services_files(
    compose_stage: ComposeStage, temporal: TemporalServer, queue: str, folder: Path, tmp_path: Path
) -> None:
    await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {})
    write(folder, {compose_stage.name("worker"): wanted(queue)})
    settings = {
        "AUTOSCALER_PROJECTS": compose_stage.project,
        "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": temporal.endpoint,
        "AUTOSCALER_SERVICES": str(folder),
    }

    planned = json.loads(autoscaler(tmp_path, "plan", "--json", **settings).stdout)
    (service,) = planned["services"]
    assert (service["service"], service["desired"]) == (compose_stage.name("worker"), 3)
    assert service["values"]["temporal.queue"]["origin"].startswith("shop.yaml:")

    (folder / "shop.yaml").write_text("services: [")
    found = autoscaler(tmp_path, "doctor", **settings)
    assert found.returncode == 1
    assert "warning  wishes: services file shop.yaml:" in found.stdout
