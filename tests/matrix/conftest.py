"""Three nodes in Docker in Docker, one of them the manager, on one bridge network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.switch import MARKER, skip_unless_wanted
from tests.matrix.cluster import Cluster, Stack, three_nodes

ENGINE = "26.1"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the matrix."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.matrix)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:  # noqa: ARG001
    skip_unless_wanted()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The nodes, shared by the tests of a process."""
    with three_nodes(ENGINE) as cluster:
        yield cluster


@pytest.fixture
def stack(cluster: Cluster, tmp_path: Path) -> Iterator[Stack]:
    """A stack on nodes that can all run tasks. It is removed after the test."""
    cluster.await_ready()
    stack = Stack(cluster, tmp_path)
    yield stack
    stack.close()
    cluster.heal()
