"""What waits in a task queue that several services poll, divided among them. Pure.

Together they get what one service alone would get. A service that is alone on its queues sees no
difference. How each figure of a shared queue is divided, and why:

- *Waiting tasks* are dealt in portions of a service's target: a portion is one replica's worth, so
  the portions of all ask for as many replicas as the whole backlog would. The k-th portion of a
  service comes at k / weight. Replicas that are there anyway (min, pause-in, the last one during
  its cooldown) are filled first. Nobody is dealt more than it can take: max, ceiling, pause-out,
  activation, a share. A service that is not scaled at present (dry-run, refused, waiting after a
  crash) gets only what the others cannot take.
- *Tasks added a second* are dealt in the same way in portions of what a replica does a second, so
  that keep-up asks for as many replicas as for the whole. Present replicas are filled before
  anybody adds more: arrivals never move replicas from one service to another. A service at zero
  gets none, because only tasks that wait wake it.
- *Tasks dispatched a second* are divided by the present replicas, since all of them poll: a service
  learns what one replica does, whoever else works on the queue.
- *Age, rate limit, pollers, build* are facts of the queue, no amounts: everybody sees them. Of
  those with a max-wait, one at a time grows for a late task (`SharedQueue.grows`). Growth stops for
  phantom tasks and rate limits where it would for one service.
- *Whether anything moves* keeps one service awake (`SharedQueue.leads`), not all: the cooldown is
  for the last replica of all. More tasks than `activation` in the whole queue wake a service, if it
  gets any of them.
- *Slots in use* are reported by the workers of the service itself, and need no division.

A service whose mode is off gets nothing, because no backlog is read for it, but its replicas count
as some that tasks are dispatched to. One whose backlog is unknown, or that was not seen, keeps its
replicas, and their portion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoscaler.core.backlog import Backlog, QueueStats, SharedQueue, TaskQueue, UnknownBacklog
from autoscaler.core.deal import Dealt, Taker, deal, leader
from autoscaler.core.model import ServiceId
from autoscaler.core.recommend import TIME_TO_START
from autoscaler.core.sharers import (
    OwnNamespaces,
    Sharer,
    linked_by_queues,
    polled_by,
    taker_of_tasks,
    takers_of_arrivals,
)
from autoscaler.core.situation import Situation


def divide(
    situations: Mapping[ServiceId, Situation],
    own: OwnNamespaces,
    unseen: Mapping[ServiceId, Situation] | None = None,
) -> dict[ServiceId, Situation]:
    """Return the situations of a tick with the backlogs of shared task queues divided.

    A service that is alone on its queues has the same object as before. Backlogs that are divided
    already are divided anew, from the whole of their queues. `unseen` are the latest
    situations of services that exist, but that nobody could look at now.
    """
    situations = {service: _undivided(situation) for service, situation in situations.items()}
    everyone = {**(unseen or {}), **situations}
    queues = {service: polled_by(situation, own) for service, situation in everyone.items()}
    divided = dict(situations)
    for linked in linked_by_queues(queues):
        members = [
            Sharer(service, everyone[service], queues[service], service in situations)
            for service in sorted(linked)
        ]
        if len(members) > 1:
            divided |= _divided(members)
    return divided


def _undivided(situation: Situation) -> Situation:
    backlog = situation.backlog
    if isinstance(backlog, UnknownBacklog) or not backlog.shared:
        return situation
    return replace(situation, backlog=Backlog(backlog.whole))


def _divided(members: Sequence[Sharer]) -> Mapping[ServiceId, Situation]:
    """Return the situations of services that share task queues, with their portions."""
    wholes = {
        queue: member.backlog.parts[named]
        for member in members
        if member.backlog is not None
        for queue, named in member.queues.items()
    }
    polled = Counter(queue for member in members for queue in member.queues)
    takers = [taker_of_tasks(member, polled) for member in members]
    tasks = deal({queue: whole.waiting for queue, whole in wholes.items()}, takers)
    added = _deal_arrivals(wholes, members, takers)
    shared = {queue: _Sharing.of(queue, members, takers) for queue in wholes}
    divided: dict[ServiceId, Situation] = {}
    for member in members:
        if member.backlog is None:
            continue
        parts = {
            named: replace(
                wholes[queue],
                waiting=int(tasks[member.id][queue]),
                add_rate=added[member.id][queue],
                dispatch_rate=wholes[queue].dispatch_rate * shared[queue].worked_by(member),
            )
            if polled[queue] > 1
            else member.backlog.parts[named]
            for queue, named in member.queues.items()
        }
        views = {
            named: shared[queue].view(member, wholes[queue])
            for queue, named in member.queues.items()
            if polled[queue] > 1
        }
        divided[member.id] = replace(member.situation, backlog=Backlog(parts, views))
    return divided


def _deal_arrivals(
    wholes: Mapping[TaskQueue, QueueStats], members: Sequence[Sharer], takers: Sequence[Taker]
) -> Dealt:
    """Deal the tasks that are added a second, type by type."""
    added: dict[ServiceId, dict[TaskQueue, float]] = {member.id: {} for member in members}
    for type_ in sorted({queue.type for queue in wholes}):
        rates = {queue: each.add_rate for queue, each in wholes.items() if queue.type is type_}
        dealt = deal(rates, takers_of_arrivals(type_, sum(rates.values()), members, takers))
        for service, given in dealt.items():
            added[service] |= given
    return added


@dataclass(frozen=True, slots=True)
class _Sharing:
    """Who polls a task queue, and who of them does what all together have to do once."""

    members: Sequence[Sharer]
    replicas: int
    leader: ServiceId | None
    grower: ServiceId | None
    """None: nobody has room."""

    @classmethod
    def of(cls, queue: TaskQueue, members: Sequence[Sharer], takers: Sequence[Taker]) -> _Sharing:
        polling = [member for member in members if queue in member.queues]
        awake = {member.id for member in polling if member.situation.replicas}
        return cls(
            polling,
            sum(member.situation.replicas for member in polling),
            leader(queue, [taker for taker in takers if taker.service in awake])
            or leader(queue, takers),
            _grower(polling, takers),
        )

    def worked_by(self, member: Sharer) -> float:
        """Return the share of the queue's tasks that the replicas of a service are handed."""
        if not self.replicas:
            return float(member.id == self.leader)
        return member.situation.replicas / self.replicas

    def view(self, member: Sharer, whole: QueueStats) -> SharedQueue:
        """Return the queue as one of the services sees it."""
        return SharedQueue(
            whole,
            tuple(each.id for each in self.members if each.id != member.id),
            leads=member.id == self.leader,
            grows=self.grower in {None, member.id},
            beside=self.replicas - member.situation.replicas,
        )


def _grower(polling: Sequence[Sharer], takers: Sequence[Taker]) -> ServiceId | None:
    """Return who grows next for a task that has waited for too long; None where nobody has room.

    That is who has just grown, until its new replicas have had time to start. Otherwise, it is
    whose next replica comes first.
    """
    by_id = {taker.service: taker for taker in takers}
    able = [
        member
        for member in polling
        if member.backlog is not None
        and member.situation.spec.max_wait is not None
        and member.situation.replicas
    ]
    grown = [member for member in able if _has_just_grown(member.situation)]
    roomy = [member for member in able if member.situation.replicas < by_id[member.id].most]
    first = min(
        grown or roomy,
        key=lambda member: by_id[member.id].rank(member.situation.replicas + 1),
        default=None,
    )
    return None if first is None else first.id


def _has_just_grown(situation: Situation) -> bool:
    return situation.history.changed_by(situation.now - TIME_TO_START) > 0
