"""What several services need and there is not enough of, divided among them. Pure.

A limit is anything that replicas use up: the memory of a host, the number of a group, the number of
all replicas together. Each service makes a claim: what it wishes, and what one replica takes.

All replicas that anybody wishes stand in one fixed order, and the first ones get what there is:

1. replicas up to `least`, the services of a higher priority first, those of one priority by name;
2. all others, those of a higher priority first. Within one priority, the k-th replica of a service
   has the place k / weight, and of equal places the name decides.

The first replica that does not fit into a limit closes it for all that stand behind: small ones
would otherwise take the room that a large one waits for. So only the end of the order goes without,
and more of one limit never means less for anyone. A replica that could not have the room in any
case closes nothing: one that is larger than the whole limit, or that another limit is short for.

The order does not depend on who has replicas now. So what each service should have stays the same
from tick to tick, and no service loses and wins a replica in turns.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from autoscaler.core.model import ServiceId
from autoscaler.core.words import figure


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that there is only so much of."""

    name: str
    """As people read it: `memory of the host`, `group gpu`, `all services`."""
    capacity: int
    """How much there is, in the limit's own unit: replicas or bytes."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one service wishes, and what it has."""

    service: ServiceId
    wished: int
    """Replicas that the service would have if it were alone."""
    least: int = 0
    """Replicas that it gets before any other service gets more than this: its min."""
    replicas: int = 0
    """Replicas that it has, or is about to have after the change under way."""
    draining: int = 0
    """Replicas that still end, beyond those: they take as much as any other."""
    priority: int = 0
    weight: float = 1.0
    costs: Mapping[str, int] = field(default_factory=dict)
    """What one replica takes of each limit, by the limit's name; it takes nothing of others."""
    keeps: bool = False
    """Whether its replicas must not be taken back now, because nobody knows whether they are
    needed, or because somebody said so."""

    @property
    def kept(self) -> int:
        """Replicas that must not be taken back now."""
        return min(self.replicas, self.wished) if self.keeps else 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a service gets that gets less than it wishes."""

    replicas: int
    because: str
    """Which limit, and who comes first; words without a full stop."""


def share(claims: Collection[Claim], limits: Collection[Limit]) -> Mapping[ServiceId, Allowance]:
    """Return an allowance for each service that gets fewer replicas than it wishes.

    The order is walked along twice. The first walk says what each service should have, once all
    have followed. The second says what those that may grow can have now: what others run, and what
    drains, is taken until it has ended. A service that has more than it should is allowed what it
    should have; which of its replicas go, and when, is up to its decision.
    """
    demand = _sums(claims, lambda claim: max(claim.wished, claim.replicas) + claim.draining)
    scarce = {
        limit.name: limit.capacity for limit in limits if demand.get(limit.name, 0) > limit.capacity
    }
    concerned = sorted(
        (claim for claim in claims if not scarce.keys().isdisjoint(claim.costs)), key=_by_name
    )
    kept = [claim.kept for claim in concerned]
    wished = [claim.wished for claim in concerned]
    running = [claim.replicas for claim in concerned]
    kept_of = _sums(concerned, lambda claim: claim.kept)
    taken = _sums(concerned, lambda claim: claim.replicas + claim.draining)
    fair = _walk(concerned, scarce, kept_of, kept, wished)
    now = _walk(concerned, scarce, taken, running, fair.granted)
    words = _Words.of(concerned, scarce, fair.granted)
    allowances: dict[ServiceId, Allowance] = {}
    for index, claim in enumerate(concerned):
        target = fair.granted[index]
        gets = now.granted[index] if target > claim.replicas else target
        if gets < target:
            because = words.until_others_end(now.short[index])
            allowances[claim.service] = Allowance(gets, because)
        elif gets < claim.wished:
            because = words.who_comes_first(claim, target, fair.short[index])
            allowances[claim.service] = Allowance(gets, because)
    return allowances


def _sums(claims: Iterable[Claim], replicas: Callable[[Claim], int]) -> Mapping[str, int]:
    """Return what so many replicas of each service take of each limit."""
    sums: defaultdict[str, int] = defaultdict(int)
    for claim in claims:
        number = replicas(claim)
        for name, cost in claim.costs.items():
            sums[name] += number * cost
    return sums


# ------------------------------------------------------------------ the order


def _by_name(claim: Claim) -> tuple[str, str]:
    return claim.service.name, claim.service.orchestrator


def _place(claim: Claim, number: int, index: int) -> tuple[int, int, float, int]:
    """Return the place in the order of a service's replica of this number.

    The index of the claim, which are sorted by name, comes last.
    """
    if number <= claim.least:
        return 0, -claim.priority, 0.0, index
    return 1, -claim.priority, number / claim.weight, index


@dataclass(frozen=True, slots=True)
class _Walk:
    """What came of a walk along the order, by the position of a service among the claims."""

    granted: Sequence[int]
    """How many replicas each service has at the end."""
    short: Mapping[int, str]
    """The limit that kept a service from having more; absent where none did."""


def _walk(
    claims: Sequence[Claim],
    capacity: Mapping[str, int],
    taken: Mapping[str, int],
    begin: Sequence[int],
    end: Sequence[int],
) -> _Walk:
    """Walk along the order, and grant each replica that fits into all its limits.

    `claims` are sorted by name. Each service has the replicas of `begin` already, and goes no
    further than `end`. `taken` is what there is no more of each limit.
    """
    room = {name: most - taken[name] for name, most in capacity.items()}
    costs = [
        [(name, cost) for name, cost in claim.costs.items() if cost and name in capacity]
        for claim in claims
    ]
    granted, short = list(begin), dict[int, str]()
    # The next replica of each service that goes on.
    queue = [
        _place(claim, begin[index] + 1, index)
        for index, claim in enumerate(claims)
        if begin[index] < end[index]
    ]
    heapq.heapify(queue)
    while queue:
        index = queue[0][-1]
        claim, takes = claims[index], costs[index]
        full = [name for name, cost in takes if cost > room[name]]
        if full:
            # What is left is kept where nothing else stands in the way of the replica, now or ever.
            if len(full) == 1 and claim.costs[full[0]] <= capacity[full[0]]:
                room[full[0]] = 0
            short[index] = full[0]
            heapq.heappop(queue)
            continue
        for name, cost in takes:
            room[name] -= cost
        granted[index] += 1
        if granted[index] < end[index]:
            heapq.heapreplace(queue, _place(claim, granted[index] + 1, index))
        else:
            heapq.heappop(queue)
    return _Walk(granted, short)


# ------------------------------------------------------------------ words


@dataclass(frozen=True, slots=True)
class _Words:
    """Says why services get less than they wish."""

    capacity: Mapping[str, int]
    first: Mapping[str, Claim]
    """By the name of a limit, who comes first of all that have something of it."""
    peers: Mapping[tuple[str, int], Sequence[ServiceId]]
    """By the name of a limit and a priority, who has something of it."""
    leaving: Mapping[str, Claim]
    """By the name of a limit, whose replicas have to end before others can grow."""

    @classmethod
    def of(
        cls,
        claims: Iterable[Claim],
        capacity: Mapping[str, int],
        granted: Iterable[int],
    ) -> Self:
        """Take in what was granted to each of the claims, which are sorted by name."""
        first: dict[str, Claim] = {}
        peers: defaultdict[tuple[str, int], list[ServiceId]] = defaultdict(list)
        leaving: dict[str, tuple[int, Claim]] = {}
        for claim, fair in zip(claims, granted, strict=True):
            over = claim.draining + max(0, claim.replicas - fair)
            for name in capacity.keys() & claim.costs.keys():
                if fair:
                    peers[name, claim.priority].append(claim.service)
                if fair and (name not in first or claim.priority > first[name].priority):
                    first[name] = claim
                if over and (name not in leaving or over > leaving[name][0]):
                    leaving[name] = over, claim
        last = {name: claim for name, (_, claim) in leaving.items()}
        return cls(capacity, first, peers, last)

    def who_comes_first(self, claim: Claim, granted: int, limit: str) -> str:
        """Say for a service, which was granted so many replicas, who has what it would need."""
        if claim.costs[limit] > self.capacity[limit]:
            return f"{limit}; not even one replica fits"
        first = self.first.get(limit)
        if first is not None and first.priority > claim.priority:
            return f"{limit}; {first.service} has priority {first.priority}"
        peers = self.peers.get((limit, claim.priority), ())
        others = len(peers) - bool(granted)
        if others == 1:
            (other,) = (each for each in peers if each != claim.service)
            return f"{limit}; shared with {other}"
        if others:
            return f"{limit}; shared with {figure(others)} others"
        alone = all(priority == claim.priority for name, priority in self.peers if name == limit)
        return limit if alone else f"{limit}; others keep their min, or what must stay"

    def until_others_end(self, limit: str) -> str:
        """Say whose replicas have to end before a service can grow."""
        return f"{limit}; replicas of {self.leaving[limit].service} have to end first"
