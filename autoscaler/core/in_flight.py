"""What workers report of the tasks they run, and what that says of each replica. Pure.

A heartbeat says who is busy; Docker says who exists. What runs in a replica that does not report,
while other replicas of the service do, is unknown, and unknown is never idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from autoscaler.core.model import Replica

LONGEST_HEARTBEAT = timedelta(seconds=60)
"""Between two heartbeats of a worker: the SDKs' default, and the longest that they allow."""
HEARTBEAT_SLACK = timedelta(seconds=5)
"""How late a heartbeat may come, and how far apart two machines' clocks may be."""


class SlotKind(StrEnum):
    """What a worker has slots for."""

    WORKFLOW = "workflow"
    """In use for as long as a workflow is cached. Nothing is lost when such a slot goes."""
    ACTIVITY = "activity"
    LOCAL_ACTIVITY = "local activity"
    NEXUS = "nexus"


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of one kind of one worker."""

    used: int = 0
    free: int = 0
    processed: int = 0
    """Tasks that were finished in these slots since the worker started."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker said of itself in its latest heartbeat."""

    instance: str
    """Key of the worker. A worker that is started again has another key."""
    host: str
    at: datetime
    """Time of the heartbeat, by the worker's own clock."""
    interval: timedelta
    """Time since the heartbeat before it; zero in the first."""
    leaving: bool
    """It was told to stop: it takes no new tasks and finishes what it runs."""
    slots: Mapping[SlotKind, Slots]

    @property
    def running(self) -> int:
        """Tasks that would be lost with the worker. Workflows are not: another worker goes on."""
        return sum(
            slots.used for kind, slots in self.slots.items() if kind is not SlotKind.WORKFLOW
        )

    @property
    def processed(self) -> int:
        """Tasks other than workflows that the worker has finished since it started."""
        return sum(
            slots.processed for kind, slots in self.slots.items() if kind is not SlotKind.WORKFLOW
        )

    def fresh(self, now: datetime) -> bool:
        """Whether the next heartbeat is not overdue. An older one says nothing of the present."""
        return now - self.at <= (self.interval or LONGEST_HEARTBEAT) + HEARTBEAT_SLACK


@dataclass(frozen=True, slots=True)
class WorkerQuery:
    """Which workers are asked for: those on some hosts, and those of some task queues."""

    integration: str
    """Name of the Temporal connection, in its canonical spelling."""
    namespace: str | None
    """None: the integration's own namespace."""
    hosts: frozenset[str]
    queues: frozenset[str]


@dataclass(frozen=True, slots=True)
class InFlight:
    """The replicas of a service, and what their workers report."""

    replicas: tuple[Replica, ...]
    """In the order in which they would be stopped if all were idle."""
    workers: tuple[Worker, ...]
    """Those on the replicas' hosts; where a host is not known, all of the task queues."""

    @property
    def unreported(self) -> bool:
        """Whether no worker reports although some replica has started."""
        started = any(replica.started for replica in self.replicas)
        return not self.workers and (started or not self.replicas)


@dataclass(frozen=True, slots=True)
class UnknownInFlight:
    """What is in flight could not be read. It is never taken for nothing."""

    why: str
    """What kept it from being read, with what to do."""


class Standing(StrEnum):
    """What is known of the work of one replica."""

    IDLE = "idle"
    BUSY = "busy"
    SILENT = "silent"
    """It does not report, or no longer does."""
    LEAVING = "leaving"
    """Somebody else has told it to stop: it finishes what it runs and ends by itself."""


def standings(in_flight: InFlight, now: datetime) -> Mapping[str, Standing]:
    """Return what is known of each replica, by its id.

    Replicas that share a host name (one that is set by hand, or the host's own network) cannot be
    told apart: one busy worker makes all of them busy. Replicas whose host name is not known share
    the workers that belong to no other replica.
    """
    known: dict[str, Standing] = {}
    for replicas, workers in _by_host(in_flight):
        standing = _standing(workers, len(replicas), now)
        known |= {replica.id: standing for replica in replicas}
    idle = {replica.id: Standing.IDLE for replica in in_flight.replicas if not replica.started}
    return known | idle


def reporting(in_flight: InFlight, now: datetime) -> int:
    """Count the replicas whose workers' latest heartbeats are neither overdue nor their last."""
    return sum(
        min(len(replicas), sum(each.fresh(now) and not each.leaving for each in workers))
        for replicas, workers in _by_host(in_flight)
    )


def busy_replicas(in_flight: InFlight | UnknownInFlight | None, now: datetime) -> int | None:
    """Count the replicas that were seen at work; None where nobody looked, or nobody reported."""
    if not isinstance(in_flight, InFlight) or not in_flight.workers:
        return None
    return sum(standing is Standing.BUSY for standing in standings(in_flight, now).values())


def _by_host(in_flight: InFlight) -> Iterable[tuple[Sequence[Replica], Sequence[Worker]]]:
    """Return the started replicas of each host, with the workers that may be theirs."""
    replicas: dict[str | None, list[Replica]] = defaultdict(list)
    for replica in in_flight.replicas:
        if replica.started:
            replicas[replica.host].append(replica)
    workers: dict[str | None, list[Worker]] = defaultdict(list)
    for worker in in_flight.workers:
        workers[worker.host if worker.host in replicas else None].append(worker)
    return [(sharing, workers[host]) for host, sharing in replicas.items()]


def _standing(workers: Sequence[Worker], replicas: int, now: datetime) -> Standing:
    """Judge a host that `replicas` replicas share by the reports of its workers."""
    fresh = [worker for worker in workers if worker.fresh(now)]
    if len(fresh) >= replicas and all(worker.leaving for worker in fresh):
        return Standing.LEAVING
    # However old the report is: a worker that ran something and went silent may still run it.
    if any(worker.running for worker in workers):
        return Standing.BUSY
    return Standing.SILENT if len(fresh) < replicas else Standing.IDLE
