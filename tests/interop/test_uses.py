"""A replica whose network, processes, memory or volumes another container uses stays with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from autoscaler.orchestrators.engine import Json
from tests.interop.conftest import Open
from tests.interop.engines import Engine
from tests.interop.projects import BUSY, names, ours, plain
from tests.real.stages import TINY_IMAGE

Beside = Callable[..., str]


@pytest.fixture
def beside(engine: Engine) -> Iterator[Beside]:
    """Return a function that runs a container with these options of `docker run`."""
    made: list[str] = []

    def run(*options: str) -> str:
        made.append(f"tda-{uuid.uuid4().hex[:8]}")
        engine.docker("run", "--detach", "--name", made[-1], *options, TINY_IMAGE, *BUSY)
        return made[-1]

    yield run
    for each in made:
        engine.docker("rm", "--force", each)


def shared() -> Json:
    """Return a Compose file whose workers let others use their memory."""
    content = plain()
    content["services"]["worker"]["ipc"] = "shareable"
    return content


@pytest.mark.parametrize("option", ["network", "pid", "ipc", "volumes-from"])
async def test_such_a_replica_goes_last_and_not_while_the_other_container_runs(
    project: Open, beside: Beside, option: str
) -> None:
    stage = project(shared())
    stage.up(worker=3)
    last = stage.container("worker-3")
    other = beside(f"--{option}={last if option == 'volumes-from' else f'container:{last}'}")

    async with ours(stage) as hands:
        await hands.scale("worker", to=1)
        assert set(stage.ids("worker")) == {"worker-3"}

        await hands.scale("worker", to=0)
        assert stage.states()["worker-3"] == "running"
        service = next(each for each in await hands.discover())
        assert service.in_use == (f"{last} by {other}",)

        stage.engine.docker("stop", other)
        await hands.scale("worker", to=0)
        assert stage.states()["worker-3"] == "exited"


@pytest.mark.parametrize(
    "use",
    [
        {"network_mode": "service:worker"},
        {"pid": "service:worker"},
        {"ipc": "service:worker"},
        {"volumes_from": ["worker:ro"]},
    ],
    ids=lambda use: next(iter(use)),
)
async def test_so_does_one_that_another_service_of_the_file_uses(
    project: Open, use: dict[str, object]
) -> None:
    content = shared()
    content["services"]["proxy"] = content["services"]["base"] | use
    stage = project(content)
    stage.up(worker=3)

    async with ours(stage) as hands:
        await hands.scale("worker", to=0)

    running = {name for name, state in stage.states().items() if state == "running"}
    assert running == {"base-1", "proxy-1"} | (running & names("worker", (1, 2, 3)))
    assert len(running) == 3
    # The other container still reaches what belongs to the replica.
    stage.run_in("proxy-1", "true")
