"""What a controller acts on: a task queue with its backlog, and the replicas that serve it."""

from __future__ import annotations

import heapq
import itertools
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from autoscaler.core.model import QueueStats
from autoscaler.simulation.trace import Measure, Trace
from autoscaler.simulation.workers import Fleet, SimulatedReplica, Workers

RATE_WINDOW = 30.0
"""Seconds over which Temporal averages its rates."""


def make_world(trace: Trace, workers: Workers, replicas: int) -> World:
    """Return the world that the measure of a trace calls for, with `replicas` replicas."""
    if trace.measure is Measure.ARRIVALS:
        return ClosedLoop(trace, workers, replicas)
    return OpenLoop(trace, workers, replicas)


@dataclass(slots=True)
class _Drain:
    """When tasks first waited, and since when no task waits. In seconds."""

    first: float | None = None
    since: float | None = 0.0

    def note(self, at: float, waiting: int) -> None:
        if waiting:
            self.since = None
            if self.first is None:
                self.first = at
        elif self.since is None:
            self.since = at

    @property
    def seconds(self) -> float | None:
        """The time from the first waiting task to the empty backlog; None while tasks wait."""
        if self.since is None:
            return None
        return 0.0 if self.first is None else self.since - self.first


@dataclass(slots=True)
class _Rate:
    """Tasks a second, as an average over the past 30 s."""

    counted: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def add(self, at: float, tasks: int) -> None:
        self.counted.append((at, tasks))
        self.total += tasks

    def at(self, now: float) -> float:
        while self.counted and self.counted[0][0] <= now - RATE_WINDOW:
            self.total -= self.counted.popleft()[1]
        return self.total / RATE_WINDOW


class World(ABC):
    """What both kinds of trace have in common. Times are in seconds since the trace began."""

    done: int | None = None
    """Tasks that have been finished; None where the trace does not tell."""
    in_flight: int | None = None
    """Tasks that run now; None where the trace does not tell."""

    def __init__(self, workers: Workers, replicas: int) -> None:
        """Begin with so many replicas, all ready, and no backlog."""
        self.workers = workers
        self.fleet = Fleet(replicas)
        self.now = 0.0
        self.waiting = 0
        self.drain = _Drain()
        self.adds, self.dispatches = _Rate(), _Rate()

    @property
    def at_rest(self) -> bool:
        """Whether no task waits, runs or is still to arrive."""
        return True

    @property
    def age(self) -> float:
        """How long the oldest waiting task has waited."""
        return 0.0

    @property
    def longest_wait(self) -> float | None:
        """The longest that any task has waited; None where the trace does not tell."""
        return None

    @abstractmethod
    def advance(self, until: float) -> None:
        """Let time pass until `until`."""

    def scale(self, replicas: int) -> None:
        """Change the number of replicas now."""
        if replicas > len(self.fleet.staying):
            self.fleet.grow(replicas, self.now, self.workers.startup)
        else:
            self.fleet.shrink(replicas, self.now)

    def stats(self) -> QueueStats:
        """Return what Temporal would say of the task queue now."""
        return QueueStats(
            waiting=self.waiting,
            age=timedelta(seconds=self.age),
            add_rate=self.adds.at(self.now),
            dispatch_rate=self.dispatches.at(self.now),
            pollers=self.fleet.ready(self.now),
        )


class OpenLoop(World):
    """The backlog is what the trace says. Ages and waits are unknown and read 0.

    A rise of the backlog counts as tasks added, a fall as tasks dispatched. While tasks wait and a
    replica is ready, each step counts one more task as added and dispatched: a backlog that stays
    the same must not look like one that no worker gets.
    """

    def __init__(self, trace: Trace, workers: Workers, replicas: int) -> None:
        """Follow a trace of backlogs."""
        super().__init__(workers, replicas)
        self._rows = deque(trace.rows)

    def advance(self, until: float) -> None:
        """Take the backlog from the rows until `until`."""
        while self._rows and self._rows[0].at <= until:
            row = self._rows.popleft()
            self.adds.add(row.at, max(0, row.tasks - self.waiting))
            self.dispatches.add(row.at, max(0, self.waiting - row.tasks))
            self.waiting = row.tasks
            self.drain.note(row.at, row.tasks)
        if self.waiting and self.fleet.ready(until) and until > self.now:
            self.adds.add(until, 1)
            self.dispatches.add(until, 1)
        self.now = until


class ClosedLoop(World):
    """Tasks arrive, wait in order for a free slot, and run.

    Time goes from event to event, not in steps of equal length: the figures are exact.
    """

    done: int
    in_flight: int

    def __init__(self, trace: Trace, workers: Workers, replicas: int) -> None:
        """Let the tasks of a trace of arrivals come."""
        super().__init__(workers, replicas)
        self.done = self.in_flight = 0
        self._arrivals = _arrivals(trace)
        self._next = next(self._arrivals, None)
        self._queue: deque[tuple[float, int]] = deque()
        # In the order in which the replicas became free: a dict keeps that order, a set does not.
        self._free = dict.fromkeys(self.fleet.staying)
        self._events: list[tuple[float, int, SimulatedReplica, int]] = []
        self._number = itertools.count()
        self._longest = 0.0

    @property
    def at_rest(self) -> bool:
        """Whether no task waits, runs or is still to arrive."""
        return not (self.waiting or self.in_flight or self._next)

    @property
    def age(self) -> float:
        """How long the oldest waiting task has waited."""
        return self.now - self._queue[0][0] if self._queue else 0.0

    @property
    def longest_wait(self) -> float:
        """The longest that any task has waited, those that still wait included."""
        return max(self._longest, self.age)

    def advance(self, until: float) -> None:
        """Let tasks arrive, end and start until `until`."""
        while (at := self._next_event()) <= until:
            self.now = at
            self._arrive()
            self._finish()
            self._dispatch()
        self.now = until

    def scale(self, replicas: int) -> None:
        """Change the number of replicas now; a new one takes tasks after its start-up."""
        if replicas > len(self.fleet.staying):
            for new in self.fleet.grow(replicas, self.now, self.workers.startup):
                self._later(self.workers.startup, new, 0)
        else:
            for leaving in self.fleet.shrink(replicas, self.now):
                self._free.pop(leaving, None)

    def _next_event(self) -> float:
        arrival = self._next[0] if self._next else math.inf
        return min(arrival, self._events[0][0]) if self._events else arrival

    def _arrive(self) -> None:
        while self._next and self._next[0] <= self.now:
            self._queue.append(self._next)
            self.waiting += self._next[1]
            self.adds.add(*self._next)
            self._next = next(self._arrivals, None)

    def _finish(self) -> None:
        """End the tasks whose time has come. A start-up is an event with 0 tasks."""
        while self._events and self._events[0][0] <= self.now:
            _, _, replica, tasks = heapq.heappop(self._events)
            replica.busy -= tasks
            self.in_flight -= tasks
            self.done += tasks
            if not replica.leaving:
                self._free[replica] = None
            elif tasks:
                self.fleet.settle(replica, self.now)

    def _dispatch(self) -> None:
        """Hand waiting tasks to free slots."""
        while self.waiting and self._free:
            replica = next(iter(self._free))
            tasks = min(self.workers.slots - replica.busy, self.waiting)
            self._take(tasks)
            replica.busy += tasks
            self.in_flight += tasks
            self._later(self.workers.service_time, replica, tasks)
            if replica.busy == self.workers.slots:
                del self._free[replica]
        self.drain.note(self.now, self.waiting)

    def _take(self, tasks: int) -> None:
        """Take the tasks that have waited longest out of the queue."""
        self.dispatches.add(self.now, tasks)
        self.waiting -= tasks
        while tasks:
            arrived, there = self._queue[0]
            self._longest = max(self._longest, self.now - arrived)
            if there > tasks:
                self._queue[0] = arrived, there - tasks
                return
            self._queue.popleft()
            tasks -= there

    def _later(self, seconds: float, replica: SimulatedReplica, tasks: int) -> None:
        """Plan the end of some tasks. The number keeps events of the same time in order."""
        heapq.heappush(self._events, (self.now + seconds, next(self._number), replica, tasks))


def _arrivals(trace: Trace) -> Iterator[tuple[float, int]]:
    """Spread the tasks of each row as evenly as possible over the seconds of its interval."""
    ends = [row.at for row in trace.rows[1:]] + [trace.end]
    for row, end in zip(trace.rows, ends, strict=True):
        seconds = math.ceil(end - row.at)
        before = 0
        for second in range(seconds if row.tasks else 0):
            until_then = -(-row.tasks * (second + 1) // seconds)
            if until_then > before:
                yield row.at + second, until_then - before
            before = until_then
