"""Durations are read and written the way people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        pytest.param("0s", timedelta(), id="nothing"),
        pytest.param("30s", timedelta(seconds=30), id="seconds"),
        pytest.param("0.5s", timedelta(milliseconds=500), id="part-of-a-second"),
        pytest.param("5m", timedelta(minutes=5), id="minutes"),
        pytest.param("1h30m", timedelta(minutes=90), id="hours-and-minutes"),
        pytest.param("1h0m1s", timedelta(seconds=3601), id="hours-to-seconds"),
        pytest.param("90m", timedelta(minutes=90), id="more-minutes-than-an-hour-has"),
        pytest.param(" 5m ", timedelta(minutes=5), id="space-around"),
    ],
)
def test_a_duration_with_units_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("5", id="no-unit"),
        pytest.param("-5s", id="negative"),
        pytest.param("5d", id="unknown-unit"),
        pytest.param("5S", id="capital-unit"),
        pytest.param("30m1h", id="wrong-order"),
        pytest.param("1h 30m", id="space-between"),
        pytest.param(".5s", id="no-digit-before-the-point"),
        pytest.param("1.5m", id="part-of-a-minute"),
        pytest.param("1e3s", id="exponent"),
        pytest.param("\u0665s", id="digits-of-another-script"),
        pytest.param("9" * 400 + "h", id="beyond-any-clock"),
    ],
)
def test_anything_else_is_refused_with_an_example_of_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="30s, 5m or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        pytest.param(timedelta(), "0s", id="nothing"),
        pytest.param(timedelta(milliseconds=500), "0.5s", id="part-of-a-second"),
        pytest.param(timedelta(seconds=60), "1m", id="exactly-a-minute"),
        pytest.param(timedelta(seconds=61.1), "1m1.1s", id="no-noise-of-floating-point"),
        pytest.param(timedelta(minutes=90), "1h30m", id="hours-and-minutes"),
    ],
)
def test_a_duration_is_written_with_the_largest_units(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@given(st.integers(0, 1000 * 3600).map(lambda tenths: timedelta(milliseconds=100 * tenths)))
def test_a_written_duration_reads_back_as_the_same(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration
