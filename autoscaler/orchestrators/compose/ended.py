"""What the engine tells of a container that has ended: its exit code, and why."""

from __future__ import annotations

import re
from datetime import datetime

from docker import APIClient
from docker.errors import DockerException
from requests.exceptions import RequestException

from autoscaler.orchestrators.compose.exits import Exit
from autoscaler.orchestrators.engine import Json

_LINES = 10
"""Lines of a log that are read: the very last ones may be empty."""
LONGEST = 200
"""Characters of last words that are kept."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""Colours and cursor movements of a terminal."""


def read_exit(client: APIClient, container: str) -> Exit:
    """Return how a container ended. Raises what docker-py raises."""
    state: Json = client.inspect_container(container)["State"]
    return Exit(
        code=int(state["ExitCode"]),
        at=datetime.fromisoformat(state["FinishedAt"]),
        out_of_memory=bool(state.get("OOMKilled")),
        last_words=_tidy(state.get("Error") or _end_of_log(client, container)),
    )


def _end_of_log(client: APIClient, container: str) -> str:
    """Return the last line of a log that says something; empty where no log can be read.

    What was written to standard error comes first: the order of the two streams is left to chance.
    """
    lines: list[str] = []
    for errors in (False, True):
        try:
            log: bytes = client.logs(container, tail=_LINES, stdout=not errors, stderr=errors)
        except (DockerException, RequestException):
            # Some logging drivers cannot be read from.
            return ""
        lines += filter(None, map(_tidy, log.decode(errors="replace").splitlines()))
    return lines[-1] if lines else ""


def _tidy(text: str) -> str:
    """Return one line of printable text, cut where it is too long."""
    printable = "".join(each if each.isprintable() else " " for each in _ESCAPES.sub("", text))
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
