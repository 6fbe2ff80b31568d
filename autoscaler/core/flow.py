"""The flow of tasks through the replicas of a service, as the latest looks saw it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autoscaler.core.backlog import NO_RATE, Backlog
from autoscaler.core.label_values import QueueType

AVERAGED = timedelta(seconds=30)
"""The server's rates are averages over this time."""
REMEMBERED = timedelta(seconds=60)
"""How long replicas are kept for arrivals that have become fewer: averages go up and down."""
QUEUEING = 1.0
"""Tasks wait for busy replicas where they are more than are handed out in this time, in seconds.
Fewer may just be on their way to a worker."""
MOST_RATE = 1e9
"""Tasks a second. More cannot be; NaN is not less either."""


@dataclass(frozen=True, slots=True)
class Flow:
    """The tasks of one type at one moment, in all task queues of a service."""

    waiting: int
    arriving: float
    """Tasks added a second. Those that neither wait nor were dispatched do not count."""
    dispatched: float
    """Tasks handed to workers a second."""
    limited: bool
    """Whether the server limits the rate, so that it says nothing of the workers."""

    @property
    def queueing(self) -> bool:
        """Whether tasks wait for a replica that has time for them."""
        return self.waiting >= max(1.0, QUEUEING * self.dispatched)


@dataclass(frozen=True, slots=True)
class Look:
    """The flow of tasks at one moment, by type, and the replicas that there were for it."""

    at: datetime
    replicas: int
    flows: Mapping[QueueType, Flow]

    @property
    def waiting(self) -> int:
        """Waiting tasks of all types."""
        return sum(flow.waiting for flow in self.flows.values())

    @property
    def dispatched(self) -> float:
        """Tasks of all types that are handed to workers a second."""
        return sum(flow.dispatched for flow in self.flows.values())

    @property
    def idle(self) -> bool:
        """Whether no task waits, arrives or is handed to a worker."""
        return not any(
            flow.waiting or flow.arriving > NO_RATE or flow.dispatched > NO_RATE
            for flow in self.flows.values()
        )

    def moved(self, by: timedelta) -> Look:
        """Return the same look, as if it had been later; earlier, where below zero."""
        return replace(self, at=self.at + by)


@dataclass(frozen=True, slots=True)
class Sustained:
    """What has arrived a second, of each type, for as long as the server averages."""

    at: datetime
    arriving: Mapping[QueueType, float]


@dataclass(frozen=True, slots=True)
class Flows:
    """What the latest looks saw."""

    looks: tuple[Look, ...] = ()
    """Those within the server's averages, oldest first, and the one before them."""
    sustained: tuple[Sustained, ...] = ()
    """What had arrived at each look of the time that is remembered, oldest first."""

    @property
    def latest(self) -> Look | None:
        """The latest look; None where there was none."""
        return self.looks[-1] if self.looks else None

    def with_look(self, look: Look) -> Flows:
        """Return the same after one more look."""
        looks = (*self.looks, look)
        reaching = [at for at, each in enumerate(looks) if each.at <= look.at - AVERAGED]
        looks = looks[reaching[-1] :] if reaching else looks
        seen = Flows(looks)
        now = Sustained(look.at, {type_: seen.arriving(type_) for type_ in look.flows})
        recent = [each for each in self.sustained if each.at >= look.at - REMEMBERED]
        return Flows(looks, (*recent, now))

    def moved(self, by: timedelta) -> Flows:
        """Return the same, as if all of it had been seen later; earlier, where below zero."""
        return Flows(
            tuple(look.moved(by) for look in self.looks),
            tuple(replace(each, at=each.at + by) for each in self.sustained),
        )

    def arriving(self, type_: QueueType) -> float:
        """Return the tasks of a type that have arrived a second, at every look of half a minute.

        Tasks that came at once and for once have not: they are what the backlog is for.
        """
        if not self._covers_average:
            return 0.0
        flows = [look.flows.get(type_) for look in self.looks]
        return min(0.0 if flow is None else flow.arriving for flow in flows)

    def arrived(self, type_: QueueType) -> float:
        """Return the most tasks of a type a second that it would be too early to forget."""
        flow = self.looks[-1].flows.get(type_) if self.looks else None
        before = (each.arriving.get(type_, 0.0) for each in self.sustained)
        return max(0.0 if flow is None else flow.arriving, *before)

    def queueing(self, type_: QueueType) -> bool:
        """Whether tasks of a type have waited for busy replicas, at every look of half a minute."""
        flows = [look.flows.get(type_) for look in self.looks]
        return self._covers_average and all(flow is not None and flow.queueing for flow in flows)

    def done_by_each(self, type_: QueueType) -> float:
        """Return what each replica did on average, a second; 0 where it is not known.

        Each can do that at least. Their number must have been the same for as long as the server
        averages, and a rate that the server limits says nothing of them.
        """
        same = len({look.replicas for look in self.looks}) == 1
        return self.done_roughly(type_) if same and self._covers_average else 0.0

    def done_roughly(self, type_: QueueType) -> float:
        """Return roughly what a replica did, a second, while their number changed; 0 where unknown.

        Those that had not started yet count as well, so it may be too low.
        """
        flow = self.looks[-1].flows.get(type_) if self.looks else None
        replicas = [look.replicas for look in self.looks]
        if flow is None or flow.limited or flow.dispatched <= NO_RATE or not all(replicas):
            return 0.0
        return flow.dispatched * len(replicas) / sum(replicas)

    @property
    def _covers_average(self) -> bool:
        """Whether the looks go back for as long as the server averages."""
        return bool(self.looks) and self.looks[-1].at - self.looks[0].at >= AVERAGED


def flows_of(backlog: Backlog) -> Mapping[QueueType, Flow] | None:
    """Return the flow of each type of task; None where it is not new, or cannot be."""
    stats = backlog.parts.values()
    rates = [rate for each in stats for rate in (each.add_rate, each.dispatch_rate)]
    possible = all(0 <= rate <= MOST_RATE for rate in rates)
    if not possible or not backlog.new:
        return None
    return {type_: _flow(backlog, type_) for type_ in {queue.type for queue in backlog.parts}}


def _flow(backlog: Backlog, type_: QueueType) -> Flow:
    stats = [each for queue, each in backlog.parts.items() if queue.type is type_]
    waiting = sum(each.waiting for each in stats)
    dispatched = sum(each.dispatch_rate for each in stats)
    # What was added was handed out meanwhile, or waits.
    possible = dispatched + waiting / AVERAGED.total_seconds()
    return Flow(
        waiting,
        min(sum(each.add_rate for each in stats), possible),
        dispatched,
        any(each.rate_limited for each in stats),
    )
