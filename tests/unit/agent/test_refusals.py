"""What an agent says of its refusals."""

from __future__ import annotations

from types import SimpleNamespace

from structlog import get_logger
from structlog.testing import capture_logs

from autoscaler.agent.refusals import Refusals


def test_each_reason_is_said_once_a_minute_with_how_often() -> None:
    clock = SimpleNamespace(now=100.0)
    with capture_logs() as lines:
        refusals = Refusals(get_logger(), lambda: clock.now)
        for _ in range(1000):
            refusals.note("a false signature", "10.0.1.2")
        refusals.note("another reason", "10.0.1.3")
        clock.now += 60
        refusals.note("a false signature", "10.0.1.4")

    said = [(line["because"], line["latest_from"], line["times"]) for line in lines]
    assert said == [
        ("a false signature", "10.0.1.2", 1),
        ("another reason", "10.0.1.3", 1),
        ("a false signature", "10.0.1.4", 1000),
    ]
