"""The command line in a process of its own: the daemon, and commands that end by themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from autoscaler.core.sighting import FRESH
from tests.real.waiting import LIMIT

Line = dict[str, Any]

GRACE = 30
"""Seconds that a daemon gets to end: longer than its own limit."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the tests' environment with these settings as its only ones of ours and Temporal's."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AUTOSCALER_", "TEMPORAL_"))
    }
    return {**clean, **settings}


def autoscaler(
    folder: Path, *arguments: str, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run an autoscaler command to its end, in a folder and with these settings only."""
    return subprocess.run(
        [sys.executable, "-m", "autoscaler", *arguments],
        cwd=folder,
        env=environment(settings),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


class DaemonProcess:
    """The daemon in a process: starts it, reads its JSON lines, ends it."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], module: str = "autoscaler"
    ) -> None:
        """Start it; a test may run another `module` instead."""
        self.lines: list[Line] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "run"],
            cwd=folder,
            # Several daemons may run at once, so each takes a free port; `listening` names it.
            env=environment(
                {
                    "AUTOSCALER_LOG_LEVEL": "debug",
                    "AUTOSCALER_LISTEN": "127.0.0.1:0",
                    "AUTOSCALER_STATE": str(folder / "state"),
                    **settings,
                }
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # SIGTERM first, as Docker does: a killed daemon may leave a container half made.
        self._process.terminate()
        try:
            self._process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def wait_for(self, event: str, *, after: int = 0, **fields: object) -> Line:
        """Return the first line of this event with these fields, from line `after` on."""

        def found() -> Line | None:
            return next(
                (
                    line
                    for line in self.lines[after:]
                    if line["event"] == event and fields.items() <= line.items()
                ),
                None,
            )

        with self._news:
            seen = self._news.wait_for(lambda: found() or self._ended(), LIMIT)
            line = found()
        assert seen and line, f"no line {event} {fields} in:\n{self.text}"  # noqa: PT018
        return line

    def metric(self, name: str, service: str) -> float:
        """Return the value of one of its metrics for a service."""
        with urlopen(f"{self.url.rstrip('/')}/metrics", timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return next(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and sample.labels["service"] == service
        )

    @property
    def url(self) -> str:
        """The address of its status page."""
        return str(self.wait_for("listening")["url"])

    def reads(self, start: int, end: Line) -> int:
        """Count how often backlogs were read from line `start` on, before the line `end`.

        A tick soon after another uses the same reading: only ticks at least FRESH apart count.
        """
        count, latest = 1, None
        for line in self.lines[start : self.lines.index(end)]:
            at = datetime.fromisoformat(line["timestamp"])
            if line["event"] == "tick" and (latest is None or at - latest >= FRESH):
                count, latest = count + 1, at
        return count

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def text(self) -> str:
        return "\n".join(map(str, self.lines))

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=LIMIT)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def alive(self) -> bool:
        return self._process.poll() is None

    def _ended(self) -> bool:
        return not self._reader.is_alive()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"event": "not JSON", "text": text}
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()
