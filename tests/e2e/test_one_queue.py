"""Several services poll one task queue: together they get what one alone would get."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import RunDaemon, labels
from tests.real.daemon import DaemonProcess, autoscaler
from tests.real.stages import ComposeStage, Stage, SwarmStage
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async

QUICK: Mapping[str, str] = {"scale_in__window": "0s"}
TICKS = 5
"""So many ticks show that nothing moves any more."""


def counted(*places: tuple[Stage, str]) -> list[int]:
    """Return how many replicas run of each of these services."""
    return [len(stage.running(service)) for stage, service in places]


async def settles(daemon: DaemonProcess, numbers: list[int], *places: tuple[Stage, str]) -> None:
    """Wait until so many replicas run of each of these services, and see that they stay."""
    await until_async(lambda: counted(*places) == numbers, f"{numbers} replicas")
    seen = len(daemon.lines)
    for _ in range(TICKS):
        line = daemon.wait_for("tick", after=seen)
        seen = daemon.lines.index(line, seen) + 1
    assert counted(*places) == numbers


def said(daemon: DaemonProcess, service: str) -> str:
    """Return why a service was scaled out, with `#` for numbers of tasks: they are approximate."""
    (reason,) = daemon.wait_for("scaling out", service=service)["reasons"]
    tasks, shared, rest = reason.replace(" (counted now)", "").partition(", shared")
    return "".join([re.sub("[0-9]+", "#", tasks), shared, rest])


def backlogs(daemon: DaemonProcess) -> dict[str, tuple[int, int]]:
    """Return the portion of each service that the API shows, and the backlog it is part of."""
    with urlopen(f"{daemon.url.rstrip('/')}/api/services", timeout=30) as answer:
        services = json.load(answer)["services"]
    return {each["service"]: (each["backlog"], each["whole_backlog"]) for each in services}


def measured(daemon: DaemonProcess) -> float:
    """Return the sum of the waiting tasks of all services by the metrics."""
    with urlopen(f"{daemon.url.rstrip('/')}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "autoscaler_backlog_tasks"
    )


async def test_34_tasks_become_four_replicas_of_two_services(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 34)
    stage.up({"a": 1, "b": 1}, {each: labels(queue, **QUICK) for each in "ab"})

    daemon = run_daemon(stage)

    first, second = stage.name("a"), stage.name("b")
    shared = "# waiting tasks of #, shared with"
    assert said(daemon, first) == f"{shared} {second}, at target 10 → 2"
    assert said(daemon, second) == f"{shared} {first}, at target 10 → 2"
    await settles(daemon, [2, 2], (stage, "a"), (stage, "b"))
    shown = backlogs(daemon)
    (whole,) = {whole for _, whole in shown.values()}
    assert 31 <= whole <= 40
    assert sum(portion for portion, _ in shown.values()) == whole
    assert measured(daemon) == pytest.approx(whole, abs=3)


async def test_three_services_get_two_and_one_and_one(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 34)
    places = [(compose_stage, each) for each in "abc"]
    compose_stage.up(dict.fromkeys("abc", 1), {each: labels(queue, **QUICK) for each in "abc"})

    await settles(run_daemon(compose_stage), [2, 1, 1], *places)


@pytest.mark.parametrize("mode", ["off", "pause-out", "dry-run"])
async def test_a_service_that_is_held_at_zero_leaves_all_to_the_other(
    mode: str,
    compose_stage: ComposeStage,
    temporal: TemporalServer,
    run_daemon: RunDaemon,
    queue: str,
) -> None:
    await temporal.enqueue(queue, 34)
    compose_stage.up(
        {"a": 0, "b": 1},
        {"a": labels(queue, min="0", mode=mode, **QUICK), "b": labels(queue, **QUICK)},
    )

    await settles(run_daemon(compose_stage), [0, 4], (compose_stage, "a"), (compose_stage, "b"))


async def test_a_service_that_is_paused_leaves_all_to_the_other_and_takes_its_part_again(
    stage: Stage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str, tmp_path: Path
) -> None:
    await temporal.enqueue(queue, 34)
    stage.up({"a": 1, "b": 1}, {each: labels(queue, **QUICK) for each in "ab"})
    daemon = run_daemon(stage)
    places = (stage, "a"), (stage, "b")
    await settles(daemon, [2, 2], *places)
    state = {"AUTOSCALER_STATE": str(tmp_path / "state")}

    paused = autoscaler(tmp_path, "pause", stage.name("a"), **state)
    assert paused.returncode == 0, paused.stderr
    await settles(daemon, [2, 4], *places)

    resumed = autoscaler(tmp_path, "resume", stage.name("a"), **state)
    assert resumed.returncode == 0, resumed.stderr
    await settles(daemon, [2, 2], *places)


@pytest.mark.swarm
async def test_one_service_of_compose_and_one_of_swarm_get_four_replicas_together(
    compose_stage: ComposeStage,
    swarm_stage: SwarmStage,
    temporal: TemporalServer,
    run_daemon: RunDaemon,
    queue: str,
) -> None:
    await temporal.enqueue(queue, 34)
    compose_stage.up({"a": 1}, {"a": labels(queue, **QUICK)})
    swarm_stage.up({"b": 1}, {"b": labels(queue, **QUICK)})

    daemon = run_daemon(
        compose_stage, AUTOSCALER_PROJECTS=f"{compose_stage.project},{swarm_stage.project}"
    )

    await settles(daemon, [2, 2], (compose_stage, "a"), (swarm_stage, "b"))
