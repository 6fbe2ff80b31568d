"""How long a change of replicas takes: python bench/scale.py [compose] [written] [swarm]

Compose, 1 to 20 replicas and back: the autoscaler's own code, from the decision until all replicas
have been started or removed, is compared with `docker compose up --detach --scale` and with bare
calls of the Engine API, as many at once as are fastest. Swarm, 1 to 20 replicas: it is compared
with `docker service scale --detach`, until all replicas run. Written: one more replica on Compose,
where the one that is copied has written many files, is compared with one that has written none,
because the files that Compose copied are looked for among them. In each round, each of them scales
the same service in turn.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker
from docker import APIClient
from measure import Row, run_parts

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine, api_version
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from autoscaler.ports import Orchestrator
from tests.real.changes import change_replicas
from tests.real.stages import ComposeStage, SwarmStage

FEW, MANY = 1, 20
AT_ONCE = 8
"""Bare calls at the same time: as many as the daemon makes."""
DRAINED_WITHIN = timedelta(minutes=2)
ENDS_AT_ONCE = ("sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait")
"""A command that ends at once on SIGTERM: a grace period would be measured otherwise."""
LABELS = {"worker": {"temporal.queue": "bench"}}
WRITTEN = (0, 5_000, 20_000)
"""Files that the replica that is copied has written."""
FIRST_NUMBER = 100
"""Number of the first bare replica: far from the numbers that Compose gives."""


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


async def scale(orchestrator: Orchestrator, service: str, current: int, desired: int) -> None:
    """Let the autoscaler make one change, and wait until it is complete."""
    id_ = ServiceId(orchestrator.name, service)
    await change_replicas(orchestrator, id_, current, desired)
    await orchestrator.close(DRAINED_WITHIN)


class Bare:
    """Makes and removes replicas with as few calls as possible."""

    def __init__(self, template: str) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._clients = threading.local()
        self._template = _client().inspect_container(template)
        self._api = api_version(_client())
        self._made: list[str] = []

    def out(self) -> None:
        """Create and start the replicas that are missing."""
        self._made = list(self._pool.map(self._create, range(MANY - FEW)))

    def back(self) -> None:
        """Stop and remove the replicas that `out` made."""
        list(self._pool.map(self._remove, self._made))

    def _create(self, offset: int) -> str:
        client = self._client()
        made = recipe.write_recipe(
            self._template, FIRST_NUMBER + offset, api=self._api, image_is_current=True
        )
        container: str = client.create_container_from_config(made.body, name=made.name)["Id"]
        client.start(container)
        return container

    def _remove(self, container: str) -> None:
        client = self._client()
        client.stop(container, timeout=10)
        client.remove_container(container, v=True)

    def _client(self) -> APIClient:
        if not hasattr(self._clients, "one"):
            self._clients.one = _client()
        one: APIClient = self._clients.one
        return one


def _client() -> APIClient:
    return docker.from_env(version="auto").api


@contextmanager
def a_service() -> Iterator[tuple[ComposeStage, Callable[[int, int], None]]]:
    """Run a Compose service with one replica, and yield its stage and a way to scale it.

    The way takes the present and the wanted number, and lets the autoscaler make the change.
    """
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        stage = ComposeStage(Path(folder))
        try:
            stage.up({"worker": FEW}, LABELS, command=ENDS_AT_ONCE, stop_grace_period="10s")
            engine = Engine()
            ours = ComposeOrchestrator(
                engine, clock=now, projects=Projects(engine, [stage.project])
            )
            service = stage.name("worker")
            yield (
                stage,
                lambda current, desired: runner.run(scale(ours, service, current, desired)),
            )
        finally:
            stage.close()


def compose(rounds: int) -> list[Row]:
    """Measure Compose from 1 to 20 replicas and back, by each of the three ways."""
    outs: dict[str, list[float]] = {"ours": [], "compose": [], "bare": []}
    backs: dict[str, list[float]] = {"ours": [], "compose": [], "bare": []}
    with a_service() as (stage, scaled):
        (template,) = stage.running("worker")
        bare = Bare(template)
        for _ in range(rounds):
            for name, out, back in (
                ("ours", lambda: scaled(FEW, MANY), lambda: scaled(MANY, FEW)),
                ("compose", lambda: _compose(stage, MANY), lambda: _compose(stage, FEW)),
                ("bare", bare.out, bare.back),
            ):
                outs[name].append(timed(out, lambda: len(stage.running("worker")), MANY))
                backs[name].append(timed(back, lambda: len(stage.states()), FEW))
    return [*_rows("Compose 1 to 20", outs, 0.6, 1.1), *_rows("Compose 20 to 1", backs, 0.6, 1.1)]


def _compose(stage: ComposeStage, number: int) -> None:
    stage.compose("up", "--detach", "--no-recreate", f"--scale=worker={number}")


def _rows(
    what: str, taken: dict[str, list[float]], of_compose: float, of_bare: float
) -> Iterator[Row]:
    yield Row(f"{what}, ours", taken["ours"])
    yield Row.ratio(
        f"{what}: `docker compose up --scale`", taken["ours"], taken["compose"], of_compose
    )
    yield Row.ratio(f"{what}: bare calls", taken["ours"], taken["bare"], of_bare)
    # This shows how much of the time is the engine's own work.
    yield Row.ratio(
        f"{what}, bare calls: `docker compose up --scale`", taken["bare"], taken["compose"]
    )


def written(rounds: int) -> list[Row]:
    """Measure Compose from 1 to 2 replicas, with and without files that the first has written."""
    taken: dict[int, list[float]] = {number: [] for number in WRITTEN}
    with a_service() as (stage, scaled):
        (template,) = stage.running("worker")
        for number in WRITTEN:
            _write_files(template, number)
            for _ in range(rounds):
                taken[number].append(
                    timed(lambda: scaled(1, 2), lambda: len(stage.running("worker")), 2)
                )
                scaled(2, 1)
    what = "Compose 1 to 2"
    none, *many = WRITTEN
    return [
        Row(f"{what}, no file written", taken[none]),
        *(
            Row.ratio(f"{what}: {number:,} files written", taken[number], taken[none])
            for number in many
        ),
    ]


def _write_files(container: str, number: int) -> None:
    """Let a container write files after its start, up to this number in all."""
    write = f"mkdir -p /cache/of; for each in $(seq {number}); do echo x > /cache/of/$each; done"
    command = ["docker", "exec", container, "sh", "-c", write]
    subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603 - ours


def timed(work: Callable[[], object], count: Callable[[], int], wanted: int) -> float:
    """Return how many seconds `work` took. Raises SystemExit when it was not complete by then."""
    began = time.perf_counter()
    work()
    taken = time.perf_counter() - began
    found = count()
    if found != wanted:
        raise SystemExit(f"{found} containers instead of {wanted}")
    return taken


def swarm(rounds: int) -> list[Row]:
    """Measure Swarm from 1 to 20 replicas, until all tasks run."""
    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    with in_a_swarm(), tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        stage = SwarmStage(Path(folder))
        try:
            stage.up({"worker": FEW}, LABELS, command=ENDS_AT_ONCE)
            orchestrator = SwarmOrchestrator(Engine(), clock=now)
            service = stage.name("worker")
            ways: dict[str, Callable[[], None]] = {
                "ours": lambda: runner.run(scale(orchestrator, service, FEW, MANY)),
                "theirs": lambda: _service_scale(service, MANY),
            }
            for _ in range(rounds):
                for name, out in ways.items():
                    began = time.perf_counter()
                    out()
                    _until_running(service, MANY)
                    taken[name].append(time.perf_counter() - began)
                    _service_scale(service, FEW)
                    _until_running(service, FEW)
        finally:
            stage.close()
    what = "Swarm 1 to 20 until all run"
    return [
        Row(f"{what}, ours", taken["ours"]),
        Row.ratio(f"{what}: `docker service scale --detach`", taken["ours"], taken["theirs"], 1.05),
    ]


def _service_scale(service: str, number: int) -> None:
    command = ["docker", "service", "scale", "--detach", f"{service}={number}"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603 - ours


def _until_running(service: str, number: int) -> None:
    """Wait until a service has this number of containers; no event of the engine says so."""
    client = _client()
    filters = {"label": f"com.docker.swarm.service.name={service}", "status": "running"}
    while len(client.containers(filters=filters)) != number:
        time.sleep(0.02)


@contextmanager
def in_a_swarm() -> Iterator[None]:
    """Make the engine a Swarm manager meanwhile, unless it already is one."""
    client = _client()
    inactive = client.info()["Swarm"]["LocalNodeState"] == "inactive"
    if inactive:
        client.init_swarm(advertise_addr="127.0.0.1")
    try:
        yield
    finally:
        if inactive:
            client.leave_swarm(force=True)


PARTS = {"compose": (compose, 5), "written": (written, 5), "swarm": (swarm, 5)}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
