"""How long tasks waited for a slot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

_TELLING = 0.95


@dataclass(frozen=True, slots=True)
class WaitFigures:
    """How long the tasks of a run waited for a slot, in seconds. Where there was none: 0."""

    mean: float
    p95: float
    """At least 95 % of the tasks waited no longer."""
    longest: float


class Waits:
    """Counts how long tasks waited."""

    def __init__(self) -> None:
        """Begin without tasks."""
        self._tasks: Counter[float] = Counter()

    def add(self, seconds: float, tasks: int) -> None:
        """Count tasks that waited so long."""
        # Rounded, so that a difference of two times in floating point is not a wait of its own.
        self._tasks[round(seconds, 6)] += tasks

    def figures(self, waiting: Iterable[tuple[float, int]]) -> WaitFigures:
        """Return the figures of all tasks, with those that still wait: (seconds so far, tasks)."""
        every = self._tasks.copy()
        for seconds, tasks in waiting:
            every[round(seconds, 6)] += tasks
        number = every.total()
        if not number:
            return WaitFigures(0.0, 0.0, 0.0)
        mean = sum(seconds * tasks for seconds, tasks in sorted(every.items())) / number
        return WaitFigures(mean, _quantile(every, number), max(every))


def _quantile(every: Counter[float], number: int) -> float:
    counted = 0
    for seconds in sorted(every):
        counted += every[seconds]
        # Rounded: 0.95 of 20 is a little less or more than 19 in floating point.
        if counted >= round(_TELLING * number, 6):
            return seconds
    raise AssertionError("the tasks are fewer than were counted")
