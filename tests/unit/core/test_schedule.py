"""Schedules as text: what they say, and what is wrong with them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from autoscaler.core.schedule import Bounds, Schedule

OWN = Bounds(1, 10)
MONDAY = datetime(2027, 1, 4)  # noqa: DTZ001 - as a clock shows it
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def read(text: str) -> Schedule:
    return Schedule.parse(text, most=10_000)


def at(day: str, time: str) -> datetime:
    """Return a time of the week, as a clock shows it."""
    hour, minute = map(int, time.split(":"))
    return MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)


def bounds(text: str, when: str) -> Bounds:
    """Return what a schedule says at a time such as `mon 07:30`, for a service with 1 to 10."""
    return read(text).at(at(*when.split())).bounds(OWN)


def problem(text: str) -> str:
    """Return what is said to be wrong with a schedule."""
    try:
        read(text)
    except ValueError as error:
        return str(error)
    raise AssertionError("nothing is wrong")


class TestDays:
    @pytest.mark.parametrize(
        ("days", "held"),
        [
            pytest.param("wed", "wed", id="one"),
            pytest.param("sat,sun", "sat sun", id="several"),
            pytest.param("mon-fri", "mon tue wed thu fri", id="a-range"),
            pytest.param("fri-mon", "mon fri sat sun", id="a-range-over-the-weekend"),
            pytest.param("mon-sun", " ".join(DAYS), id="a-whole-week"),
            pytest.param("wed-wed", "wed", id="a-range-of-one"),
            pytest.param("mon,wed-thu,sun", "mon wed thu sun", id="ranges-and-days"),
            pytest.param("daily", " ".join(DAYS), id="daily"),
            pytest.param("*", " ".join(DAYS), id="a-star"),
            pytest.param("Mon - Fri", "mon tue wed thu fri", id="capitals-and-spaces"),
            pytest.param("sat, sun", "sat sun", id="a-space-after-the-comma"),
        ],
    )
    def test_a_window_holds_on_its_days(self, days: str, held: str) -> None:
        text = f"{days} 00:00-24:00 min=5"
        assert [day for day in DAYS if bounds(text, f"{day} 12:00").min == 5] == held.split()


class TestTimes:
    @pytest.mark.parametrize(
        ("times", "when", "held"),
        [
            pytest.param("07:30-19:00", "wed 07:29", False, id="before"),
            pytest.param("07:30-19:00", "wed 07:30", True, id="it-begins"),
            pytest.param("07:30-19:00", "wed 18:59", True, id="the-last-minute"),
            pytest.param("07:30-19:00", "wed 19:00", False, id="it-has-ended"),
            pytest.param("7:30-9:00", "wed 07:30", True, id="hours-of-one-figure"),
            pytest.param("07:30 - 19:00", "wed 07:30", True, id="spaces"),
            pytest.param("12:00-24:00", "wed 23:59", True, id="until-midnight"),
            pytest.param("12:00-24:00", "thu 00:00", False, id="midnight-is-the-next-day"),
            pytest.param("12:00-00:00", "wed 23:59", True, id="midnight-of-the-next-day"),
            pytest.param("12:00-00:00", "thu 00:00", False, id="which-ends-it"),
            pytest.param("22:00-06:00", "wed 21:59", False, id="before-the-night"),
            pytest.param("22:00-06:00", "wed 22:00", True, id="in-the-evening"),
            pytest.param("22:00-06:00", "thu 05:59", True, id="on-the-next-morning"),
            pytest.param("22:00-06:00", "thu 06:00", False, id="until-the-morning"),
            pytest.param("22:00-06:00", "wed 05:59", False, id="the-night-before-is-tuesdays"),
            pytest.param("22:00-06:00", "thu 22:00", False, id="the-next-night-is-thursdays"),
        ],
    )
    def test_a_window_holds_at_its_times(self, times: str, when: str, *, held: bool) -> None:
        assert (bounds(f"wed {times} min=5", when).min == 5) == held

    def test_the_night_of_sunday_reaches_monday(self) -> None:
        assert bounds("sun 22:00-06:00 min=5", "mon 05:59").min == 5


class TestBounds:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("daily 08:00-18:00 min=5 max=40", Bounds(5, 40), id="both"),
            pytest.param("daily 08:00-18:00 max=40 min=5", Bounds(5, 40), id="in-any-order"),
            pytest.param("daily 08:00-18:00 min=5", Bounds(5, 10), id="only-min"),
            pytest.param("daily 08:00-18:00 max=40", Bounds(1, 40), id="only-max"),
            pytest.param("daily 08:00-18:00 min=0 max=2", Bounds(0, 2), id="less-than-its-own"),
            pytest.param("daily 08:00-09:00 min=5", OWN, id="its-own-outside"),
            pytest.param("daily 08:00-18:00 min = 5", Bounds(5, 10), id="spaces"),
            pytest.param(
                "daily 8:00-18:00 min=5 max=9; mon 12:00-13:00 min=3 max=30; mon 9:00-13:00 min=4",
                Bounds(5, 30),
                id="of-several-the-largest",
            ),
            pytest.param(
                "daily 08:00-18:00 min=2; mon 08:00-09:00 max=8;", Bounds(2, 10), id="end"
            ),
            pytest.param("none", OWN, id="none"),
        ],
    )
    def test_windows_count_over_the_services_own_bounds(self, text: str, expected: Bounds) -> None:
        assert bounds(text, "mon 12:00") == expected

    def test_the_windows_that_say_so_are_known(self) -> None:
        schedule = read(
            "Mon-Fri 8:00 - 18:00 min=5; daily 12:00-13:00 min=5 max=30; sat 1:00-2:00 min=9"
        )
        noon = schedule.at(at("mon", "12:00"))
        assert noon.min_by is not None
        assert noon.max_by is not None
        assert (noon.min_by.when, noon.max_by.when) == ("mon-fri 8:00-18:00", "daily 12:00-13:00")
        night = schedule.at(at("mon", "23:00"))
        assert (night.min_by, night.max_by) == (None, None)

    def test_a_schedule_is_written_as_it_is_read(self) -> None:
        text = "mon-fri 07:30-19:00 min=5 max=40; sat,sun 22:00-06:00 max=3"
        assert str(read(f"  {text.upper()} ; ")) == text
        assert str(read("NONE")) == "none"


class TestErrors:
    NO_DAY = " is none of mon, tue, wed, thu, fri, sat, sun, mon-fri and so on, daily"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            pytest.param("", "nothing is there", id="empty"),
            pytest.param(" ; ", "nothing is there", id="only-semicolons"),
            pytest.param(
                "mon 07:00-09:00",
                "'mon 07:00-09:00' needs days, times, and min or max, in this order",
                id="no-bound",
            ),
            pytest.param("monday 07:00-09:00 min=1", f"'monday'{NO_DAY}", id="no-day"),
            pytest.param("mon-fry 07:00-09:00 min=1", f"'mon-fry'{NO_DAY}", id="no-last-day"),
            pytest.param("mon-,fri 07:00-09:00 min=1", f"'mon-'{NO_DAY}", id="half-a-range"),
            pytest.param("mon,,tue 07:00-09:00 min=1", f"''{NO_DAY}", id="an-empty-day"),
            pytest.param(
                "mon 7-9 min=1", "'7-9' is no time of the day such as 07:30-19:00", id="hours-alone"
            ),
            pytest.param(
                "mon 07:00 min=1", "'07:00' is no time of the day such as 07:30-19:00", id="no-end"
            ),
            pytest.param(
                "mon \u0667:00-09:00 min=1",
                "'\u0667:00-09:00' is no time of the day such as 07:30-19:00",
                id="figures-of-another-script",
            ),
            pytest.param(
                "mon 07:60-09:00 min=1",
                "'07:60-09:00' must begin from 00:00 to 23:59 and end at 24:00 at the latest",
                id="minute-60",
            ),
            pytest.param(
                "mon 24:00-09:00 min=1",
                "'24:00-09:00' must begin from 00:00 to 23:59 and end at 24:00 at the latest",
                id="it-begins-at-24",
            ),
            pytest.param(
                "mon 07:00-24:01 min=1",
                "'07:00-24:01' must begin from 00:00 to 23:59 and end at 24:00 at the latest",
                id="it-ends-after-24",
            ),
            pytest.param(
                "mon 07:00-07:00 min=1",
                "'07:00-07:00' begins when it ends: the whole day is 00:00-24:00",
                id="no-time-at-all",
            ),
            pytest.param(
                "mon 07:00-09:00 mn=1",
                "'mn=1' is neither min=N nor max=N with a number of replicas",
                id="another-bound",
            ),
            pytest.param(
                "mon 07:00-09:00 min=-1",
                "'min=-1' is neither min=N nor max=N with a number of replicas",
                id="below-zero",
            ),
            pytest.param(
                "mon 07:00-09:00 min=1 min=2", "min= is there twice in 'min=1 min=2'", id="twice"
            ),
            pytest.param("mon 07:00-09:00 max=0", "'max=0' must be from 1 to 10000", id="max-0"),
            pytest.param(
                "mon 07:00-09:00 min=10001", "'min=10001' must be from 0 to 10000", id="too-many"
            ),
            pytest.param(
                "mon 07:00-09:00 min=3 max=2",
                "min is above max in 'min=3 max=2'",
                id="min-above-max",
            ),
        ],
    )
    def test_the_wrong_part_is_named(self, text: str, said: str) -> None:
        assert problem(text) == said

    def test_all_wrong_windows_are_named_at_once(self) -> None:
        said = problem("mon 07:00-09:00 min=1; x 1:00-2:00 min=1; mon 1:00-1:00 min=1")
        assert (
            said
            == f"'x'{self.NO_DAY}; '1:00-1:00' begins when it ends: the whole day is 00:00-24:00"
        )

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            pytest.param(
                "tue 07:30-19:00 min=11", "from tue 07:30 min would be 11 and max 10", id="own"
            ),
            pytest.param("tue 07:30-19:00 min=10", None, id="equal-to-its-own"),
            pytest.param(
                "daily 00:00-24:00 max=40; tue 07:30-19:00 min=11", None, id="another-window-helps"
            ),
            pytest.param(
                "daily 00:00-12:00 max=40; sun 11:30-19:00 min=11",
                "from sun 12:00 min would be 11 and max 10",
                id="until-it-ends",
            ),
            pytest.param(
                "sun 22:00-06:00 min=9; mon 05:00-05:30 max=3",
                "from mon 05:00 min would be 9 and max 3",
                id="a-night-before",
            ),
        ],
    )
    def test_a_min_above_the_max_that_then_holds_is_a_contradiction(
        self, text: str, said: str | None
    ) -> None:
        assert read(text).contradiction(OWN) == said
