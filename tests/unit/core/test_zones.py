"""Time zones by name, and what their clocks do."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from autoscaler.core.zones import clock_change, moment, read_zone, same_clock

BERLIN = ZoneInfo("Europe/Berlin")


class TestNames:
    @pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", " America/New_York "])
    def test_a_zone_has_its_iana_name(self, name: str) -> None:
        assert str(read_zone(name)) == name.strip()

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            pytest.param("Europe/Berln", "Europe/Berlin", id="a-letter-missing"),
            pytest.param("europe/berlin", "Europe/Berlin", id="small-letters"),
            pytest.param("Berlin", "Europe/Berlin", id="the-city-alone"),
            pytest.param("New York", "America/New_York", id="the-city-in-words"),
        ],
    )
    def test_an_unknown_name_brings_the_nearest(self, name: str, nearest: str) -> None:
        with pytest.raises(ValueError, match=f"^the nearest is {nearest}$"):
            read_zone(name)

    @pytest.mark.parametrize(
        "name", ["", "zzzzzzzz", "../../etc/passwd", "/etc/passwd", "a\0b", "\udc80", "x" * 5000]
    )
    def test_a_name_that_is_like_none_is_said_to_be(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"^no known name is like it$"):
            read_zone(name)

    @pytest.mark.parametrize("name", ["Europe", "right/Europe/Berlin", "posixrules", "zone.tab"])
    def test_what_else_lies_beside_the_zones_is_none(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"nearest|no known"):
            read_zone(name)

    def test_zones_are_there_where_the_system_has_none(self) -> None:
        zoneinfo.reset_tzpath([])
        try:
            berlin = ZoneInfo.no_cache("Europe/Berlin")
        finally:
            zoneinfo.reset_tzpath()
        assert datetime(2027, 7, 1, tzinfo=berlin).utcoffset() == timedelta(hours=2)


class TestMoments:
    @pytest.mark.parametrize(
        ("wall", "then"),
        [
            pytest.param("2027-01-15T12:00", "2027-01-15T11:00", id="in-winter"),
            pytest.param("2027-07-15T12:00", "2027-07-15T10:00", id="in-summer"),
            pytest.param(
                "2027-03-28T02:30", "2027-03-28T01:00", id="skipped-is-the-end-of-the-gap"
            ),
            pytest.param("2027-03-28T02:00", "2027-03-28T01:00", id="the-gap-begins"),
            pytest.param("2027-03-28T03:00", "2027-03-28T01:00", id="the-gap-has-ended"),
            pytest.param("2027-10-31T02:30", "2027-10-31T00:30", id="twice-is-the-first"),
        ],
    )
    def test_a_wall_clock_shows_a_time_at_a_moment(self, wall: str, then: str) -> None:
        expected = datetime.fromisoformat(then).replace(tzinfo=UTC)
        assert moment(datetime.fromisoformat(wall), BERLIN) == expected

    def test_a_whole_day_can_be_skipped(self) -> None:
        samoa = ZoneInfo("Pacific/Apia")
        assert moment(datetime.fromisoformat("2011-12-30T12:00"), samoa) == datetime(
            2011, 12, 30, 10, tzinfo=UTC
        )


@pytest.mark.parametrize("step", [timedelta(hours=2), timedelta(hours=23, minutes=7, seconds=1.5)])
def test_a_change_of_clocks_is_found_to_the_second(step: timedelta) -> None:
    change = datetime(2027, 3, 28, 1, tzinfo=UTC)
    before, after = change - step / 2, change + step / 2
    assert not same_clock(BERLIN, before, after)
    assert clock_change(BERLIN, before, after) == change
