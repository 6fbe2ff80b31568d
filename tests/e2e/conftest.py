"""What the end-to-end tests share: a task queue of one's own, and daemons that end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.daemon import DaemonProcess
from tests.real.stages import Stage
from tests.real.temporal import TemporalServer

RunDaemon = Callable[..., DaemonProcess]


@pytest.fixture
def queue() -> str:
    return f"queue-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def run_daemon(tmp_path: Path, temporal: TemporalServer) -> Iterator[RunDaemon]:
    """Start daemons that look after one stage only, and end them with the test."""
    started: list[DaemonProcess] = []

    def run(stage: Stage, **settings: str) -> DaemonProcess:
        process = DaemonProcess(
            tmp_path,
            {
                "AUTOSCALER_PROJECTS": stage.project,
                "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": temporal.endpoint,
                **settings,
            },
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.__exit__()


def labels(queue: str, **others: str) -> dict[str, str]:
    """Return labels for a task queue at target 10, with a short scale-in window."""
    extra = {f"temporal.{name.replace('_', '-')}": value for name, value in others.items()}
    return {
        "temporal.queue": queue,
        "temporal.target": "10",
        "temporal.scale-in.window": "10s",
        **extra,
    }
