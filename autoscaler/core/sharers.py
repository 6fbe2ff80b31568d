"""The services that share task queues: who polls what, and what each of them can take. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from autoscaler.core.backlog import Backlog, TaskQueue
from autoscaler.core.deal import Taker
from autoscaler.core.decide import left_alone
from autoscaler.core.label_values import MOST_REPLICAS, Mode, QueueType
from autoscaler.core.limits import (
    Limiter,
    bound,
    cap,
    keep_build,
    pause,
    recover,
    sleep,
    take_share,
    wake,
)
from autoscaler.core.model import ServiceId
from autoscaler.core.reading import task_queues
from autoscaler.core.situation import Situation

OwnNamespaces = Mapping[str, str]
"""The own namespace of each integration, which a service gets whose labels name none."""

_LIMITS: tuple[Limiter, ...] = (wake, sleep, keep_build, pause, bound, recover, cap, take_share)
"""What bounds the replicas of a service whatever waits, in the order of a decision."""


@dataclass(frozen=True, slots=True)
class Sharer:
    """One of the services that share task queues."""

    id: ServiceId
    situation: Situation
    queues: Mapping[TaskQueue, TaskQueue]
    """Each with its namespace, and as the service's labels name it."""
    seen: bool

    @property
    def backlog(self) -> Backlog | None:
        """Its undivided backlog; None where it is unknown, now."""
        backlog = self.situation.backlog
        return backlog if self.seen and isinstance(backlog, Backlog) else None

    @property
    def takes(self) -> bool:
        """Whether it may take tasks now, from min to max. Others do so only where they hold."""
        situation, crash = self.situation, self.situation.crash
        waits = crash is not None and (crash.retry_at is None or crash.retry_at > situation.now)
        dry_run = situation.spec.mode is Mode.DRY_RUN
        return not (waits or dry_run or left_alone(situation) is not None)

    @property
    def bounds(self) -> tuple[int, int]:
        """The fewest and the most replicas that it can have, whatever waits."""
        situation = self.situation
        if situation.spec.mode is Mode.OFF:
            return 0, 0
        if self.backlog is None:
            return situation.replicas, situation.replicas
        return _limited(situation, 0), _limited(situation, MOST_REPLICAS)

    def throughput(self, type_: QueueType) -> float | None:
        """Return the tasks of a type a second that one replica does; None where unknown."""
        keep_up = self.situation.spec.keep_up
        if keep_up.throughput is not None:
            return keep_up.throughput
        return self.situation.history.throughput.rates.get(type_)


def _limited(situation: Situation, replicas: int) -> int:
    for limit in _LIMITS:
        replicas, _ = limit(situation, situation.history, replicas)
    return replicas


def taker_of_tasks(member: Sharer, polled: Mapping[TaskQueue, int]) -> Taker:
    """Return how a service takes waiting tasks; `polled` says how many services poll each queue.

    Replicas that it needs for queues of its own are there anyway too.
    """
    stays, most = member.bounds
    target = member.situation.spec.target
    own = 0
    if member.backlog is not None:
        own = sum(
            member.backlog.parts[named].waiting
            for queue, named in member.queues.items()
            if polled[queue] == 1
        )
    stays = min(most, max(stays, -(-own // target)))
    weight = member.situation.spec.weight
    last = member.backlog is not None and not member.takes
    return Taker(member.id, member.queues, weight, target, most, stays, last=last)


def takers_of_arrivals(
    type_: QueueType, total: float, members: Sequence[Sharer], takers: Sequence[Taker]
) -> list[Taker]:
    """Return how services take the tasks of a type that are added a second.

    A replica of unknown throughput is taken to do what those of the others do. Where none is known,
    nobody asks for replicas by it, and all present ones share alike.
    """
    known = [rate for each in members if (rate := each.throughput(type_)) is not None]
    replicas = sum(member.situation.replicas for member in members)
    alike = total / replicas if replicas and total > 0 else inf
    usual = sum(known) / len(known) if known else alike
    found: list[Taker] = []
    for member, taker in zip(members, takers, strict=True):
        off = member.situation.spec.mode is Mode.OFF
        present = 0 if off else member.situation.replicas
        grows = present > 0 and member.situation.spec.keep_up.on
        found.append(
            replace(
                taker,
                queues=[queue for queue in taker.queues if queue.type is type_],
                portion=member.throughput(type_) or usual,
                most=max(present, taker.most) if grows else present,
                stays=min(taker.stays, present),
                keeps=present,
            )
        )
    return found


# ------------------------------------------------------------------ who polls what


def sharing_with(
    services: Collection[ServiceId],
    queues: Mapping[ServiceId, Collection[TaskQueue]],
    own: OwnNamespaces,
) -> frozenset[ServiceId]:
    """Return all services that are divided together with any of these, those included.

    `queues` are the task queues of all services, as their labels name them.
    """
    resolved = {
        service: [resolve(queue, own) for queue in polled] for service, polled in queues.items()
    }
    together = (linked for linked in linked_by_queues(resolved) if not linked.isdisjoint(services))
    return frozenset().union(services, *together)


def linked_by_queues(
    queues: Mapping[ServiceId, Collection[TaskQueue]],
) -> Iterator[frozenset[ServiceId]]:
    """Yield the services that have to do with each other, because they share task queues."""
    polling: dict[TaskQueue, list[ServiceId]] = defaultdict(list)
    for service, polled in queues.items():
        for queue in polled:
            polling[queue].append(service)
    left = set(queues)
    while left:
        linked: set[ServiceId] = set()
        found = [left.pop()]
        while found:
            service = found.pop()
            linked.add(service)
            sharers = {each for queue in queues[service] for each in polling[queue]}
            found += sharers & left
            left -= sharers
        yield frozenset(linked)


def resolve(queue: TaskQueue, own: OwnNamespaces) -> TaskQueue:
    """Return a task queue with its namespace: one label may leave out what another names."""
    return queue._replace(namespace=queue.namespace or own.get(queue.integration))


def polled_by(situation: Situation, own: OwnNamespaces) -> Mapping[TaskQueue, TaskQueue]:
    """Return the task queues of a service: each with its namespace, and as its labels name it."""
    backlog = situation.backlog
    if isinstance(backlog, Backlog):
        return {resolve(queue, own): queue for queue in backlog.parts}
    # A service that is off has no queues to read, but its replicas poll.
    polled = task_queues(situation.spec.model_copy(update={"mode": Mode.ON}))
    return {resolve(queue, own): queue for queue in polled}
