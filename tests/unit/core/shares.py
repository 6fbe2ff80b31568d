"""What holds of every share, whoever claims what: used by properties and by the random suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from autoscaler.core.model import ServiceId
from autoscaler.core.share import Claim, Limit, share

Numbers = dict[ServiceId, int]
"""Replicas of each service."""
MOST_TICKS = 60
"""More than any share needs until nothing changes any more."""


def gets(claims: Sequence[Claim], limits: Sequence[Limit]) -> Numbers:
    """Return what each service gets in one tick."""
    allowances = share(claims, limits)
    wished = {claim.service: claim.wished for claim in claims}
    return {
        id_: allowances[id_].replicas if id_ in allowances else most for id_, most in wished.items()
    }


def after_a_tick(claims: Sequence[Claim], limits: Sequence[Limit]) -> list[Claim]:
    """Let every service follow: new replicas run at once, those that go drain for a tick."""
    numbers = gets(claims, limits)
    return [
        replace(
            claim,
            replicas=numbers[claim.service],
            draining=max(0, claim.replicas - numbers[claim.service]),
        )
        for claim in claims
    ]


def ticks(claims: Sequence[Claim], limits: Sequence[Limit]) -> Iterator[Sequence[Claim]]:
    """Yield the claims of one tick after another, until nothing changes any more."""
    for _ in range(MOST_TICKS):
        yield claims
        later = after_a_tick(claims, limits)
        if later == claims:
            return
        claims = later
    raise AssertionError("the share does not come to rest")


def settled(claims: Sequence[Claim], limits: Sequence[Limit]) -> Numbers:
    """Return what each service has once nothing changes any more."""
    *_, last = ticks(claims, limits)
    return {claim.service: claim.replicas for claim in last}


def fits_alone(claim: Claim, limits: Sequence[Limit]) -> bool:
    """Whether one replica fits into the whole of each limit."""
    return all(claim.costs.get(limit.name, 0) <= limit.capacity for limit in limits)


def is_in_front(claim: Claim, other: Claim) -> bool:
    """Whether a min comes before another one, by priority and then by name."""
    return (-claim.priority, claim.service.name) < (-other.priority, other.service.name)


def uses_all_of(claim: Claim, other: Claim) -> bool:
    """Whether a claim takes something of every limit that another one takes something of."""
    return {name for name, cost in other.costs.items() if cost} <= {
        name for name, cost in claim.costs.items() if cost
    }


def use(claims: Sequence[Claim], limit: Limit, numbers: Numbers) -> int:
    """Return what these numbers of replicas take of a limit."""
    return sum(claim.costs.get(limit.name, 0) * numbers[claim.service] for claim in claims)


# ------------------------------------------------------------------ rules


def check_tick(claims: Sequence[Claim], limits: Sequence[Limit]) -> None:
    """Check what holds in each tick, whatever runs now."""
    allowances = share(claims, limits)
    for claim in claims:
        allowance = allowances.get(claim.service)
        if allowance is not None:
            assert 0 <= allowance.replicas < claim.wished, "an allowance that allows the wish"
            assert allowance.because, "a share without a reason"
            if claim.keeps:
                assert allowance.replicas >= min(claim.replicas, claim.wished), "taken back"
    numbers = gets(claims, limits)
    present = {claim.service: claim.replicas + claim.draining for claim in claims}
    grown = {
        claim.service: max(claim.replicas, numbers[claim.service]) + claim.draining
        for claim in claims
    }
    for limit in limits:
        most = max(limit.capacity, use(claims, limit, present))
        assert use(claims, limit, grown) <= most, "growth beyond a limit"


def check_rest(claims: Sequence[Claim], limits: Sequence[Limit]) -> None:
    """Check what holds once all have followed."""
    numbers = settled(claims, limits)
    for limit in limits:
        kept = use(claims, limit, {claim.service: claim.kept for claim in claims})
        assert use(claims, limit, numbers) <= max(limit.capacity, kept), "beyond a limit"
    for claim in claims:
        if numbers[claim.service] < claim.wished and fits_alone(claim, limits):
            check_who_is_before(claim, claims, numbers)


def check_who_is_before(claim: Claim, claims: Sequence[Claim], numbers: Numbers) -> None:
    """Check for a service without its wish that nobody has more who stands behind it."""
    own = numbers[claim.service]
    for other in claims:
        if other is claim or not uses_all_of(other, claim):
            continue
        theirs = numbers[other.service]
        least = max(min(other.least, other.wished), other.kept)
        if own < claim.least:
            assert theirs <= least, "more than min for one, less than min for another"
            if is_in_front(claim, other):
                assert theirs <= other.kept, "a min before one that is in front of it"
        if theirs <= least or claim.priority < other.priority:
            continue
        assert claim.priority == other.priority, "a lower priority comes first"
        # The last replica of the other one stands in front of the next one of this service.
        assert theirs / other.weight <= (own + 1) / claim.weight, "more than its weight's share"


def check_order_of_claims(claims: Sequence[Claim], limits: Sequence[Limit]) -> None:
    """Check that neither order nor repetition changes anything."""
    allowances = share(claims, limits)
    assert share(claims, limits) == allowances, "another share of the same"
    assert share(claims[::-1], limits) == allowances, "the order of the services counts"
    turned = [*claims[1:], *claims[:1]]
    assert share(turned, limits) == allowances, "the order of the services counts"


def check_more_of(claims: Sequence[Claim], limit: Limit, more: Limit) -> None:
    """Check that more of the only limit means less for nobody, now and later."""
    if any(limit.capacity < claim.costs.get(limit.name, 0) <= more.capacity for claim in claims):
        return  # the first replica of a service fits now, which stood in nobody's way before
    for numbers in (gets, settled):
        before, after = numbers(claims, [limit]), numbers(claims, [more])
        assert all(after[id_] >= number for id_, number in before.items()), "less of more"


def check_no_turns(claims: Sequence[Claim], limits: Sequence[Limit]) -> None:
    """Check that no service loses a replica and wins it again, nor the other way round."""
    if any(claim.keeps and claim.wished > claim.replicas for claim in claims):
        return  # what such a service wins is not shared any more, so the others' parts change
    past = [{claim.service: claim.replicas for claim in each} for each in ticks(claims, limits)]
    for claim in claims:
        own = [each[claim.service] for each in past]
        assert own in (sorted(own), sorted(own, reverse=True)), f"replicas come and go: {own}"
