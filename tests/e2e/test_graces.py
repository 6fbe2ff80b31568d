"""What doctor says of real workers that a stop would interrupt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoscaler.core.stopping import DEFAULT_GRACE, IgnoredSignal, outlasted
from autoscaler.orchestrators.compose.signals import SETTLED
from tests.e2e.conftest import labels
from tests.real.crew import Crew
from tests.real.daemon import autoscaler
from tests.real.stages import ComposeStage, docker
from tests.real.waiting import until_async

pytestmark = pytest.mark.engine

DEAF = """
import asyncio, sys
sys.path.insert(0, "/code")
asyncio.SelectorEventLoop.add_signal_handler = lambda *_: None
import worker
asyncio.run(worker.main())
"""
"""The same worker, without a handler for its stop signal."""


def doctor(crew: Crew, stage: ComposeStage, folder: Path) -> tuple[dict[str, list[str]], str]:
    """Return what doctor warns of in each service, and what it says on stderr."""
    done = autoscaler(
        folder,
        "doctor",
        "--json",
        AUTOSCALER_PROJECTS=stage.project,
        AUTOSCALER_ORCHESTRATORS="compose",
        AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT=crew.endpoint,
    )
    warnings: dict[str, list[str]] = {"unchosen": [], "chosen": [], "deaf": []}
    for finding in json.loads(done.stdout):
        service = finding["subject"].rpartition("/")[2]
        if service in warnings and finding["outcome"] != "ok":
            warnings[service].append(finding["text"])
    return warnings, done.stderr


async def test_long_tasks_without_a_grace_and_ignored_signals_are_named(
    compose_stage: ComposeStage, crew: Crew, queue: str, tmp_path: Path
) -> None:
    services: dict[str, dict[str, object]] = {
        "unchosen": {"stop_grace_period": None},
        "chosen": {},
        "deaf": {"init": False, "command": ["python", "-c", DEAF]},
    }
    asked = labels(queue, busy="protect")
    compose_stage.up(
        dict.fromkeys(services, 1), dict.fromkeys(services, asked), **crew.service(), each=services
    )
    await until_async(lambda: crew.ready() == 3, "3 workers")

    idle, waited = doctor(crew, compose_stage, tmp_path)
    assert waited == ""
    assert outlasted(DEFAULT_GRACE) not in idle["unchosen"]

    tasks = await crew.begin(3)
    await crew.reported()
    (deaf,) = compose_stage.running("deaf")
    await until_async(lambda: age(deaf) > SETTLED.total_seconds(), "a process that has settled")

    busy, waited = doctor(crew, compose_stage, tmp_path)
    assert waited.startswith("autoscaler: waiting ")
    assert outlasted(DEFAULT_GRACE) in busy["unchosen"]
    assert outlasted(DEFAULT_GRACE) not in [*busy["chosen"], *busy["deaf"]]
    crew.release()
    for task in tasks:
        await task.result()

    ignored = IgnoredSignal("SIGTERM", "python", shell=False).words

    def named() -> list[str]:
        found, _ = doctor(crew, compose_stage, tmp_path)
        return [service for service, texts in found.items() if ignored in texts]

    # It waits for an engine that is slow, but not for ever.
    await until_async(lambda: named() == ["deaf"], "the worker that ignores its signal")


def age(container: str) -> int:
    """Return for how many seconds the first process of a container has run."""
    return int(docker("top", container, "-o", "pid,etimes").splitlines()[1].split()[1])
