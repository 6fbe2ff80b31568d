"""What would have happened: a trace replayed through controllers, in figures.

Time, tasks and replicas are the model's own: no clock, no randomness, the same run every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from autoscaler.simulation.controllers import START, Controller, Observation
from autoscaler.simulation.trace import Measure, Trace
from autoscaler.simulation.workers import Workers
from autoscaler.simulation.world import make_world

TAIL = 600.0
"""Seconds that a run goes on after all work is done, so that a slow scale-in shows in its cost."""
DRAIN_LIMIT = 86_400.0
"""Seconds after the end of the trace at which a run ends although work is left."""

_CHECK_INTERVAL = 60.0
"""Seconds between two checks whether all work is done."""


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of the controller, with what was there before it."""

    at: float
    """Seconds since the trace began."""
    backlog: int
    """Waiting tasks; tasks in flight are not counted, as in Temporal."""
    replicas: int
    desired: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """The results of a run. Durations are in seconds."""

    time_to_drain: float | None
    """From the first waiting task until the backlog is 0 for good; None where it never was."""
    longest_wait: float | None
    """The longest that any task waited for a slot; None where the trace has backlogs."""
    replica_seconds: float
    """The cost: each replica counts from the decision to add it until it has ended."""
    changes_of_direction: int
    """How often a scale-in followed a scale-out, or the other way round."""
    peak_replicas: int
    """The most replicas at once that were running or starting. Leaving ones do not count."""
    tasks_done: int | None
    """None where the trace has backlogs."""
    tasks_waiting: int
    tasks_in_flight: int | None
    """None where the trace has backlogs."""


@dataclass(frozen=True, slots=True)
class Run:
    """One trace, replayed through one controller."""

    steps: tuple[Step, ...]
    figures: Figures


def replay(trace: Trace, controllers: Sequence[Controller], workers: Workers) -> tuple[Run, ...]:
    """Replay a trace through each controller. All runs end at the same time.

    A trace of backlogs ends with its last interval. A trace of arrivals goes on until the work of
    every run is done, and ten minutes more.
    """
    simulations = [_Simulation(trace, controller, workers) for controller in controllers]
    until, last = trace.end, trace.end + DRAIN_LIMIT
    while True:
        for simulation in simulations:
            simulation.advance(until)
        if until >= last or all(simulation.at_rest for simulation in simulations):
            break
        until = min(until + _CHECK_INTERVAL, last)
    if trace.measure is Measure.ARRIVALS:
        for simulation in simulations:
            simulation.advance(until + TAIL)
    return tuple(simulation.result() for simulation in simulations)


class _Simulation:
    """One controller and the world that it acts on."""

    def __init__(self, trace: Trace, controller: Controller, workers: Workers) -> None:
        self._controller = controller
        self._world = make_world(trace, workers, controller.start(START))
        self._steps: list[Step] = []

    @property
    def at_rest(self) -> bool:
        return self._world.at_rest

    def advance(self, until: float) -> None:
        while (at := len(self._steps) * self._controller.interval) <= until:
            self._world.advance(at)
            self._step(at)
        self._world.advance(until)

    def _step(self, at: float) -> None:
        world = self._world
        replicas = len(world.fleet.staying)
        now = START + timedelta(seconds=at)
        verdict = self._controller.decide(Observation(now, replicas, world.stats()))
        self._steps.append(Step(at, world.waiting, replicas, verdict.desired, verdict.reasons))
        if verdict.desired != replicas:
            world.scale(verdict.desired)

    def result(self) -> Run:
        world = self._world
        figures = Figures(
            time_to_drain=world.drain.seconds,
            longest_wait=world.longest_wait,
            replica_seconds=world.fleet.seconds(world.now),
            changes_of_direction=_changes_of_direction(self._steps),
            peak_replicas=world.fleet.peak,
            tasks_done=world.done,
            tasks_waiting=world.waiting,
            tasks_in_flight=world.in_flight,
        )
        return Run(tuple(self._steps), figures)


def _changes_of_direction(steps: Sequence[Step]) -> int:
    """Count how often the replicas went the other way than at the change before."""
    out = [step.desired > step.replicas for step in steps if step.desired != step.replicas]
    return sum(before != after for before, after in itertools.pairwise(out))
