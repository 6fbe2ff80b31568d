"""Daemons, services and servers for faults, and what must be true after each fault."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.interop.engines import NestedEngine
from tests.real.daemon import DaemonProcess
from tests.real.gate import EngineGate, Gate
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer
from tests.real.usage import Usage
from tests.real.waiting import until_async

ENGINE = "26.1"
MARKER = "faults: takes minutes; run by `make test-faults`"
POOLS = Usage(memory=24.0, threads=24, sockets=24)
"""How much a daemon's usage may grow when it first scales: it starts pools of threads, opens a
connection for each, and loads code."""

Run = Callable[..., DaemonProcess]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder: they are faults, and need an engine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.faults)


class OneByOne(LoadScopeScheduling):
    """Schedules tests one by one; tests that share an engine or a Swarm stay on one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return file if file.endswith(("test_engine.py", "test_swarm.py")) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneByOne:
    return OneByOne(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:  # noqa: ARG001
    """Skip the test, unless `make test-faults` runs it."""
    if os.environ.get("TEST_FAULTS") != "1":
        pytest.skip("the faults are run by `make test-faults`")


@pytest.fixture
def queue() -> str:
    return f"queue-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def own_temporal(tmp_path: Path) -> Iterator[TemporalServer]:
    """A running Temporal server that the test may stop."""
    server = TemporalServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def temporal_gate(temporal: TemporalServer) -> Iterator[Gate]:
    """A gate before the shared Temporal server."""
    with Gate.before(temporal.endpoint) as gate:
        yield gate


@pytest.fixture
def engine_gate(tmp_path: Path) -> Iterator[EngineGate]:
    """A gate before this machine's engine."""
    with EngineGate(tmp_path / "gate.sock", Path("/var/run/docker.sock")) as gate:
        yield gate


@pytest.fixture(scope="session")
def engine() -> Iterator[NestedEngine]:
    """A nested engine for faults, shared by the tests of a process."""
    nested = NestedEngine(ENGINE)
    yield nested
    nested.close()


@pytest.fixture
def nested_gate(engine: NestedEngine, tmp_path: Path) -> Iterator[EngineGate]:
    """A gate before the nested engine."""
    socket = Path(engine.environment["DOCKER_HOST"].removeprefix("unix://"))
    with EngineGate(tmp_path / "nested-gate.sock", socket) as gate:
        yield gate


@pytest.fixture
def nested_stage(engine: NestedEngine, tmp_path: Path) -> Iterator[ComposeStage]:
    """A Compose project on the nested engine."""
    stage = ComposeStage(tmp_path, engine.environment["DOCKER_HOST"])
    yield stage
    stage.close()


@pytest.fixture
def run(tmp_path: Path, temporal: TemporalServer) -> Iterator[Run]:
    """Return a function that starts a daemon for one project. The daemons end with the test.

    They use the shared Temporal server and tick every second, unless `settings` say otherwise. A
    `module` may run instead of the command line.
    """
    started: list[DaemonProcess] = []

    def start(project: str, module: str = "autoscaler", **settings: str) -> DaemonProcess:
        defaults = {
            "AUTOSCALER_PROJECTS": project,
            "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": temporal.endpoint,
            "AUTOSCALER_POLL_INTERVAL": "1s",
        }
        started.append(DaemonProcess(tmp_path, {**defaults, **settings}, module))
        return started[-1]

    yield start
    for daemon in started:
        daemon.__exit__()


class Watch:
    """Compares the usage of a daemon before a fault and after it."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._before = Usage.of(daemon.pid)

    async def recovered(self) -> None:
        """Check that the daemon is alive, wrote only log lines, and uses no more than before."""
        await until_async(self._as_before, f"no more than {self._before}")
        assert self._daemon.alive()
        assert not [line for line in self._daemon.lines if line["event"] == "not JSON"]

    def _as_before(self) -> bool:
        now = Usage.of(self._daemon.pid)
        return all(
            getattr(now, name) <= getattr(self._before, name) + getattr(POOLS, name)
            for name in ("memory", "threads", "sockets")
        )


def watched(run: Run, stage: ComposeStage, **settings: str) -> tuple[DaemonProcess, Watch]:
    """Start a daemon for a stage, and a watch after its first tick."""
    daemon = run(stage.project, **settings)
    daemon.wait_for("tick", failed=False)
    return daemon, Watch(daemon)


async def running(stage: ComposeStage, replicas: int) -> None:
    """Wait until this number of replicas run; other containers may exist."""
    await until_async(lambda: len(stage.running("worker")) == replicas, f"{replicas} replicas")


async def settle(stage: ComposeStage, replicas: int, service: str = "worker") -> None:
    """Wait until this number of replicas run and the project has no other container."""
    await until_async(
        lambda: len(stage.running(service)) == replicas == len(stage.states()),
        f"{replicas} replicas and nothing else",
    )
