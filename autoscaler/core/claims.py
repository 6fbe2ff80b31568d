"""What a decided service claims of the limits that several share, and how full these are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autoscaler.core.backlog import UnknownBacklog
from autoscaler.core.decide import left_alone
from autoscaler.core.label_values import Mode
from autoscaler.core.model import ServiceId
from autoscaler.core.report import LimitReport
from autoscaler.core.share import Claim, Limit
from autoscaler.core.situation import Decision, Situation


def claim_of(
    service: ServiceId,
    situation: Situation,
    decision: Decision,
    *,
    draining: int,
    costs: Mapping[str, int],
) -> Claim:
    """Return what a service claims by its decision.

    `draining` are the replicas that still end, or that a change under way may still have to stop.
    `costs` are what one replica takes of each limit.
    """
    spec, replicas = situation.spec, situation.replicas
    # What only reports would never use what it got, so it asks for nothing.
    fixed = left_alone(situation) is not None or spec.mode is Mode.DRY_RUN
    unknown = isinstance(situation.backlog, UnknownBacklog)
    return Claim(
        service=service,
        wished=replicas if fixed else decision.wished,
        least=spec.min,
        replicas=replicas,
        draining=draining,
        priority=spec.priority,
        weight=spec.weight,
        costs=costs,
        keeps=fixed or unknown or spec.mode is Mode.PAUSE_IN,
    )


def in_use(limit: Limit, claims: Iterable[Claim]) -> LimitReport:
    """Return how much of a limit of replicas is taken and wished."""
    members = [claim for claim in claims if claim.costs.get(limit.name)]
    return LimitReport(
        limit.name,
        limit.capacity,
        replicas=sum(claim.replicas + claim.draining for claim in members),
        wished=sum(claim.wished for claim in members),
    )
