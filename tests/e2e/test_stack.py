"""compose/swarm/stack.yaml, deployed as its README says."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.real.stages import docker
from tests.real.waiting import free_port, until

STACK_FILE = Path(__file__).parents[2] / "compose/swarm/stack.yaml"
DOCUMENTS = 40


@pytest.fixture
def api_port(monkeypatch: pytest.MonkeyPatch) -> int:
    port = free_port()
    monkeypatch.setenv("API_PORT", str(port))
    return port


@pytest.fixture
def pipeline(swarm: None, api_port: int) -> Iterator[str]:  # noqa: ARG001 - the stack needs both
    """The name of the stack, which is removed after the test."""
    name = f"tda-{uuid.uuid4().hex[:8]}"
    docker("stack", "deploy", f"--compose-file={STACK_FILE}", "--resolve-image=never", name)
    yield name
    docker("stack", "rm", name)
    mine = f"--filter=label=com.docker.stack.namespace={name}"
    until(lambda: not docker("ps", "--all", "--quiet", mine), f"the end of {name}")
    docker("volume", "rm", f"{name}_results", f"{name}_autoscaler")


def replicas(service: str) -> int:
    spec = json.loads(docker("service", "inspect", service))[0]["Spec"]
    return int(spec["Mode"]["Replicated"]["Replicas"])


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


@pytest.mark.swarm
def test_the_workers_of_the_stack_follow_the_uploads(pipeline: str, api_port: int) -> None:
    api = f"http://127.0.0.1:{api_port}"
    until(lambda: answers(f"{api}/health"), "the API")

    def upload(number: int) -> int:
        with urlopen(Request(f"{api}/upload", f"document {number}".encode()), timeout=30) as answer:
            return int(answer.status)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(upload, range(DOCUMENTS))) == {HTTPStatus.ACCEPTED}

    until(lambda: replicas(f"{pipeline}_worker") > 1, "more workers")
