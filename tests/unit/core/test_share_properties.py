"""Properties of every share. `python -m tests.faults.fuzz_shares` tries many more."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from autoscaler.core.model import ServiceId
from autoscaler.core.share import Claim, Limit, share
from tests.unit.core import shares
from tests.unit.core.strategies import some

LIMITS = ("memory of the host", "group gpu", "all services")
CAPACITIES = st.sampled_from([0, 1, 2, 3, 5, 8, 13, 21, 34, 60])
LITTLE = st.sampled_from([0, 0, 1, 1, 2, 3, 5, 9])


@st.composite
def limits(draw: st.DrawFn) -> list[Limit]:
    """Draw one to three limits."""
    return [Limit(name, draw(CAPACITIES)) for name in LIMITS[: draw(st.integers(1, 3))]]


@st.composite
def claims(draw: st.DrawFn) -> list[Claim]:
    """Draw up to seven claims, most of which take something of most limits."""
    return [
        Claim(
            ServiceId(draw(st.sampled_from(["compose", "swarm"])), f"shop/worker-{number}"),
            wished=draw(st.sampled_from([0, 1, 2, 3, 5, 9, 20])),
            least=draw(LITTLE),
            replicas=draw(LITTLE),
            draining=draw(st.sampled_from([0, 0, 0, 1, 3])),
            priority=draw(st.sampled_from([0, 0, 5, -3])),
            weight=draw(st.sampled_from([1.0, 1.0, 2.0, 0.5, 3.0, 0.1])),
            costs={
                name: draw(st.sampled_from([1, 1, 2, 3, 7])) if name == LIMITS[0] else 1
                for name in LIMITS
                if draw(st.integers(0, 4))
            },
            keeps=not draw(st.integers(0, 9)),
        )
        for number in range(draw(st.integers(1, 7)))
    ]


@some
@given(claims(), limits())
def test_no_growth_goes_beyond_a_limit_and_what_is_kept_stays(
    drawn: list[Claim], given_limits: list[Limit]
) -> None:
    shares.check_tick(drawn, given_limits)


@some
@given(claims(), limits())
def test_min_comes_first_then_priority_then_weight(
    drawn: list[Claim], given_limits: list[Limit]
) -> None:
    shares.check_rest(drawn, given_limits)


@some
@given(claims(), limits())
def test_neither_the_order_of_services_nor_repetition_changes_anything(
    drawn: list[Claim], given_limits: list[Limit]
) -> None:
    shares.check_order_of_claims(drawn, given_limits)


@some
@given(claims(), CAPACITIES, st.integers(1, 30))
def test_more_of_a_limit_means_less_for_nobody(
    drawn: list[Claim], capacity: int, more: int
) -> None:
    name = LIMITS[1]
    shares.check_more_of(drawn, Limit(name, capacity), Limit(name, capacity + more))


@some
@given(claims(), limits())
def test_no_service_loses_and_wins_replicas_in_turns(
    drawn: list[Claim], given_limits: list[Limit]
) -> None:
    shares.check_no_turns(drawn, given_limits)


@some
@given(claims(), st.integers(0, 40))
def test_services_of_equal_weight_that_want_more_differ_by_one_at_most(
    drawn: list[Claim], capacity: int
) -> None:
    equal = [
        replace(claim, priority=0, weight=2.0, wished=50, least=0, keeps=False, costs={"group": 1})
        for claim in drawn
    ]
    numbers = shares.settled(equal, [Limit("group", capacity)]).values()
    assert max(numbers) - min(numbers) <= 1
    assert sum(numbers) == capacity


@some
@given(claims(), limits())
def test_where_there_is_enough_for_all_nobody_is_held(
    drawn: list[Claim], given_limits: list[Limit]
) -> None:
    plenty = [replace(limit, capacity=10**6) for limit in given_limits]
    assert share(drawn, plenty) == {}


@some
@given(claims())
def test_without_limits_nobody_is_held(drawn: list[Claim]) -> None:
    assert share(drawn, []) == {}
