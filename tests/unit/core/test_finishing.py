"""Replicas that finish their work after a scale-in are not told once more to stop."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscaler.core.decide import decide
from autoscaler.core.model import Ceiling, EndedBy, Ending
from autoscaler.core.reason import ReasonCode
from autoscaler.core.share import Allowance
from autoscaler.core.situation import Situation
from tests.fakes.clock import START as NOW
from tests.unit.builders import codes, fleet, shrinking, situation
from tests.unit.core.strategies import scalable


class TestChanges:
    """A scale-in waits for replicas that it would tell to stop once more."""

    def test_none_is_stopped_meanwhile_and_the_reason_says_why(self) -> None:
        waiting = replace(shrinking(fleet("iiiii"), 1), draining=1, finishing=1)
        decision = decide(waiting)
        assert decision.desired == 5
        assert codes(decision)[-1] is ReasonCode.BUSY
        assert decision.limits[-1].text == (
            "1 replica of an earlier scale-in still finishes its work, and another scale-in would"
            " repeat its stop signal → keeps 5"
        )

    def test_replicas_that_drain_without_a_second_signal_hold_up_nothing(self) -> None:
        assert decide(replace(shrinking(fleet("iiiii"), 1), draining=1)).desired == 1

    def test_growth_goes_on(self) -> None:
        growing = replace(situation(waiting=80, replicas=5), draining=2, finishing=2)
        assert decide(growing).desired == 8

    def test_so_does_growth_by_enough(self) -> None:
        growing = replace(situation(waiting=80, replicas=5), finishing=2, least_growth=3)
        assert decide(growing).desired == 8

    def test_growth_by_too_few_becomes_enough(self) -> None:
        growing = replace(situation(waiting=60, replicas=5), finishing=2, least_growth=3)
        decision = decide(growing)
        assert (decision.wished, decision.desired) == (8, 8)
        assert codes(decision)[-1] is ReasonCode.FINISHING
        assert decision.limits[-1].text == (
            "2 replicas of an earlier scale-in still finish their work, and growth by fewer than 3"
            " would repeat their stop signal → 8"
        )

    def test_after_a_crash_no_more_are_started_than_the_trial(self) -> None:
        crash = Ending(EndedBy.ITSELF, seen=True, retry_at=NOW)
        growing = replace(
            situation(waiting=60, replicas=5), finishing=2, least_growth=3, ending=crash
        )
        assert decide(growing).desired == 5

    @pytest.mark.parametrize("scarce", ["max", "ceiling", "allowance"])
    def test_where_there_may_not_be_as_many_it_waits(self, scarce: str) -> None:
        growing = replace(situation(waiting=60, replicas=5), finishing=2, least_growth=3)
        if scarce == "max":
            growing = replace(growing, spec=growing.spec.model_copy(update={"max": 7}))
        else:
            limit = {"ceiling": Ceiling, "allowance": Allowance}[scarce](7, "for a reason")
            growing = replace(growing, **{scarce: limit})
        decision = decide(growing)
        assert decision.desired == 5
        assert codes(decision)[-1] is ReasonCode.BUSY
        assert decision.limits[-1].so == "keeps 5"


@given(scalable(), st.integers(1, 5), st.integers(0, 9))
def test_no_change_repeats_a_signal_and_none_leaves_the_bounds(
    drawn: Situation, finishing: int, least: int
) -> None:
    drawn = replace(drawn, finishing=finishing, least_growth=least)
    desired = decide(drawn).desired
    assert desired == drawn.replicas or desired >= drawn.replicas + max(least, 1)
    assert desired <= max(drawn.spec.max, drawn.replicas)
