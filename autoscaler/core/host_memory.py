"""The memory of the host as one of the things that services share. Pure.

All sizes are in bytes. The memory only ever holds back growth: where others on the host have used
up the reserve, nobody loses a replica for that. Among themselves, services share what their
replicas take as they share everything else (`share.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.core.model import ServiceId
from autoscaler.core.share import Allowance, Claim, Limit

MEMORY = "memory of the host"
"""The name of the limit."""
COMPOSE = "compose"
"""The orchestrator whose services are limited by it. Swarm's own scheduler knows its nodes."""

_UNMEASURED = 1
"""What a replica counts with that nobody knows the size of, while there is no room: anything is
too much then."""


@dataclass(frozen=True, slots=True)
class HostMemory:
    """The memory of the engine's host in one tick."""

    total: int
    free: int
    """What programs can still take (MemAvailable)."""
    reserve: int
    """What growth leaves free."""
    costs: Mapping[ServiceId, int] = field(default_factory=dict)
    """What one replica takes at most; services of which that is unknown are absent."""
    counted: Mapping[ServiceId, int] = field(default_factory=dict)
    """Replicas of each service, draining ones among them, that `free` and `growing` know of."""
    growing: int = 0
    """What these replicas will still take because they have just been started."""


@dataclass(frozen=True, slots=True)
class UnknownMemory:
    """The memory of the host could not be read. Growth waits until it can."""

    because: str
    """What kept it from being read, with what to do."""


def wanting_to_grow(claims: Collection[Claim]) -> frozenset[ServiceId]:
    """Return the Compose services that wish more replicas than they have."""
    return frozenset(
        claim.service for claim in _of_compose(claims) if claim.wished > claim.replicas
    )


def claim_memory(
    memory: HostMemory | UnknownMemory | None, claims: Sequence[Claim]
) -> tuple[Sequence[Claim], Sequence[Limit]]:
    """Return the claims with what one replica takes of the memory, and how much there is to share.

    That is what the replicas take now, and the room that growth has. What replicas will take that
    a change under way is still to start counts as taken. There is no limit where the memory is
    unknown.
    """
    if not isinstance(memory, HostMemory):
        return claims, ()
    room = memory.free - memory.reserve - memory.growing - _coming(memory, claims)
    costs = {
        claim.service: memory.costs[claim.service]
        for claim in _of_compose(claims)
        if claim.service in memory.costs
    }
    if room <= 0:
        unmeasured = wanting_to_grow(claims) - costs.keys()
        costs |= dict.fromkeys(unmeasured, _UNMEASURED)
    costed = [
        replace(claim, costs={**claim.costs, MEMORY: costs[claim.service]})
        if claim.service in costs
        else claim
        for claim in claims
    ]
    taken = sum(claim.costs.get(MEMORY, 0) * (claim.replicas + claim.draining) for claim in costed)
    return costed, (Limit(MEMORY, taken + max(0, room)),)


def hold_growth(
    memory: HostMemory | UnknownMemory | None,
    claims: Collection[Claim],
    allowances: Mapping[ServiceId, Allowance],
) -> Mapping[ServiceId, Allowance]:
    """Return the allowances, so that no Compose service grows while the memory is unknown."""
    if not isinstance(memory, UnknownMemory):
        return allowances
    because = f"{MEMORY} is unknown, so growth waits: {memory.because}"
    growing = wanting_to_grow(claims)
    held = {
        claim.service: Allowance(claim.replicas, because)
        for claim in claims
        if claim.service in growing and _may_grow(claim, allowances)
    }
    return {**allowances, **held}


def _may_grow(claim: Claim, allowances: Mapping[ServiceId, Allowance]) -> bool:
    allowance = allowances.get(claim.service)
    return allowance is None or allowance.replicas > claim.replicas


def _of_compose(claims: Collection[Claim]) -> Sequence[Claim]:
    return [claim for claim in claims if claim.service.orchestrator == COMPOSE]


def _coming(memory: HostMemory, claims: Collection[Claim]) -> int:
    """Return what replicas will take that a change under way has not started yet."""
    return sum(
        max(0, claim.replicas + claim.draining - memory.counted.get(claim.service, 0))
        * memory.costs.get(claim.service, 0)
        for claim in _of_compose(claims)
    )
