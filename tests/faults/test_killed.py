"""A daemon is killed after each call that changes something; the next daemon repairs the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import labels
from tests.faults.conftest import Run, running, settle
from tests.real.gate import EngineGate
from tests.real.skewed import SKEW
from tests.real.stages import ComposeStage, docker
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async

OPTIONS = {
    "secrets": ["token"],
    "networks": ["front", "back"],
    "top": {
        "secrets": {"token": {"environment": "HOME"}},
        "networks": {"front": {}, "back": {}},
    },
}
"""With API 1.41 such a replica takes four calls: create, connect, copy the secret, start."""
OUT = 8
"""Calls for two such replicas."""
AN_HOUR = "3600"


def complete(stage: ComposeStage) -> bool:
    """Return whether every running replica has its secret and both networks."""
    form = "--format={{len .NetworkSettings.Networks}}"
    return all(
        docker("exec", each, "cat", "/run/secrets/token")
        and docker("inspect", form, each).strip() == "2"
        for each in stage.running("worker")
    )


@pytest.mark.parametrize("step", range(1, OUT + 1))
async def test_after_a_kill_during_growth_nothing_half_made_is_left(  # noqa: PLR0913, PLR0917
    compose_stage: ComposeStage,
    engine_gate: EngineGate,
    temporal: TemporalServer,
    run: Run,
    tmp_path: Path,
    queue: str,
    step: int,
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)}, **OPTIONS)
    first = run(compose_stage.project, DOCKER_HOST=engine_gate.endpoint)
    first.wait_for("tick", failed=False)
    # Before the tasks come: a second later the replicas would be there.
    engine_gate.after_change(step, first.kill)
    await temporal.enqueue(queue, 30)
    await until_async(lambda: not first.alive(), f"change {step}")

    second = run(compose_stage.project, module="tests.real.skewed")
    await running(compose_stage, 3)
    assert complete(compose_stage)

    # A container that has not been started for five minutes counts as left behind.
    (tmp_path / SKEW).write_text(AN_HOUR)
    await settle(compose_stage, 3)
    assert complete(compose_stage)
    assert second.alive()


@pytest.mark.parametrize("step", range(1, 5))
async def test_after_a_kill_during_scale_in_the_wanted_replicas_are_there(
    compose_stage: ComposeStage, engine_gate: EngineGate, run: Run, queue: str, step: int
) -> None:
    """Two replicas are stopped; each takes two calls, stop and remove."""
    compose_stage.up({"worker": 3}, {"worker": labels(queue)})
    first = run(compose_stage.project, DOCKER_HOST=engine_gate.endpoint)
    engine_gate.after_change(step, first.kill)
    await until_async(lambda: not first.alive(), f"change {step}")
    assert compose_stage.running("worker")

    second = run(compose_stage.project)
    await running(compose_stage, 1)
    second.wait_for("tick", after=len(second.lines))
    assert len(compose_stage.running("worker")) == 1
    assert second.alive()
