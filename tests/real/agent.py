"""An agent in a process of its own, on the engine of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.swarm.agents import SwarmAgents
from tests.real.daemon import environment
from tests.real.waiting import LIMIT, free_port, until

SECRET = "a secret of the tests that is long enough"


class AgentProcess:
    """Starts an agent, reads its JSON lines, and ends it."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        self.text: list[str] = []
        defaults = {"AUTOSCALER_AGENT_SECRET": SECRET, "AUTOSCALER_PROJECTS": "*"}
        arguments = ["agent", "--host=0.0.0.0", f"--port={self.port}"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "autoscaler", *arguments],
            cwd=folder,
            env=environment({**defaults, **settings}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def __enter__(self) -> Self:
        self._reader.start()
        until(lambda: self.lines("agent listening") or self._process.poll() is not None, "an agent")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=LIMIT)
        self._reader.join()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log with this event."""
        found = [json.loads(line) for line in tuple(self.text) if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def refusals(self) -> list[str]:
        """Return the reasons of all refusals in the log."""
        return [line["because"] for line in self.lines("refused")]

    def end(self) -> int:
        """End it by SIGTERM and return its exit code."""
        self._process.terminate()
        return self._process.wait(timeout=LIMIT)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.text.append(line)


class AgentsAt(SwarmAgents):
    """The daemon's side. A test says where the agents are, instead of the Swarm."""

    def __init__(
        self, engine: Engine, secret: SecretStr, port: int, hosts: Mapping[str, str] | None = None
    ) -> None:
        """Find the agents at these addresses, by NodeIDs; without any, on this machine."""
        super().__init__(engine, secret, lambda: datetime.now(UTC), port=port)
        self._hosts = hosts
        self.before_drain: Callable[[], None] = lambda: None
        """Is called before each container is told to stop."""

    async def drain(self, node: str, service: str, container: str, grace: timedelta) -> None:
        """Have a container stopped behind this grace. Raises AgentUnavailable."""
        self.before_drain()
        await super().drain(node, service, container, grace)

    async def _address(self, node: str) -> str:
        return "127.0.0.1" if self._hosts is None else self._hosts[node]
