"""Fixtures of real parts. Tests are skipped where the part that they need cannot run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.browser import BROWSER_TOOLS, Browser
from tests.real.crew import TYPESCRIPT_TOOLS
from tests.real.front import FrontProcess
from tests.real.prometheus import PROMETHEUS_TOOLS
from tests.real.stages import ComposeStage, Stage, SwarmStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import until

PARTS = {
    "browser": BROWSER_TOOLS,
    "prometheus": PROMETHEUS_TOOLS,
    "typescript": TYPESCRIPT_TOOLS,
}
"""The programs that tests with a marker need; `scripts/setup.py` has a verb of the same name."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests whose engine or programs are missing. With CI=true, skip nothing."""
    for item in items:
        if "swarm" in item.keywords:
            item.add_marker(pytest.mark.engine)
        if "engine" in item.keywords and os.environ.get("TEST_ENGINE") == "none":
            item.add_marker(pytest.mark.skip(reason="no Docker Engine can run here"))
        if "browser" in item.keywords:
            item.add_marker(pytest.mark.xdist_group("browser"))
        for name, tools in PARTS.items():
            missing = not all(map(shutil.which, tools)) and os.environ.get("CI") != "true"
            if name in item.keywords and missing:
                reason = f"scripts/setup.py {name} failed here"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """A Temporal server that all tests of a worker share."""
    server = TemporalServer(tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_temporal(tmp_path: Path) -> Iterator[TemporalServer]:
    """A Temporal server for one test, which starts it and may stop it."""
    server = TemporalServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def front_process() -> Iterator[FrontProcess]:
    """The process that runs the fronts of the Temporal server."""
    with FrontProcess() as process:
        yield process


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser that all tests of a worker share."""
    window = Browser()
    yield window
    window.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The shared browser with an empty page, light colours and the size of a laptop."""
    chromium.open("about:blank")
    chromium.dark(on=False)
    chromium.resize(1280, 900)
    chromium.errors()
    return chromium


@pytest.fixture(scope="session")
def swarm() -> None:
    """An engine that is a Swarm manager."""
    if _swarm_state() == "inactive":
        # It may fail: another worker of pytest may be doing the same.
        subprocess.run(
            ["docker", "swarm", "init", "--advertise-addr=127.0.0.1"],
            capture_output=True,
            check=False,
            timeout=60,
        )
    until(lambda: _swarm_state() == "active", "a Swarm")


def _swarm_state() -> str:
    return docker("info", "--format={{.Swarm.LocalNodeState}}").strip()


_IN_A_SWARM_BEFORE = pytest.StashKey[bool]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember whether the engine was in a Swarm before the tests."""
    if hasattr(session.config, "workerinput") or shutil.which("docker") is None:
        return
    found = subprocess.run(
        ["docker", "info", "--format={{.Swarm.LocalNodeState}}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    session.config.stash[_IN_A_SWARM_BEFORE] = found.stdout.strip() != "inactive"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the Swarm that the tests made, once all workers of pytest are done.

    Leaving earlier breaks other tests: `docker swarm leave` removes the names of all running
    containers from the engine's DNS (seen on Engine 20.10.24).
    """
    if session.config.stash.get(_IN_A_SWARM_BEFORE, True):
        return
    if _swarm_state() != "inactive":
        docker("swarm", "leave", "--force")


@pytest.fixture
def compose_stage(tmp_path: Path) -> Iterator[ComposeStage]:
    """A Compose project that is removed after the test."""
    stage = ComposeStage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def swarm_stage(tmp_path: Path, swarm: None) -> Iterator[SwarmStage]:  # noqa: ARG001
    """A stack that is removed after the test."""
    stage = SwarmStage(tmp_path)
    yield stage
    stage.close()


@pytest.fixture(
    params=[
        pytest.param("compose_stage", id="compose", marks=pytest.mark.engine),
        pytest.param("swarm_stage", id="swarm", marks=pytest.mark.swarm),
    ]
)
def stage(request: pytest.FixtureRequest) -> Stage:
    """A Compose project or a stack: each test that asks for it runs on both."""
    chosen: Stage = request.getfixturevalue(request.param)
    return chosen
