"""Docker Engines for tests: this machine's, and others that run in its containers."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.interop.kinds import Kind, kind_of
from tests.real.stages import TINY_IMAGE
from tests.real.waiting import until

TIMEOUT = 240
"""Seconds after which a command counts as hanging."""
CONFINED = (
    # The rights that dockerd needs in a container where `--privileged` is not allowed.
    *("--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW", "--cap-add=SYS_PTRACE"),
    *("--cap-add=MKNOD", "--cap-add=DAC_READ_SEARCH", "--cap-add=SYSLOG"),
    *("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"),
    *("--device-cgroup-rule=a *:* rwm", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw"),
)


class Engine:
    """An engine, with the environment in which the docker command and our client reach it."""

    def __init__(self, host: str | None = None, folder: Path | None = None) -> None:
        """Use the engine at `host`, or the one that the docker command finds by default."""
        self.environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
        self.folder = Path(tempfile.gettempdir()) if folder is None else folder
        """A folder whose files this engine sees under the same path."""

    def docker(self, *arguments: str, **variables: str) -> str:
        """Run the docker command against this engine and return what it prints."""
        done = self.attempt(*arguments, **variables)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def attempt(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the docker command against this engine. It may fail."""
        return subprocess.run(
            ["docker", *arguments],
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )

    @functools.cached_property
    def is_podman(self) -> bool:
        """Whether it is Podman that answers."""
        return "Podman Engine" in self.docker("version", "--format={{json .Server.Components}}")

    @functools.cached_property
    def is_rootless(self) -> bool:
        """Whether it runs without root."""
        return "name=rootless" in self.docker("info", "--format={{json .SecurityOptions}}")

    @property
    def api(self) -> str:
        """The newest version of its API."""
        return self.docker("version", "--format={{.Server.APIVersion}}").strip()


class NestedEngine(Engine):
    """An engine in a container of this machine's engine: Docker in Docker."""

    def __init__(self, version: str, *options: str) -> None:
        """Start an engine in a container with these options of `docker run`.

        `version` is a version of Docker, or another name of the matrix.
        """
        folder = Path(tempfile.mkdtemp(prefix="tda-engine-"))
        super().__init__(f"unix://{folder}/docker.sock", folder)
        self.name = f"tda-engine-{uuid.uuid4().hex[:8]}"
        try:
            self._start(kind_of(version), *options)
        except BaseException:
            self.close()
            raise

    def _start(self, kind: Kind, *options: str) -> None:
        outer().docker(
            "run", "--detach", "--name", self.name, "--hostname", self.name, *_rights(),
            *kind.options, *options,
            f"--volume={kind.storage}",
            f"--volume={self.folder}:{self.folder}",
            f"--env=SOCKET={self.folder}/docker.sock",
            "--entrypoint=sh",
            kind.image, "-c", kind.start,
        )  # fmt: skip
        self.await_answer()
        self.bring(TINY_IMAGE)

    def bring(self, *images: str) -> None:
        """Copy images of this machine's engine to it."""
        bring(images, self)

    @property
    def address(self) -> str:
        """Its address in the outer engine's network."""
        form = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return outer().docker("inspect", form, self.name).strip()

    def await_answer(self) -> None:
        """Wait until it answers commands."""
        until(
            lambda: self.attempt("version").returncode == 0,
            f"the engine in {self.name}",
            limit=TIMEOUT,
        )

    def restart(self) -> None:
        """Stop the engine, as at the shutdown of a machine, and start it again."""
        outer().docker("restart", "--time=60", self.name)
        self.await_answer()

    def freeze(self) -> None:
        """Suspend it: its socket accepts calls, but nothing answers. Its containers run on."""
        outer().docker("kill", "--signal=STOP", self.name)

    def thaw(self) -> None:
        """Let it continue."""
        outer().docker("kill", "--signal=CONT", self.name)

    def inside(self, *command: str) -> str:
        """Run a command in the container of the engine and return what it prints."""
        return outer().docker("exec", self.name, *command)

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        outer().docker("kill", self.name)

    def close(self) -> None:
        """Remove it with everything in it."""
        outer().attempt("rm", "--force", "--volumes", self.name)
        shutil.rmtree(self.folder)


def bring(images: Collection[str], *engines: NestedEngine) -> None:
    """Copy images of this machine's engine to others, all at once."""
    with tempfile.TemporaryDirectory(prefix="tda-images-") as folder:
        archive = f"{folder}/images.tar"
        outer().docker("save", f"--output={archive}", *images)
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda engine: engine.docker("load", f"--input={archive}"), engines))


class Engines:
    """The engines of one test run. Each is started when it is first needed."""

    def __init__(self) -> None:
        self._nested: dict[str, NestedEngine] = {}

    def get(self, version: str) -> Engine:
        """Return this machine's engine for `host`, and a nested one for a version."""
        if version == "host":
            return outer()
        if version not in self._nested:
            self._nested[version] = NestedEngine(version)
        return self._nested[version]

    def close(self) -> None:
        """Remove the nested engines."""
        while self._nested:
            self._nested.popitem()[1].close()


@functools.cache
def outer() -> Engine:
    """Return the engine of this machine."""
    return Engine()


@functools.cache
def _rights() -> tuple[str, ...]:
    """Return the options that give a nested engine its rights: all, where that is allowed."""
    everything = "--privileged"
    tried = outer().attempt("run", "--rm", everything, TINY_IMAGE, "true")
    return (everything,) if tried.returncode == 0 else CONFINED


def plugin(binary: Path, folder: Path) -> Mapping[str, str]:
    """Return the environment variables with which `docker compose` runs this binary."""
    link = folder / "cli-plugins/docker-compose"
    link.parent.mkdir(parents=True)
    link.symlink_to(binary)
    return {"DOCKER_CONFIG": str(folder)}
