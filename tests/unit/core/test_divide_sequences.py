"""One task queue, several services, look after look: together they do what one alone would."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from autoscaler.core.backlog import Backlog, QueueStats
from autoscaler.core.decide import decide
from autoscaler.core.divide import divide
from autoscaler.core.history import History
from autoscaler.core.label_values import KeepUp
from autoscaler.core.model import ServiceId
from autoscaler.core.situation import Situation
from autoscaler.core.spec import ScalingSpec
from tests.unit.builders import MINUTE, NOW, SECOND, task_queue

QUEUE = task_queue()
Arrivals = Callable[[int], float]
"""Tasks that arrive a second, by the seconds that have passed."""


class Fleet:
    """Services that poll one task queue. A replica does one task a second, from its start on."""

    def __init__(self, number: int, present: int = 1, **spec: Any) -> None:
        self.specs = {
            ServiceId("compose", f"shop/{each}"): ScalingSpec(queues=("orders",), **spec)
            for each in range(number)
        }
        self.replicas = dict.fromkeys(self.specs, present)
        self.histories = dict.fromkeys(self.specs, History.seed(present, NOW))
        self.waiting = 0.0
        self.since: float | None = None
        self.added: list[float] = []
        self.dispatched: list[float] = []
        self.totals: list[int] = []
        """Replicas of all services after each second."""
        self.moves: list[Mapping[ServiceId, int]] = []
        """The replicas of each service after each second."""

    def run(self, seconds: int, arrivals: Arrivals) -> None:
        """Let time pass, and look every second."""
        for second in range(len(self.totals), len(self.totals) + seconds):
            self._work(second, arrivals(second))
            self._scale(NOW + (second + 1) * SECOND, second)

    def _work(self, second: int, arriving: float) -> None:
        done = min(self.waiting + arriving, float(sum(self.replicas.values())))
        self.waiting += arriving - done
        self.added.append(arriving)
        self.dispatched.append(done)
        self.since = None if self.waiting < 1 else second if self.since is None else self.since

    def _scale(self, now: datetime, second: int) -> None:
        age = timedelta() if self.since is None else (second - self.since) * SECOND
        stats = QueueStats(int(self.waiting), age, _average(self.added), _average(self.dispatched))
        situations = divide(
            {
                service: Situation(
                    spec,
                    self.replicas[service],
                    Backlog({QUEUE: stats}),
                    self.histories[service],
                    now,
                )
                for service, spec in self.specs.items()
            },
            {},
        )
        for service, situation in situations.items():
            decision = decide(situation)
            changes = decision.desired != self.replicas[service]
            self.histories[service] = (
                decision.history.begin_change(decision.desired) if changes else decision.history
            )
            self.replicas[service] = decision.desired
        self.totals.append(sum(self.replicas.values()))
        self.moves.append(dict(self.replicas))


def _average(rates: Sequence[float]) -> float:
    """Return the average of the last 30 s, as the server has it."""
    return sum(rates[-30:]) / 30


def steady(rate: float) -> Arrivals:
    """Return arrivals that go up and down by a tenth, as they do."""
    noise = random.Random(7)
    return lambda _second: rate * noise.uniform(0.9, 1.1)


def changed(fleet: Fleet, since: int) -> int:
    """Count the replicas that were started or stopped after so many seconds."""
    looks = fleet.moves[since:]
    return sum(
        abs(after[service] - before[service])
        for before, after in pairwise(looks)
        for service in after
    )


@pytest.mark.parametrize("rate", [3.3, 7.7, 12.2])
@pytest.mark.parametrize("keep_up", [KeepUp(), KeepUp(throughput=1.0)], ids=str)
def test_steady_arrivals_need_about_as_many_replicas_as_of_one_service(
    rate: float, keep_up: KeepUp
) -> None:
    alone, shared = (Fleet(number, max=30, keep_up=keep_up) for number in (1, 3))
    for fleet in (alone, shared):
        fleet.run(600, steady(rate))
    few, many = (sum(fleet.totals[300:]) / 300 for fleet in (alone, shared))
    assert abs(few - many) <= 0.15 * few + 0.5
    assert shared.waiting <= max(10.0, 2 * alone.waiting)


@pytest.mark.parametrize("rate", [3.3, 7.7, 12.2])
def test_steady_arrivals_move_no_replicas_to_and_fro(rate: float) -> None:
    alone, shared = (Fleet(number, max=30, keep_up=KeepUp(throughput=1.0)) for number in (1, 3))
    for fleet in (alone, shared):
        fleet.run(600, steady(rate))
    assert changed(shared, 300) <= changed(alone, 300) + 4


def test_a_trickle_keeps_one_service_awake() -> None:
    fleet = Fleet(3, min=0, cooldown=MINUTE)
    fleet.run(600, lambda second: float(second % 20 == 0))
    assert fleet.totals[-200:] == [1] * 200


def test_after_a_quiet_time_all_are_at_zero() -> None:
    fleet = Fleet(3, min=0, cooldown=MINUTE)
    fleet.run(300, lambda second: 5.0 if second < 60 else 0.0)
    assert fleet.totals[-1] == 0


def test_late_tasks_bring_no_more_replicas_than_of_one_service() -> None:
    spec = {"max": 30, "target": 10**6, "max_wait": 5 * SECOND, "keep_up": KeepUp(on=False)}
    alone, shared = Fleet(1, present=3, **spec), Fleet(3, **spec)
    for fleet in (alone, shared):
        fleet.run(300, steady(6.0))
    assert max(shared.totals) <= max(alone.totals)
    assert shared.waiting <= 2 * alone.waiting + 10
