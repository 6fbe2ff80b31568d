"""The last hour of one service, small enough to keep a thousand of them in memory."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import NamedTuple

SPAN = timedelta(hours=1)
"""How far back a trail goes."""
STEP = timedelta(seconds=30)
"""What is seen within one step becomes one point."""


class Point(NamedTuple):
    """The highest of what was seen within one step."""

    at: int
    """When the step began, in seconds since 1970."""
    backlog: int | None
    """Waiting tasks; None where they were unknown all the time."""
    replicas: int


class Trail:
    """Backlog and replicas of the last hour: a point for each step in which they changed."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque()

    @property
    def points(self) -> tuple[Point, ...]:
        """Oldest first. Each holds until the next one; the first may be older than an hour."""
        return tuple(self._points)

    def note(self, at: datetime, backlog: int | None, replicas: int) -> Point | None:
        """Take note of one look; return the newest point where this look made or moved it."""
        step = int(STEP.total_seconds())
        seen = Point(int(at.timestamp()) // step * step, backlog, replicas)
        self._forget(seen.at - int(SPAN.total_seconds()))
        last = self._points[-1] if self._points else None
        if last is not None and last.at == seen.at:
            # A peak between two points of the plot is still a peak.
            known = [number for number in (last.backlog, backlog) if number is not None]
            seen = Point(seen.at, max(known, default=None), max(last.replicas, replicas))
            if seen == last:
                return None
            self._points[-1] = seen
        elif last is not None and last[1:] == seen[1:]:
            return None
        else:
            self._points.append(seen)
        return seen

    def _forget(self, before: int) -> None:
        """Drop what is older, but for the one point that tells how the hour began."""
        while len(self._points) > 1 and self._points[1].at <= before:
            self._points.popleft()
