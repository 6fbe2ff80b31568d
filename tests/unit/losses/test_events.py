"""What an engine tells of containers, and how those of a run are found."""

from __future__ import annotations

import json

import pytest

from tests.losses.events import ACTIONS, filters, marks, read_event
from tests.losses.ledger import Event


@pytest.mark.parametrize(
    ("action", "traits", "detail"),
    [
        ("kill", {"signal": "15"}, "15"),
        ("die", {"exitCode": "137"}, "137"),
        ("oom", {}, ""),
        ("start", {}, ""),
    ],
)
def test_an_event_is_read(action: str, traits: dict[str, str], detail: str) -> None:
    attributes = {**marks("run-7", "py-5"), "name": "x-py-5-1", **traits}
    line = json.dumps(
        {
            "Type": "container",
            "Action": action,
            "Actor": {"ID": "0123456789abcdef" * 4, "Attributes": attributes},
            "timeNano": 1_700_000_000_500_000_000,
        }
    )

    assert read_event(line) == Event("0123456789ab", "py-5", action, 1_700_000_000.5, detail)


def test_only_what_counts_of_one_run_is_asked_for() -> None:
    asked = filters("run-7")

    (label,) = (each for each in asked if each.startswith("--filter=label="))
    assert label.removeprefix("--filter=label=") in {
        f"{name}={value}" for name, value in marks("run-7", "py-5").items()
    }
    assert {f"--filter=event={action}" for action in ACTIONS} < set(asked)
