"""What the engine tells of containers."""

from __future__ import annotations

import json

import pytest

from tests.losses.engine_log import read_event
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
    attributes = {"com.docker.compose.service": "py-5", "name": "x-py-5-1", **traits}
    line = json.dumps(
        {
            "Type": "container",
            "Action": action,
            "Actor": {"ID": "0123456789abcdef" * 4, "Attributes": attributes},
            "timeNano": 1_700_000_000_500_000_000,
        }
    )

    assert read_event(line) == Event("0123456789ab", "py-5", action, 1_700_000_000.5, detail)
