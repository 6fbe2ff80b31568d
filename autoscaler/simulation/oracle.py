"""A controller that knows what will come, as a yardstick for those that do not."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.words import figure
from autoscaler.simulation.controllers import Observation, Verdict
from autoscaler.simulation.trace import Measure, Trace
from autoscaler.simulation.workers import Workers
from autoscaler.simulation.world import ClosedLoop


class Oracle:
    """Knows what arrives, and how long it runs, one start-up and one look ahead.

    First the trace runs with `most` replicas that are there from the beginning to the end. That
    tells how many tasks are at work at each moment if none has to wait, or none longer than `most`
    replicas make it wait. At each look, the oracle has as many replicas as the largest such number
    needs, `ceil(tasks at work / slots)`, from now until a replica that is asked for at the next
    look can be ready; never less than `least`. It begins with what is needed until a replica that
    is asked for at the first look is ready.

    So no task ever waits where `most` is enough. Its cost is no minimum: who lets tasks wait needs
    fewer replicas, and who waits to stop a replica that is needed again soon may need fewer, too.
    """

    def __init__(
        self, trace: Trace, workers: Workers, least: int, most: int, interval: float
    ) -> None:
        """Look every `interval` seconds; raise ConfigurationError for a trace of backlogs."""
        if trace.measure is not Measure.ARRIVALS:
            raise ConfigurationError(
                [f"{trace.name} has backlogs, and the oracle needs a trace of arrivals"]
            )
        self.interval = interval
        self._begins = trace.begins
        self._startup = workers.startup
        self._slots = workers.slots
        self._least, self._most = least, most
        self._times, self._at_work = _tasks_at_work(trace, workers, most)

    def start(self, now: datetime) -> int:  # noqa: ARG002 - it has nothing to forget
        """Begin with what is needed until its first replica can be ready."""
        return self._needed(0.0, self._startup)

    def decide(self, observation: Observation) -> Verdict:
        """Return what is needed until a replica of the next look can be ready."""
        now = (observation.now - self._begins).total_seconds()
        number = self._needed(now, now + self.interval + self._startup)
        return Verdict(number, (f"what is known to come → {figure(number)}",))

    def _needed(self, begin: float, end: float) -> int:
        """Return the replicas for the most tasks at work in a time, its last moment included."""
        first = max(0, bisect_right(self._times, begin) - 1)
        # A moment may be calculated in two ways that differ a little in floating point.
        last = bisect_right(self._times, end + 1e-6)
        tasks = max(self._at_work[first:last])
        return min(self._most, max(self._least, math.ceil(tasks / self._slots)))


def _tasks_at_work(
    trace: Trace, workers: Workers, replicas: int
) -> tuple[Sequence[float], Sequence[int]]:
    """Return the moments at which the tasks at work change, and their number from then on."""
    world = ClosedLoop(trace, workers, replicas)
    times, numbers = [0.0], [0]
    while (at := world.next_event) < math.inf:
        world.advance(at)
        if at > times[-1]:
            times.append(at)
            numbers.append(world.running)
        else:
            numbers[-1] = world.running
    return times, numbers
