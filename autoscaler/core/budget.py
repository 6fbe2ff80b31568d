"""A budget of calls: which are made now, and which wait for their turn. Pure: time comes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

AnyCall = TypeVar("AnyCall", bound=Hashable)

QUIET_TO_MOVING = 4
"""Where not everything can be read at each poll: a quiet call waits so many times as long for its
turn as a moving one."""
SLACK = timedelta(seconds=1)
"""Ticks are not exactly punctual: a call that will be due within this time, or within half of an
interval, is due now."""
AT_FIRST = timedelta(seconds=5)
"""The first calls may use up what is earned in this time: nothing has been read yet."""
AHEAD = timedelta(seconds=1)
"""A call that cannot wait may use up what the budget earns in this time to come."""


@dataclass(frozen=True, slots=True)
class LastCall:
    """When a call was last made, and what it showed."""

    at: datetime
    moving: bool
    """Whether any task waited, was added or was handed to a worker, or whether a service at zero
    waits for one. Otherwise the call is quiet."""
    spacing: timedelta = timedelta()
    """Shortest time until the next turn: sooner, the call would bring the same answer again. Events
    cause ticks between two polls: such a tick makes calls again that keep the interval, as soon as
    this time has passed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The time between two turns of the same call."""

    moving: timedelta
    quiet: timedelta


@dataclass(frozen=True, slots=True)
class Budget:
    """How many calls may be made."""

    rate: float
    """Calls a second."""
    interval: timedelta
    """Time between two turns of the same call, while the budget has room for all calls."""
    left: float = 0
    """Calls that may be made now; below zero after calls that could not wait for a turn."""
    at: datetime | None = None
    """When `left` was counted; None before the first time."""

    def pace(self, moving: int, quiet: int) -> Pace:
        """Return how often so many calls can be made, each of them in turn.

        Moving calls keep the interval as long as quiet ones wait no more than 4 times as long.
        Beyond that, both wait longer.
        """
        seconds = self.interval.total_seconds()
        if moving + quiet <= self.rate * seconds:
            return Pace(self.interval, self.interval)
        rest = self.rate - moving / seconds
        if rest > 0 and quiet / rest <= QUIET_TO_MOVING * seconds:
            return Pace(self.interval, timedelta(seconds=quiet / rest))
        slow = timedelta(seconds=(QUIET_TO_MOVING * moving + quiet) / self.rate)
        return Pace(slow / QUIET_TO_MOVING, slow)

    def choose(
        self, calls: Mapping[AnyCall, LastCall | None], now: datetime
    ) -> tuple[frozenset[AnyCall], Pace, Budget]:
        """Return the calls to make now, the pace they are made at, and the budget afterwards.

        `calls` has every call that is wanted, with its last turn; None before the first turn,
        which is due at once. The longest overdue go first.
        """
        pace = self._pace_of(calls.values())
        due = [
            call for call, last in calls.items() if last is None or self._is_due(last, pace, now)
        ]
        left = self._left_at(now)
        if len(due) > left:
            due.sort(key=lambda call: _lateness(calls[call], pace, now), reverse=True)
            del due[max(0, int(left)) :]
        chosen = frozenset(due)
        return chosen, pace, replace(self, left=left - len(chosen), at=now)

    def spend(self, calls: int, *, ahead: bool = False) -> Budget | None:
        """Return the budget after calls without a turn; None where it has no room for them.

        `ahead` allows calls before the budget has earned them: the others wait longer for them.
        """
        room = self.left + (self.rate * AHEAD.total_seconds() if ahead else 0)
        return self.charge(calls) if calls <= room else None

    def charge(self, calls: int) -> Budget:
        """Subtract calls that were made without a turn: the others wait longer for them."""
        return replace(self, left=self.left - calls)

    def _pace_of(self, calls: Collection[LastCall | None]) -> Pace:
        """Return how often calls can be made, some of which need more time between two turns."""
        intervals = Counter(
            self.interval if last is None else max(self.interval, last.spacing) for last in calls
        )
        if sum(each / time.total_seconds() for time, each in intervals.items()) <= self.rate:
            return Pace(self.interval, self.interval)
        moving = sum(last is not None and last.moving for last in calls)
        return self.pace(moving, len(calls) - moving)

    def _left_at(self, now: datetime) -> float:
        """Return what is left at `now`. Calls that an interval leaves over are not saved up."""
        most = max(1.0, self.rate * self.interval.total_seconds())
        if self.at is None:
            return max(most, self.rate * AT_FIRST.total_seconds()) + self.left
        earned = self.rate * max(0.0, (now - self.at).total_seconds())
        return min(most, self.left + earned)

    def _is_due(self, last: LastCall, pace: Pace, now: datetime) -> bool:
        age = now - last.at
        interval = _interval(last, pace)
        least = last.spacing
        if interval > self.interval:
            least = max(least, interval - min(SLACK, self.interval / 2))
        # The age is below zero where the clock was set back: nobody knows the real one.
        return age < timedelta() or age >= least


def _interval(last: LastCall, pace: Pace) -> timedelta:
    return pace.moving if last.moving else pace.quiet


def _lateness(last: LastCall | None, pace: Pace, now: datetime) -> float:
    """Return the time since the last turn as a share of the interval between two turns."""
    return 1.0 if last is None else (now - last.at) / max(_interval(last, pace), last.spacing)
