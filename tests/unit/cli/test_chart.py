"""Charts in characters: lines over time, on a terminal of any width."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from autoscaler.cli import chart

RISE = [(float(at), at) for at in range(1000)]


def test_a_chart_has_its_title_and_the_names_of_its_lines() -> None:
    drawn = chart.draw("replicas", {"ours": [(0, 1), (60, 5)], "KEDA": [(0, 1)]}, 80, colour=False)
    assert "replicas" in drawn.splitlines()[0]
    assert "ours" in drawn
    assert "KEDA" in drawn


def test_the_axes_reach_the_end_and_the_highest_number() -> None:
    drawn = chart.draw("waiting", {"ours": [(0, 0), (1800, 1234)]}, 80, colour=False)
    assert "1,234┤" in drawn
    assert "30m" in drawn.splitlines()[-1]


def test_times_are_in_seconds_where_the_trace_is_short() -> None:
    drawn = chart.draw("waiting", {"ours": [(0, 0), (90, 1)]}, 80, colour=False)
    assert "1m15s" in drawn.splitlines()[-1]


def test_times_are_those_of_the_day_where_the_trace_has_dates() -> None:
    begins = datetime(2027, 3, 27, 22, tzinfo=ZoneInfo("Europe/Berlin"))
    lines: dict[str, chart.Line] = {"ours": [(0, 0), (12 * 3600, 1)]}
    axis = chart.draw("waiting", lines, 120, colour=False, begins=begins).splitlines()[-1]
    told = " ".join(axis.split())
    assert told.startswith("Sat 22:00 Sun 00:00 Sun 03:00 Sun 05:00"), "2 h each, and a gap"


def test_a_peak_between_two_characters_is_drawn() -> None:
    flat = [(float(at), 0) for at in range(1000)]
    peak = [*flat[:501], (501.0, 9), *flat[502:]]
    assert "9┤" in chart.draw("", {"x": peak}, 40, colour=False)


@pytest.mark.parametrize("width", [20, 60, 120])
def test_no_line_is_wider_than_the_chart(width: int) -> None:
    drawn = chart.draw("a long title", {"a long name of a line": RISE}, width, colour=False)
    assert max(map(len, drawn.splitlines())) <= width


def test_only_a_coloured_chart_has_escape_codes() -> None:
    assert "\x1b" in chart.draw("", {"x": RISE}, 40, colour=True)
    assert "\x1b" not in chart.draw("", {"x": RISE}, 40, colour=False)


def test_a_line_on_which_nothing_happens_can_be_drawn() -> None:
    assert chart.draw("", {"x": [(0, 0)]}, 40, colour=False)
