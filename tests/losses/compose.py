"""The services as one Compose project, and the daemon as a process of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.interop.engines import outer
from tests.losses.columns import Column
from tests.losses.engine_log import EngineLog
from tests.losses.events import marks
from tests.losses.stage import SERVICES, labels, options
from tests.real.crew import ServerInDocker
from tests.real.daemon import DaemonProcess, Line
from tests.real.stages import ComposeStage, docker


class OnCompose:
    """One Compose project."""

    most = 11

    def __init__(self, folder: Path, columns: Sequence[Column]) -> None:
        """Have these services, and keep their files in the folder of the run."""
        self._folder = folder
        self._columns = columns
        self._server = ServerInDocker()
        self.endpoint = self._server.endpoint
        self._project = ComposeStage(folder)
        self.log = EngineLog(self._project.project, [outer()])
        self._daemons: list[DaemonProcess] = []
        self._parts = ExitStack()

    def name(self, column: Column) -> str:
        """Return the name of a service in services files."""
        return self._project.name(column.name)

    def start(self, replicas: int, parts: ExitStack) -> None:
        """Start everything but the daemon. `parts` ends it."""
        self._parts = parts
        parts.callback(self._server.stop)
        self._server.start()
        parts.callback(self._remove_containers)
        parts.enter_context(self.log)
        own = {
            column.name: {
                **options(column, self._folder, "temporal:7233"),
                # The server and the daemon come first: a starved server loses tasks of its own.
                "cpu_shares": 256,
            }
            for column in self._columns
        }
        labels_of = {
            column.name: {**labels(column), **marks(self._project.project, column.name)}
            for column in self._columns
        }
        network = {"external": True, "name": self._server.network}
        self._project.up(
            dict.fromkeys(own, replicas),
            labels_of,
            each=own,
            top={"networks": {"default": network}},
        )

    def start_daemon(self) -> None:
        """Start the next daemon."""
        daemon = DaemonProcess(
            self._folder,
            {
                "AUTOSCALER_PROJECTS": self._project.project,
                "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": self.endpoint,
                "AUTOSCALER_SERVICES": str(self._folder / SERVICES),
                "AUTOSCALER_HOST_RESERVE": "0",
                "AUTOSCALER_LOG_LEVEL": "info",
            },
        )
        self._parts.enter_context(daemon)
        self._daemons.append(daemon)

    def kill_daemon(self) -> None:
        """Kill the latest daemon."""
        self._daemons[-1].kill()

    @property
    def lines(self) -> Sequence[Line]:
        """The log of every daemon until now."""
        return [line for daemon in self._daemons for line in list(daemon.lines)]

    def _remove_containers(self) -> None:
        """Remove all replicas at once, and what else the project has."""
        mine = f"--filter=label=com.docker.compose.project={self._project.project}"
        while left := docker("ps", "--all", "--quiet", mine).split():
            with suppress(AssertionError):
                # The daemon's removals may come first.
                docker("rm", "--force", "--volumes", *left)
        self._project.close()
