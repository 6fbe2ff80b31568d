"""What one call for task queues has brought, and what it shows of each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueResponse,
    DescribeWorkerDeploymentVersionResponse,
)

from autoscaler.core.backlog import QueueStats, TaskQueue, WorkerVersion
from autoscaler.core.budget import LastCall
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.reading import Reading
from autoscaler.core.sighting import BUILD_KEPT, FRESH, Sighting, look
from autoscaler.sources.temporal.builds import read_build
from autoscaler.sources.temporal.queues import on_partition, read_queue

COUNTED_SPACING = timedelta(seconds=0.5)
"""Shortest time between two turns of a call that brings a count: sooner, little has changed."""
Call = TaskQueue | WorkerVersion
"""What one call reads: a task queue of one type, or all task queues of one build."""
Calls = Mapping[Call, Sequence[TaskQueue]]
"""The task queues that each call is made for."""
Raw = DescribeTaskQueueResponse | DescribeWorkerDeploymentVersionResponse
"""The server's answer to a call."""


def group_by_call(queues: Iterable[TaskQueue]) -> Calls:
    """Return the calls that read some task queues; one call for the same queue or build."""
    calls: dict[Call, list[TaskQueue]] = defaultdict(list)
    for queue in queues:
        calls[queue.version or queue].append(queue)
    return calls


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call has brought the last time."""

    readings: Mapping[TaskQueue, Reading] = field(default_factory=dict)
    sightings: Mapping[TaskQueue, Sighting] = field(default_factory=dict)
    """What the looks have shown of the task queues; empty for a call that failed."""
    last: LastCall | None = None
    """None for a call that failed: it is due again as soon as the namespace is asked again."""

    def again(self) -> Answer:
        """Return the answer as one that an earlier look has brought already."""
        new = {
            queue: stats
            for queue, stats in self.readings.items()
            if isinstance(stats, QueueStats) and stats.new
        }
        if not new:
            return self
        known = {queue: replace(stats, new=False) for queue, stats in new.items()}
        return replace(self, readings={**self.readings, **known})


NOTHING = Answer()


def looked_at(
    answer: Raw,
    queues: Sequence[TaskQueue],
    known: Mapping[TaskQueue, Sighting],
    now: datetime,
) -> Mapping[TaskQueue, Sighting]:
    """Return what is known of the task queues that an answer was asked for.

    Raises MissingError.
    """
    if isinstance(answer, DescribeTaskQueueResponse):
        queue = queues[0]
        on_root = on_partition(answer)
        return {queue: look(known.get(queue), read_queue(answer), now, on_root=on_root)}
    return {
        queue: look(known.get(queue), stats, now, kept=BUILD_KEPT)
        for queue, stats in read_build(answer, queues).items()
    }


def brought(sightings: Mapping[TaskQueue, Sighting]) -> Answer:
    """Return what a call has brought that has shown this of its task queues."""
    each = sightings.values()
    counted = any(sighting.on_root is not None for sighting in each)
    last = LastCall(
        at=max(sighting.at for sighting in each),
        moving=any(_is_moving(sighting) for sighting in each),
        spacing=COUNTED_SPACING if counted else FRESH,
    )
    readings = {queue: sighting.stats for queue, sighting in sightings.items()}
    return Answer(readings, sightings, last)


def failed(queues: Iterable[TaskQueue], error: BacklogUnavailable) -> Answer:
    """Return a call that has brought an error, for each of its task queues."""
    return Answer(dict.fromkeys(queues, error))


def _is_moving(sighting: Sighting) -> bool:
    return sighting.waiting > 0 or sighting.figures.adding or sighting.figures.dispatching
