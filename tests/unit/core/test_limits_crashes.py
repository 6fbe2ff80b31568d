"""After a crash nothing is started for a while, and then min or one more replica, as a trial."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from autoscaler.core.decide import decide
from autoscaler.core.model import EndedBy, Ending
from autoscaler.core.reason import ReasonCode
from autoscaler.core.situation import Decision
from tests.fakes.clock import START as NOW
from tests.unit.builders import INSTANT, SECOND, codes, situation


def crash(retry_at: datetime | None, *, seen: bool = True) -> Ending:
    return Ending(EndedBy.ITSELF, seen, "w-1 ended by itself with exit code 3", retry_at)


def decided(ending: Ending, replicas: int, **given: Any) -> Decision:
    """Decide with a hundred waiting tasks, which call for ten replicas."""
    return decide(situation(**{"waiting": 100, "replicas": replicas, "ending": ending, **given}))


class TestPause:
    @pytest.mark.parametrize("replicas", [0, 3])
    def test_nothing_is_started_before_the_pause_has_passed(self, replicas: int) -> None:
        decision = decided(crash(NOW + INSTANT), replicas, min=4)
        assert decision.desired == replicas
        assert codes(decision)[-1] is ReasonCode.CRASHED

    def test_the_reason_says_for_how_long(self) -> None:
        decision = decided(crash(NOW + 9.5 * SECOND), 0)
        assert str(decision.reasons[-1]) == "after a crash, more are started in 10s → keeps 0"

    def test_replicas_that_the_engine_restarts_are_waited_for(self) -> None:
        decision = decided(crash(None), 2)
        assert decision.desired == 2
        assert str(decision.reasons[-1]) == "after a crash → keeps 2"

    def test_scale_in_goes_on(self) -> None:
        ending = crash(NOW + SECOND)
        decision = decided(ending, 5, waiting=10, scale_in_window=timedelta())
        assert (decision.desired, codes(decision)) == (1, [ReasonCode.BACKLOG])


class TestTrial:
    @pytest.mark.parametrize(
        ("replicas", "least", "desired"),
        [
            pytest.param(0, 1, 1, id="one-at-zero"),
            pytest.param(0, 0, 1, id="one-at-zero-though-min-is-0"),
            pytest.param(0, 3, 3, id="up-to-min"),
            pytest.param(4, 1, 5, id="one-more-where-others-run"),
            pytest.param(1, 2, 2, id="no-more-than-min"),
        ],
    )
    def test_after_the_pause_min_or_one_more_is_tried(
        self, replicas: int, least: int, desired: int
    ) -> None:
        decision = decided(crash(NOW), replicas, min=least)
        assert decision.desired == desired
        assert str(decision.reasons[-1]) == f"a trial after a crash → {desired}"

    def test_what_the_backlog_asks_for_anyway_needs_no_reason(self) -> None:
        decision = decided(crash(NOW), 2, waiting=30)
        assert (decision.desired, codes(decision)) == (3, [ReasonCode.BACKLOG])


def test_exit_codes_alone_are_no_crash_of_a_service_that_may_go_to_zero() -> None:
    """Many workers end with a code of their own when the daemon stops them."""
    unseen = crash(NOW + SECOND, seen=False)
    assert decided(unseen, 0, min=0).desired == 10
    assert decided(unseen, 0, min=1).desired == 0
