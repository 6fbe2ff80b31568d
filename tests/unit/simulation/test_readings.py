"""What the server says: figures that it keeps for 5 s, and who polls."""

from __future__ import annotations

from datetime import timedelta

from autoscaler.core.backlog import QueueStats
from autoscaler.simulation.readings import CachedStats


class Clock:
    """Makes figures in which as many tasks wait as seconds have passed."""

    def __init__(self) -> None:
        self.cache = CachedStats()

    def ask(self, now: float, pollers: int = 1) -> QueueStats:
        def make() -> QueueStats:
            return QueueStats(int(now), timedelta(), 0.0, 0.0)

        return self.cache.ask(now, pollers, make)


def test_figures_are_the_same_again_for_5_s() -> None:
    clock = Clock()
    seen = [clock.ask(now) for now in (10, 11, 14, 15, 16)]
    assert [stats.waiting for stats in seen] == [10, 10, 10, 15, 15]


def test_figures_are_made_when_somebody_asks() -> None:
    clock = Clock()
    assert [clock.ask(now).waiting for now in (0, 8, 12, 13)] == [0, 8, 8, 13]


def test_who_polls_is_said_afresh() -> None:
    clock = Clock()
    assert [clock.ask(now, pollers=now).pollers for now in (1, 2, 3)] == [1, 2, 3]
