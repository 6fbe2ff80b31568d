"""What would have happened: a trace replayed through controllers, in figures.

Time, tasks and replicas are the model's own: no clock, no randomness, the same run every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from autoscaler.simulation.controllers import Controller, Observation, Verdict
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
    mean_wait: float | None
    """How long tasks waited for a slot on average; None where the trace has backlogs."""
    p95_wait: float | None
    """95 % of the tasks waited no longer; None where the trace has backlogs."""
    longest_wait: float | None
    """The longest that any task waited; None where the trace has backlogs."""
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
    simulations = [_alone(trace, controller, workers) for controller in controllers]
    play(simulations, trace.end)
    return tuple(simulation.scenes[0].result() for simulation in simulations)


def _alone(trace: Trace, controller: Controller, workers: Workers) -> Simulation:
    scene = Scene(trace, workers, controller.start(trace.begins))
    return Simulation([scene], controller.interval, lambda seen: [controller.decide(seen[0])])


def play(simulations: Sequence[Simulation], end: float) -> None:
    """Let the time of all simulations pass, from 0 to the same moment for all.

    Traces of backlogs end at `end`. Where a trace has arrivals, all go on until the work of every
    simulation is done, and ten minutes more.
    """
    until, last = end, end + DRAIN_LIMIT
    while True:
        for simulation in simulations:
            simulation.advance(until)
        if until >= last or all(simulation.at_rest for simulation in simulations):
            break
        until = min(until + _CHECK_INTERVAL, last)
    if any(simulation.has_arrivals for simulation in simulations):
        for simulation in simulations:
            simulation.advance(until + TAIL)


class Simulation:
    """Services, each with a trace and a world, and what decides for them at each look."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        interval: float,
        decide: Callable[[Sequence[Observation]], Sequence[Verdict]],
    ) -> None:
        """Look every `interval` seconds; `decide` answers for each scene, in the same order."""
        self.scenes = scenes
        self._interval = interval
        self._decide = decide
        self._looks = 0

    @property
    def at_rest(self) -> bool:
        """Whether all work is done."""
        return all(scene.world.at_rest for scene in self.scenes)

    @property
    def has_arrivals(self) -> bool:
        """Whether decisions have an effect on any backlog."""
        return any(scene.trace.measure is Measure.ARRIVALS for scene in self.scenes)

    def advance(self, until: float) -> None:
        """Let time pass until `until`, and decide at each look on the way."""
        while (at := self._looks * self._interval) <= until:
            for scene in self.scenes:
                scene.world.advance(at)
            # No service follows before all have been decided.
            verdicts = self._decide([scene.observe() for scene in self.scenes])
            for scene, verdict in zip(self.scenes, verdicts, strict=True):
                scene.follow(verdict)
            self._looks += 1
        for scene in self.scenes:
            scene.world.advance(until)


class Scene:
    """One service: its trace, its world, and the decisions that were made for it."""

    def __init__(self, trace: Trace, workers: Workers, replicas: int) -> None:
        """Begin with so many replicas."""
        self.trace = trace
        self.world = make_world(trace, workers, replicas)
        self._steps: list[Step] = []

    def observe(self) -> Observation:
        """Return what can be seen now."""
        world = self.world
        return Observation(
            self.trace.begins + timedelta(seconds=world.now),
            len(world.fleet.staying),
            world.stats(),
            world.waiting,
            # A trace of backlogs does not tell what runs.
            None if world.running is None else world.in_flight,
            world.fleet.draining,
        )

    def follow(self, verdict: Verdict) -> None:
        """Do what was decided, and write it down."""
        world = self.world
        replicas = len(world.fleet.staying)
        step = Step(world.now, world.waiting, replicas, verdict.desired, verdict.reasons)
        self._steps.append(step)
        if verdict.desired != replicas:
            world.scale(verdict.desired, verdict.stopping)

    def result(self) -> Run:
        """Return the decisions and the figures so far."""
        world, waits = self.world, self.world.waits
        figures = Figures(
            time_to_drain=world.drain.seconds,
            mean_wait=None if waits is None else waits.mean,
            p95_wait=None if waits is None else waits.p95,
            longest_wait=None if waits is None else waits.longest,
            replica_seconds=world.fleet.seconds(world.now),
            changes_of_direction=_changes_of_direction(self._steps),
            peak_replicas=world.fleet.peak,
            tasks_done=world.done,
            tasks_waiting=world.waiting,
            tasks_in_flight=world.running,
        )
        return Run(tuple(self._steps), figures)


def _changes_of_direction(steps: Sequence[Step]) -> int:
    """Count how often the replicas went the other way than at the change before."""
    out = [step.desired > step.replicas for step in steps if step.desired != step.replicas]
    return sum(before != after for before, after in itertools.pairwise(out))
