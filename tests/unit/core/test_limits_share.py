"""A service gets what it is allowed of what is scarce, and its wish is still known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.decide import decide, wants_in_flight
from autoscaler.core.in_flight import UnknownInFlight
from autoscaler.core.label_values import Busy, Mode
from autoscaler.core.reason import ReasonCode
from autoscaler.core.share import Allowance
from autoscaler.core.situation import Situation
from tests.unit.builders import codes, fleet, shrinking, situation

WHY = "group gpu; shop/orders has priority 10"


def allowed(given: Situation, replicas: int) -> Situation:
    """Return the situation with an allowance."""
    return replace(given, allowance=Allowance(replicas, WHY))


def test_it_gets_no_more_than_it_is_allowed_and_says_why() -> None:
    decision = decide(allowed(situation(waiting=200, replicas=5, max=30), 12))
    assert (decision.desired, decision.wished) == (12, 20)
    assert str(decision.limits[-1]) == ("wants 20, gets 12: group gpu; shop/orders has priority 10")
    assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SHARED]


def test_an_allowance_never_asks_for_more_than_the_wish() -> None:
    decision = decide(allowed(situation(waiting=30, replicas=1, max=30), 12))
    assert (decision.desired, decision.wished) == (3, 3)
    assert ReasonCode.SHARED not in codes(decision)


def test_the_wish_is_within_min_and_max() -> None:
    assert decide(situation(waiting=200, replicas=1, max=8)).wished == 8
    assert decide(situation(waiting=0, replicas=4, min=4)).wished == 4


def test_it_may_get_less_than_min() -> None:
    assert decide(allowed(situation(waiting=0, replicas=1, min=3), 2)).desired == 2


def test_busy_replicas_stay_above_what_is_allowed() -> None:
    given = replace(situation(waiting=200, replicas=4, max=30), in_flight=fleet("bbbi"))
    decision = decide(allowed(given, 1))
    assert (decision.desired, decision.wished) == (3, 20)
    assert codes(decision)[-2:] == [ReasonCode.SHARED, ReasonCode.BUSY]


def test_nobody_goes_while_it_is_unknown_what_is_in_flight() -> None:
    given = replace(
        situation(waiting=200, replicas=4, max=30), in_flight=UnknownInFlight("no answer")
    )
    assert decide(allowed(given, 1)).desired == 4


def test_busy_replicas_are_no_part_of_the_wish() -> None:
    decision = decide(shrinking(fleet("bbbbi"), 1))
    assert (decision.desired, decision.wished) == (4, 1)


@pytest.mark.parametrize(
    "given",
    [
        situation(waiting=200, replicas=4, mode=Mode.OFF),
        situation(waiting=200, replicas=4, refusal="somebody else is at work"),
    ],
)
def test_a_service_that_is_left_alone_keeps_its_replicas(given: Situation) -> None:
    decision = decide(allowed(given, 1))
    assert (decision.desired, decision.wished) == (4, 4)


def test_an_allowance_does_not_change_what_is_remembered() -> None:
    given = situation(waiting=200, replicas=5, max=30)
    assert decide(allowed(given, 6)).history == decide(given).history


class TestInFlight:
    GROWING = situation(waiting=200, replicas=5, max=30)

    def test_it_is_looked_at_where_the_allowance_takes_replicas_back(self) -> None:
        assert not wants_in_flight(self.GROWING)
        assert wants_in_flight(allowed(self.GROWING, 4))

    def test_it_is_not_where_only_growth_is_held(self) -> None:
        assert not wants_in_flight(allowed(self.GROWING, 5))

    def test_it_is_not_where_heartbeats_are_not_read(self) -> None:
        careless = situation(waiting=200, replicas=5, max=30, busy=Busy.IGNORE)
        assert not wants_in_flight(allowed(careless, 4))
