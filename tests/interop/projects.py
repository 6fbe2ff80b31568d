"""Compose projects on any engine, changed by any version of Docker Compose and by us."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from autoscaler.core.model import Service, ServiceId
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.compose.podman import state_of
from autoscaler.orchestrators.engine import Engine as OurEngine
from autoscaler.orchestrators.engine import Json
from autoscaler.orchestrators.projects import Projects
from tests.interop.engines import Engine
from tests.real.changes import change_replicas
from tests.real.stages import TINY_IMAGE

BUSY = ["sh", "-c", "echo ready; trap 'exit 0' TERM INT USR1; sleep 3600 & wait"]
"""A process that ends at once on its stop signal."""
DRAINED = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Compose:
    """One version of Docker Compose on one engine."""

    engine: Engine
    variables: Mapping[str, str]

    def run(self, *arguments: str, **variables: str) -> str:
        """Run the docker compose command and return what it prints."""
        return self.engine.docker("compose", *arguments, **{**self.variables, **variables})


class Project:
    """One Compose project."""

    def __init__(self, compose: Compose, content: Json, variables: Mapping[str, str]) -> None:
        self.name = f"tda-{uuid.uuid4().hex[:8]}"
        self.engine = compose.engine
        self._compose = compose
        self._variables = variables
        self._scratch = tempfile.TemporaryDirectory(dir=compose.engine.folder, prefix="tda-")
        self.folder = Path(self._scratch.name)
        # A rootless engine is another user, who mounts files of this folder.
        self.folder.chmod(0o755)
        self._volumes: set[str] = set()
        """Every volume that was seen. Compose leaves anonymous volumes behind when it scales in."""
        self.write(content)

    def write(self, content: Json) -> None:
        """Write the Compose file."""
        (self.folder / "compose.yaml").write_text(yaml.safe_dump(content, sort_keys=False))

    def compose(self, *arguments: str) -> str:
        """Run the docker compose command on this project and return what it prints."""
        where = ("--project-name", self.name, "--project-directory", str(self.folder))
        return self._compose.run(*where, *arguments, **self._variables)

    def up(self, **replicas: int) -> None:
        """Run `docker compose up --detach`, with `--scale` for the services that are named."""
        scale = [f"--scale={service}={number}" for service, number in replicas.items()]
        self.compose("up", "--detach", *scale)

    def inspects(self, service: str = "") -> dict[str, Json]:
        """Return the inspects of all containers, by name without the project's prefix."""
        filters = [f"--filter=label=com.docker.compose.project={self.name}"]
        if service:
            filters.append(f"--filter=label=com.docker.compose.service={service}")
        ids = self.engine.docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()
        found = self._inspect(ids) if ids else []
        self._volumes |= {
            mount["Name"] for each in found for mount in each["Mounts"] if "Name" in mount
        }
        return {self._short(each["Name"]): each for each in found}

    def _inspect(self, ids: Collection[str]) -> list[Json]:
        """Inspect these containers, except for those that are gone: they have just drained."""
        looked = self.engine.attempt("inspect", "--type=container", *ids)
        complaints = looked.stderr.splitlines()
        assert all("No such container" in complaint for complaint in complaints), looked.stderr
        found: list[Json] = json.loads(looked.stdout)
        return found

    def states(self) -> dict[str, str]:
        """Return each container and its state, by Docker's name of it."""
        found = sorted(self.inspects().items())
        return {name: state_of(each["State"]["Status"]) for name, each in found}

    def ids(self, service: str) -> dict[str, str]:
        """Return each container of a service and its id."""
        return {name: each["Id"] for name, each in self.inspects(service).items()}

    def starts(self, service: str) -> dict[str, str]:
        """Return each container of a service and when it was last started."""
        return {name: each["State"]["StartedAt"] for name, each in self.inspects(service).items()}

    def container(self, name: str) -> str:
        """Return the full name of a container."""
        return f"{self.name}-{name}"

    def run_in(self, container: str, *command: str) -> str:
        """Run a command in a container and return what it prints."""
        return self.engine.docker("exec", self.container(container), *command)

    def listed(self, *options: str) -> set[str]:
        """Return the containers that `docker compose ps` shows."""
        lines = self.compose("ps", "--format=json", *options).splitlines()
        return {self._short(json.loads(line)["Name"]) for line in lines}

    def logged(self) -> set[str]:
        """Return the containers whose lines `docker compose logs` shows."""
        lines = self.compose("--ansi=never", "logs", "--no-color").splitlines()
        # Compose 2.26 writes the code that clears a line in spite of --ansi=never.
        plain_lines = [line.replace("\x1b[2K", "") for line in lines]
        return {line.partition("|")[0].strip() for line in plain_lines}

    def volumes(self) -> set[str]:
        """Return the volumes that the containers have mounted."""
        return {
            mount["Name"]
            for each in self.inspects().values()
            for mount in each["Mounts"]
            if mount["Type"] == "volume"
        }

    def close(self) -> None:
        """Remove everything, including containers that Compose might not treat as its own."""
        # Podman wants those first that use the network or the processes of others.
        for each in sorted(self.inspects().values(), key=_uses_another, reverse=True):
            removed = self.engine.attempt("rm", "--force", "--volumes", each["Id"])
            # A daemon that has just ended may have removed it too.
            too_late = ("No such container", "already in progress")
            assert removed.returncode == 0 or any(words in removed.stderr for words in too_late)
        self.compose("--profile=*", "down", "--volumes", "--remove-orphans")
        if self._volumes:
            self.engine.docker("volume", "rm", "--force", *self._volumes)
        self._scratch.cleanup()

    def _short(self, name: str) -> str:
        return name.removeprefix("/").removeprefix(f"{self.name}-")


def _uses_another(inspect: Json) -> bool:
    """Whether a container uses the network, processes or memory of another one."""
    modes = (inspect["HostConfig"][key] or "" for key in ("NetworkMode", "PidMode", "IpcMode"))
    return any(mode.startswith("container:") for mode in modes)


class Ours:
    """Our orchestrator for one project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._engine = OurEngine(environment=project.engine.environment)
        self._orchestrator = ComposeOrchestrator(
            self._engine,
            clock=lambda: datetime.now(UTC),
            projects=Projects(self._engine, [project.name]),
        )

    async def discover(self) -> Sequence[Service]:
        """Return the services as they stand now."""
        return await self._orchestrator.discover()

    async def scale(self, service: str, *, to: int) -> None:
        """Scale a service to this number of replicas; wait until the others have drained."""
        now = sum(
            each["State"]["Status"] == "running"
            for each in self._project.inspects(service).values()
        )
        service_id = ServiceId("compose", f"{self._project.name}/{service}")
        await change_replicas(self._orchestrator, service_id, now, to)
        await self._orchestrator.close(DRAINED)

    def close(self) -> None:
        self._engine.close()


@asynccontextmanager
async def ours(project: Project) -> AsyncIterator[Ours]:
    """Yield our orchestrator for a project."""
    hands = Ours(project)
    try:
        yield hands
    finally:
        hands.close()


async def scale(project: Project, service: str, *, to: int) -> None:
    """Scale one service once, as a daemon that has just started would."""
    async with ours(project) as hands:
        await hands.scale(service, to=to)


def plain(*, version: str = "1", file_replicas: int | None = None) -> Json:
    """Return the Compose file of two services, one of which depends on the other."""
    worker: Json = {
        "image": TINY_IMAGE,
        "command": BUSY,
        "environment": {"VERSION": version},
        "stop_grace_period": "5s",
        "labels": {"temporal.queue": "orders", "temporal.max": "20"},
        "volumes": ["/data"],
    }
    if file_replicas is not None:
        worker["scale"] = file_replicas
    base = {"image": TINY_IMAGE, "command": BUSY, "stop_grace_period": "5s"}
    return {"services": {"base": base, "worker": {**worker, "depends_on": ["base"]}}}


def names(service: str, numbers: Collection[int]) -> set[str]:
    """Return the names of the containers with these numbers."""
    return {f"{service}-{number}" for number in numbers}
