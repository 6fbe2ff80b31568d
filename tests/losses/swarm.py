"""The services as a stack on three nodes, with agents, and the daemon as a service beside them.

Daemon and agents are those of compose/swarm/agents.yaml, from the image.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from tests.interop.engines import NestedEngine, bring
from tests.losses.columns import Column
from tests.losses.engine_log import EngineLog
from tests.losses.events import marks
from tests.losses.following import Following
from tests.losses.stage import SERVICES, labels, options, shared
from tests.matrix.cluster import three_nodes
from tests.real.crew import IMAGE, ServerInDocker
from tests.real.daemon import Line
from tests.real.waiting import until

ENGINE = "26.1"
AGENTS_FILE = Path(__file__).parents[2] / "compose/swarm/agents.yaml"
OURS = "temporal-docker-autoscaler:latest"
"""The image that this file names."""
STACK, DAEMON, AGENT = "losses", "autoscaler", "agent"
SECRET = "autoscaler_agent_secret"
SOCKET = "/var/run/docker.sock:/var/run/docker.sock"
PATIENT = {"interval": "5s", "timeout": "60s", "start_period": "90s"}
"""On a machine that stalls, the image's own check would have the Swarm replace the containers."""
SLOW_BEAT = "20s"
"""Between two signs of life of a node: a machine that stalls must not lose one."""


class OnSwarm:
    """One stack on a Swarm of three nodes, each an engine in a container."""

    endpoint: str
    log: EngineLog
    most = 8  # A container on an overlay network takes longer to start.

    def __init__(self, folder: Path, columns: Sequence[Column]) -> None:
        """Have these services, and keep their files in the folder of the run."""
        self._folder = folder
        self._columns = columns
        self._manager: NestedEngine
        self.lines: list[Line] = []

    def name(self, column: Column) -> str:
        """Return the name of a service in services files."""
        return f"{STACK}_{column.name}"

    def start(self, replicas: int, parts: ExitStack) -> None:
        """Start everything but the daemon. `parts` ends it."""
        volumes = (f"--volume={each}:{each}:{how}" for each, how in shared(self._folder).items())
        # The server comes first: a starved server loses tasks of its own.
        cluster = parts.enter_context(
            three_nodes(ENGINE, *volumes, "--cpu-shares=256", beat=SLOW_BEAT)
        )
        self._manager = cluster.manager
        server = ServerInDocker(cluster.network)
        parts.callback(server.stop)
        server.start()
        self.endpoint = server.endpoint
        nodes = list(cluster.nodes.values())
        ours = os.environ.get("TEST_IMAGE_OF_AGENTS", OURS)
        bring((IMAGE, ours), *nodes)
        for node in nodes:
            node.docker("tag", ours, OURS)
        self.log = parts.enter_context(EngineLog(STACK, nodes))
        self._deploy(replicas, server.address)
        command = ["docker", "service", "logs", "--raw", "--follow", f"{STACK}_{DAEMON}"]
        parts.enter_context(Following(command, self._manager.environment, self._read))
        until(lambda: self._running(AGENT) == len(nodes), "an agent on each node")

    def start_daemon(self) -> None:
        """Wait for a daemon: the Swarm itself starts the next one."""
        self._manager.docker("service", "scale", "--detach", f"{STACK}_{DAEMON}=1")
        until(self._daemons, "the daemon")

    def kill_daemon(self) -> None:
        """Kill the daemon."""
        self._manager.docker("kill", *self._daemons())

    def _deploy(self, replicas: int, address: str) -> None:
        """Deploy the stack; `address` is that of the Temporal server."""
        content: dict[str, Any] = yaml.safe_load(AGENTS_FILE.read_text())
        # Not every kernel has the ESP that an encrypted network takes; then nothing gets through.
        del content["networks"]["agents"]["driver_opts"]["encrypted"]
        content["services"] |= {
            column.name: {
                **options(column, self._folder, address),
                "labels": marks(STACK, column.name),
                "deploy": {"replicas": replicas, "labels": labels(column)},
            }
            for column in self._columns
        }
        content["services"][AGENT]["healthcheck"] = PATIENT
        content["services"][DAEMON] |= {
            "healthcheck": PATIENT,
            "environment": {
                "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": address,
                "AUTOSCALER_LOG_LEVEL": "info",
            },
            "volumes": [SOCKET, f"{self._folder / SERVICES}:/etc/autoscaler/services:ro"],
            "deploy": {"replicas": 0, "placement": {"constraints": ["node.role == manager"]}},
        }
        stack, secret = self._folder / "stack.yaml", self._folder / "secret"
        stack.write_text(yaml.safe_dump(content))
        secret.write_text("a secret of the tests that is long enough")
        self._manager.docker("secret", "create", SECRET, str(secret))
        self._manager.docker(
            "stack", "deploy", "--resolve-image=never", f"--compose-file={stack}", STACK
        )

    def _daemons(self) -> list[str]:
        """Return the id of the container of the daemon that runs; none between two of them."""
        service = f"--filter=label=com.docker.swarm.service.name={STACK}_{DAEMON}"
        return self._manager.docker("ps", "--quiet", service).split()

    def _running(self, service: str) -> int:
        """Return how many tasks of a service run."""
        states = self._manager.docker(
            "service", "ps", "--format={{.CurrentState}}", f"{STACK}_{service}"
        )
        return sum(state.startswith("Running") for state in states.splitlines())

    def _read(self, line: str) -> None:
        """Keep a line of the daemon's log. Docker's own words between them are no JSON."""
        if line.startswith("{"):
            self.lines.append(json.loads(line))
