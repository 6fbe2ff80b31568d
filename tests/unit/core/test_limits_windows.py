"""The stabilization windows, and what they remember over a restart."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from autoscaler.core.decide import decide
from autoscaler.core.history import History
from autoscaler.core.reason import ReasonCode
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    INSTANT,
    MINUTE,
    codes,
    situation,
)


class TestScaleInWindow:
    SPEC: ClassVar[dict[str, Any]] = {"scale_in_window": MINUTE}

    def test_the_largest_recommendation_in_the_window_counts(self) -> None:
        past = [(timedelta(seconds=50), 6), (timedelta(seconds=30), 8), (timedelta(seconds=5), 2)]
        decision = decide(situation(waiting=0, replicas=10, past=past, **self.SPEC))
        assert decision.desired == 8
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_WINDOW]
        assert str(decision.reasons[-1]) == (
            "some of the last 1m called for 8 (scale-in window) → 8"
        )

    def test_a_recommendation_exactly_as_old_as_the_window_still_counts(self) -> None:
        given = situation(waiting=0, replicas=9, past=[(MINUTE, 9)], **self.SPEC)
        assert decide(given).desired == 9

    def test_a_recommendation_older_than_the_window_does_not_count(self) -> None:
        given = situation(waiting=0, replicas=9, past=[(MINUTE + INSTANT, 9)], **self.SPEC)
        assert decide(given).desired == 1

    def test_the_window_never_turns_a_scale_in_into_growth(self) -> None:
        decision = decide(situation(waiting=10, replicas=3, past=[(timedelta(seconds=5), 9)]))
        assert decision.desired == 3

    def test_the_window_does_not_hold_growth(self) -> None:
        decision = decide(situation(waiting=80, replicas=3, past=[(timedelta(seconds=5), 9)]))
        assert decision.desired == 8
        assert codes(decision) == [ReasonCode.BACKLOG]

    def test_without_a_window_a_scale_in_is_immediate(self) -> None:
        past = [(INSTANT, 9)]
        decision = decide(situation(waiting=0, replicas=9, past=past, scale_in_window=timedelta()))
        assert decision.desired == 1


class TestScaleOutWindow:
    SPEC: ClassVar[dict[str, Any]] = {"scale_out_window": MINUTE, "max": 50}

    def test_the_smallest_recommendation_in_the_window_counts(self) -> None:
        past = [(timedelta(seconds=50), 6), (timedelta(seconds=30), 4), (timedelta(seconds=5), 9)]
        decision = decide(situation(waiting=100, replicas=2, past=past, **self.SPEC))
        assert decision.desired == 4
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_WINDOW]
        assert str(decision.reasons[-1]) == (
            "some of the last 1m called for 4 (scale-out window) → 4"
        )

    def test_a_recommendation_exactly_as_old_as_the_window_still_counts(self) -> None:
        decision = decide(situation(waiting=100, past=[(MINUTE, 1)], **self.SPEC))
        assert decision.desired == 1

    def test_a_recommendation_older_than_the_window_does_not_count(self) -> None:
        decision = decide(situation(waiting=100, past=[(MINUTE + INSTANT, 1)], **self.SPEC))
        assert decision.desired == 10

    def test_the_window_never_turns_growth_into_a_scale_in(self) -> None:
        past = [(timedelta(seconds=5), 1)]
        decision = decide(situation(waiting=100, replicas=5, past=past, **self.SPEC))
        assert decision.desired == 5
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_WINDOW]
        assert "did not call for growth" in str(decision.reasons[-1])

    def test_without_a_window_growth_is_immediate(self) -> None:
        assert decide(situation(waiting=100, past=[(INSTANT, 1)])).desired == 10

    def test_the_window_does_not_delay_growth_to_min(self) -> None:
        past = [(timedelta(seconds=5), 1)]
        decision = decide(situation(waiting=100, past=past, min=3, **self.SPEC))
        assert decision.desired == 3


class TestRestart:
    def test_a_restart_never_scales_in_inside_the_window(self) -> None:
        history = History.seed(20, NOW)
        desired = []
        for second in (0, 5, 14.999, 15, 15.001):
            now = NOW + timedelta(seconds=second)
            decision = decide(
                replace(situation(waiting=0, replicas=20, max=20), history=history, now=now)
            )
            history = decision.history
            desired.append(decision.desired)
        assert desired == [20, 20, 20, 20, 1]

    def test_a_restart_does_not_delay_growth(self) -> None:
        decision = decide(situation(waiting=90, replicas=2, past=[(INSTANT, 2)]))
        assert decision.desired == 9

    def test_a_decision_in_the_instant_of_the_start_may_grow(self) -> None:
        seeded = replace(situation(waiting=90, replicas=2), history=History.seed(2, NOW))
        assert decide(seeded).desired == 9

    def test_the_history_survives_a_change_of_the_window(self) -> None:
        past = [(timedelta(minutes=59), 8)]
        first = decide(situation(waiting=10, replicas=8, past=past))
        later = situation(waiting=10, replicas=8, scale_in_window=timedelta(hours=1))
        assert decide(replace(later, history=first.history)).desired == 8

    def test_the_history_keeps_the_recommendation_before_any_limit(self) -> None:
        decision = decide(situation(waiting=300, max=5))
        assert decision.history.since(NOW) == (30,)
