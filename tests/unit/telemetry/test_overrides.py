"""The log of overrides: when one begins, is about to end, ends, and is removed."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.core.override import Override
from autoscaler.telemetry.logging import LogObserver, make_logger
from tests.fakes.clock import START
from tests.fakes.reports import service, tick

HOUR = timedelta(hours=1)
MAX = Override(
    ServiceId("compose", "shop/worker"), "max", "6", START, START + HOUR, "anna", "deploy"
)
MIN = replace(MAX, name="min", value="2")


class Log:
    """A log, and the lines about overrides since it was looked at last."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self._observer = LogObserver(make_logger("info", json=True, stream=self._stream))

    def after(self, passed: timedelta, *overrides: Override) -> list[dict[str, Any]]:
        """Observe a tick with these overrides, so long after the start."""
        self._stream.truncate(0)
        self._stream.seek(0)
        self._observer.observe(tick(service(), at=START + passed, overrides=overrides))
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["event"].startswith("override")]


@pytest.fixture
def log() -> Log:
    return Log()


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


def test_one_that_begins_says_what_until_when_by_whom_and_why(log: Log) -> None:
    (line,) = log.after(timedelta(), MAX)
    assert line["event"] == "override begins"
    assert (line["service"], line["values"]) == ("shop/worker", ["max=6"])
    assert (line["by"], line["reason"], line["left"]) == ("anna", "deploy", "1h left")
    assert line["until"] == "2026-01-01T01:00:00+00:00"


def test_what_was_set_together_is_one_line(log: Log) -> None:
    (line,) = log.after(timedelta(), MAX, MIN)
    assert line["values"] == ["max=6", "min=2"]


def test_what_goes_on_is_no_line(log: Log) -> None:
    log.after(timedelta(), MAX)
    assert log.after(timedelta(seconds=1), MAX) == []


def test_five_minutes_before_the_end_it_is_said_once(log: Log) -> None:
    log.after(timedelta(), MAX)
    assert log.after(timedelta(minutes=54), MAX) == []
    (line,) = log.after(timedelta(minutes=55), MAX)
    assert (line["event"], line["left"]) == ("override ends soon", "5m left")
    assert log.after(timedelta(minutes=56), MAX) == []


def test_its_end_is_said(log: Log) -> None:
    log.after(timedelta(), MAX)
    assert events(log.after(HOUR)) == ["override ended"]
    assert log.after(2 * HOUR) == []


def test_its_removal_is_said(log: Log) -> None:
    log.after(timedelta(), MAX)
    assert events(log.after(timedelta(minutes=1))) == ["override removed"]


def test_another_value_in_its_place_begins_and_nothing_ends(log: Log) -> None:
    log.after(timedelta(), MAX)
    assert events(log.after(timedelta(minutes=1), replace(MAX, value="8"))) == ["override begins"]


def test_one_without_an_end_never_ends_soon(log: Log) -> None:
    (line,) = log.after(timedelta(), replace(MAX, until=None))
    assert (line["until"], "left" in line) == ("ever", False)
    assert log.after(10_000 * HOUR, replace(MAX, until=None)) == []
