"""What workers get done while their slots are in use, from what they report of themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from autoscaler.core.in_flight import InFlight, SlotKind, Worker, reporting
from autoscaler.core.label_values import MOST_THROUGHPUT, QueueType

KINDS: Mapping[SlotKind, QueueType] = {
    SlotKind.ACTIVITY: QueueType.ACTIVITY,
    SlotKind.NEXUS: QueueType.NEXUS,
}
"""The slots whose tasks come from a task queue and are over when they are finished."""
BUSY_SHARE = 0.5
"""Smallest share of slots in use from which it is inferred what all of them would get done. Where
more of them are idle, something else than slots is likely to be scarce."""
FADE = timedelta(seconds=60)
"""After this time, half of what workers have reported counts no more."""
FEWEST_TASKS = 3.0
"""Tasks that workers must have reported as finished before that says something."""
SHORTEST_BETWEEN, LONGEST_BETWEEN = 1.0, 300.0
"""Seconds between two reports of a worker that say something of the time between them."""


@dataclass(frozen=True, slots=True)
class Done:
    """Tasks that workers have finished, and in what time. It fades."""

    at: datetime
    tasks: float = 0.0
    busy: float = 0.0
    """Seconds, as if all slots of one worker had been in use."""

    def with_more(self, tasks: float, busy: float, now: datetime) -> Done:
        """Return what is left of it at `now`, and something more."""
        left = 0.5 ** (max(timedelta(), now - self.at) / FADE)
        return Done(now, self.tasks * left + tasks, self.busy * left + busy)


@dataclass(frozen=True, slots=True)
class Worked:
    """What the workers of a service have reported."""

    latest: Mapping[str, Worker] = field(default_factory=dict)
    """The latest report of each worker, by its instance."""
    done: Mapping[QueueType, Done] = field(default_factory=dict)
    rates: Mapping[QueueType, float] = field(default_factory=dict)
    """Tasks a second of a replica whose slots are all in use, as the latest look shows it.

    Empty where the look brought no report that is new.
    """

    def observe(self, in_flight: InFlight, now: datetime) -> Worked:
        """Return what is known after a look at the workers' heartbeats."""
        workers = [
            worker
            for worker in in_flight.workers
            if worker.fresh(now) and worker.tells and not worker.leaving
        ]
        replicas = reporting(in_flight, now)
        done, rates = dict(self.done), {}
        for kind, type_ in KINDS.items():
            tasks, busy = self._since_before(workers, kind)
            if busy:
                so_far = done.get(type_, Done(now)).with_more(tasks, busy, now)
                done[type_] = so_far
                if so_far.tasks >= FEWEST_TASKS and replicas:
                    rates[type_] = so_far.tasks / so_far.busy * len(workers) / replicas
        return Worked({worker.instance: worker for worker in workers}, done, rates)

    def forgotten(self) -> Worked:
        """Return the same without what was learnt from the reports."""
        return replace(self, done={}, rates={})

    def _since_before(self, workers: Iterable[Worker], kind: SlotKind) -> tuple[float, float]:
        """Return the tasks that workers have finished since their reports before, and in what time.

        The time is in seconds, as if all slots of one worker had been in use. What cannot be is
        left out: a worker that has finished fewer tasks than before, or impossibly many.
        """
        tasks = busy = 0.0
        for worker in workers:
            before = self.latest.get(worker.instance)
            if before is None or before.at is None or worker.at is None:
                continue
            first, second = before.slots.get(kind), worker.slots.get(kind)
            seconds = (worker.at - before.at).total_seconds()
            if first is None or second is None:
                continue
            finished = second.processed - first.processed
            share = (first.share + second.share) / 2
            telling = SHORTEST_BETWEEN <= seconds <= LONGEST_BETWEEN and share >= BUSY_SHARE
            if telling and 0 <= finished <= MOST_THROUGHPUT * seconds:
                tasks += finished
                busy += share * seconds
        return tasks, busy
