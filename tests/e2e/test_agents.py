"""The agents of compose/swarm/agents.yaml, from the image, beside a daemon in the same stack."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.real.stages import TINY_IMAGE, docker
from tests.real.waiting import until

pytestmark = pytest.mark.swarm

AGENTS_FILE = Path(__file__).parents[2] / "compose/swarm/agents.yaml"
IMAGE = os.environ.get("TEST_IMAGE_OF_AGENTS", "temporal-docker-autoscaler:latest")
SECRET = "a secret of the tests that is long enough"
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


class Stack:
    """A daemon, an agent on the only node, and a service that the daemon scales."""

    def __init__(self, folder: Path) -> None:
        self.name = f"tda-{uuid.uuid4().hex[:8]}"
        self._more = folder / "more.yaml"

    def deploy(self, secret: str | None = SECRET, secret_of_agents: str | None = SECRET) -> None:
        for name, value in (("daemon", secret), ("agents", secret_of_agents)):
            made = subprocess.run(
                ["docker", "secret", "create", f"{self.name}-{name}", "-"],
                input=value,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert made.returncode == 0, made.stderr
        socket = "/var/run/docker.sock:/var/run/docker.sock"
        services = {
            "agent": {"image": IMAGE, "healthcheck": PATIENT},
            "autoscaler": {
                "image": IMAGE,
                "volumes": [socket],
                "healthcheck": PATIENT,
                # The secret of this name is the agents'; the file of the daemon's counts here.
                "secrets": ["DAEMON"],
                "environment": {"AUTOSCALER_DRY_RUN": "true"},
                "networks": ["agents"],
            },
            "worker": {
                "image": TINY_IMAGE,
                "command": ["sleep", "3600"],
                "stop_grace_period": "1s",
                "networks": ["agents"],
                "deploy": {"labels": {"temporal.queue": "orders", "temporal.max": "3"}},
            },
        }
        content = yaml.safe_load(AGENTS_FILE.read_text())
        content["version"] = "3.8"
        for name, service in services.items():
            content["services"].setdefault(name, {}).update(service)
        content["services"]["autoscaler"]["secrets"] = [
            {"source": "DAEMON", "target": "AUTOSCALER_AGENT_SECRET"}
        ]
        content["secrets"] = {
            "AUTOSCALER_AGENT_SECRET": {"external": True, "name": f"{self.name}-agents"},
            "DAEMON": {"external": True, "name": f"{self.name}-daemon"},
        }
        content["networks"]["default"] = {"driver": "overlay"}
        self._more.write_text(yaml.safe_dump(content))
        docker(
            "stack", "deploy", f"--compose-file={self._more}", "--resolve-image=never", self.name
        )
        for service in ("agent", "autoscaler", "worker"):
            until(lambda s=service: self.containers(s), f"a container of {service}")

    def containers(self, service: str) -> list[str]:
        """Return the running containers of a service."""
        name = f"--filter=label=com.docker.swarm.service.name={self.name}_{service}"
        return docker("ps", "--quiet", "--no-trunc", name).split()

    def findings(self) -> list[tuple[str, str]]:
        """Return what `doctor` says of the agents, in the daemon's container."""
        done = subprocess.run(
            ["docker", "exec", *self.containers("autoscaler"), "autoscaler", "doctor", "--json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.stdout, done.stderr
        rows = json.loads(done.stdout)
        return [(row["outcome"], row["text"]) for row in rows if row["subject"] == "agents"]

    def close(self) -> None:
        docker("stack", "rm", self.name)
        mine = f"--filter=label=com.docker.stack.namespace={self.name}"
        until(lambda: not docker("ps", "--all", "--quiet", mine), f"the end of {self.name}")
        until(lambda: not docker("network", "ls", "--quiet", mine), "the end of its networks")
        for name in ("daemon", "agents"):
            docker("secret", "rm", f"{self.name}-{name}")


@pytest.fixture
def stack(tmp_path: Path, swarm: None) -> Iterator[Stack]:  # noqa: ARG001
    made = Stack(tmp_path)
    yield made
    made.close()


def node() -> tuple[str, str]:
    """Return the id and the name of this engine's node."""
    form = "--format={{.ID}} {{.Description.Hostname}}"
    id_, name = docker("node", "inspect", form, "self").split()
    return id_, name


def state_of(container: str, what: str) -> str:
    return docker("inspect", f"--format={{{{.State.{what}}}}}", container).strip()


def test_the_daemon_finds_the_agent_on_a_node_and_has_a_task_stopped(stack: Stack) -> None:
    stack.deploy()
    (agent,) = stack.containers("agent")
    (daemon,) = stack.containers("autoscaler")
    (worker,) = stack.containers("worker")
    until(lambda: state_of(agent, "Health.Status") == "healthy", "a healthy agent")

    until(
        lambda: stack.findings() == [("ok", "the agent on every node of the Swarm answers")],
        "an agent that answers",
    )
    service = docker("service", "inspect", "--format={{.ID}}", f"{stack.name}_worker").strip()
    said = docker("exec", daemon, "python", "-c", DRAIN, node()[0], service, worker)

    assert said.strip() == str({worker: True})
    until(lambda: state_of(worker, "Running") == "false", "the end of the task")
    # The Swarm replaces what was stopped, as it does wherever nobody lowers the number.
    until(lambda: stack.containers("worker"), "its replacement")


def test_doctor_names_the_node_whose_agent_has_another_secret(stack: Stack) -> None:
    stack.deploy(secret_of_agents="another secret that is long enough too")
    (agent,) = stack.containers("agent")
    until(lambda: state_of(agent, "Health.Status") == "healthy", "a healthy agent")

    (finding,) = stack.findings()

    assert finding[0] == "wrong"
    assert finding[1].startswith(f"the agent on node {node()[1]} refuses the daemon's signature")
    assert "AUTOSCALER_AGENT_SECRET" in finding[1]
    assert docker("logs", agent).count('"refused"') == 1


def test_doctor_names_the_node_without_an_agent(stack: Stack) -> None:
    stack.deploy()
    docker("service", "rm", f"{stack.name}_agent")
    until(lambda: not stack.containers("agent"), "the end of the agent")

    (finding,) = stack.findings()

    assert finding[0] == "wrong"
    # Another test may have agents in the same Swarm, on another network.
    assert f" on node {node()[1]}: " in finding[1]
