"""Services on a real engine, as people make them: `docker compose up`, `docker stack deploy`."""

from __future__ import annotations

import json
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
"""A process that does not end on SIGTERM: only the kill after the grace stops it."""

Labels = Mapping[str, str]


def docker(*arguments: str) -> str:
    """Run the docker command and return what it prints."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class Stage(Protocol):
    """A place to put services on; `close` removes everything again."""

    orchestrator: str
    project: str

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Labels], **options: Any) -> None:
        """Bring services to these replicas with these labels; `options` go into each."""

    def name(self, service: str) -> str:
        """Return what the autoscaler calls the service."""

    def running(self, service: str) -> set[str]:
        """Return the ids of the replicas that run."""

    def close(self) -> None:
        """Remove everything."""


class ComposeStage:
    """One Compose project."""

    orchestrator = "compose"

    def __init__(self, folder: Path) -> None:
        self.project = f"tda-{uuid.uuid4().hex[:8]}"
        self._folder = folder
        self._compose = DockerCompose(folder, compose_file_name="compose.yaml", wait=False)
        self.write((), {})

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Labels], **options: Any) -> None:
        self.write(replicas, labels, **options)
        scale = [f"--scale={service}={number}" for service, number in replicas.items()]
        self.compose("up", "--detach", *scale)

    def write(self, services: Iterable[str], labels: Mapping[str, Labels], **options: Any) -> None:
        """Write the Compose file; `top` goes beside the services, other options into each.

        `each` has further options of single services.
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
            ).split()
        )

    def compose(self, *arguments: str) -> str:
        """Run the docker compose command on this project and return what it prints."""
        command = [*self._compose.docker_compose_command(), *arguments]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False, timeout=180
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def states(self) -> list[str]:
        """Return the states of all containers of the project."""
        filter_ = f"--filter=label=com.docker.compose.project={self.project}"
        return docker("ps", "--all", "--format={{.State}}", filter_).split()

    def listed(self, *, stopped: bool = False) -> list[str]:
        """Return the names that `docker compose ps` lists."""
        return [
            str(container.Name) for container in self._compose.get_containers(include_all=stopped)
        ]

    def close(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "1")


class SwarmStage:
    """One stack in a Swarm of one node."""

    orchestrator = "swarm"

    def __init__(self, folder: Path) -> None:
        self.project = f"tda-{uuid.uuid4().hex[:8]}"
        self._file = folder / "stack.yaml"

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Labels], **options: Any) -> None:
        """Deploy the stack; `deploy` goes into that part of each service, `network` is theirs.

        Waits until so many tasks run, unless `await_running` says that they never will. There
        may be more of them at once: a daemon that looks on does not wait.
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
        # Without a network of their own the services need no overlay network to be made first.
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
        """Return the number of replicas that the service asks for."""
        spec = json.loads(docker("service", "inspect", self.name(service)))[0]["Spec"]
        return int(spec["Mode"]["Replicated"]["Replicas"])

    def close(self) -> None:
        docker("stack", "rm", self.project)
        filter_ = f"--filter=label=com.docker.stack.namespace={self.project}"
        until(lambda: not docker("ps", "--all", "--quiet", filter_), f"the end of {self.project}")


def _service(options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a service; `container_labels` become its labels, the others are as in the file."""
    given = dict(options)
    command: Sequence[str] = given.pop("command", IDLE)
    labels: Labels = given.pop("container_labels", {})
    defaults = {"image": TINY_IMAGE, "stop_grace_period": "1s"}
    return {**defaults, **given, "command": list(command), "labels": dict(labels)}
