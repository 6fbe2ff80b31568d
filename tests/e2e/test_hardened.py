"""compose/hardened: the quickstart behind a proxy that passes only the calls in its list."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.real.stages import docker
from tests.real.waiting import free_port, until

pytestmark = pytest.mark.engine

FOLDER = Path(__file__).parents[2] / "compose/hardened"
PROXY = "haproxy:3.0"
DOCUMENTS = 80
REFUSED = (
    "GET /secrets",
    "GET /v1.41/secrets",
    "GET /v1.41/../secrets",
    "POST /info",
    "GET /containers/x/logs",
    "GET /containers/x/top/x",
    "GET /images/x/../../info/json",
    "POST /containers/x/exec",
    "POST /containers/x/stop",
    "POST /build",
    "POST /images/create",
    "POST /swarm/init",
    "POST /version",
    "PUT /containers/x/json",
    "DELETE /containers/x/archive",
    "DELETE /volumes/x",
    "DELETE /networks/x/connect",
)
ASK = """
import http.client, sys
for call in sys.argv[1:]:
    method, path = call.split(" ")
    connection = http.client.HTTPConnection("proxy", 2375, timeout=10)
    connection.request(method, path)
    print(connection.getresponse().status, call)
"""


class Stack:
    """The example as a project of its own, with a shorter scale-in window.

    Its workers also have a config that Compose copies into them, and a second network: these need
    the most calls of the engine to make another replica.
    """

    def __init__(self, folder: Path) -> None:
        self._project = f"tda-{uuid.uuid4().hex[:8]}"
        self._port = free_port()
        worker = {
            "labels": {"temporal.scale-in.window": "5s"},
            "configs": [{"source": "copied", "target": "/etc/copied"}],
            "networks": ["default", "second"],
        }
        changes = {
            "services": {"worker": worker},
            "configs": {"copied": {"content": "copied by Compose"}},
            "networks": {"second": {}},
        }
        (folder / "changes.yaml").write_text(yaml.safe_dump(changes))
        self._files = [f"--file={FOLDER / 'compose.yaml'}", f"--file={folder / 'changes.yaml'}"]
        self._environment = {
            **os.environ,
            "API_PORT": str(self._port),
            "TEMPORAL_PORT": str(free_port()),
            "DOCUMENT_SECONDS": "1",
        }

    def compose(self, *arguments: str, code: int = 0) -> str:
        """Run docker compose and return what it prints."""
        done = subprocess.run(
            ["docker", "compose", f"--project-name={self._project}", *self._files, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def upload(self, documents: int) -> None:
        """Upload this many documents."""
        for number in range(documents):
            body = f"Document {number} is about the invoice.".encode()
            request = Request(f"http://127.0.0.1:{self._port}/upload", data=body, method="POST")
            urlopen(request, timeout=30).close()

    def replicas(self, service: str) -> list[str]:
        """Return the ids of the running containers of a service."""
        return self.compose("ps", "--quiet", service).split()

    def refused(self) -> list[str]:
        """Return the calls that the proxy refused, sorted, as its threads log in any order."""
        lines = self.compose("logs", "--no-log-prefix", "proxy").splitlines()
        return sorted(line.removeprefix("403 ") for line in lines if line.startswith("403 "))


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """The example, up and running."""
    made = Stack(tmp_path)
    try:
        made.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout=180")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout=5")
        made.compose("down", "--volumes", "--timeout=5")


def test_the_quickstart_follows_its_backlog_and_every_other_call_is_refused(stack: Stack) -> None:
    stack.upload(DOCUMENTS)
    until(lambda: len(stack.replicas("worker")) >= 3, "three replicas")
    contents = {docker("exec", each, "cat", "/etc/copied") for each in stack.replicas("worker")}
    assert contents == {"copied by Compose"}
    until(lambda: len(stack.replicas("worker")) == 1, "one replica")
    assert stack.refused() == [], "a call that the autoscaler needs is not in the list"

    found = json.loads(stack.compose("exec", "-T", "autoscaler", "autoscaler", "doctor", "--json"))
    engine = [each for each in found if each["subject"] == "engine"]
    assert {each["outcome"] for each in engine} == {"ok"}
    assert "containers can be changed" in {each["text"] for each in engine}
    before = stack.refused()

    answers = stack.compose("exec", "-T", "autoscaler", "python", "-c", ASK, *REFUSED)
    assert answers.splitlines() == [f"403 {call}" for call in REFUSED]
    # The proxy answers before its log can be read.
    all_of_them = sorted([*before, *REFUSED])
    until(lambda: len(stack.refused()) >= len(all_of_them), "every refusal in the log")
    assert stack.refused() == all_of_them

    for service in ("proxy", "autoscaler"):
        (container,) = stack.replicas(service)
        (inspected,) = json.loads(docker("inspect", container))
        host = inspected["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        sockets = [mount for mount in inspected["Mounts"] if "docker.sock" in mount["Source"]]
        assert bool(sockets) == (service == "proxy")
    status = docker("exec", *stack.replicas("autoscaler"), "cat", "/proc/1/status").split()
    assert status[status.index("Uid:") + 1] == "10001"
    assert status[status.index("CapEff:") + 1] == "0" * 16


def test_the_commented_lines_for_swarm_are_valid(tmp_path: Path) -> None:
    text = (FOLDER / "haproxy.cfg").read_text()
    assert text.count("#acl") == 4
    (tmp_path / "haproxy.cfg").write_text(text.replace("#acl", "acl"))
    docker("run", "--rm", f"--volume={tmp_path}:/cfg:ro", PROXY, "haproxy", "-c", "-f", "/cfg")
