"""Time zones by their IANA names, and the moments at which their clocks change."""

from __future__ import annotations

import difflib
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

UTC_ZONE = ZoneInfo("UTC")
YEARS = range(1970, 3000)
"""The years of dates that people give; another one is a typing error."""
_SECOND = timedelta(seconds=1)


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raises ValueError that names the nearest known one."""
    text = name.strip()
    # Not `ZoneInfo(text)` alone: it also opens files that are no zones, such as the folder Europe.
    if text not in _known():
        near = _nearest(text)
        raise ValueError(f"the nearest is {near}" if near else "no known name is like it")
    return ZoneInfo(text)


def moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment, in UTC, at which the clocks of a zone show the naive time `wall`.

    A time that they show twice is the first of both. A time that they skip is the end of the gap.
    """
    # The standard library counts a time in a gap from before it, or with `fold` from after it.
    later = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if later.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
        return later
    earlier = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return clock_change(zone, earlier, later)


def clock_change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the moment between two others, to the second, at which the clocks of a zone change.

    The clocks differ from UTC by another amount at `after` than at `before`, and change only once.
    """
    offset = _offset(zone, before)
    while after - before > _SECOND:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle <= before:
            break
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def same_clock(zone: ZoneInfo, one: datetime, other: datetime) -> bool:
    """Whether the clocks of a zone differ from UTC by the same amount at two moments."""
    return _offset(zone, one) == _offset(zone, other)


def _offset(zone: ZoneInfo, at: datetime) -> timedelta | None:
    return at.astimezone(zone).utcoffset()


@cache
def _known() -> frozenset[str]:
    """Return the names of all zones. They are files, which do not change while the process runs."""
    return frozenset(zoneinfo.available_timezones())


def _nearest(text: str) -> str | None:
    """Return the name that is most like a text: as a whole, or in its last part, the city."""
    by_word: dict[str, str] = {}
    for name in sorted(_known()):
        by_word.setdefault(name.rpartition("/")[2].lower(), name)
    by_word |= {name.lower(): name for name in _known()}
    near = difflib.get_close_matches(text.lower().replace(" ", "_"), by_word, n=1)
    return by_word[near[0]] if near else None
