"""Faults of the daemon itself."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import labels
from tests.faults.conftest import Run, Watch, running, settle, watched
from tests.real.skewed import SKEW
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer

SLOW_END = ("sh", "-c", "trap 'sleep 3; exit' TERM; sleep 600 & wait")


async def test_sigterm_during_a_drain(compose_stage: ComposeStage, run: Run, queue: str) -> None:
    compose_stage.up(
        {"worker": 3}, {"worker": labels(queue)}, command=SLOW_END, stop_grace_period="30s"
    )
    first = run(compose_stage.project)
    first.wait_for("scaling in", desired=1)

    assert first.terminate() == 0
    await running(compose_stage, 1)

    second = run(compose_stage.project)
    second.wait_for("tick", failed=False)
    await settle(compose_stage, 1)
    assert not [line for line in first.lines + second.lines if line["event"] == "not JSON"]


async def test_two_daemons_at_once(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, queue: str
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemons = [run(compose_stage.project) for _ in range(2)]
    for daemon in daemons:
        daemon.wait_for("tick", failed=False)
    watches = [Watch(daemon) for daemon in daemons]

    tasks = await temporal.enqueue(queue, 50)
    await settle(compose_stage, 5)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)

    for daemon in daemons:
        for _ in range(3):
            daemon.wait_for("tick", after=len(daemon.lines))
    await settle(compose_stage, 1)
    for watch in watches:
        await watch.recovered()


@pytest.mark.parametrize("skew", ["3600", "-3600"], ids=["ahead", "back"])
async def test_the_clock_jumps_an_hour(  # noqa: PLR0913, PLR0917
    compose_stage: ComposeStage,
    temporal: TemporalServer,
    run: Run,
    tmp_path: Path,
    queue: str,
    skew: str,
) -> None:
    tasks = await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue, scale_in__window="5s")})
    daemon = run(compose_stage.project, module="tests.real.skewed")
    await settle(compose_stage, 3)
    watch = Watch(daemon)

    (tmp_path / SKEW).write_text(skew)
    seen = len(daemon.lines)
    for _ in range(3):
        daemon.wait_for("tick", after=len(daemon.lines), failed=False)
    assert len(compose_stage.running("worker")) == 3
    assert not [line for line in daemon.lines[seen:] if line["event"].startswith("scaling")]

    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()


async def test_time_in_which_the_daemon_was_suspended_does_not_pass(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, tmp_path: Path, queue: str
) -> None:
    tasks = await temporal.enqueue(queue, 30)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon = run(compose_stage.project, module="tests.real.skewed")
    await settle(compose_stage, 3)

    os.kill(daemon.pid, signal.SIGSTOP)
    await temporal.drain(queue, tasks)
    await temporal.emptied(queue)
    (tmp_path / SKEW).write_text("3600")
    seen = len(daemon.lines)
    os.kill(daemon.pid, signal.SIGCONT)

    # The window of 10 s is looked at, once a second; what follows an hour later would not be.
    daemon.wait_for("scaling in", after=seen, desired=1)
    events = [line["event"] for line in daemon.lines[seen:]]
    assert events[: events.index("scaling in")].count("tick") >= 7
    await settle(compose_stage, 1)


async def test_no_file_descriptors_are_left(
    compose_stage: ComposeStage, temporal: TemporalServer, run: Run, queue: str
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon, watch = watched(run, compose_stage)
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    seen = len(daemon.lines)

    # Open files stay open, but no more can be opened: too few for seven replicas at once.
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (4, before[1]))
    tasks = await temporal.enqueue(queue, 80)
    line = daemon.wait_for("cannot scale", after=seen)
    assert "Too many open files" in line["error"]
    assert compose_stage.running("worker")

    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
    await running(compose_stage, 8)
    await temporal.drain(queue, tasks)
    await settle(compose_stage, 1)
    await watch.recovered()
