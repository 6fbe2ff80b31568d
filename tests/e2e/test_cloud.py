"""compose/cloud: an API key in a Docker secret, sent over TLS, renewed while the daemon runs."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.real.certificates import Authority
from tests.real.front import Front, FrontProcess
from tests.real.temporal import TemporalServer
from tests.real.waiting import until

pytestmark = pytest.mark.engine

FILE = Path(__file__).parents[2] / "compose/cloud/compose.yaml"

Compose = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def cloud(
    temporal: TemporalServer, front_process: FrontProcess, authority: Authority
) -> Iterator[Front]:
    """A server that stands in for Temporal Cloud."""
    opened = front_process.Front(temporal.endpoint, certificate=authority.server())
    opened.keys = {"first-key"}
    yield opened
    opened.close()


@pytest.fixture
def compose(tmp_path: Path, cloud: Front, authority: Authority) -> Iterator[Compose]:
    """Run docker compose on the example, with the stand-in for Temporal Cloud."""
    (tmp_path / "temporal-api-key").write_text("first-key\n")
    changes = {
        "services": {
            "worker": {"command": "sleep 3600", "init": True},
            "autoscaler": {
                "network_mode": "host",
                "environment": {"SSL_CERT_FILE": "/ca.pem"},
                "volumes": [f"{authority.write(tmp_path)}:/ca.pem:ro"],
            },
        },
        "secrets": {"temporal-api-key": {"file": str(tmp_path / "temporal-api-key")}},
    }
    (tmp_path / "changes.yaml").write_text(yaml.safe_dump(changes))
    command = ["docker", "compose", f"--project-name=tda-{uuid.uuid4().hex[:8]}"]
    command += [f"--file={FILE}", f"--file={tmp_path / 'changes.yaml'}"]
    settings = {
        "TEMPORAL_ADDRESS": cloud.endpoint,
        "TEMPORAL_NAMESPACE": "default",
        "WORKER_API_KEY": "of-the-worker",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    yield run
    run("down", "--volumes", "--timeout=2")


def test_the_key_is_read_from_a_secret_and_renewed_while_the_daemon_runs(
    compose: Compose, cloud: Front, tmp_path: Path
) -> None:
    started = compose("up", "--detach", "--no-build")
    assert started.returncode == 0, started.stderr
    until(lambda: "DescribeTaskQueue" in cloud.calls, "a call that reads a backlog")

    doctor = compose("exec", "-T", "autoscaler", "autoscaler", "doctor", "--json")
    texts = [each["text"] for each in json.loads(doctor.stdout)]
    assert f"{cloud.endpoint} over TLS, credential: API key, from environment" in texts
    assert "namespace default is there and takes worker heartbeats" in texts

    cloud.keys = {"first-key", "second-key"}
    (tmp_path / "temporal-api-key").write_text("second-key\n")
    until(lambda: "second-key" in cloud.passed, "a call with the new key")
    cloud.keys = {"second-key"}
    calls = len(cloud.calls)
    until(lambda: len(cloud.calls) > calls, "a call after the first key has become invalid")

    log = compose("logs", "--no-log-prefix", "autoscaler").stdout
    assert "cannot scale" not in log
    assert "second-key" not in log
