"""What a controller acts on: a task queue with its backlog, and the replicas that serve it."""

from __future__ import annotations

import heapq
import itertools
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta

from autoscaler.core.backlog import QueueStats
from autoscaler.core.in_flight import InFlight
from autoscaler.simulation.fleet import Fleet, SimulatedReplica
from autoscaler.simulation.heartbeats import read_in_flight
from autoscaler.simulation.readings import CachedStats, Rate
from autoscaler.simulation.trace import Measure, Trace
from autoscaler.simulation.waits import WaitFigures, Waits
from autoscaler.simulation.workers import ServiceTimes, Share, Workers


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


class World(ABC):
    """What both kinds of trace have in common. Times are in seconds since the trace began."""

    done: int | None = None
    """Tasks that have been finished; None where the trace does not tell."""
    running: int | None = None
    """Tasks that run now; None where the trace does not tell."""

    def __init__(self, trace: Trace, workers: Workers, replicas: int) -> None:
        """Begin with so many replicas, all ready, and no backlog."""
        self.workers = workers
        self._begins = trace.begins
        self.fleet = Fleet(replicas, workers.heartbeat)
        self.now = 0.0
        self.waiting = 0
        self.drain = _Drain()
        self.adds, self.dispatches = Rate(), Rate()
        self._stats = CachedStats()

    @property
    def at_rest(self) -> bool:
        """Whether no task waits, runs or is still to arrive."""
        return True

    @property
    def age(self) -> float:
        """How long the oldest waiting task has waited."""
        return 0.0

    @property
    def waits(self) -> WaitFigures | None:
        """How long tasks waited, those that still wait included; None where nobody can tell."""
        return None

    @abstractmethod
    def advance(self, until: float) -> None:
        """Let time pass until `until`."""

    def scale(self, replicas: int, stopping: Collection[str] | None = None) -> None:
        """Change the number of replicas now; `stopping` names who stops, if it matters."""
        if replicas > len(self.fleet.staying):
            self.fleet.grow(replicas, self.now, self.workers.startup)
        elif stopping is None:
            self.fleet.shrink(replicas, self.now)
        else:
            self.fleet.stop(stopping, self.now)

    def stats(self) -> QueueStats:
        """Return what Temporal says of the task queue when it is asked now."""
        return self._stats.ask(self.now, self.fleet.ready(self.now), self._make_stats)

    def in_flight(self) -> InFlight:
        """Return what the workers have reported by now."""
        return read_in_flight(self.fleet, self.workers.slots, self.now, self._begins)

    def _make_stats(self) -> QueueStats:
        return QueueStats(
            waiting=self.waiting,
            age=timedelta(seconds=self.age),
            add_rate=self.adds.at(self.now),
            dispatch_rate=self.dispatches.at(self.now),
        )


class OpenLoop(World):
    """The backlog is what the trace says. Ages and waits are unknown and read 0.

    A rise of the backlog counts as tasks added, a fall as tasks dispatched. While tasks wait and a
    replica is ready, each step counts one more task as added and dispatched: a backlog that stays
    the same must not look like one that no worker gets.
    """

    def __init__(self, trace: Trace, workers: Workers, replicas: int) -> None:
        """Follow a trace of backlogs."""
        super().__init__(trace, workers, replicas)
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
    running: int

    def __init__(self, trace: Trace, workers: Workers, replicas: int) -> None:
        """Let the tasks of a trace of arrivals come."""
        super().__init__(trace, workers, replicas)
        self.done = self.running = 0
        self._arrivals = _arrivals(trace)
        self._next = next(self._arrivals, None)
        self._unseen = Share(workers.unseen)
        self._service_times = ServiceTimes(workers)
        self._queue: deque[tuple[float, int]] = deque()
        # In the order in which the replicas became free: a dict keeps that order, a set does not.
        self._free = dict.fromkeys(self.fleet.staying)
        self._events: list[tuple[float, int, SimulatedReplica, int]] = []
        self._number = itertools.count()
        self._waited = Waits()

    @property
    def at_rest(self) -> bool:
        """Whether no task waits, runs or is still to arrive."""
        return not (self.waiting or self.running or self._next)

    @property
    def age(self) -> float:
        """How long the oldest waiting task has waited."""
        return self.now - self._queue[0][0] if self._queue else 0.0

    @property
    def waits(self) -> WaitFigures:
        """How long tasks waited, those that still wait included."""
        return self._waited.figures((self.now - arrived, tasks) for arrived, tasks in self._queue)

    @property
    def next_event(self) -> float:
        """When a task arrives or ends, or a replica is ready; infinite where nothing comes."""
        arrival = self._next[0] if self._next else math.inf
        return min(arrival, self._events[0][0]) if self._events else arrival

    def advance(self, until: float) -> None:
        """Let tasks arrive, end and start until `until`."""
        while (at := self.next_event) <= until:
            self.now = at
            self._finish()
            self._arrive()
            self._dispatch()
        self.now = until

    def scale(self, replicas: int, stopping: Collection[str] | None = None) -> None:
        """Change the number of replicas now; a new one takes tasks after its start-up."""
        before = list(self.fleet.staying)
        super().scale(replicas, stopping)
        for new in self.fleet.staying[len(before) :]:
            self._later(self.workers.startup, new, 0)
        for replica in before:
            if replica.leaving:
                self._free.pop(replica, None)

    def _finish(self) -> None:
        """End the tasks whose time has come. A start-up is an event with 0 tasks."""
        while self._events and self._events[0][0] <= self.now:
            _, _, replica, tasks = heapq.heappop(self._events)
            replica.finish(tasks, self.now)
            self.running -= tasks
            self.done += tasks
            if not replica.leaving:
                self._free[replica] = None
            elif tasks:
                self.fleet.settle(replica, self.now)

    def _arrive(self) -> None:
        """Let tasks join the queue, apart from those that Temporal's figures never show."""
        while self._next and self._next[0] <= self.now:
            at, tasks = self._next
            unseen = self._unseen.of(tasks)
            if not self.waiting:
                started = self._start(unseen)
                self._waited.add(0.0, started)
                tasks -= started
            if tasks:
                self._queue.append((at, tasks))
                self.waiting += tasks
                self.adds.add(at, tasks)
            self._next = next(self._arrivals, None)

    def _dispatch(self) -> None:
        """Hand waiting tasks to free slots."""
        started = self._start(self.waiting)
        if started:
            self._take(started)
        self.drain.note(self.now, self.waiting)

    def _start(self, most: int) -> int:
        """Begin tasks in free slots, at most so many; return how many."""
        left = most
        while left and self._free:
            replica = next(iter(self._free))
            tasks = min(self.workers.slots - replica.busy, left)
            replica.take(tasks, self.now)
            self.running += tasks
            for seconds, number in self._service_times.take(tasks, self.now).items():
                self._later(seconds, replica, number)
            if replica.busy == self.workers.slots:
                del self._free[replica]
            left -= tasks
        return most - left

    def _take(self, tasks: int) -> None:
        """Take the tasks that have waited longest out of the queue."""
        self.dispatches.add(self.now, tasks)
        self.waiting -= tasks
        while tasks:
            arrived, there = self._queue[0]
            taken = min(there, tasks)
            self._waited.add(self.now - arrived, taken)
            tasks -= taken
            if taken < there:
                self._queue[0] = arrived, there - taken
            else:
                self._queue.popleft()

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
