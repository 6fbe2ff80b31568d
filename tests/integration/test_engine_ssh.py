"""The real engine behind a real SSH server, found by DOCKER_HOST and by a Docker context."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine, Json
from autoscaler.orchestrators.projects import Projects
from tests.interop.engines import outer
from tests.interop.projects import Compose, Project, names, plain
from tests.real.changes import change_replicas
from tests.real.daemon import DaemonProcess, autoscaler
from tests.real.sshd import SshServer, is_there, write_key
from tests.real.waiting import LIMIT, until

HOME = os.environ["HOME"]
"""The home of the user who runs the tests: the docker command finds its plugins there."""

pytestmark = pytest.mark.engine


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    if not is_there() and os.environ.get("CI") != "true":
        pytest.skip("the SSH server's image is not there: scripts/setup.py ssh-image makes it")
    home = tmp_path / "home"
    home.mkdir()
    # docker-py reads the keys of the process's own user.
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    with SshServer(home) as started:
        yield started


@pytest.fixture
def far(server: SshServer) -> Iterator[Engine]:
    """The engine behind the server."""
    made = Engine(server.environment)
    yield made
    made.close()


@pytest.fixture
def stage() -> Iterator[Project]:
    project = Project(Compose(outer(), {"HOME": HOME}), plain(), {})
    yield project
    project.close()


async def test_a_service_is_scaled_out_and_in_through_ssh(far: Engine, stage: Project) -> None:
    stage.up()
    orchestrator = ComposeOrchestrator(
        far,
        clock=lambda: datetime.now(UTC),
        projects=Projects(far, [stage.name]),
    )
    worker = ServiceId("compose", f"{stage.name}/worker")
    (service,) = await orchestrator.discover()
    assert (service.id, service.replicas) == (worker, 1)

    await change_replicas(orchestrator, worker, 1, 4)
    assert set(stage.ids("worker")) == names("worker", (1, 2, 3, 4))

    await change_replicas(orchestrator, worker, 4, 1)
    await orchestrator.close(timedelta(seconds=60))
    assert set(stage.ids("worker")) == names("worker", (1,))


async def test_after_a_broken_connection_the_next_call_connects_again(
    server: SshServer, far: Engine
) -> None:
    assert await far.call("asking", lambda client: client.ping())
    server.cut()
    assert await far.call("asking", lambda client: client.ping())


async def test_events_arrive_and_a_stream_that_is_cancelled_frees_its_thread(
    far: Engine, stage: Project
) -> None:
    stage.up()
    mine = {"label": [f"com.docker.compose.project={stage.name}"], "event": ["pause", "unpause"]}
    # There are two threads for streams, so the third one waits until the first has ended.
    for action in ("pause", "unpause", "pause"):
        began = asyncio.Event()
        seen: asyncio.Queue[Json] = asyncio.Queue()
        reading = asyncio.create_task(far.events(mine, None, began.set, seen.put_nowait))
        async with asyncio.timeout(LIMIT):
            await began.wait()
            outer().docker(action, stage.container("worker-1"))
            assert (await seen.get())["Action"] == action
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    outer().docker("unpause", stage.container("worker-1"))


class TestDoctor:
    def test_it_names_the_address_and_ends(self, server: SshServer, tmp_path: Path) -> None:
        done = autoscaler(tmp_path, "doctor", **server.environment)
        assert f"answers at {server.address} (API" in done.stdout
        assert "containers can be changed" in done.stdout

    def test_a_context_is_followed_and_named(self, server: SshServer, tmp_path: Path) -> None:
        variables = {**os.environ, "HOME": str(server.home)}
        for command in (
            ["create", "far", f"--docker=host={server.address}"],
            ["use", "far"],
        ):
            subprocess.run(
                ["docker", "context", *command], env=variables, check=True, capture_output=True
            )
        done = autoscaler(tmp_path, "doctor", HOME=str(server.home))
        assert f"answers at {server.address} (Docker context far)" in done.stdout

    def test_a_host_whose_key_is_not_known_is_one_line(
        self, server: SshServer, tmp_path: Path
    ) -> None:
        (server.home / ".ssh/known_hosts").write_text("")
        done = autoscaler(tmp_path, "doctor", **server.environment)
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert f"no Docker Engine answers at {server.address} (SSH: Server " in done.stdout
        assert f"check that `ssh -p {server.port} root@127.0.0.1 docker version` works" in (
            done.stdout
        )

    def test_a_key_that_is_not_let_in_is_one_line(self, server: SshServer, tmp_path: Path) -> None:
        key = server.home / ".ssh/id_ed25519"
        key.unlink()
        write_key(key, Ed25519PrivateKey.generate())
        done = autoscaler(tmp_path, "doctor", **server.environment)
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        assert "(SSH: Authentication failed" in done.stdout


def test_the_daemon_runs_and_ends_on_its_signal(
    server: SshServer, stage: Project, tmp_path: Path
) -> None:
    stage.up()
    settings = {**server.environment, "AUTOSCALER_PROJECTS": stage.name}
    with DaemonProcess(tmp_path, settings) as daemon:
        until(lambda: any(f"{stage.name}/worker" in str(line) for line in daemon.lines), "a tick")
    assert not daemon.alive()
