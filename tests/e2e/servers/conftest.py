"""Each Temporal server of the matrix, in a container; workers and daemons use it as everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from autoscaler.sources.temporal.examination import SWITCHES
from tests.real.crew import ServerInDocker

PROGRAMS = Path(__file__).parents[3] / ".cache/temporal"
MARKER = "servers: takes minutes; run by `make test-temporal`"
TAKES, LISTS = SWITCHES


@dataclass(frozen=True, slots=True)
class Kind:
    """A version of Temporal Server, and what its dynamic configuration says."""

    version: str
    dynamic: Mapping[str, object] = field(default_factory=dict)


SILENT = {
    "1.29.1": Kind("1.29.1"),
    "1.29.1 takes": Kind("1.29.1", {TAKES: True}),
    "1.29.1 lists": Kind("1.29.1", {LISTS: True}),
}
"""Servers that say nothing of what workers run."""
TELLING = {
    "1.29.1 both": Kind("1.29.1", {TAKES: True, LISTS: True}),
    "1.30.2": Kind("1.30.2"),
    "1.31.2": Kind("1.31.2"),
    "1.32.0": Kind("1.32.0"),
}
"""Servers that list the heartbeats of workers."""
KINDS = {**SILENT, **TELLING}


def on(*names: str) -> pytest.MarkDecorator:
    """Run a test on each of these servers."""
    return pytest.mark.parametrize("server_in_docker", names, indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.servers)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:  # noqa: ARG001
    """Skip the test, unless `make test-temporal` runs it."""
    if os.environ.get("TEST_SERVERS") != "1":
        pytest.skip("the matrix of Temporal servers is run by `make test-temporal`")


class ServerScheduling(LoadScopeScheduling):
    """Keeps the tests of a server on one worker, so that each server is started once."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.rpartition("[")[2]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ServerScheduling:
    return ServerScheduling(config, log)


@pytest.fixture(scope="session")
def server_in_docker(request: pytest.FixtureRequest) -> Iterator[ServerInDocker]:
    """The server that the test names, shared by its tests."""
    kind = KINDS[request.param]
    server = ServerInDocker(program=PROGRAMS / kind.version / "temporal", dynamic=kind.dynamic)
    try:
        server.start()
        yield server
    finally:
        server.stop()
