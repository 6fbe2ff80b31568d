"""A budget of calls: which are made now, and which wait for their turn. Pure: time comes in."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

Call = TypeVar("Call", bound=Hashable)

SWIFTER = 4
"""What is in motion is read so many times as often as what is quiet, where not all can be."""
SLACK = timedelta(seconds=1)
"""Ticks do not come to the moment: a call that will be due so soon is due."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the latest call of a kind has brought."""

    at: datetime
    moving: bool
    """Whether any task waited, came or went."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The time between two calls of a kind."""

    moving: timedelta
    quiet: timedelta


@dataclass(frozen=True, slots=True)
class Budget:
    """So many calls a second, and what is left of them."""

    rate: float
    """Calls a second."""
    interval: timedelta
    """Time between two calls of a kind, while the budget has room for it."""
    spacing: timedelta = timedelta()
    """No call is made again sooner than this; but where many events cause many ticks, calls that
    keep the interval are made again after it."""
    left: float = 0
    """Calls that may be made now; below zero where calls were made that could not wait."""
    at: datetime | None = None
    """When they were counted; None before the first time."""

    def pace(self, moving: int, quiet: int) -> Pace:
        """Return how often so many kinds of calls can be made, all of them evenly.

        What is in motion keeps the interval for as long as what is quiet is not read more than
        4 times more seldom; beyond that, both stretch.
        """
        seconds = self.interval.total_seconds()
        if moving + quiet <= self.rate * seconds:
            return Pace(self.interval, self.interval)
        rest = self.rate - moving / seconds
        if rest > 0 and quiet / rest <= SWIFTER * seconds:
            return Pace(self.interval, timedelta(seconds=quiet / rest))
        slow = timedelta(seconds=(SWIFTER * moving + quiet) / self.rate)
        return Pace(slow / SWIFTER, slow)

    def choose(
        self, looks: Mapping[Call, Look | None], now: datetime
    ) -> tuple[frozenset[Call], Pace, Budget]:
        """Return the calls to make now, the pace they are made at, and the budget afterwards.

        `looks` has every call that is wanted, with what it brought last; None before the first,
        which is due at once. The longest overdue go first.
        """
        moving = sum(look is not None and look.moving for look in looks.values())
        pace = self.pace(moving, len(looks) - moving)
        due = [
            call for call, look in looks.items() if look is None or self._is_due(look, pace, now)
        ]
        left = self._left_at(now)
        if len(due) > left:
            due.sort(key=lambda call: _lateness(looks[call], pace, now), reverse=True)
            del due[max(0, int(left)) :]
        chosen = frozenset(due)
        return chosen, pace, replace(self, left=left - len(chosen), at=now)

    def charge(self, calls: int) -> Budget:
        """Take calls off that were made without being chosen: others wait longer for them."""
        return replace(self, left=self.left - calls)

    def _left_at(self, now: datetime) -> float:
        """What is not used in an interval is not saved up."""
        most = max(1.0, self.rate * self.interval.total_seconds())
        if self.at is None:
            return most + self.left
        earned = self.rate * max(0.0, (now - self.at).total_seconds())
        return min(most, self.left + earned)

    def _is_due(self, look: Look, pace: Pace, now: datetime) -> bool:
        age = now - look.at
        interval = _interval(look, pace)
        least = self.spacing if interval <= self.interval else interval - SLACK
        # Below zero the clock was set back: nobody knows how old it is.
        return age < timedelta() or age >= least


def _interval(look: Look, pace: Pace) -> timedelta:
    return pace.moving if look.moving else pace.quiet


def _lateness(look: Look | None, pace: Pace, now: datetime) -> float:
    """Return the share of its interval that has passed since a call was last made."""
    return 1.0 if look is None else (now - look.at) / _interval(look, pace)
