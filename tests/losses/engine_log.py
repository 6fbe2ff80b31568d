"""Follows what happens to the containers of one Compose project, as the engine tells it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import defaultdict
from typing import Self

from tests.losses.ledger import Event

SERVICE = "com.docker.compose.service"
DETAILS = {"kill": "signal", "die": "exitCode"}
ACTIONS = ("start", "kill", "oom", "die")


class EngineLog:
    """The events of the project's containers, from `__enter__` on."""

    def __init__(self, project: str) -> None:
        self.events: list[Event] = []
        self.running: dict[str, set[str]] = defaultdict(set)
        """Host names of the running containers, by service."""
        self._command = [
            "docker", "events", "--format={{json .}}", "--filter=type=container",
            f"--filter=label=com.docker.compose.project={project}",
            *(f"--filter=event={action}" for action in ACTIONS),
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = read_event(line)
            self.events.append(event)
            if event.action == "start":
                self.running[event.service].add(event.host)
            elif event.action == "die":
                self.running[event.service].discard(event.host)


def read_event(line: str) -> Event:
    """Read a line of `docker events --format={{json .}}`."""
    told = json.loads(line)
    traits = told["Actor"]["Attributes"]
    action: str = told["Action"]
    return Event(
        host=told["Actor"]["ID"][:12],
        service=traits[SERVICE],
        action=action,
        at=told["timeNano"] / 1e9,
        detail=traits.get(DETAILS.get(action, ""), ""),
    )
