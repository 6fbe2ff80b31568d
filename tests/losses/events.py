"""What an engine tells of the containers of a run, and the labels by which they are found. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.losses.ledger import Event

RUN, COLUMN = "tests.losses.run", "tests.losses.column"
"""Labels of every container: to which run it belongs, and to which column."""
ACTIONS = ("start", "kill", "oom", "die")
DETAILS = {"kill": "signal", "die": "exitCode"}


def marks(run: str, column: str) -> Mapping[str, str]:
    """Return the labels of the containers of a column."""
    return {RUN: run, COLUMN: column}


def filters(run: str) -> list[str]:
    """Return the options of `docker events` that leave only what counts of a run."""
    return [
        "--filter=type=container",
        f"--filter=label={RUN}={run}",
        *(f"--filter=event={action}" for action in ACTIONS),
    ]


def read_event(line: str) -> Event:
    """Read a line of `docker events --format={{json .}}`."""
    told = json.loads(line)
    traits = told["Actor"]["Attributes"]
    action: str = told["Action"]
    return Event(
        host=told["Actor"]["ID"][:12],
        column=traits[COLUMN],
        action=action,
        at=told["timeNano"] / 1e9,
        detail=traits.get(DETAILS.get(action, ""), ""),
    )
