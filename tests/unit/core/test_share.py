"""What is scarce is shared: min first, then priority, then weight, and in words who comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.model import ServiceId
from autoscaler.core.share import Allowance, Claim, Limit, share
from tests.unit.core.shares import settled

GPU = "group gpu"
MEMORY = "memory of the host"


def claim(name: str, wished: int, **rest: Any) -> Claim:
    """Describe a service of Compose whose replicas take one of the group each."""
    mine = Claim(ServiceId("compose", f"shop/{name}"), wished, costs={GPU: 1})
    return replace(mine, **rest)


def numbers(*claims: Claim, gpu: int, memory: int = 10**6) -> Mapping[str, int]:
    """Return what each service has once nothing changes any more, by its short name."""
    found = settled(claims, [Limit(MEMORY, memory), Limit(GPU, gpu)])
    return {id_.name.removeprefix("shop/"): number for id_, number in found.items()}


def allowances(*claims: Claim, gpu: int, memory: int = 10**6) -> Mapping[str, Allowance]:
    """Return the allowances of this tick, by the short names of services."""
    found = share(claims, [Limit(MEMORY, memory), Limit(GPU, gpu)])
    return {id_.name.removeprefix("shop/"): each for id_, each in found.items()}


class TestOrder:
    def test_services_of_equal_weight_get_equal_parts(self) -> None:
        assert numbers(claim("a", 20), claim("b", 20), gpu=10) == {"a": 5, "b": 5}

    def test_the_name_decides_who_gets_what_is_left_over(self) -> None:
        assert numbers(claim("b", 9), claim("a", 9), gpu=5) == {"a": 3, "b": 2}

    def test_what_one_does_not_want_goes_to_the_others(self) -> None:
        found = numbers(claim("a", 1), claim("b", 20), claim("c", 20), gpu=9)
        assert found == {"a": 1, "b": 4, "c": 4}

    def test_parts_follow_the_weights(self) -> None:
        found = numbers(claim("a", 20), claim("b", 20, weight=3.0), gpu=8)
        assert found == {"a": 2, "b": 6}

    def test_a_higher_priority_gets_all_its_wish_first(self) -> None:
        found = numbers(claim("a", 20, weight=100.0), claim("b", 8, priority=1), gpu=10)
        assert found == {"a": 2, "b": 8}

    def test_min_comes_before_any_priority(self) -> None:
        found = numbers(claim("a", 9, least=2), claim("b", 20, priority=5), gpu=10)
        assert found == {"a": 2, "b": 8}

    def test_min_counts_as_a_part_of_what_a_service_gets(self) -> None:
        found = numbers(claim("a", 9, least=4), claim("b", 9), gpu=8)
        assert found == {"a": 4, "b": 4}

    def test_where_not_even_mins_fit_priority_decides_and_then_the_name(self) -> None:
        found = numbers(
            claim("a", 3, least=3),
            claim("b", 3, least=3),
            claim("c", 3, least=3, priority=1),
            gpu=5,
        )
        assert found == {"a": 2, "b": 0, "c": 3}

    def test_no_service_gets_more_than_it_wishes_even_for_its_min(self) -> None:
        assert numbers(claim("a", 0, least=3), claim("b", 9), gpu=5) == {"a": 0, "b": 5}

    def test_compose_and_swarm_share_one_limit(self) -> None:
        stack = claim("b", 9, service=ServiceId("swarm", "shop/b"))
        assert numbers(claim("a", 9), stack, gpu=6) == {"a": 3, "b": 3}


class TestSizes:
    def test_a_large_replica_counts_with_all_that_it_takes(self) -> None:
        found = numbers(
            claim("large", 9, costs={MEMORY: 300}),
            claim("small", 9, costs={MEMORY: 100}),
            gpu=0,
            memory=800,
        )
        assert found == {"large": 2, "small": 2}

    def test_small_replicas_do_not_take_the_room_that_a_large_one_waits_for(self) -> None:
        found = numbers(
            claim("large", 9, priority=1, costs={MEMORY: 300}),
            claim("small", 9, costs={MEMORY: 100}),
            gpu=0,
            memory=500,
        )
        assert found == {"large": 1, "small": 0}

    def test_a_replica_larger_than_the_whole_limit_stands_in_nobodys_way(self) -> None:
        huge = claim("huge", 9, least=1, priority=1, costs={MEMORY: 900})
        small = claim("small", 9, least=1, costs={MEMORY: 100})
        assert numbers(huge, small, gpu=0, memory=500) == {"huge": 0, "small": 5}
        assert allowances(huge, small, gpu=0, memory=500)["huge"].because == (
            "memory of the host; not even one replica fits"
        )

    def test_who_waits_for_one_limit_keeps_no_room_in_another(self) -> None:
        both = claim("both", 9, priority=1, costs={MEMORY: 300, GPU: 1})
        found = numbers(both, claim("small", 9, costs={MEMORY: 100}), gpu=1, memory=1_000)
        assert found == {"both": 1, "small": 7}

    def test_a_group_of_none_has_no_replicas(self) -> None:
        assert numbers(claim("a", 3, least=1, replicas=1), gpu=0) == {"a": 0}


class TestNow:
    def test_growth_waits_for_what_others_still_run(self) -> None:
        found = allowances(claim("a", 9, replicas=8), claim("b", 9), gpu=10)
        assert found == {
            "a": Allowance(5, "group gpu; shared with shop/b"),
            "b": Allowance(2, "group gpu; replicas of shop/a have to end first"),
        }

    def test_growth_waits_for_what_drains(self) -> None:
        found = allowances(claim("a", 4, replicas=4, draining=5), claim("b", 4), gpu=10)
        assert found == {"b": Allowance(1, "group gpu; replicas of shop/a have to end first")}

    def test_who_comes_first_in_the_order_grows_first(self) -> None:
        found = allowances(
            claim("a", 4, replicas=4, draining=5),
            claim("b", 3),
            claim("c", 3, priority=1),
            gpu=10,
        )
        assert {name: each.replicas for name, each in found.items()} == {"b": 0, "c": 1}

    def test_nobody_is_held_who_has_what_it_wishes(self) -> None:
        assert allowances(claim("a", 5, replicas=5), claim("b", 0, replicas=4), gpu=10) == {}

    def test_replicas_above_a_limit_that_was_lowered_go(self) -> None:
        assert allowances(claim("a", 8, replicas=8), gpu=5) == {"a": Allowance(5, "group gpu")}

    def test_replicas_that_are_kept_count_before_anything_else(self) -> None:
        kept = claim("a", 8, replicas=8, keeps=True)
        found = allowances(kept, claim("b", 9, least=3, priority=9), gpu=10)
        assert found == {"b": Allowance(2, "group gpu; others keep their min, or what must stay")}

    def test_a_service_that_keeps_its_replicas_gets_more_by_the_order_only(self) -> None:
        kept = claim("a", 9, replicas=4, keeps=True)
        assert numbers(kept, claim("b", 9, priority=1), gpu=10) == {"a": 4, "b": 6}


class TestWords:
    @pytest.mark.parametrize(
        ("others", "words"),
        [
            pytest.param([], "group gpu", id="alone"),
            pytest.param(
                [claim("orders", 9, priority=10), claim("mails", 1, priority=10)],
                "group gpu; shop/mails has priority 10",
                id="higher-priority",
            ),
            pytest.param([claim("orders", 9)], "group gpu; shared with shop/orders", id="one-peer"),
            pytest.param(
                [claim("orders", 9), claim("mails", 9)],
                "group gpu; shared with 2 others",
                id="peers",
            ),
            pytest.param(
                [claim("orders", 2, least=2, priority=-1)],
                "group gpu; others keep their min, or what must stay",
                id="min-of-a-lower-priority",
            ),
        ],
    )
    def test_the_reason_names_the_limit_and_who_comes_first(
        self, others: list[Claim], words: str
    ) -> None:
        assert allowances(claim("batch", 20), *others, gpu=5)["batch"].because == words

    def test_the_limit_is_named_that_is_short(self) -> None:
        hungry = claim("batch", 20, costs={MEMORY: 100, GPU: 1})
        assert allowances(hungry, gpu=5)["batch"].because == "group gpu"
        assert allowances(hungry, gpu=50, memory=700)["batch"].because == "memory of the host"
