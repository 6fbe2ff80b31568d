"""Services on a real engine, as people make them: `docker compose up`, `docker stack deploy`."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from testcontainers.compose import DockerCompose

from tests.real.waiting import until

TINY_IMAGE = "autoscaler-test/busybox:1"
IDLE = ("sleep", "3600")
STUBBORN = ("sh", "-c", "trap '' TERM; sleep 3600 & wait; wait")
"""A process that ignores SIGTERM: only SIGKILL after the grace period stops it."""

Labels = Mapping[str, str]


def docker(*arguments: str, host: str | None = None) -> str:
    """Run the docker command, on the engine at `host` if given, and return what it prints."""
    done = subprocess.run(
        ["docker", *arguments],
        env=_leading_to(host),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def _leading_to(host: str | None) -> Mapping[str, str]:
    return {**os.environ, **({"DOCKER_HOST": host} if host else {})}


class Stage(Protocol):
    """A place to run services on. `close` removes everything."""

    orchestrator: str
    project: str

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Labels], **options: Any) -> None:
        """Run services with these replicas and labels; `options` apply to each."""

    def name(self, service: str) -> str:
        """Return the autoscaler's name of the service."""

    def running(self, service: str) -> set[str]:
        """Return the ids of the running replicas."""

    def stop_by_hand(self, service: str) -> None:
        """Stop all replicas of a service, as people do."""

    def close(self) -> None:
        """Remove everything."""


class ComposeStage:
    """One Compose project."""

    orchestrator = "compose"

    def __init__(self, folder: Path, host: str | None = None) -> None:
        """Keep the Compose file in `folder`; run containers on the engine at `host`, if given."""
        self.project = f"tda-{uuid.uuid4().hex[:8]}"
        self._folder = folder
        self._host = host
        self._compose = DockerCompose(folder, compose_file_name="compose.yaml", wait=False)
        self.write((), {})

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Labels], **options: Any) -> None:
        self.write(replicas, labels, **options)
        scale = [f"--scale={service}={number}" for service, number in replicas.items()]
        self.compose("up", "--detach", *scale)

    def write(self, services: Iterable[str], labels: Mapping[str, Labels], **options: Any) -> None:
        """Write the Compose file with these services. The options apply to each service.

        Two options differ: `top` has further top-level parts of the file, and `each` has the
        options of single services by their names.
        """
        top, each = options.pop("top", {}), options.pop("each", {})
        entries = {
            service: {
                **_service({**options, **each.get(service, {})}),
                "labels": dict(labels.get(service, {})),
            }
            for service in services
        }
        content = {"name": self.project, "services": entries, **top}
        (self._folder / "compose.yaml").write_text(yaml.safe_dump(content))

    def name(self, service: str) -> str:
        return f"{self.project}/{service}"

    def running(self, service: str) -> set[str]:
        return set(
            docker(
                "ps",
                "--quiet",
                "--no-trunc",
                f"--filter=label=com.docker.compose.project={self.project}",
                f"--filter=label=com.docker.compose.service={service}",
                host=self._host,
            ).split()
        )

    def compose(self, *arguments: str) -> str:
        """Run the docker compose command on this project and return what it prints."""
        command = [*self._compose.docker_compose_command(), *arguments]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=_leading_to(self._host),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def states(self) -> list[str]:
        """Return the states of all containers of the project."""
        filter_ = f"--filter=label=com.docker.compose.project={self.project}"
        return docker("ps", "--all", "--format={{.State}}", filter_, host=self._host).split()

    def names(self) -> list[str]:
        """Return the names of all containers of the project, including stopped ones."""
        filter_ = f"--filter=label=com.docker.compose.project={self.project}"
        return docker("ps", "--all", "--format={{.Names}}", filter_, host=self._host).split()

    def listed(self, *, stopped: bool = False) -> list[str]:
        """Return the names that `docker compose ps` lists."""
        return [
            str(container.Name) for container in self._compose.get_containers(include_all=stopped)
        ]

    def stop_by_hand(self, service: str) -> None:
        self.compose("stop", "--timeout", "1", service)

    def close(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "1")


class SwarmStage:
    """One stack in a Swarm of one node."""

    orchestrator = "swarm"

    def __init__(self, folder: Path) -> None:
        self.project = f"tda-{uuid.uuid4().hex[:8]}"
        self._file = folder / "stack.yaml"

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Labels], **options: Any) -> None:
        """Deploy the stack. The options apply to each service; three differ.

        `deploy` is that part of each service, `network` is the network that they join, and with
        `await_running=False` this does not wait until the replicas run. More may run in the end:
        a daemon that watches the stack may scale it meanwhile.
        """
        deploy = options.pop("deploy", {})
        await_running, network = options.pop("await_running", True), options.pop("network", "host")
        services = {
            service: {
                **_service(options),
                "deploy": {**deploy, "replicas": number, "labels": dict(labels.get(service, {}))},
            }
            for service, number in replicas.items()
        }
        # The host's network saves the time that an overlay network takes to be made.
        networks = {"default": {"external": True, "name": network}}
        content = {"version": "3.8", "services": services, "networks": networks}
        self._file.write_text(yaml.safe_dump(content))
        docker(
            "stack", "deploy", "--resolve-image=never", f"--compose-file={self._file}", self.project
        )
        for service, number in replicas.items() if await_running else ():
            until(lambda s=service, n=number: len(self.running(s)) >= n, f"{number} x {service}")

    def name(self, service: str) -> str:
        return f"{self.project}_{service}"

    def running(self, service: str) -> set[str]:
        rows = docker(
            "service", "ps", "--no-trunc", "--filter=desired-state=running",
            "--format={{.ID}} {{.CurrentState}}", self.name(service),
        ).splitlines()  # fmt: skip
        return {row.split()[0] for row in rows if row.split()[1] == "Running"}

    def failed(self, service: str) -> bool:
        """Return whether a task of the service has failed."""
        states = docker("service", "ps", "--format={{.CurrentState}}", self.name(service))
        return "Failed" in states

    def desired(self, service: str) -> int:
        """Return the number of replicas in the specification of the service."""
        spec = json.loads(docker("service", "inspect", self.name(service)))[0]["Spec"]
        return int(spec["Mode"]["Replicated"]["Replicas"])

    def stop_by_hand(self, service: str) -> None:
        docker("service", "scale", "--detach", f"{self.name(service)}=0")

    def close(self) -> None:
        docker("stack", "rm", self.project)
        filter_ = f"--filter=label=com.docker.stack.namespace={self.project}"
        until(lambda: not docker("ps", "--all", "--quiet", filter_), f"the end of {self.project}")


def _service(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service for the file. `container_labels` become its labels, the rest is copied.

    What is None is left out: Docker's own default counts then. With an init, `sleep` ends at its
    stop signal: the kernel ignores it for process 1.
    """
    given = dict(options)
    command: Sequence[str] = given.pop("command", IDLE)
    labels: Labels = given.pop("container_labels", {})
    defaults = {"image": TINY_IMAGE, "stop_grace_period": "1s", "init": True}
    chosen = {name: value for name, value in {**defaults, **given}.items() if value is not None}
    return {**chosen, "command": list(command), "labels": dict(labels)}
