"""What workers report of the tasks they run, and what that says of each replica. Pure.

A heartbeat says who is busy; Docker says who exists. What runs in a replica that does not report,
while other replicas of the service do, is unknown, and unknown is never idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

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

    @property
    def share(self) -> float:
        """The share of them that is in use; 0 where there are none."""
        return self.used / (self.used + self.free) if self.used > 0 <= self.free else 0.0


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker said of itself in its latest heartbeat."""

    instance: str
    """Key of the worker. A worker that is started again has another key."""
    host: str
    """Name of the host; empty where the worker does not say."""
    at: datetime | None
    """Time of the heartbeat, by the worker's own clock; None where it does not say."""
    interval: timedelta
    """Time since the heartbeat before it; zero in the first, and where the worker does not say."""
    leaving: bool
    """It was told to stop: it takes no new tasks and finishes what it runs."""
    slots: Mapping[SlotKind, Slots]
    """By kind, as far as it has slots: a worker without nexus services may have none for nexus."""
    tells: bool = True
    """Whether it says what it runs. Where it says of no kind of slot, it may run anything."""
    process: str = ""
    """Id of its process, among those of its host; empty where it does not say."""
    began: datetime | None = None
    """When it started, by the clock of `at`; None where it does not say."""

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

    @property
    def just_began(self) -> bool:
        """Whether the heartbeat is the first. It was sent before the worker took any task."""
        if self.interval or self.processed or self.at is None or self.began is None:
            return False
        return self.at - self.began < HEARTBEAT_SLACK

    def fresh(self, now: datetime) -> bool:
        """Whether the next heartbeat is not overdue. An older one says nothing of the present."""
        if self.at is None:
            return False
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


Crew = frozenset[str]
"""The ids of the processes with workers that run on one host at the same time."""
NO_CREWS: Mapping[str, Crew] = MappingProxyType({})
_EVER = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


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


def standings(
    in_flight: InFlight, now: datetime, crews: Mapping[str, Crew] = NO_CREWS
) -> Mapping[str, Standing]:
    """Return what is known of each replica, by its id.

    Replicas that share a host name (one that is set by hand, or the host's own network) cannot be
    told apart: one busy worker makes all of them busy. Replicas whose host name is not known share
    the workers that belong to no other replica. `crews` are those of earlier looks.
    """
    crews = observe_crews(in_flight, crews)
    known: dict[str, Standing] = {}
    for host, replicas, workers in _by_host(in_flight):
        crew = crews.get(host or "", frozenset())
        standing = _standing(workers, len(replicas), crew, now)
        known |= {replica.id: standing for replica in replicas}
    idle = {replica.id: Standing.IDLE for replica in in_flight.replicas if not replica.started}
    return known | idle


def observe_crews(in_flight: InFlight, before: Mapping[str, Crew]) -> Mapping[str, Crew]:
    """Return the crew of each host that is known to run several processes with workers.

    As many of them have to report as ever ran at the same time: a task of one that does not report
    would be lost with the others. A process that was started again does not make a crew: it began
    after the last report of the one that it replaces. Hosts that several replicas share have none:
    which processes went with a replica is not known.
    """
    crews = {
        host: _crew(workers, before.get(host, frozenset()))
        for host, replicas, workers in _by_host(in_flight)
        if host is not None and len(replicas) == 1
    }
    return {host: crew for host, crew in crews.items() if crew}


def _crew(workers: Iterable[Worker], before: Crew) -> Crew:
    """Return the most processes of a host that ran at the same time and have not left since."""
    processes: dict[str, list[Worker]] = defaultdict(list)
    for worker in workers:
        processes[worker.process].append(worker)
    left = {id_ for id_, its in processes.items() if all(worker.leaving for worker in its)}
    lives = {id_: _life(its) for id_, its in processes.items()}
    together = [
        frozenset(id_ for id_, (begin, end) in lives.items() if begin <= moment <= end)
        for moment, _ in lives.values()
    ]
    several = [each for each in together if len(each) > 1]
    return max((each - left for each in (before, *several)), key=len)


def _life(workers: Sequence[Worker]) -> tuple[datetime, datetime]:
    """Return when a process began and last reported; what it does not say is taken as widest."""
    begins = [worker.began or _EVER for worker in workers]
    ends = [worker.at or _NEVER for worker in workers]
    return min(begins), max(ends)


def reporting(in_flight: InFlight, now: datetime) -> int:
    """Count the replicas whose workers' latest heartbeats are neither overdue nor their last."""
    return sum(
        min(
            len(replicas),
            sum(each.fresh(now) and each.tells and not each.leaving for each in workers),
        )
        for _, replicas, workers in _by_host(in_flight)
    )


def busy_replicas(in_flight: InFlight | UnknownInFlight | None, now: datetime) -> int | None:
    """Count the replicas that were seen at work; None where nobody looked, or nobody reported."""
    if not isinstance(in_flight, InFlight) or not in_flight.workers:
        return None
    return sum(standing is Standing.BUSY for standing in standings(in_flight, now).values())


def _by_host(
    in_flight: InFlight,
) -> Iterable[tuple[str | None, Sequence[Replica], Sequence[Worker]]]:
    """Return the started replicas of each host, with the workers that may be theirs."""
    replicas: dict[str | None, list[Replica]] = defaultdict(list)
    for replica in in_flight.replicas:
        if replica.started:
            replicas[replica.host].append(replica)
    workers: dict[str | None, list[Worker]] = defaultdict(list)
    for worker in in_flight.workers:
        workers[worker.host if worker.host in replicas else None].append(worker)
    return [(host, sharing, workers[host]) for host, sharing in replicas.items()]


def _standing(workers: Sequence[Worker], replicas: int, crew: Crew, now: datetime) -> Standing:
    """Judge a host that `replicas` replicas share by the reports of its workers."""
    fresh = [worker for worker in workers if worker.fresh(now)]
    processes = {worker.process for worker in fresh if not worker.leaving}
    complete = len(fresh) >= replicas and len(processes) >= len(crew)
    if complete and all(worker.leaving for worker in fresh):
        return Standing.LEAVING
    # However old the report is: a worker that ran something and went silent may still run it.
    if any(worker.running for worker in workers):
        return Standing.BUSY
    tells = complete and all(each.tells and not each.just_began for each in fresh)
    return Standing.IDLE if tells else Standing.SILENT
