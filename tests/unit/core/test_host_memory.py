"""The memory of the host as a limit that services share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from autoscaler.core.host_memory import (
    MEMORY,
    HostMemory,
    UnknownMemory,
    claim_memory,
    hold_growth,
    wanting_to_grow,
)
from autoscaler.core.model import ServiceId
from autoscaler.core.share import Allowance, Claim, share

ORDERS, MAILS = ServiceId("compose", "shop/orders"), ServiceId("compose", "shop/mails")
ON_SWARM = ServiceId("swarm", "shop_orders")
HOST = HostMemory(total=10_000, free=3_000, reserve=1_000, costs={ORDERS: 100, MAILS: 300})


def claim(service: ServiceId = ORDERS, replicas: int = 1, wished: int = 50, **rest: int) -> Claim:
    return Claim(service, wished, replicas=replicas, **rest)


def there(*claims: Claim) -> Mapping[ServiceId, int]:
    """Return the replicas that all run already."""
    return {each.service: each.replicas + each.draining for each in claims}


def granted(memory: HostMemory, *claims: Claim) -> Mapping[ServiceId, int]:
    """Return what each service gets."""
    costed, limits = claim_memory(replace(memory, counted=there(*claims)), claims)
    allowances = share(costed, limits)
    return {
        each.service: allowances[each.service].replicas
        if each.service in allowances
        else each.wished
        for each in claims
    }


class TestRoom:
    def test_growth_takes_what_is_free_beyond_the_reserve(self) -> None:
        assert granted(HOST, claim(replicas=3)) == {ORDERS: 23}

    def test_a_wish_that_fits_is_not_touched(self) -> None:
        assert granted(HOST, claim(replicas=3, wished=23)) == {ORDERS: 23}

    def test_what_has_not_grown_yet_is_taken(self) -> None:
        assert granted(replace(HOST, growing=500), claim(replicas=3)) == {ORDERS: 18}

    def test_what_drains_keeps_its_memory_until_it_has_ended(self) -> None:
        assert granted(HOST, claim(replicas=3, draining=5)) == {ORDERS: 23}

    def test_what_a_change_under_way_will_start_is_taken(self) -> None:
        claims = [claim(replicas=10)]
        costed, limits = claim_memory(replace(HOST, counted={ORDERS: 4}), claims)
        # Six are still to come: 600 of the 2,000 that are free to use.
        assert share(costed, limits)[ORDERS].replicas == 10 + 14

    def test_it_is_shared(self) -> None:
        assert granted(HOST, claim(), claim(MAILS)) == {ORDERS: 6, MAILS: 6}

    def test_the_reason_names_it(self) -> None:
        costed, limits = claim_memory(replace(HOST, counted={ORDERS: 1}), [claim()])
        assert share(costed, limits)[ORDERS].because == "memory of the host"


class TestNobodyLosesAReplicaForTheReserve:
    @pytest.mark.parametrize("free", [1_000, 999, 500, 0])
    def test_where_others_on_the_host_have_used_it_up(self, free: int) -> None:
        memory = replace(HOST, free=free)
        assert granted(memory, claim(replicas=7), claim(MAILS, 7)) == {ORDERS: 7, MAILS: 7}

    def test_a_higher_priority_takes_over_what_is_idle(self) -> None:
        memory = replace(HOST, free=500)
        first = claim(MAILS, replicas=1, wished=3, priority=10)
        # Six hundred have to become free before it can grow.
        assert granted(memory, claim(replicas=10, wished=10), first) == {ORDERS: 4, MAILS: 1}


class TestUnknownCost:
    WITHOUT = replace(HOST, costs={MAILS: 300})

    def test_it_counts_as_nothing_while_there_is_room(self) -> None:
        assert granted(self.WITHOUT, claim(wished=90)) == {ORDERS: 90}

    @pytest.mark.parametrize(
        ("free", "growing"), [(1_000, 0), (600, 0), (1_500, 500), (1_500, 900)]
    )
    def test_it_does_not_grow_while_there_is_none(self, free: int, growing: int) -> None:
        memory = replace(self.WITHOUT, free=free, growing=growing)
        assert granted(memory, claim(replicas=4)) == {ORDERS: 4}

    def test_a_service_that_does_not_want_to_grow_is_left_out(self) -> None:
        costed, _ = claim_memory(replace(self.WITHOUT, free=0), [claim(replicas=4, wished=2)])
        assert costed[0].costs == {}


class TestWhomItConcerns:
    def test_swarm_leaves_it_to_its_scheduler(self) -> None:
        swarm = claim(ON_SWARM)
        memory = replace(HOST, free=0, costs={**HOST.costs, ON_SWARM: 100})
        assert granted(memory, swarm) == {ON_SWARM: 50}
        assert wanting_to_grow([swarm, claim(), claim(MAILS, 5, wished=5)]) == {ORDERS}

    def test_other_costs_of_a_claim_stay(self) -> None:
        costed, _ = claim_memory(HOST, [replace(claim(), costs={"group gpu": 1})])
        assert costed[0].costs == {"group gpu": 1, MEMORY: 100}

    def test_without_a_host_there_is_no_such_limit(self) -> None:
        claims = [claim()]
        assert claim_memory(None, claims) == (claims, ())
        assert hold_growth(None, claims, {}) == {}


class TestUnknownMemory:
    UNKNOWN = UnknownMemory("the engine does not answer")
    BECAUSE = "memory of the host is unknown, so growth waits: the engine does not answer"

    def test_growth_waits(self) -> None:
        claims = [claim(replicas=4), claim(MAILS, 5, wished=5), claim(ON_SWARM)]
        assert claim_memory(self.UNKNOWN, claims) == (claims, ())
        assert hold_growth(self.UNKNOWN, claims, {}) == {ORDERS: Allowance(4, self.BECAUSE)}

    def test_what_is_allowed_beyond_what_there_is_counts_as_growth(self) -> None:
        held = hold_growth(self.UNKNOWN, [claim(replicas=4)], {ORDERS: Allowance(9, "group gpu")})
        assert held == {ORDERS: Allowance(4, self.BECAUSE)}

    def test_a_smaller_allowance_stays(self) -> None:
        allowances = {ORDERS: Allowance(2, "group gpu")}
        assert hold_growth(self.UNKNOWN, [claim(replicas=4)], allowances) == allowances
