"""Traces and controllers that the tests of the simulation share."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from autoscaler.core.spec import ScalingSpec
from autoscaler.simulation.controllers import START, Controller, Observation, Verdict
from autoscaler.simulation.replay import Run, replay
from autoscaler.simulation.trace import Measure, Row, Trace
from autoscaler.simulation.workers import Workers

PLAIN = Workers(service_time=10, slots=1, startup=0)


def arrivals(*rows: tuple[float, int]) -> Trace:
    return Trace("test", Measure.ARRIVALS, tuple(Row(at, tasks) for at, tasks in rows))


def backlogs(*rows: tuple[float, int]) -> Trace:
    return Trace("test", Measure.BACKLOG, tuple(Row(at, tasks) for at, tasks in rows))


def at_once(tasks: int) -> Trace:
    """Return a trace with so many tasks at second 0 and nothing after it."""
    return arrivals((0, tasks), (1, 0))


def spec(**fields: Any) -> ScalingSpec:
    return ScalingSpec(queues=("orders",), **fields)


@dataclass
class Plan:
    """A controller that follows a plan, and remembers what it was shown."""

    begin: int
    changes: dict[float, int] = field(default_factory=dict)
    """Replicas by the second at which they change."""
    interval: float = 1.0
    shown: list[Observation] = field(default_factory=list)

    def start(self, now: datetime) -> int:
        self.shown.clear()
        assert now == START
        return self.begin

    def decide(self, observation: Observation) -> Verdict:
        self.shown.append(observation)
        at = (observation.now - START).total_seconds()
        return Verdict(self.changes.get(at, observation.replicas), ("as planned",))


def run(trace: Trace, controller: Controller, workers: Workers = PLAIN) -> Run:
    (result,) = replay(trace, [controller], workers)
    return result


def waiting(result: Run) -> dict[float, int]:
    """Return the backlog at each step, by its second."""
    return {step.at: step.backlog for step in result.steps}
