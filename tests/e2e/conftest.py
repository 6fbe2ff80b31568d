"""What the end-to-end tests share: a task queue for each test, daemons, and workers."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.crew import Crew, ServerInDocker
from tests.real.daemon import DaemonProcess
from tests.real.stages import Stage
from tests.real.temporal import TemporalServer

RunDaemon = Callable[..., DaemonProcess]

LAST_LINES = 60
"""Lines of a daemon's log that are shown where its test has failed; its ticks say little."""


@pytest.fixture
def queue() -> str:
    return f"queue-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def run_daemon(tmp_path: Path, temporal: TemporalServer) -> Iterator[RunDaemon]:
    """Return a function that starts a daemon for one stage. The daemons end with the test.

    They use the shared Temporal server, unless `settings` say otherwise.
    """
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
        # Pytest shows what is printed only for a test that has failed.
        lines = [str(line) for line in process.lines if line["event"] != "tick"]
        sys.stdout.write("\n".join(("the last lines of a daemon:", *lines[-LAST_LINES:], "")))


@pytest.fixture(scope="session")
def server_in_docker() -> Iterator[ServerInDocker]:
    """A Temporal server that workers in containers can reach, shared by the tests of a process."""
    server = ServerInDocker()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def crew(server_in_docker: ServerInDocker, tmp_path: Path, queue: str) -> Crew:
    """Workers in containers, on a task queue of their own."""
    return Crew(server_in_docker, tmp_path, queue)


def labels(queue: str, **others: str) -> dict[str, str]:
    """Return labels for a task queue at target 10, with a short scale-in window.

    Most tests have replicas that are no workers and send no heartbeats, so `busy` is `ignore`.
    """
    extra = {
        f"temporal.{name.replace('__', '.').replace('_', '-')}": value
        for name, value in others.items()
    }
    return {
        "temporal.queue": queue,
        "temporal.target": "10",
        "temporal.scale-in.window": "10s",
        "temporal.busy": "ignore",
        **extra,
    }
