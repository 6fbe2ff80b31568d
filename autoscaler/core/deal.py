"""Dealing what waits in task queues to those who poll them, a replica's worth at a time. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from autoscaler.core.backlog import TaskQueue
from autoscaler.core.model import ServiceId

Rank = tuple[int, float, str, str]
"""When a portion is dealt: the stage, the turn in it, and the service for portions of one turn."""
Dealt = Mapping[ServiceId, Mapping[TaskQueue, float]]
"""What each service gets of each queue."""

_STAYS, _KEPT, _USUAL, _LAST = range(4)
"""The stages, in order."""


@dataclass(frozen=True, slots=True)
class Taker:
    """A service to which portions are dealt."""

    service: ServiceId
    queues: Collection[TaskQueue]
    """The queues that it polls."""
    weight: float
    portion: float
    """What one replica is given, in tasks or tasks a second; above 0."""
    most: int
    """The most replicas that it can have."""
    stays: int = 0
    """Replicas that it has whatever it is given."""
    keeps: int = 0
    """Replicas that are filled before anybody adds more."""
    last: bool = False
    """Whether it gets only what all others have no room for, because it may not take it."""

    def rank(self, number: int) -> Rank:
        """Return when the portion of its replica `number` is dealt; they count from 1."""
        if self.last:
            stage = _LAST
        elif number <= self.stays:
            stage = _STAYS
        else:
            stage = _KEPT if number <= self.keeps else _USUAL
        return (stage, number / self.weight, self.service.name, self.service.orchestrator)


def leader(queue: TaskQueue, takers: Collection[Taker]) -> ServiceId | None:
    """Return who gets the first portion of a queue; None where nobody polls it."""
    polling = [taker for taker in takers if queue in taker.queues]
    able = [taker for taker in polling if taker.most]
    first = min(able or polling, key=lambda taker: taker.rank(1), default=None)
    return None if first is None else first.service


def deal(amounts: Mapping[TaskQueue, float], takers: Collection[Taker]) -> Dealt:
    """Deal all that is in the queues; return what each taker gets of each queue that it polls.

    The k-th portion of a service comes at k / weight, and of equals by name. Before those come
    the replicas that are there anyway (`stays`, then `keeps`), and after those the takers that are
    `last`. What nobody has room for goes to the leader of its queue. Amounts that are whole are
    dealt in whole numbers, if portions are whole.
    """
    left = dict(amounts)
    dealt = {taker.service: dict.fromkeys(taker.queues, 0.0) for taker in takers}
    in_order = _in_order(amounts, takers)
    waiting = {queue for queue in amounts if amounts[queue] > 0}
    portions = heapq.merge(*map(_portions, takers), key=itemgetter(0))
    for _, taker in portions:
        if not waiting:
            break
        room = taker.portion
        for queue in in_order[taker.service]:
            given = min(room, left[queue])
            if given:
                dealt[taker.service][queue] += given
                left[queue] -= given
                room -= given
                if not left[queue]:
                    waiting.discard(queue)
    for queue in waiting:
        last = leader(queue, takers)
        if last is not None:
            dealt[last][queue] += left[queue]
    return dealt


def _portions(taker: Taker) -> Iterator[tuple[Rank, Taker]]:
    """Yield every portion of a taker with its rank, in order."""
    for number in range(1, taker.most + 1):
        yield taker.rank(number), taker


def _in_order(
    amounts: Mapping[TaskQueue, float], takers: Collection[Taker]
) -> Mapping[ServiceId, Sequence[TaskQueue]]:
    """Return the queues of each taker in the order in which it takes from them.

    Those with fewest takers come first: what nobody else can take least of all waits for others.
    """
    polled = {queue: sum(queue in taker.queues for taker in takers) for queue in amounts}

    def order(queue: TaskQueue) -> tuple[int, str]:
        return polled[queue], repr(queue)

    return {
        taker.service: sorted(
            (queue for queue in taker.queues if amounts.get(queue, 0) > 0), key=order
        )
        for taker in takers
    }
