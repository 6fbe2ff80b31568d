"""The last hour of one service, small enough to keep a thousand of them in memory."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import NamedTuple

SPAN = timedelta(hours=1)
"""How far back a trail goes."""
STEP = timedelta(seconds=30)
"""All ticks within one step become one point."""


class Point(NamedTuple):
    """What the ticks of one step saw."""

    at: int
    """When the step began, in seconds since 1970."""
    backlog: int | None
    """The most waiting tasks; None where no tick knew the backlog."""
    replicas: int
    """The most replicas."""


class Trail:
    """Backlog and replicas of the last hour: a point for each step in which they changed."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque()

    @property
    def points(self) -> tuple[Point, ...]:
        """The oldest first. A point holds until the next one; the first may be over an hour old."""
        return tuple(self._points)

    def add(self, at: datetime, backlog: int | None, replicas: int) -> Point | None:
        """Record what one tick saw; return the newest point where this tick made or moved it."""
        step = int(STEP.total_seconds())
        point = Point(int(at.timestamp()) // step * step, backlog, replicas)
        self._drop_points(point.at - int(SPAN.total_seconds()))
        last = self._points[-1] if self._points else None
        if last is not None and last.at == point.at:
            # The plot shows a peak that began and ended within one step.
            known = [number for number in (last.backlog, backlog) if number is not None]
            point = Point(point.at, max(known, default=None), max(last.replicas, replicas))
            if point == last:
                return None
            self._points[-1] = point
        elif last is not None and last[1:] == point[1:]:
            return None
        else:
            self._points.append(point)
        return point

    def _drop_points(self, before: int) -> None:
        """Drop older points, except the last of them: it holds when the hour begins."""
        while len(self._points) > 1 and self._points[1].at <= before:
            self._points.popleft()
