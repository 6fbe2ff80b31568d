"""How fresh the figures of a task queue are, and what a count adds to them. Pure.

The server keeps its figures for a few seconds and repeats them to everyone. What waits on a single
partition of the task queue it says as it is right now. Upwards the fresher sign counts; downwards
only figures that were made after it. So a count below the figures never matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autoscaler.core.backlog import QueueStats

KEPT = timedelta(seconds=5)
"""How long the server keeps its figures of a task queue."""
BUILD_KEPT = timedelta(seconds=10)
"""How old its figures of a build may be: they pass through two caches of 5 s each."""
LAG = timedelta(seconds=0.1)
"""Exactly 5 s later, the server may or may not have new figures."""
FRESH = KEPT + LAG
"""After this time the server does not repeat its figures any more."""


@dataclass(frozen=True, slots=True)
class Count:
    """Tasks that were counted on partitions of a task queue, and when."""

    at: datetime
    waiting: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the looks at one task queue have shown so far."""

    at: datetime
    """When the latest look began."""
    figures: QueueStats
    """What the server said at that look, without any count."""
    since: datetime
    """The earliest moment at which it may have made these figures."""
    seen_at: datetime
    """When these figures were seen for the first time."""
    made_for_it: bool = True
    """Whether the server has made its figures for this very look, unless others ask as well."""
    on_root: int | None = None
    """Tasks on the root partition at the latest look; None where the server does not say."""
    count: Count | None = None
    """The largest count that the figures may be older than."""
    counted_at: datetime | None = None
    """When all partitions were last counted."""
    growing: bool = False
    """Whether that count found more than was known before: tasks may be coming still."""
    known_on_root: int = 0
    """Tasks on the root partition at that time, or the fewest since."""
    known: int = 0
    """Tasks that waited at that time, or the fewest since."""

    @property
    def waiting(self) -> int:
        """Tasks that wait: what the server says, or what was counted, where that is more."""
        return max(self.figures.waiting, 0 if self.count is None else self.count.waiting)

    @property
    def stats(self) -> QueueStats:
        """The figures to decide on."""
        return replace(
            self.figures,
            waiting=self.waiting,
            counted=self.waiting > self.figures.waiting,
            since=self.since,
            new=self.seen_at == self.at,
        )

    @property
    def risen(self) -> bool:
        """Whether more waits than the latest count of all partitions knew: it is time for one."""
        if self.on_root is None:
            return False
        more = self.on_root > self.known_on_root or self.figures.waiting > self.known
        return more or self.growing

    def counted(self, elsewhere: int) -> Sighting:
        """Return the sighting after a count: so many tasks wait on partitions but the root."""
        on_root = self.on_root or 0
        total = on_root + elsewhere
        return replace(
            self,
            count=_larger(self.count, Count(self.at, total)),
            counted_at=self.at,
            growing=total > self.known,
            known_on_root=on_root,
            known=max(total, self.figures.waiting),
        )


def look(
    before: Sighting | None,
    figures: QueueStats,
    now: datetime,
    *,
    on_root: int | None = None,
    kept: timedelta = KEPT,
) -> Sighting:
    """Return what is known after a look that began at `now` and has brought `figures`.

    `before` is the sighting of the look before, `on_root` what waits on the root partition, and
    `kept` how long the server may repeat its figures.
    """
    oldest = now - kept
    here = Count(now, on_root) if on_root else None
    if before is None or now < before.at:
        # Nothing is known of the figures; or the clock was set back, and no moment is comparable.
        return Sighting(now, figures, oldest, now, on_root=on_root, count=here)
    equal = _made(before.figures) == _made(figures)
    again = equal and now - before.seen_at < kept + LAG
    # Other figures than before were made after the look before. Equal ones may have been made at
    # any time in which the server kept them.
    since = before.since if again else oldest if equal or on_root is None else before.at
    since = max(since, oldest)
    earlier = before.count if before.count is not None and since < before.count.at else None
    count = earlier if here is None else _larger(earlier, here)
    waiting = figures.waiting if count is None else max(figures.waiting, count.waiting)
    # One call of the constructor, for each task queue at each look: with several calls of `replace`
    # a look took 3 times as long (measured 2026-11). It can go when a look has time for that.
    return Sighting(
        at=now,
        figures=figures,
        since=since,
        seen_at=before.seen_at if again else now,
        made_for_it=now - before.at >= kept,
        on_root=on_root,
        count=count,
        counted_at=before.counted_at,
        growing=before.growing,
        known_on_root=min(before.known_on_root, on_root or 0),
        known=min(before.known, waiting),
    )


def _larger(count: Count | None, later: Count) -> Count:
    return later if count is None or later.waiting >= count.waiting else count


def _made(stats: QueueStats) -> tuple[object, ...]:
    """Return the figures that the server keeps. It counts the pollers for each answer anew."""
    return (
        stats.waiting,
        stats.age,
        stats.add_rate,
        stats.dispatch_rate,
        stats.rate_limited,
        stats.build,
    )
