"""Schedules: windows of the week with bounds of their own, by the clock on the wall. Pure.

Whether a window holds follows from what a clock shows at a moment, and from nothing else. So a
daemon that starts in the middle of a window is right at once. Where clocks skip a time, a window
that begins then begins at the end of the gap. Where they show an hour twice, a window that
contains the hour holds both times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from autoscaler.core.zones import clock_change, same_clock

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = ("daily", "*")
MINUTES_OF_A_DAY = 24 * 60
LOOKED_AHEAD = timedelta(days=15)
"""How far the next change of bounds is looked for: two weeks, since clocks that change may skip a
window once."""

_SIGNS = re.compile(r"\s*([-,=])\s*")
_TIMES = re.compile(r"(\d\d?):(\d\d)-(\d\d?):(\d\d)", re.ASCII)
_BOUND = re.compile(r"(min|max)=(\d{1,9})", re.ASCII)
_MONDAY = datetime(2024, 1, 1)  # noqa: DTZ001 - any Monday, by a clock without a zone


class Bounds(NamedTuple):
    """The fewest and the most replicas."""

    min: int
    max: int


class NextBounds(NamedTuple):
    """The next change of the bounds."""

    at: datetime
    """When, in UTC."""
    bounds: Bounds
    """What holds from then on."""
    zone: ZoneInfo
    """The zone of the schedule."""


@dataclass(frozen=True, slots=True)
class Window:
    """Days and times of the week, and what is bounded in them."""

    days: frozenset[int]
    """The days on which it begins; 0 is Monday."""
    begin: int
    """Minutes since midnight."""
    end: int
    """Minutes since midnight, and not in the window. Not after `begin`: on the next day."""
    min: int | None
    """Fewest replicas; None: it does not say."""
    max: int | None
    """Most replicas; None: it does not say."""
    when: str
    """Days and times as they were written: `mon-fri 07:30-19:00`."""

    @classmethod
    def parse(cls, text: str, most: int) -> Self:
        """Read `mon-fri 07:30-19:00 min=5 max=40`. No bound may be above `most`.

        Raises ValueError that names the wrong part.
        """
        days, times, bounds = _parts(text)
        begin, end = _read_times(times)
        fewest, largest = _read_bounds(bounds, most)
        return cls(_read_days(days), begin, end, fewest, largest, f"{days} {times}")

    def holds(self, wall: datetime) -> bool:
        """Whether the window holds while a clock shows this time."""
        today, minute = wall.weekday(), 60 * wall.hour + wall.minute
        if self.begin < self.end:
            return today in self.days and self.begin <= minute < self.end
        yesterday = (today - 1) % len(WEEK)
        return (today in self.days and minute >= self.begin) or (
            yesterday in self.days and minute < self.end
        )

    def __str__(self) -> str:
        given = (("min", self.min), ("max", self.max))
        return " ".join([self.when, *(f"{name}={one}" for name, one in given if one is not None)])


@dataclass(frozen=True, slots=True)
class Schedule:
    """Windows of the week. Several may hold at once: the largest min and the largest max count."""

    windows: tuple[Window, ...] = ()
    holding: tuple[Window, ...] = ()
    """Those that hold at the moment that `at` was asked for."""

    @classmethod
    def parse(cls, text: str, most: int) -> Self:
        """Read windows separated by semicolons, or `none`. No bound may be above `most`.

        Raises ValueError that names every wrong part.
        """
        if text.strip().lower() == "none":
            return cls()
        parts = [part for part in text.lower().split(";") if part.strip()]
        windows: list[Window] = []
        problems: list[str] = [] if parts else ["nothing is there"]
        for part in parts:
            try:
                windows.append(Window.parse(part, most))
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return cls(tuple(windows))

    def __bool__(self) -> bool:
        return bool(self.windows)

    def __str__(self) -> str:
        return "; ".join(map(str, self.windows)) or "none"

    def at(self, wall: datetime) -> Self:
        """Return the schedule with the windows that hold while a clock shows this time."""
        return replace(self, holding=tuple(each for each in self.windows if each.holds(wall)))

    @property
    def min_by(self) -> Window | None:
        """The window that says the fewest replicas, of those that hold."""
        saying = (window for window in self.holding if window.min is not None)
        return max(saying, key=attrgetter("min"), default=None)

    @property
    def max_by(self) -> Window | None:
        """The window that says the most replicas, of those that hold."""
        saying = (window for window in self.holding if window.max is not None)
        return max(saying, key=attrgetter("max"), default=None)

    def bounds(self, own: Bounds) -> Bounds:
        """Return what the windows that hold say, and the service's own bounds where none does."""
        fewest = [window.min for window in self.holding if window.min is not None]
        most = [window.max for window in self.holding if window.max is not None]
        return Bounds(max(fewest, default=own.min), max(most, default=own.max))

    def contradiction(self, own: Bounds) -> str | None:
        """Say at which time of the week min would be above max; None where it never is."""
        for day, name in enumerate(WEEK):
            for minute in self._edges:
                bounds = self.at(_MONDAY + timedelta(days=day, minutes=minute)).bounds(own)
                if bounds.min > bounds.max:
                    at = f"{name} {minute // 60:02}:{minute % 60:02}"
                    return f"from {at} min would be {bounds.min} and max {bounds.max}"
        return None

    def next_bounds(self, now: datetime, zone: ZoneInfo, own: Bounds) -> NextBounds | None:
        """Return the next change of the bounds after `now`; None where they stay the same."""
        present = self.at(now.astimezone(zone)).bounds(own)
        # In UTC, because Python counts with wall clocks within any other zone.
        for at in self._turns(now.astimezone(UTC), zone):
            bounds = self.at(at.astimezone(zone)).bounds(own)
            if bounds != present:
                return NextBounds(at, bounds, zone)
        return None

    @property
    def _edges(self) -> Sequence[int]:
        """The minutes of a day at which a window may begin or end."""
        edges = {edge for each in self.windows for edge in (each.begin, each.end)}
        return sorted({edge % MINUTES_OF_A_DAY for edge in edges})

    def _turns(self, now: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield the moments after `now` at which a window may begin or end, in order and in UTC.

        Those are the edges of the windows on every day, and the moments at which clocks change.
        From one to the next is a day at most, and no zone changes its clocks twice in a day.
        """
        edges = [timedelta(minutes=edge) for edge in self._edges]
        day, at = timedelta(days=1), now
        while edges and at < now + LOOKED_AHEAD:
            wall = at.astimezone(zone).replace(tzinfo=None)
            time = wall - wall.replace(hour=0, minute=0, second=0, microsecond=0)
            turn = at + min((edge - time) % day or day for edge in edges)
            at = turn if same_clock(zone, at, turn) else clock_change(zone, at, turn)
            yield at


# ------------------------------------------------------------------ reading


def _parts(text: str) -> tuple[str, str, Sequence[str]]:
    """Split a window into days, times and bounds."""
    words = _SIGNS.sub(r"\1", text).split()
    if len(words) < 3:  # noqa: PLR2004 - days, times and a bound
        raise ValueError(f"{' '.join(words)!r} needs days, times, and min or max, in this order")
    return words[0], words[1], words[2:]


def _read_days(text: str) -> frozenset[int]:
    """Read `mon-fri`, `sat,sun`, `fri-mon`, `daily`."""
    if text in EVERY_DAY:
        return frozenset(range(len(WEEK)))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in WEEK or (dash and last not in WEEK):
            raise ValueError(f"{part!r} is none of {', '.join(WEEK)}, mon-fri and so on, daily")
        begin, end = WEEK.index(first), WEEK.index(last or first)
        days.update((begin + later) % len(WEEK) for later in range((end - begin) % len(WEEK) + 1))
    return frozenset(days)


def _read_times(text: str) -> tuple[int, int]:
    """Read `07:30-19:00`, in minutes since midnight."""
    match = _TIMES.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time of the day such as 07:30-19:00")
    hours, minutes, end_hours, end_minutes = map(int, match.groups())
    begin, end = 60 * hours + minutes, 60 * end_hours + end_minutes
    if max(minutes, end_minutes) > 59 or begin >= MINUTES_OF_A_DAY or end > MINUTES_OF_A_DAY:  # noqa: PLR2004
        raise ValueError(f"{text!r} must begin from 00:00 to 23:59 and end at 24:00 at the latest")
    if begin == end:
        raise ValueError(f"{text!r} begins when it ends: the whole day is 00:00-24:00")
    return begin, end


def _read_bounds(words: Sequence[str], most: int) -> tuple[int | None, int | None]:
    """Read `min=5`, `max=40`, or both."""
    found: dict[str, int] = {}
    for word in words:
        match = _BOUND.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is neither min=N nor max=N with a number of replicas")
        name, number = match[1], int(match[2])
        least = 0 if name == "min" else 1
        if name in found:
            raise ValueError(f"{name}= is there twice in {' '.join(words)!r}")
        if not least <= number <= most:
            raise ValueError(f"{word!r} must be from {least} to {most}")
        found[name] = number
    fewest, largest = found.get("min"), found.get("max")
    if fewest is not None and largest is not None and fewest > largest:
        raise ValueError(f"min is above max in {' '.join(words)!r}")
    return fewest, largest
