"""The agents of compose/swarm/agents.yaml, from the image, beside a daemon in the same stack."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.interop.engines import Engine
from tests.real.agent import SECRET
from tests.real.stages import TINY_IMAGE
from tests.real.waiting import until

AGENTS_FILE = Path(__file__).parents[2] / "compose/swarm/agents.yaml"
IMAGE = os.environ.get("TEST_IMAGE_OF_AGENTS", "temporal-docker-autoscaler:latest")
"""The image of daemon and agents."""
# On a machine that stalls, the image's own check would have the Swarm replace the containers.
PATIENT = {"interval": "2s", "timeout": "60s", "start_period": "90s"}
# What the daemon does to have a task stopped, in its container.
DRAIN = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.place import Place
from autoscaler.orchestrators.swarm.agents import SwarmAgents
from autoscaler.settings import Settings

node, service, container = sys.argv[1:]

async def main():
    secret = Settings.load().shared_with_agents()
    agents = SwarmAgents(Engine(), secret, lambda: datetime.now(UTC), Place.here())
    print(await agents.state(node, service, [container]))
    await agents.drain(node, service, container, timedelta(seconds=1))

asyncio.run(main())
"""


class AgentStack:
    """A daemon on a manager, an agent on every node, and a service that the daemon scales."""

    def __init__(self, manager: Engine, folder: Path) -> None:
        self.name = f"tda-{uuid.uuid4().hex[:8]}"
        self._manager = manager
        self._folder = folder

    def deploy(
        self,
        secret: str = SECRET,
        secret_of_agents: str = SECRET,
        replicas: int = 1,
        agents: Mapping[str, Any] | None = None,
        *,
        encrypted: bool = True,
    ) -> None:
        """Deploy the stack; `agents` has further options under `deploy` of the agents."""
        for name, value in (("daemon", secret), ("agents", secret_of_agents)):
            file = self._folder / name
            file.write_text(value)
            self._manager.docker("secret", "create", f"{self.name}-{name}", str(file))
        content = yaml.safe_load(AGENTS_FILE.read_text())
        content["version"] = "3.8"
        for name, service in self._services(replicas).items():
            content["services"].setdefault(name, {}).update(service)
        content["services"]["agent"]["deploy"] |= agents or {}
        if not encrypted:
            del content["networks"]["agents"]["driver_opts"]
        content["secrets"] = {
            "AUTOSCALER_AGENT_SECRET": {"external": True, "name": f"{self.name}-agents"},
            "DAEMON": {"external": True, "name": f"{self.name}-daemon"},
        }
        content["networks"]["default"] = {"driver": "overlay"}
        file = self._folder / "agents.yaml"
        file.write_text(yaml.safe_dump(content))
        self._manager.docker(
            "stack", "deploy", f"--compose-file={file}", "--resolve-image=never", self.name
        )
        for service in ("agent", "autoscaler", "worker"):
            until(lambda s=service: self.containers(s), f"a container of {service}")

    def _services(self, replicas: int) -> dict[str, dict[str, Any]]:
        return {
            "agent": {"image": IMAGE, "healthcheck": PATIENT},
            "autoscaler": {
                "image": IMAGE,
                "volumes": ["/var/run/docker.sock:/var/run/docker.sock"],
                "healthcheck": PATIENT,
                # The secret of this name is the agents'; the file of the daemon's counts here.
                "secrets": [{"source": "DAEMON", "target": "AUTOSCALER_AGENT_SECRET"}],
                "environment": {"AUTOSCALER_DRY_RUN": "true"},
                "networks": ["agents"],
                "deploy": {"placement": {"constraints": ["node.role == manager"]}},
            },
            "worker": {
                "image": TINY_IMAGE,
                "command": ["sleep", "3600"],
                "stop_grace_period": "1s",
                "networks": ["agents"],
                "deploy": {
                    "replicas": replicas,
                    "labels": {"temporal.queue": "orders", "temporal.max": "3"},
                },
            },
        }

    def containers(self, service: str, on: Engine | None = None) -> list[str]:
        """Return the running containers of a service on an engine, by default the manager's."""
        name = f"--filter=label=com.docker.swarm.service.name={self.name}_{service}"
        return (on or self._manager).docker("ps", "--quiet", "--no-trunc", name).split()

    def findings(self) -> list[tuple[str, str]]:
        """Return what `doctor` says of the agents, in the daemon's container."""
        (daemon,) = self.containers("autoscaler")
        done = self._manager.attempt("exec", daemon, "autoscaler", "doctor", "--json")
        assert done.stdout, done.stderr
        rows = json.loads(done.stdout)
        return [(row["outcome"], row["text"]) for row in rows if row["subject"] == "agents"]

    def drain(self, node: str, container: str) -> str:
        """Have a task of the worker stopped on a node, in the daemon's container.

        Return what it prints: whether the task has run, by the agent on the node.
        """
        (daemon,) = self.containers("autoscaler")
        service = self._manager.docker(
            "service", "inspect", "--format={{.ID}}", f"{self.name}_worker"
        ).strip()
        command = ("python", "-c", DRAIN, node, service, container)
        return self._manager.docker("exec", daemon, *command).strip()

    def close(self) -> None:
        """Remove it from the Swarm."""
        docker = self._manager.docker
        docker("stack", "rm", self.name)
        mine = f"--filter=label=com.docker.stack.namespace={self.name}"
        until(lambda: not docker("ps", "--all", "--quiet", mine), f"the end of {self.name}")
        until(lambda: not docker("network", "ls", "--quiet", mine), "the end of its networks")
        for name in ("daemon", "agents"):
            docker("secret", "rm", f"{self.name}-{name}")
