"""Compose's commands treat our replicas like those that Compose has made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.interop.conftest import Open
from tests.interop.projects import Project, names, ours, plain, scale


@dataclass(frozen=True, slots=True)
class Twins:
    """Two projects with three workers each: one scaled by us, one by Compose."""

    by_us: Project
    by_compose: Project

    def compose(self, *arguments: str) -> None:
        """Run the same command on both."""
        for project in (self.by_us, self.by_compose):
            project.compose(*arguments)

    def alike(self) -> dict[str, str]:
        """Return the containers and their states; fail where the projects differ."""
        states = self.by_us.states()
        assert states == self.by_compose.states()
        return states


@pytest.fixture
def twins(project: Open) -> Twins:
    by_us, by_compose = project(plain()), project(plain())
    by_us.up()
    asyncio.run(scale(by_us, "worker", to=3))
    by_compose.up(worker=3)
    twins = Twins(by_us, by_compose)
    twins.alike()  # A project removes only the volumes of containers that were inspected.
    return twins


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(
            [
                ("restart", 3),
                ("stop", 0),
                ("start", 3),
                ("pause", 0),
                ("unpause", 3),
                ("kill", 0),
                ("up -d --scale=worker=3", 3),
            ],
            id="stop-and-start",
        ),
        pytest.param([("up -d base", 3), ("up -d", 1), ("scale worker=2", 2)], id="up"),
        pytest.param([("up -d worker", 1), ("restart worker", 1)], id="up-of-the-service"),
        pytest.param(
            [
                ("up -d --scale=worker=5", 5),
                ("up -d --scale=worker=2", 2),
                ("up -d --scale=worker=0", 0),
            ],
            id="up-to-other-numbers",
        ),
        pytest.param(
            [
                ("up -d --force-recreate --scale=worker=3", 3),
                ("rm -sf worker", 0),
                ("up -d worker", 1),
            ],
            id="recreate",
        ),
        pytest.param([("scale worker=2", 2), ("rm -sf", 0)], id="scale-and-rm"),
        pytest.param([("down", 0), ("up -d --scale=worker=2", 2)], id="down-and-up"),
    ],
)
def test_commands_have_the_same_outcome(twins: Twins, session: Sequence[tuple[str, int]]) -> None:
    assert set(twins.alike()) == {"base-1", *WORKERS}
    for command, running in session:
        twins.compose(*command.split())

        states = twins.alike()

        workers = [state for name, state in states.items() if name.startswith("worker")]
        assert workers.count("running") == running, command


def test_restart_restarts_our_replicas(twins: Twins) -> None:
    before = twins.by_us.starts("worker")
    twins.by_us.compose("restart", "worker")
    after = twins.by_us.starts("worker")
    assert all(after[name] > before[name] for name in WORKERS)


def test_ps_and_logs_show_our_replicas(twins: Twins) -> None:
    assert twins.by_us.listed() == twins.by_compose.listed() == {"base-1", *WORKERS}
    assert twins.by_us.logged() == twins.by_compose.logged() == {"base-1", *WORKERS}


def test_down_with_only_the_projects_name_removes_our_replicas(twins: Twins) -> None:
    (twins.by_us.folder / "compose.yaml").unlink()
    try:
        twins.by_us.compose("down")
        assert twins.by_us.states() == {}
    finally:
        twins.by_us.write(plain())


def test_up_with_the_present_number_leaves_our_replicas_running(twins: Twins) -> None:
    before = twins.by_us.ids("worker"), twins.by_us.starts("worker")
    twins.compose("up", "-d", "--scale=worker=3")
    assert (twins.by_us.ids("worker"), twins.by_us.starts("worker")) == before
    assert set(twins.alike()) == {"base-1", *WORKERS}


def test_a_changed_file_recreates_our_replicas_with_the_others(twins: Twins) -> None:
    before = set(twins.by_us.ids("worker").values())
    for each in (twins.by_us, twins.by_compose):
        each.write(plain(version="2"))

    twins.compose("up", "-d", "--scale=worker=3")

    assert set(twins.alike()) == {"base-1", *WORKERS}
    assert not before & set(twins.by_us.ids("worker").values())
    assert versions(twins.by_us) == dict.fromkeys(WORKERS, "2")


def test_a_recreated_replica_keeps_the_data_of_its_anonymous_volume(twins: Twins) -> None:
    for each in (twins.by_us, twins.by_compose):
        each.run_in("worker-3", "touch", "/data/kept")
        each.write(plain(version="2"))

    twins.compose("up", "-d", "--scale=worker=3")

    for each in (twins.by_us, twins.by_compose):
        found = {name: each.run_in(name, "ls", "/data").strip() for name in WORKERS}
        assert found == {"worker-1": "", "worker-2": "", "worker-3": "kept"}


async def test_after_a_recreate_our_replicas_have_the_newest_configuration(
    project: Open,
) -> None:
    stage = project(plain())
    stage.up(worker=2)
    stage.run_in("worker-2", "touch", "/data/of-the-second")
    stage.write(plain(version="2"))
    stage.up(worker=2)

    await scale(stage, "worker", to=4)

    assert versions(stage) == dict.fromkeys(names("worker", range(1, 5)), "2")
    # In the replica that was copied, Compose has mounted the old volume by its name.
    assert stage.run_in("worker-2", "ls", "/data").strip() == "of-the-second"
    assert stage.run_in("worker-3", "ls", "/data") == ""
    assert stage.run_in("worker-4", "ls", "/data") == ""


async def test_outdated_replicas_are_stopped_first(project: Open) -> None:
    stage = project(plain())
    stage.up(worker=3)
    stage.write(plain(version="2"))
    stage.compose("up", "-d", "--no-recreate", "--scale=worker=4")
    assert sorted(versions(stage).values()) == ["1", "1", "1", "2"]

    async with ours(stage) as hands:
        await hands.scale("worker", to=2)
        assert versions(stage) == {"worker-1": "1", "worker-4": "2"}
        await hands.scale("worker", to=1)
        assert versions(stage) == {"worker-4": "2"}
        await hands.scale("worker", to=3)
        assert set(versions(stage).values()) == {"2"}


async def test_scale_in_removes_the_anonymous_volumes_of_the_stopped_replicas(
    project: Open,
) -> None:
    stage = project(plain())
    stage.up()
    async with ours(stage) as hands:
        await hands.scale("worker", to=3)
        gone = stage.volumes()
        await hands.scale("worker", to=1)
    gone -= stage.volumes()
    assert len(gone) == 2
    existing = set(stage.engine.docker("volume", "ls", "--quiet").split())
    assert not gone & existing


WORKERS = names("worker", (1, 2, 3))


def versions(project: Project) -> dict[str, str]:
    """Return the VERSION that each worker was made with."""
    return {
        name: dict(variable.split("=", 1) for variable in each["Config"]["Env"])["VERSION"]
        for name, each in project.inspects("worker").items()
    }
