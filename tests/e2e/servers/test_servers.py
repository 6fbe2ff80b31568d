"""What holds on every version of Temporal Server, and what holds where it lists heartbeats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.e2e.servers.conftest import KINDS, LISTS, SILENT, TAKES, TELLING, on
from tests.real.crew import Crew, ServerInDocker
from tests.real.daemon import DaemonProcess, autoscaler
from tests.real.stages import ComposeStage
from tests.real.waiting import until_async

PAGE = Path(__file__).parents[3] / "docs/temporal-servers.md"
NOTHING_PROTECTS = (
    "busy replicas cannot be told from idle ones, and the stop grace alone protects them; Temporal"
    f" Server 1.30 or later has them, and 1.29 with {TAKES} and {LISTS} set to true"
    " (docs/temporal-servers.md)"
)
TAKES_NONE = f"takes no worker heartbeats: {NOTHING_PROTECTS}"
LISTS_NONE = f"takes worker heartbeats and does not list them: {NOTHING_PROTECTS}"
WORDS = {"1.29.1": TAKES_NONE, "1.29.1 takes": LISTS_NONE, "1.29.1 lists": TAKES_NONE}
"""What `doctor` warns of, by server."""
Daemon = Callable[[], DaemonProcess]


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Return which server the test runs on."""
    return str(request.node.callspec.params["server_in_docker"])


@pytest.fixture
def endpoint(server_in_docker: ServerInDocker) -> dict[str, str]:
    return {"AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": server_in_docker.endpoint}


@pytest.fixture
def daemon(compose_stage: ComposeStage, endpoint: dict[str, str], run_daemon: RunDaemon) -> Daemon:
    """Return a function that starts a daemon with the server of the test."""
    return lambda: run_daemon(compose_stage, **endpoint)


def hosts(stage: ComposeStage) -> set[str]:
    """Return the host names of the running replicas."""
    return {container[:12] for container in stage.running("worker")}


def warnings(watching: DaemonProcess) -> list[str]:
    """Return what a daemon has warned of: that nothing tells it what workers run."""
    told = [line["warning"] for line in watching.lines if line["event"] == "warning"]
    return [each for each in told if each.startswith("no worker reports")]


@on(*KINDS)
async def test_a_service_grows_with_its_backlog_and_shrinks_without_losing_a_task(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str
) -> None:
    asked = labels(queue, target="1", max="3", busy="protect", scale_in__window="0s")
    compose_stage.up({"worker": 1}, {"worker": asked}, **crew.service())
    watching = daemon()
    tasks = [await crew.start() for _ in range(6)]
    watching.wait_for("scaling out", desired=3)
    await until_async(lambda: len(crew.hosts_at_work()) == 3, "3 replicas at work")

    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    watching.wait_for("scaling in", desired=1)
    await until_async(lambda: len(hosts(compose_stage)) == 1, "1 replica")
    assert crew.lost() == []
    assert not [line for line in watching.lines if line["event"] == "cannot scale"]


@on(*TELLING)
async def test_busy_replicas_stay_where_the_server_lists_heartbeats(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str
) -> None:
    asked = labels(queue, busy="protect", scale_in__window="0s")
    # Heartbeats alone protect: the grace is far shorter than the tasks.
    compose_stage.up({"worker": 4}, {"worker": asked}, **crew.service(grace="2s"))
    await until_async(lambda: crew.ready() == 4, "4 workers")
    tasks = await crew.begin(2)
    at_work = crew.hosts_at_work()
    await crew.reported()

    watching = daemon()
    shrunk = watching.wait_for("scaling in", desired=2)
    assert shrunk["reasons"][-1] == "2 replicas may not be stopped (2 at work) → 2"
    await until_async(lambda: hosts(compose_stage) == at_work, "only the busy replicas")
    watching.wait_for("tick", after=len(watching.lines))
    assert hosts(compose_stage) == at_work

    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    await until_async(lambda: len(hosts(compose_stage)) == 1, "1 replica")
    assert crew.lost() == []
    name = compose_stage.name("worker")
    assert watching.metric("autoscaler_interrupted_replicas_total", name) == 0


@on(*SILENT)
async def test_the_grace_protects_where_it_lists_none_and_a_warning_says_so(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str
) -> None:
    asked = labels(queue, busy="protect", scale_in__window="0s")
    compose_stage.up({"worker": 2}, {"worker": asked}, **crew.service())
    await until_async(lambda: crew.ready() == 2, "2 workers")
    tasks = await crew.begin(2)

    watching = daemon()
    watching.wait_for("scaling in", desired=1)
    crew.release()
    await asyncio.gather(*(task.result() for task in tasks))
    await until_async(lambda: len(hosts(compose_stage)) == 1, "1 replica")
    assert crew.lost() == []
    (warning,) = warnings(watching)
    assert "Temporal Server 1.30, or 1.29 with two settings (docs/temporal-servers.md)" in warning


@on(*SILENT)
async def test_strict_stops_nobody_where_it_lists_none(
    compose_stage: ComposeStage, crew: Crew, daemon: Daemon, queue: str
) -> None:
    asked = labels(queue, busy="strict", scale_in__window="0s")
    compose_stage.up({"worker": 2}, {"worker": asked}, **crew.service())
    await until_async(lambda: crew.ready() == 2, "2 workers")
    watching = daemon()
    held = watching.wait_for("held", desired=2)
    assert held["reasons"][-1] == "no replica is known to be idle → keeps 2"
    # It comes a minute later. Until then, `protect` would have stopped none either.
    await until_async(lambda: warnings(watching), "a warning")
    watching.wait_for("tick", after=len(watching.lines))
    assert len(hosts(compose_stage)) == 2


@on(*KINDS)
def test_the_doctor_says_what_the_server_has(
    tmp_path: Path, endpoint: dict[str, str], kind: str
) -> None:
    done = autoscaler(
        tmp_path, "doctor", "--json", AUTOSCALER_STATE=str(tmp_path / "state"), **endpoint
    )
    assert done.stdout, done.stderr
    rows = [row for row in json.loads(done.stdout) if row["subject"] == "integration default"]
    there = "namespace default is there"
    (said,) = [(row["outcome"], row["text"]) for row in rows if row["text"].startswith(there)]
    words = WORDS.get(kind)
    if words is None:
        assert said == ("ok", f"{there} and takes worker heartbeats")
    else:
        version = KINDS[kind].version
        assert said == (
            "warning",
            f"{there}, but its server, Temporal Server {version}, {words}",
        )
    (called,) = [row["text"] for row in rows if row["text"].startswith("may call")]
    methods = ["DescribeNamespace", "DescribeTaskQueue", "DescribeWorkerDeploymentVersion"]
    if kind not in {"1.29.1", "1.29.1 takes"}:
        methods[2:2] = ["ListWorkers", "DescribeWorker"]
    assert called == f"may call {', '.join(methods)}"
    assert not [row for row in rows if row["outcome"] == "wrong"]
    # The page repeats the doctor's words.
    assert said[1] in " ".join(PAGE.read_text("utf-8").split())


@on("1.29.1", *TELLING)
async def test_a_build_follows_its_own_backlog(
    compose_stage: ComposeStage,
    crew: Crew,
    server_in_docker: ServerInDocker,
    daemon: Daemon,
    queue: str,
) -> None:
    asked = labels(
        queue, deployment=queue, build_id="1", min="0", cooldown="2s", scale_in__window="0s"
    )
    options = crew.service(DEPLOYMENT=queue, BUILD_ID="1")
    compose_stage.up({"worker": 1}, {"worker": asked}, **options)
    await until_async(lambda: crew.ready() == 1, "a worker")
    await server_in_docker.make_current(queue, "1")

    watching = daemon()
    watching.wait_for("scaling in", desired=0)
    await until_async(lambda: not hosts(compose_stage), "no replica")
    late = await crew.start("Pinned")
    await late.signal("end")
    await late.result()
    line = watching.wait_for("scaling out", desired=1)
    assert line["backlog"] == 1
