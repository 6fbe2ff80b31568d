"""The two files of README work as they are: with a worker of their own, and with Temporal."""

from __future__ import annotations

import asyncio
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.client import Client
from temporalio.service import RPCError

from tests.docs.test_commands import blocks
from tests.docs.test_docs import ROOT
from tests.real.crew import IMAGE
from tests.real.stages import IDLE, TINY_IMAGE, docker
from tests.real.temporal import Waiting
from tests.real.waiting import LIMIT, free_port, until, until_async

QUEUE = "orders"
TASKS = 25
REPLICAS = 3
"""What 25 waiting tasks ask for at target 10."""
TEMPORAL = "temporal server start-dev --headless --ip 0.0.0.0 --port 7233 --log-level error"
Compose = Callable[..., str]


def snippet(orchestrator: str) -> dict[str, Any]:
    """Return a file of README, with a worker that waits: what the reader has to bring."""
    compose, swarm = (yaml.safe_load(text) for text in blocks(ROOT / "README.md", "yaml"))
    found: dict[str, Any] = {"compose": compose, "swarm": swarm}[orchestrator]
    assert found["services"]["worker"].pop("image") == "my-worker"
    found["services"]["worker"] |= {"image": TINY_IMAGE, "command": list(IDLE)}
    return found


async def connected(endpoint: str) -> Client:
    """Return a client of a server that may still be starting."""
    while True:
        try:
            return await Client.connect(endpoint)
        except (RPCError, RuntimeError):
            await asyncio.sleep(0.2)


async def enqueue(endpoint: str) -> None:
    """Let tasks wait in the task queue, once the server answers."""
    async with asyncio.timeout(LIMIT):
        client = await connected(endpoint)
    for _ in range(TASKS):
        await client.start_workflow(Waiting.run, id=f"task-{uuid.uuid4().hex}", task_queue=QUEUE)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[tuple[Compose, str]]:
    """The Compose file, up and running, and the address of its Temporal."""
    name, port = f"tda-{uuid.uuid4().hex[:8]}", free_port()
    file = snippet("compose")
    assert file["services"]["autoscaler"]["ports"] == ["127.0.0.1:8080:8080"]
    file["services"]["autoscaler"]["ports"] = [f"127.0.0.1:{free_port()}:8080"]
    file["services"]["temporal"] = {
        "image": IMAGE,
        "command": TEMPORAL,
        "ports": [f"127.0.0.1:{port}:7233"],
    }
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump({**file, "name": name}))

    def compose(*arguments: str) -> str:
        return docker("compose", f"--file={tmp_path / 'compose.yaml'}", *arguments)

    try:
        compose("up", "--detach")
        yield compose, f"127.0.0.1:{port}"
    finally:
        for _ in range(2):  # a replica may be made while the first one runs
            compose("down", "--volumes", "--timeout=2")


@pytest.mark.engine
async def test_the_compose_file_scales_a_worker_and_keeps_what_is_set(
    project: tuple[Compose, str],
) -> None:
    compose, endpoint = project
    await enqueue(endpoint)

    def workers() -> int:
        return len(compose("ps", "--quiet", "worker").split())

    await until_async(lambda: workers() == REPLICAS, "three replicas")
    autoscaler = ("exec", "-T", "autoscaler", "autoscaler")
    (planned,) = json.loads(compose(*autoscaler, "plan", "--json"))["services"]
    service = planned["service"]
    assert (planned["desired"], planned["errors"]) == (REPLICAS, [])

    compose(*autoscaler, "set", service, "max=2", "--for=1h")
    compose("up", "--detach", "--force-recreate", "--no-deps", "autoscaler")
    assert "max=2" in compose(*autoscaler, "overrides")


@pytest.fixture
def stack(swarm: None, tmp_path: Path) -> Iterator[tuple[str, str]]:  # noqa: ARG001
    """The name of the stack, and the address of its Temporal."""
    name, port = f"tda-{uuid.uuid4().hex[:8]}", free_port()
    file = snippet("swarm")
    published: Mapping[str, Any] = {"target": 7233, "published": port, "mode": "host"}
    file["services"]["temporal"] = {
        "image": IMAGE,
        "command": TEMPORAL,
        "ports": [published],
        "deploy": {"endpoint_mode": "dnsrr"},
    }
    (tmp_path / "stack.yaml").write_text(yaml.safe_dump(file))
    try:
        docker(
            "stack", "deploy", f"--compose-file={tmp_path / 'stack.yaml'}",
            "--resolve-image=never", name,
        )  # fmt: skip
        yield name, f"127.0.0.1:{port}"
    finally:
        docker("stack", "rm", name)
        mine = f"--filter=label=com.docker.stack.namespace={name}"
        until(lambda: not docker("ps", "--all", "--quiet", mine), f"the end of {name}")
        volume = ["docker", "volume", "rm", f"{name}_autoscaler"]
        until(
            lambda: subprocess.run(volume, capture_output=True, check=False).returncode == 0,
            "the end of the volume",
        )


@pytest.mark.swarm
async def test_the_stack_file_scales_a_worker(stack: tuple[str, str]) -> None:
    name, endpoint = stack
    await enqueue(endpoint)

    def replicas() -> int:
        spec = json.loads(docker("service", "inspect", f"{name}_worker"))[0]["Spec"]
        return int(spec["Mode"]["Replicated"]["Replicas"])

    await until_async(lambda: replicas() == REPLICAS, "three replicas")
