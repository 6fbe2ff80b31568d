"""Schedules and clocks: a window is what a clock on the wall shows, whatever the clock does.

What is expected is a plain walk: each minute in UTC, one after the other, is looked up in the set
of all minutes of the week that a window covers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.schedule import WEEK, Bounds
from autoscaler.core.spec import ScalingSpec

MINUTE = timedelta(minutes=1)
DAY = 24 * 60
OWN = Bounds(1, 10)
BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


def spec(schedule: str, zone: ZoneInfo) -> ScalingSpec:
    return ScalingSpec.model_validate(
        {"queues": ("orders",), "schedule": schedule, "timezone": zone}
    )


def bounds(one: ScalingSpec, at: datetime) -> Bounds:
    then = one.at(at)
    return Bounds(then.min, then.max)


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, frozenset[int], Bounds]:
    """Draw a window: as text, the minutes of the week that it covers, and its bounds."""
    days = draw(st.sets(st.integers(0, 6), min_size=1))
    begin = draw(st.integers(0, DAY - 1))
    length = draw(st.integers(1, DAY - 1) | st.sampled_from([30, 60, DAY - begin]))
    end = begin + length
    if end > DAY:
        end -= DAY
    elif end == DAY and begin:
        end = draw(st.sampled_from([0, DAY]))  # midnight is written in both ways
    least = draw(st.integers(0, 9))
    most = draw(st.integers(10, 99))
    when = f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
    text = f"{','.join(WEEK[day] for day in sorted(days))} {when} min={least} max={most}"
    covered = frozenset(
        (day * DAY + begin + later) % (7 * DAY) for day in days for later in range(length)
    )
    return text, covered, Bounds(least, most)


Drawn = Sequence[tuple[str, frozenset[int], Bounds]]
SCHEDULES: st.SearchStrategy[Drawn] = st.lists(windows(), min_size=1, max_size=3)
CHANGES = [
    pytest.param(BERLIN, datetime(2027, 3, 28, 1, tzinfo=UTC), id="berlin-spring"),
    pytest.param(BERLIN, datetime(2027, 10, 31, 1, tzinfo=UTC), id="berlin-autumn"),
    pytest.param(NEW_YORK, datetime(2027, 3, 14, 7, tzinfo=UTC), id="new-york-spring"),
    pytest.param(NEW_YORK, datetime(2027, 11, 7, 6, tzinfo=UTC), id="new-york-autumn"),
]
ODD = [
    ("Australia/Lord_Howe", datetime(2027, 4, 3, 15, tzinfo=UTC)),  # by half an hour
    ("Antarctica/Troll", datetime(2027, 3, 28, 1, tzinfo=UTC)),  # by two hours
    ("Africa/Cairo", datetime(2027, 4, 29, 22, tzinfo=UTC)),  # midnight is skipped
    ("America/Havana", datetime(2027, 11, 7, 5, tzinfo=UTC)),  # midnight comes twice
    ("America/St_Johns", datetime(2010, 11, 7, 2, 31, tzinfo=UTC)),  # back over midnight
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),  # a Friday is skipped
    ("Asia/Kathmandu", datetime(2027, 1, 1, tzinfo=UTC)),
]
"""Zones whose clocks do other things, and when."""


def expected(drawn: Drawn, zone: ZoneInfo, at: datetime) -> Bounds:
    """Return the bounds by the sets of minutes."""
    wall = at.astimezone(zone)
    minute = wall.weekday() * DAY + wall.hour * 60 + wall.minute
    held = [bounds for _, covered, bounds in drawn if minute in covered]
    return Bounds(
        max((each.min for each in held), default=OWN.min),
        max((each.max for each in held), default=OWN.max),
    )


def minutes(begin: datetime, days: int) -> Iterator[datetime]:
    for number in range(days * DAY):
        yield begin + number * MINUTE


def joined(drawn: Drawn) -> str:
    return "; ".join(text for text, _, _ in drawn)


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@settings(max_examples=5, deadline=None)
@given(drawn=SCHEDULES)
def test_at_each_minute_of_a_week_it_is_what_a_plain_walk_says(
    zone: ZoneInfo, change: datetime, drawn: Drawn
) -> None:
    one = spec(joined(drawn), zone)
    for at in minutes(change - timedelta(days=3, hours=12), 7):
        assert bounds(one, at) == expected(drawn, zone, at), at.astimezone(zone)


@settings(max_examples=100, deadline=None)
@given(
    drawn=SCHEDULES,
    place=st.sampled_from([*ODD, *(("Europe/Berlin", CHANGES[n].values[1]) for n in (0, 1))]),
    minute=st.integers(-DAY, 60),
    second=st.floats(0, 59.9),
)
def test_the_next_change_is_where_a_plain_walk_meets_other_bounds(
    drawn: Drawn, place: tuple[str, datetime], minute: int, second: float
) -> None:
    zone, begin = ZoneInfo(place[0]), place[1] + minute * MINUTE
    now = begin + timedelta(seconds=second)
    one = spec(joined(drawn), zone)
    present = expected(drawn, zone, now)
    assert bounds(one, now) == present
    later = (at for at in minutes(begin + MINUTE, 15) if expected(drawn, zone, at) != present)
    found = next(later, None)
    told = one.next_bounds(now)
    if found is None:
        assert told is None
    else:
        assert told is not None
        assert told.at == found
        assert told.zone is zone
        assert told.bounds == expected(drawn, zone, found)


def held(schedule: str, zone: ZoneInfo, begin: str, hours: int) -> list[str]:
    """Return the stretches in which min is 5, in UTC, in the hours after a moment."""
    one = spec(schedule, zone)
    at, stretches = datetime.fromisoformat(begin).replace(tzinfo=UTC), []
    end, since = at + timedelta(hours=hours), None
    while at <= end:
        holds = one.at(at).min == 5
        if holds and since is None:
            since = at
        if not holds and since is not None:
            stretches.append(f"{since:%H:%M}-{at:%H:%M}")
            since = None
        at += MINUTE
    return stretches


class TestClocksThatChange:
    @pytest.mark.parametrize(
        ("window", "stretches"),
        [
            pytest.param("02:30-04:00", ["01:00-02:00"], id="a-begin-that-is-skipped"),
            pytest.param("01:30-02:30", ["00:30-01:00"], id="an-end-that-is-skipped"),
            pytest.param("02:10-02:50", [], id="a-window-that-is-skipped"),
            pytest.param("01:30-03:30", ["00:30-01:30"], id="an-hour-less"),
            pytest.param("03:00-04:00", ["01:00-02:00"], id="right-after-it"),
        ],
    )
    def test_in_spring_an_hour_is_skipped(self, window: str, stretches: list[str]) -> None:
        # 02:00 to 03:00 is skipped, at 01:00 UTC.
        schedule = f"sun {window} min=5"
        assert held(schedule, BERLIN, "2027-03-27T20:00", 20) == stretches

    @pytest.mark.parametrize(
        ("window", "stretches"),
        [
            pytest.param("02:00-03:00", ["00:00-02:00"], id="the-hour-itself"),
            pytest.param("02:15-02:45", ["00:15-00:45", "01:15-01:45"], id="a-part-of-it"),
            pytest.param("01:30-02:30", ["23:30-00:30", "01:00-01:30"], id="an-end-in-it"),
            pytest.param("02:30-03:30", ["00:30-01:00", "01:30-02:30"], id="a-begin-in-it"),
            pytest.param("01:30-03:30", ["23:30-02:30"], id="an-hour-more"),
        ],
    )
    def test_in_autumn_an_hour_comes_twice(self, window: str, stretches: list[str]) -> None:
        # 02:00 to 03:00 comes twice, from 00:00 UTC.
        schedule = f"sun {window} min=5"
        assert held(schedule, BERLIN, "2027-10-30T20:00", 20) == stretches

    def test_the_night_of_saturday_is_shorter_in_spring(self) -> None:
        assert held("sat 22:00-06:00 min=5", NEW_YORK, "2027-03-13T12:00", 30) == ["03:00-10:00"]

    def test_the_night_of_saturday_is_longer_in_autumn(self) -> None:
        assert held("sat 22:00-06:00 min=5", NEW_YORK, "2027-11-06T12:00", 30) == ["02:00-11:00"]


class TestTheNextChange:
    def told(self, schedule: str, now: str) -> tuple[str, Bounds] | None:
        found = spec(schedule, BERLIN).next_bounds(datetime.fromisoformat(now))
        return (
            None if found is None else (f"{found.at.astimezone(BERLIN):%a %H:%M %Z}", found.bounds)
        )

    @pytest.mark.parametrize(
        ("now", "next_one"),
        [
            pytest.param("2027-01-08T07:29:59+01:00", ("Fri 07:30 CET", Bounds(5, 40)), id="soon"),
            pytest.param(
                "2027-01-08T07:30:00+01:00", ("Fri 19:00 CET", Bounds(1, 10)), id="within"
            ),
            pytest.param(
                "2027-01-08T19:00:00+01:00", ("Mon 07:30 CET", Bounds(5, 40)), id="weekend"
            ),
        ],
    )
    def test_it_is_told_with_what_then_holds(self, now: str, next_one: tuple[str, Bounds]) -> None:
        assert self.told("mon-fri 07:30-19:00 min=5 max=40", now) == next_one

    @pytest.mark.parametrize(
        ("window", "now", "next_one"),
        [
            pytest.param("02:30-04:00", "2027-03-28T00:00+01:00", "Sun 03:00 CEST", id="gap"),
            pytest.param("07:30-19:00", "2027-03-28T00:00+01:00", "Sun 07:30 CEST", id="after-it"),
            pytest.param(
                "01:00-02:30", "2027-03-28T01:30+01:00", "Sun 03:00 CEST", id="ends-in-it"
            ),
            pytest.param("02:30-04:00", "2027-10-31T02:45+02:00", "Sun 02:00 CET", id="again"),
            pytest.param("07:30-19:00", "2027-10-31T00:00+02:00", "Sun 07:30 CET", id="later"),
        ],
    )
    def test_it_is_right_where_clocks_change_before_it(
        self, window: str, now: str, next_one: str
    ) -> None:
        told = self.told(f"sun {window} min=5", now)
        assert told is not None
        assert told[0] == next_one

    def test_a_window_that_changes_nothing_is_passed_over(self) -> None:
        text = "mon-fri 07:30-19:00 min=5 max=40; mon-fri 12:00-13:00 min=4"
        assert self.told(text, "2027-01-08T08:00:00+01:00") == ("Fri 19:00 CET", Bounds(1, 10))

    @pytest.mark.parametrize("text", ["daily 00:00-24:00 min=5", "none", "mon 1:00-2:00 min=1"])
    def test_there_is_none_where_the_bounds_stay(self, text: str) -> None:
        assert self.told(text, "2027-01-08T08:00:00+01:00") is None

    def test_a_week_whose_window_is_skipped_is_passed_over(self) -> None:
        found = spec("sun 02:10-02:50 min=5", BERLIN).next_bounds(datetime(2027, 3, 22, tzinfo=UTC))
        assert found is not None
        assert found.at == datetime(2027, 4, 4, 0, 10, tzinfo=UTC)


def test_a_spec_without_a_schedule_is_what_it_is_at_any_time() -> None:
    plain = ScalingSpec(queues=("orders",))
    assert plain.at(datetime(2027, 1, 1, tzinfo=UTC)) == plain
