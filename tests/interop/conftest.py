"""The matrix: each test runs in every cell, that is with each engine and version of Compose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from autoscaler.orchestrators.engine import Json
from tests.interop.differences import difference
from tests.interop.engines import Engine, Engines, plugin
from tests.interop.kinds import OTHERS
from tests.interop.projects import Compose, Project
from tests.interop.switch import MARKER, skip_unless_wanted

CACHE = Path(__file__).parents[2] / ".cache"
ENGINES = ("host", "26.1", "28.5", *OTHERS)
COMPOSES = {
    "2.26": CACHE / "compose-2.26/docker-compose",
    "2.40": CACHE / "compose/docker-compose",
}

Open = Callable[..., Project]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the matrix."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.matrix)
            engine = re.search("engine-([a-z]+)", item.name)
            found = difference(engine[1], item.name) if engine else None
            if found is not None:
                item.add_marker(
                    pytest.mark.xfail(reason=found.because, run=not found.hangs, strict=True)
                )


class CellScheduling(LoadScopeScheduling):
    """Keeps the tests of a cell on one worker; tests outside the cells stay together by file.

    The cells are found in the ids of the tests, since xdist's own groups are lost under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        cell = sorted(re.findall(r"(?:engine|compose)-[^-\]]+", nodeid))
        return " ".join(cell) or nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> CellScheduling:
    return CellScheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:  # noqa: ARG001
    skip_unless_wanted()


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """The engines, shared by the tests of a process."""
    engines = Engines()
    yield engines
    engines.close()


@pytest.fixture(scope="session", params=ENGINES, ids=[f"engine-{each}" for each in ENGINES])
def engine(request: pytest.FixtureRequest, engines: Engines) -> Engine:
    """Each engine in turn."""
    return engines.get(request.param)


@pytest.fixture(scope="session", params=COMPOSES, ids=[f"compose-{each}" for each in COMPOSES])
def compose(
    request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Compose:
    """Each version of Compose in turn."""
    variables = plugin(COMPOSES[request.param], tmp_path_factory.mktemp("docker-config"))
    return Compose(engine, variables)


@pytest.fixture
def project(compose: Compose) -> Iterator[Open]:
    """Return a function that makes a project. It is removed after the test."""
    made: list[Project] = []

    def make(content: Json, **variables: str) -> Project:
        made.append(Project(compose, content, variables))
        return made[-1]

    yield make
    for each in made:
        each.close()
