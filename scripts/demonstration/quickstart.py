"""compose/quickstart as a Compose project of its own, on ports that are free."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMPOSE_FILE = Path(__file__).resolve().parents[2] / "compose/quickstart/compose.yaml"
PROJECT = "autoscaler-demo"

# Time limits in seconds.
START_LIMIT = 180
STOP_LIMIT = 120
CALL_LIMIT = 30


class Failure(Exception):
    """The demo did not show what it is there to show. The message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the labels of the worker ask for."""

    queue: str
    fewest: int
    most: int


class Quickstart:
    """The quickstart under the name of a project of its own. Its methods raise Failure."""

    def __init__(self) -> None:
        self.api_port, self.temporal_port, self.page_port = free_ports()
        self._environment = os.environ | {
            "API_PORT": str(self.api_port),
            "TEMPORAL_PORT": str(self.temporal_port),
            "PAGE_PORT": str(self.page_port),
        }

    def bounds(self) -> Bounds:
        """Read the labels of the worker."""
        config = json.loads(self._compose("config", "--format", "json", limit=CALL_LIMIT))
        labels = config["services"]["worker"]["labels"]
        return Bounds(
            queue=labels["temporal.queue"],
            fewest=int(labels["temporal.min"]),
            most=int(labels["temporal.max"]),
        )

    def start(self) -> None:
        """Start every service and wait until those with a health check are healthy."""
        # Compose's own limit is the shorter one: Compose says what it was still waiting for.
        wait = ("--wait", "--wait-timeout", str(START_LIMIT))
        self._compose("up", "--detach", *wait, limit=START_LIMIT + CALL_LIMIT, shown=True)

    def stop(self) -> None:
        """Remove containers, networks and volumes."""
        # The autoscaler stops first: `down` would miss a container that is created while it runs.
        self._compose("stop", "autoscaler", limit=STOP_LIMIT)
        self._compose("down", "--volumes", "--remove-orphans", limit=STOP_LIMIT)

    def autoscaler_log(self) -> str:
        """Return the last lines that the autoscaler wrote."""
        options = ("--no-color", "--no-log-prefix", "--tail", "20")
        return self._compose("logs", *options, "autoscaler", limit=CALL_LIMIT)

    def _compose(self, *arguments: str, limit: float, shown: bool = False) -> str:
        """Run a Compose command on the project, for at most `limit` seconds."""
        project = ("compose", "--project-name", PROJECT, "--file", str(COMPOSE_FILE))
        return docker(*project, *arguments, limit=limit, shown=shown, environment=self._environment)


def docker(
    *arguments: str, limit: float, shown: bool = False, environment: Mapping[str, str] | None = None
) -> str:
    """Run a docker command for at most `limit` seconds.

    Returns its output, or nothing where the output is to be `shown`. Raises Failure.
    """
    output = None if shown else subprocess.PIPE
    try:
        done = subprocess.run(
            ["docker", *arguments],
            env=environment,
            timeout=limit,
            stdout=output,
            stderr=output,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"`docker {shlex.join(arguments)}` took longer than {limit:.0f} s") from None
    except OSError as error:
        raise Failure(f"docker cannot be run: {error}") from None
    if done.returncode:
        said = "see above" if shown else done.stderr.strip()
        raise Failure(f"`docker {shlex.join(arguments)}` failed: {said}")
    return done.stdout or ""


def free_ports() -> tuple[int, int, int]:
    """Return three ports of the loopback interface that nothing uses."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
        socket.create_server(("127.0.0.1", 0)) as three,
    ):
        return one.getsockname()[1], two.getsockname()[1], three.getsockname()[1]
