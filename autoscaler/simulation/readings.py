"""What the server says of the simulated task queue: rates, and figures that it makes every 5 s."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autoscaler.core.backlog import QueueStats

RATE_WINDOW = 30.0
"""Seconds over which Temporal averages its rates."""
STATS_AGE = 5.0
"""Seconds for which Temporal gives the same figures again."""


@dataclass(slots=True)
class Rate:
    """Tasks a second, as an average over the past 30 s."""

    counted: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def add(self, at: float, tasks: int) -> None:
        """Count tasks."""
        self.counted.append((at, tasks))
        self.total += tasks

    def at(self, now: float) -> float:
        """Return the rate at `now`, which is not earlier than any time before."""
        while self.counted and self.counted[0][0] <= now - RATE_WINDOW:
            self.total -= self.counted.popleft()[1]
        return self.total / RATE_WINDOW


class CachedStats:
    """The server's figures. It makes them when it is asked, unless those it has are recent.

    Who polls is no part of them: every answer says that afresh.
    """

    def __init__(self) -> None:
        """Begin without figures."""
        self._stats: QueueStats | None = None
        self._made_at = 0.0

    def ask(self, now: float, pollers: int, make: Callable[[], QueueStats]) -> QueueStats:
        """Return the figures; `make` makes new ones."""
        if self._stats is None or now - self._made_at >= STATS_AGE:
            self._stats = make()
            self._made_at = now
        return replace(self._stats, pollers=pollers)
