"""Who claims what of the limits that services share, and what each of them gets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.core.claims import claim_of, in_use
from autoscaler.core.errors import AutoscalerError, describe
from autoscaler.core.groups import Groups
from autoscaler.core.host_memory import (
    COMPOSE,
    HostMemory,
    UnknownMemory,
    claim_memory,
    hold_growth,
    wanting_to_grow,
)
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.report import LimitReport
from autoscaler.core.share import Allowance, Claim, Limit, share
from autoscaler.core.situation import Decision, Situation
from autoscaler.ports import Host
from autoscaler.reporting import Seen


@dataclass(frozen=True, slots=True)
class Shared:
    """What came of the share of one tick."""

    allowances: Mapping[ServiceId, Allowance] = field(default_factory=dict)
    """Of the services that get less than they wish."""
    limits: tuple[LimitReport, ...] = ()
    """How much of each limit is in use; empty where that is unknown."""
    memory: HostMemory | None = None
    """The memory of the host; None where it is unknown."""
    memory_warnings: tuple[str, ...] = ()
    """What keeps the memory from being known, each with what to do."""


class Sharing:
    """Makes the claims of all services, and remembers those of services that cannot be seen."""

    def __init__(self, groups: Groups, host: Host | None = None) -> None:
        """Share the limits of these groups, and the memory of the `host`.

        Without a host, memory does not count.
        """
        self._groups = groups
        self._host = host
        self._claims: Mapping[ServiceId, Claim] = {}
        """The latest claim of each service."""
        self._answered: set[str] = set()
        """Orchestrators that have named their services before."""
        self.scarce = False
        """Whether any service got less than it wished in the latest tick."""

    def claims(self, seen: Seen, decisions: Mapping[ServiceId, Decision]) -> Sequence[Claim]:
        """Return what each service wishes and has.

        A service that cannot be seen now, or was not decided on, keeps what it had.
        """
        claims: dict[ServiceId, Claim] = {}
        for service in seen.services:
            if service.id in decisions:
                decision, situation = decisions[service.id], seen.situations[service.id]
                claims[service.id] = self._of_decision(service, situation, decision)
            elif service.id in seen.rested:
                claims[service.id] = self._at_rest(service, seen)
            else:
                claims[service.id] = self._undecided(service, seen)
        for id_ in seen.unseen:
            if id_ in self._claims:
                claims[id_] = _held(self._claims[id_])
        self._claims = claims
        return [*claims.values()]

    async def share(
        self,
        seen: Seen,
        decisions: Mapping[ServiceId, Decision],
        answering: Collection[str],
        failing: Collection[str],
    ) -> Shared:
        """Divide the limits of replicas, and the memory of the host, among all services.

        `answering` and `failing` are the orchestrators that named their services, and those that
        did not.
        """
        claims = self.claims(seen, decisions)
        memory = await self._look_at_memory(claims)
        self._answered.update(answering)
        limits = self._groups.limits
        unknown = set(failing) - self._answered
        if unknown:
            # Nobody knows what the services take that were never seen: nothing may grow.
            limits = [_without_room(limit, claims) for limit in limits]
        claims, of_memory = claim_memory(memory, claims)
        allowances = hold_growth(memory, claims, share(claims, [*limits, *of_memory]))
        if unknown:
            allowances = _explained(allowances, unknown, limits)
        self.scarce = bool(allowances)
        known = () if unknown else self._groups.limits
        reports = tuple(in_use(limit, claims) for limit in known)
        return Shared(
            allowances,
            reports,
            memory if isinstance(memory, HostMemory) else None,
            () if self._host is None else tuple(self._host.warnings),
        )

    async def _look_at_memory(self, claims: Sequence[Claim]) -> HostMemory | UnknownMemory | None:
        """Return what is known of the host's memory; None where nobody can know it."""
        services = {claim.service for claim in claims if claim.service.orchestrator == COMPOSE}
        if self._host is None or not services:
            return None
        try:
            return await self._host.memory(services, wanting_to_grow(claims))
        except AutoscalerError as error:
            return UnknownMemory(describe(error))

    def _of_decision(self, service: Service, situation: Situation, decision: Decision) -> Claim:
        return claim_of(
            service.id,
            situation,
            decision,
            # A change under way may still have to stop some.
            draining=service.draining + max(0, service.replicas - situation.replicas),
            costs=self._groups.costs(situation.spec),
        )

    def _at_rest(self, service: Service, seen: Seen) -> Claim:
        """Return the claim of a service at rest: it has what it wishes."""
        spec = seen.wishes[service.id].spec
        claim = Claim(
            service.id,
            wished=service.replicas,
            replicas=service.replicas,
            costs=self._groups.costs(spec),
        )
        if spec is None:
            return claim
        bounds = spec.at(seen.scheduled_at)
        return replace(claim, least=bounds.min, priority=spec.priority, weight=spec.weight)

    def _undecided(self, service: Service, seen: Seen) -> Claim:
        claim = Claim(
            service.id,
            wished=service.replicas,
            replicas=service.replicas,
            draining=service.draining,
            costs=self._groups.costs(seen.wishes[service.id].spec),
        )
        return _held(claim)


def _held(claim: Claim) -> Claim:
    """Return the claim of a service that keeps what it has."""
    return replace(claim, wished=claim.replicas, keeps=True)


def _without_room(limit: Limit, claims: Collection[Claim]) -> Limit:
    return replace(limit, capacity=min(limit.capacity, in_use(limit, claims).replicas))


def _explained(
    allowances: Mapping[ServiceId, Allowance], unknown: Collection[str], limits: Sequence[Limit]
) -> Mapping[ServiceId, Allowance]:
    """Add to the reasons that name one of the limits which orchestrators have not answered yet."""
    silent = f"; no answer yet from {' and '.join(sorted(unknown))}"
    names = tuple(limit.name for limit in limits)
    return {
        id_: replace(each, because=each.because + silent * each.because.startswith(names))
        for id_, each in allowances.items()
    }
