"""What an unknown backlog recommends: the present replicas, and the fallback in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.decide import decide
from autoscaler.core.label_values import Fallback
from autoscaler.core.reason import ReasonCode
from autoscaler.core.situation import Situation
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    NOT_READ,
    SECOND,
    Past,
    Watch,
    codes,
    limits,
    remembered,
    situation,
)


class TestUnknownBacklog:
    def test_it_holds_the_replicas(self) -> None:
        decision = decide(situation(waiting=None, replicas=7))
        assert str(decision.recommendation) == "backlog unknown → keeps 7"
        assert decision.desired == 7
        assert codes(decision) == [ReasonCode.BACKLOG_UNKNOWN]

    @pytest.mark.parametrize(
        ("replicas", "desired", "bound"),
        [
            pytest.param(1, 2, ReasonCode.MIN, id="below-min"),
            pytest.param(9, 5, ReasonCode.MAX, id="above-max"),
        ],
    )
    def test_the_bounds_still_apply(self, replicas: int, desired: int, bound: ReasonCode) -> None:
        decision = decide(situation(waiting=None, replicas=replicas, min=2, max=5))
        assert decision.desired == desired
        assert codes(decision) == [ReasonCode.BACKLOG_UNKNOWN, bound]

    def test_an_earlier_recommendation_does_not_count_in_its_place(self) -> None:
        past = [(timedelta(seconds=5), 1), (timedelta(seconds=1), 9)]
        decision = decide(situation(waiting=None, replicas=5, past=past, scale_out_window=MINUTE))
        assert decision.desired == 5

    def test_the_scale_in_window_begins_after_the_last_unknown_backlog(self) -> None:
        unknown = decide(situation(waiting=None, replicas=7))
        empty = situation(waiting=0, replicas=7, scale_in_window=MINUTE)
        soon = replace(empty, history=unknown.history, now=NOW + MINUTE)
        late = replace(empty, history=unknown.history, now=NOW + MINUTE + INSTANT)
        assert decide(soon).desired == 7
        assert decide(late).desired == 1


class TestFallback:
    @staticmethod
    def unknown(for_: timedelta, past: Past = (), **rest: Any) -> Situation:
        """Describe a service of 5 replicas whose backlog has been unknown for a while."""
        seen = remembered(past, known_at=NOW - for_)
        return situation(waiting=None, past=seen, **{"replicas": 5} | rest)

    @pytest.mark.parametrize(
        ("for_", "desired", "code"),
        [
            pytest.param(3 * MINUTE - INSTANT, 5, ReasonCode.BACKLOG_UNKNOWN, id="just-before"),
            pytest.param(3 * MINUTE, 8, ReasonCode.FALLBACK, id="exactly-fallback.after"),
            pytest.param(9 * HOUR, 8, ReasonCode.FALLBACK, id="long-after"),
        ],
    )
    def test_it_counts_once_the_backlog_has_been_unknown_for_fallback_after(
        self, for_: timedelta, desired: int, code: ReasonCode
    ) -> None:
        decision = decide(self.unknown(for_, fallback=Fallback(8)))
        assert decision.desired == desired
        assert codes(decision) == [code]

    @pytest.mark.parametrize(
        ("fallback", "desired"),
        [
            pytest.param("hold", 5, id="hold"),
            pytest.param("8", 8, id="more"),
            pytest.param("2", 2, id="fewer"),
            pytest.param("5", 5, id="as-many"),
            pytest.param("at-least 8", 8, id="at-least-more"),
            pytest.param("at-least 2", 5, id="at-least-fewer"),
        ],
    )
    def test_the_label_names_the_number(self, fallback: str, desired: int) -> None:
        decision = decide(self.unknown(HOUR, fallback=Fallback.parse(fallback)))
        assert decision.desired == desired
        assert len(decision.reasons) == 1

    def test_the_reason_says_how_long_the_backlog_has_been_unknown(self) -> None:
        decision = decide(self.unknown(200 * SECOND, fallback=Fallback(8, at_least=True)))
        assert str(decision.reasons[0]) == ("backlog unknown for 3m20s, fallback of at-least 8 → 8")

    @pytest.mark.parametrize(
        ("number", "desired", "bound"),
        [
            pytest.param(99, 10, ReasonCode.MAX, id="above-max"),
            pytest.param(0, 1, ReasonCode.MIN, id="below-min"),
        ],
    )
    def test_the_bounds_still_apply(self, number: int, desired: int, bound: ReasonCode) -> None:
        decision = decide(self.unknown(HOUR, fallback=Fallback(number)))
        assert decision.desired == desired
        assert codes(decision) == [ReasonCode.FALLBACK, bound]

    @pytest.mark.parametrize(
        ("age", "desired"),
        [
            pytest.param(MINUTE, 5, id="a-need-inside-the-window"),
            pytest.param(MINUTE + INSTANT, 2, id="a-need-before-it"),
        ],
    )
    def test_the_scale_in_window_still_applies(self, age: timedelta, desired: int) -> None:
        given = self.unknown(HOUR, [(age, 5)], fallback=Fallback(2), scale_in_window=MINUTE)
        assert decide(given).desired == desired

    def test_the_scale_out_window_still_applies(self) -> None:
        given = self.unknown(HOUR, [(SECOND, 5)], fallback=Fallback(9), scale_out_window=MINUTE)
        assert decide(given).desired == 5

    def test_the_step_limits_still_apply(self) -> None:
        grown = decide(self.unknown(HOUR, fallback=Fallback(9), scale_out_limit=limits("1/15s")))
        shrunk = decide(self.unknown(HOUR, fallback=Fallback(2), scale_in_limit=limits("1/15s")))
        assert (grown.desired, shrunk.desired) == (6, 4)

    def test_with_a_fallback_after_of_0_it_counts_at_once(self) -> None:
        given = self.unknown(timedelta(), fallback=Fallback(8), fallback_after=timedelta())
        assert decide(given).desired == 8

    def test_one_known_backlog_restarts_the_wait(self) -> None:
        watch = Watch(5, fallback=Fallback(8))
        assert watch.look(None, 5, after=3 * MINUTE).desired == 8
        watch.look(50, 5)
        assert watch.look(None, 5, after=3 * MINUTE - INSTANT).desired == 5
        assert watch.look(None, 5, after=INSTANT).desired == 8

    def test_a_restart_of_the_daemon_restarts_the_wait(self) -> None:
        watch = Watch(5, fallback=Fallback(8))
        assert watch.look(None, 5, after=3 * MINUTE - INSTANT).desired == 5
        assert watch.look(None, 5, after=INSTANT).desired == 8

    def test_the_wait_does_not_run_while_nobody_asks_for_the_backlog(self) -> None:
        watch = Watch(5, fallback=Fallback(8))
        watch.history = watch.history.observe(5, NOT_READ, 5, NOW + HOUR, HOUR)
        watch.now += HOUR
        assert watch.look(None, 5).desired == 5
