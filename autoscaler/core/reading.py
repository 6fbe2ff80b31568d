"""Which task queues are read for a service, and what their readings come to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from autoscaler.core.backlog import Backlog, QueueStats, TaskQueue, UnknownBacklog, WorkerVersion
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.integration import canonical
from autoscaler.core.label_values import Mode
from autoscaler.core.spec import ScalingSpec

Reading = QueueStats | BacklogUnavailable
"""What reading one task queue has brought: its figures, or why there are none."""


def task_queues(spec: ScalingSpec) -> tuple[TaskQueue, ...]:
    """Return what is to be read for a service; nothing where its mode is off."""
    if spec.mode is Mode.OFF:
        return ()
    version = (
        WorkerVersion(spec.deployment, spec.build_id)
        if spec.deployment is not None and spec.build_id is not None
        else None
    )
    return tuple(
        TaskQueue(canonical(spec.integration), spec.namespace, name, type_, version)
        for name in spec.queues
        for type_ in spec.queue_types
    )


def join(
    queues: Collection[TaskQueue], readings: Mapping[TaskQueue, Reading]
) -> Backlog | UnknownBacklog:
    """Join the readings of one service: unknown as soon as one of them is, or none is asked for."""
    parts: dict[TaskQueue, QueueStats] = {}
    why: dict[str, None] = {}
    for queue in queues:
        # A queue that waits for its first turn is missing: unknown, and no error.
        match readings.get(queue):
            case QueueStats() as stats:
                parts[queue] = stats
            case BacklogUnavailable() as error:
                why[str(error)] = None
    if len(parts) < len(queues) or not queues:
        return UnknownBacklog(tuple(why))
    return Backlog(parts)
