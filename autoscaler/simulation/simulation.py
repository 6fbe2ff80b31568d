"""What would have happened: a trace replayed through a controller, in figures.

Ours is `decide` and nothing else; see `Autoscaler`. Time, tasks and replicas are the model's own:
no clock, no randomness, the same run every time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from autoscaler.core.decide import decide
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.history import History
from autoscaler.core.model import Backlog, QueueStats, TaskQueue
from autoscaler.core.situation import Situation
from autoscaler.core.spec import QueueType, ScalingSpec
from autoscaler.simulation.trace import Measure, Trace

START = datetime(2026, 1, 1, tzinfo=UTC)
"""When every simulation begins; nothing depends on it."""
RATE_WINDOW = 30.0
"""Seconds over which Temporal averages its rates."""
REST = 600.0
"""Seconds that a run goes on when all work is done, so that a slow way in costs what it costs."""
PATIENCE = 86_400.0
"""Seconds after the trace at which a backlog that does not drain is left."""

_LONGEST = timedelta(days=1).total_seconds()
_MOST_SLOTS = 10_000


@dataclass(frozen=True, slots=True)
class Workers:
    """What a replica can do."""

    service_time: float = 2.0
    """Seconds a task takes."""
    slots: int = 2
    """Tasks a replica runs at once."""
    startup: float = 3.0
    """Seconds from the decision for a replica until it takes its first task."""

    def __post_init__(self) -> None:
        wrong = []
        if not 0 < self.service_time <= _LONGEST:
            wrong.append("the service time must be more than 0s and at most 24h")
        if not 1 <= self.slots <= _MOST_SLOTS:
            wrong.append(f"the slots of a replica must be from 1 to {_MOST_SLOTS}")
        if not 0 <= self.startup <= _LONGEST:
            wrong.append("the start-up time must be from 0s to 24h")
        if wrong:
            raise ConfigurationError(wrong)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a controller is shown when it looks."""

    now: datetime
    replicas: int
    """Running or starting."""
    stats: QueueStats


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a controller answers."""

    replicas: int
    reasons: tuple[str, ...]


class Controller(Protocol):
    """Decides how many replicas there should be, from what it sees at each look."""

    @property
    def interval(self) -> float:
        """Seconds between two looks."""

    def start(self, now: datetime) -> int:
        """Forget everything; return the replicas to begin with."""

    def wanted(self, seen: Seen) -> Wanted:
        """Decide."""


class Autoscaler:
    """Ours: `decide`, with the history that each decision hands to the next."""

    def __init__(self, spec: ScalingSpec, interval: float = 5.0) -> None:
        self.spec = spec
        self.interval = interval
        self._queue = TaskQueue(spec.integration, None, spec.queues[0], QueueType.WORKFLOW)
        self._history = History.seed(spec.min, START)

    def start(self, now: datetime) -> int:
        """Begin at `min`, as a service does that had nothing to do."""
        self._history = History.seed(self.spec.min, now)
        return self.spec.min

    def wanted(self, seen: Seen) -> Wanted:
        """Ask `decide`."""
        situation = Situation(
            spec=self.spec,
            replicas=seen.replicas,
            backlog=Backlog({self._queue: seen.stats}),
            history=self._history,
            now=seen.now,
        )
        decision = decide(situation)
        self._history = decision.history
        return Wanted(decision.desired, tuple(map(str, decision.reasons)))


@dataclass(frozen=True, slots=True)
class Look:
    """One look of the controller, before anything was changed."""

    at: float
    """Seconds since the trace began."""
    backlog: int
    """Waiting tasks; those in flight are not counted, as in Temporal."""
    replicas: int
    desired: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to. Durations are in seconds."""

    time_to_drain: float | None
    """From the first waiting task until the backlog is 0 for good; None: it never was."""
    longest_wait: float | None
    """The longest any task waited for a slot; None: a trace of backlogs does not tell."""
    replica_seconds: float
    """Each replica from the decision for it until it is gone: what it costs."""
    changes_of_direction: int
    """Times a scale-in followed a scale-out, or the other way round."""
    peak_replicas: int
    """The most that ran or started at once, without those that only finish what they run."""
    tasks_done: int | None
    """None where the trace does not tell, as in the next two."""
    tasks_waiting: int
    tasks_in_flight: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """A trace as one controller went through it."""

    looks: tuple[Look, ...]
    figures: Figures


def replay(trace: Trace, controllers: Sequence[Controller], workers: Workers) -> tuple[Run, ...]:
    """Run the trace through each controller; all runs end at the same time.

    Where arrivals are counted, they end ten minutes after the last of them finished all work.
    """
    runs = [_Simulation(trace, controller, workers) for controller in controllers]
    until, last = trace.end, trace.end + PATIENCE
    while True:
        for run in runs:
            run.advance(until)
        if until >= last or all(run.world.at_rest for run in runs):
            break
        until = min(until + 60.0, last)
    if trace.measure is Measure.ARRIVALS:
        for run in runs:
            run.advance(until + REST)
    return tuple(run.result() for run in runs)


class _Simulation:
    """One controller and its world."""

    def __init__(self, trace: Trace, controller: Controller, workers: Workers) -> None:
        replicas = controller.start(START)
        self.world: _World = (
            _ClosedLoop(trace, workers, replicas)
            if trace.measure is Measure.ARRIVALS
            else _OpenLoop(trace, workers, replicas)
        )
        self._controller = controller
        self._looks: list[Look] = []

    def advance(self, until: float) -> None:
        while (at := len(self._looks) * self._controller.interval) <= until:
            self.world.advance(at)
            self._look(at)
        self.world.advance(until)

    def _look(self, at: float) -> None:
        world = self.world
        replicas = len(world.fleet.staying)
        now = START + timedelta(seconds=at)
        wanted = self._controller.wanted(Seen(now, replicas, world.stats()))
        self._looks.append(Look(at, world.waiting, replicas, wanted.replicas, wanted.reasons))
        if wanted.replicas != replicas:
            world.scale(wanted.replicas)

    def result(self) -> Run:
        return Run(
            tuple(self._looks),
            self.world.figures(changes_of_direction(self._looks)),
        )


def changes_of_direction(looks: Sequence[Look]) -> int:
    """Count how often the replicas went the other way than the time before."""
    steps = [look.desired > look.replicas for look in looks if look.desired != look.replicas]
    return sum(before != after for before, after in itertools.pairwise(steps))


@dataclass(eq=False, slots=True)
class _Replica:
    since: float
    ready_at: float
    busy: int = 0
    leaving: bool = False


class _Fleet:
    """The replicas there are, and what they cost."""

    def __init__(self, replicas: int) -> None:
        self.staying = [_Replica(0.0, 0.0) for _ in range(replicas)]
        self.finishing: set[_Replica] = set()
        self.peak = replicas
        self._spent = 0.0

    def grow(self, replicas: int, now: float, startup: float) -> list[_Replica]:
        """Start replicas until there are so many; return those that are new."""
        new = [_Replica(now, now + startup) for _ in range(replicas - len(self.staying))]
        self.staying += new
        self.peak = max(self.peak, replicas)
        return new

    def shrink(self, replicas: int, now: float) -> list[_Replica]:
        """Let replicas go: those still starting, then the least busy, the newest first."""
        order = sorted(self.staying, key=lambda one: (one.ready_at <= now, one.busy, -one.since))
        leaving = order[: len(self.staying) - replicas]
        for replica in leaving:
            self.staying.remove(replica)
            self.finishing.add(replica)
            replica.leaving = True
            self.settle(replica, now)
        return leaving

    def settle(self, replica: _Replica, now: float) -> None:
        """A replica that was told to go is gone when it has finished what it ran."""
        if replica.leaving and not replica.busy:
            self.finishing.remove(replica)
            self._spent += now - replica.since

    def seconds(self, now: float) -> float:
        here = itertools.chain(self.staying, self.finishing)
        return self._spent + sum(now - replica.since for replica in here)

    def ready(self, now: float) -> int:
        return sum(replica.ready_at <= now for replica in self.staying)


@dataclass(slots=True)
class _Drain:
    """When tasks first waited, and since when none does."""

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
        if self.since is None:
            return None
        return 0.0 if self.first is None else self.since - self.first


@dataclass(slots=True)
class _Rate:
    """Tasks a second, as an average over the past 30 s."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def add(self, at: float, tasks: int) -> None:
        self.seen.append((at, tasks))
        self.total += tasks

    def at(self, now: float) -> float:
        while self.seen and self.seen[0][0] <= now - RATE_WINDOW:
            self.total -= self.seen.popleft()[1]
        return self.total / RATE_WINDOW


class _World:
    """What both kinds of trace have in common."""

    def __init__(self, workers: Workers, replicas: int) -> None:
        self.workers = workers
        self.fleet = _Fleet(replicas)
        self.now = 0.0
        self.waiting = 0
        self.drain = _Drain()
        self.adds, self.dispatches = _Rate(), _Rate()

    @property
    def at_rest(self) -> bool:
        return True

    @property
    def age(self) -> float:
        return 0.0

    def advance(self, until: float) -> None:
        raise NotImplementedError

    def scale(self, replicas: int) -> None:
        if replicas > len(self.fleet.staying):
            self.fleet.grow(replicas, self.now, self.workers.startup)
        else:
            self.fleet.shrink(replicas, self.now)

    def stats(self) -> QueueStats:
        return QueueStats(
            waiting=self.waiting,
            age=timedelta(seconds=self.age),
            add_rate=self.adds.at(self.now),
            dispatch_rate=self.dispatches.at(self.now),
            pollers=self.fleet.ready(self.now),
        )

    def figures(self, turns: int) -> Figures:
        return Figures(
            time_to_drain=self.drain.seconds,
            longest_wait=None,
            replica_seconds=self.fleet.seconds(self.now),
            changes_of_direction=turns,
            peak_replicas=self.fleet.peak,
            tasks_done=None,
            tasks_waiting=self.waiting,
            tasks_in_flight=None,
        )


class _OpenLoop(_World):
    """The backlog is what the trace says. Ages and waits are unknown and read 0.

    What the backlog rose by was added, what it fell by was dispatched; that of a backlog which
    stays as it is a task moves now and then is taken for granted while a replica is ready.
    """

    def __init__(self, trace: Trace, workers: Workers, replicas: int) -> None:
        super().__init__(workers, replicas)
        self._rows = deque(trace.rows)

    def advance(self, until: float) -> None:
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


class _ClosedLoop(_World):
    """Tasks arrive, wait in order for a free slot, and run. Exact events, no steps."""

    def __init__(self, trace: Trace, workers: Workers, replicas: int) -> None:
        super().__init__(workers, replicas)
        self._arrivals = _arrivals(trace)
        self._next = next(self._arrivals, None)
        self._queue: deque[tuple[float, int]] = deque()
        self._free = dict.fromkeys(self.fleet.staying)
        self._events: list[tuple[float, int, _Replica, int]] = []
        self._number = itertools.count()
        self._in_flight = 0
        self._done = 0
        self._longest = 0.0

    @property
    def at_rest(self) -> bool:
        return not (self.waiting or self._in_flight or self._next)

    @property
    def age(self) -> float:
        return self.now - self._queue[0][0] if self._queue else 0.0

    def advance(self, until: float) -> None:
        while (at := self._next_event()) <= until:
            self.now = at
            self._arrive()
            self._finish()
            self._dispatch()
        self.now = until

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
        """End tasks whose time has come; a start-up ends like a task of which there are 0."""
        while self._events and self._events[0][0] <= self.now:
            _, _, replica, tasks = heapq.heappop(self._events)
            replica.busy -= tasks
            self._in_flight -= tasks
            self._done += tasks
            if not replica.leaving:
                self._free[replica] = None
            elif tasks:
                self.fleet.settle(replica, self.now)

    def _dispatch(self) -> None:
        while self.waiting and self._free:
            replica = next(iter(self._free))
            tasks = min(self.workers.slots - replica.busy, self.waiting)
            self._take(tasks)
            replica.busy += tasks
            self._in_flight += tasks
            self._later(self.workers.service_time, replica, tasks)
            if replica.busy == self.workers.slots:
                del self._free[replica]
        self.drain.note(self.now, self.waiting)

    def _take(self, tasks: int) -> None:
        """Hand out the tasks that have waited longest."""
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

    def _later(self, seconds: float, replica: _Replica, tasks: int) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._number), replica, tasks))

    def scale(self, replicas: int) -> None:
        if replicas > len(self.fleet.staying):
            for new in self.fleet.grow(replicas, self.now, self.workers.startup):
                self._later(self.workers.startup, new, 0)
        else:
            for leaving in self.fleet.shrink(replicas, self.now):
                self._free.pop(leaving, None)

    def figures(self, turns: int) -> Figures:
        return Figures(
            time_to_drain=self.drain.seconds,
            longest_wait=max(self._longest, self.age),
            replica_seconds=self.fleet.seconds(self.now),
            changes_of_direction=turns,
            peak_replicas=self.fleet.peak,
            tasks_done=self._done,
            tasks_waiting=self.waiting,
            tasks_in_flight=self._in_flight,
        )


def _arrivals(trace: Trace) -> Iterator[tuple[float, int]]:
    """Spread the tasks of each row over the seconds of its interval, as evenly as tasks go."""
    ends = [row.at for row in trace.rows[1:]] + [trace.end]
    for row, end in zip(trace.rows, ends, strict=True):
        seconds = math.ceil(end - row.at)
        before = 0
        for second in range(seconds if row.tasks else 0):
            until_then = -(-row.tasks * (second + 1) // seconds)
            if until_then > before:
                yield row.at + second, until_then - before
            before = until_then
