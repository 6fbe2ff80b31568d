"""The step limits: how many replicas may come or go within a period."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.decide import decide
from autoscaler.core.reason import ReasonCode
from tests.unit.builders import (
    INSTANT,
    SECOND,
    Past,
    Watch,
    codes,
    limits,
    remembered,
    situation,
)

NEVER_STABILISED: Mapping[str, Any] = {"scale_in_window": timedelta(), "max": 1000}


class TestScaleOutLimit:
    @pytest.mark.parametrize(
        ("limit", "replicas", "desired"),
        [
            pytest.param("4/15s", 3, 7, id="a-count"),
            pytest.param("100%/15s", 3, 6, id="a-share"),
            pytest.param("10%/15s", 11, 13, id="a-share-rounded-up"),
            pytest.param("1%/15s", 1, 2, id="the-smallest-share-is-one"),
            pytest.param("50%/15s", 4, 6, id="a-share-without-a-remainder"),
            pytest.param("4/15s,100%/15s", 3, 7, id="of-two-the-count-is-larger"),
            pytest.param("4/15s,100%/15s", 5, 10, id="of-two-the-share-is-larger"),
            pytest.param("4/15s", 0, 4, id="a-count-from-zero"),
            pytest.param("100%/15s", 0, 2, id="a-share-from-zero-is-of-one"),
            pytest.param("10%/15s", 0, 2, id="a-small-share-from-zero"),
        ],
    )
    def test_growth_stops_at_the_limit(self, limit: str, replicas: int, desired: int) -> None:
        decision = decide(
            situation(
                waiting=900, replicas=replicas, min=0, max=1000, scale_out_limit=limits(limit)
            )
        )
        assert decision.desired == desired
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_LIMIT]
        assert str(decision.reasons[-1]) == f"scale-out limit {limit} → {desired}"

    @pytest.mark.parametrize(
        ("waiting", "moved_by"),
        [
            pytest.param(70, [ReasonCode.BACKLOG], id="exactly-the-limit"),
            pytest.param(71, [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_LIMIT], id="one-beyond"),
        ],
    )
    def test_growth_up_to_the_limit_is_free(self, waiting: int, moved_by: list[ReasonCode]) -> None:
        decision = decide(situation(waiting=waiting, replicas=3, scale_out_limit=limits("4/15s")))
        assert decision.desired == 7
        assert codes(decision) == moved_by

    @pytest.mark.parametrize(
        ("changes", "limit", "desired"),
        [
            pytest.param([(10 * SECOND, 4)], "4/15s", 10, id="the-limit-is-used-up"),
            pytest.param([(10 * SECOND, 3)], "4/15s", 11, id="a-part-of-the-limit-is-used"),
            pytest.param([(10 * SECOND, 9)], "4/15s", 10, id="more-than-the-limit-by-hand"),
            pytest.param([(10 * SECOND, -2)], "4/15s", 16, id="what-was-removed-may-come-back"),
            pytest.param([(10 * SECOND, 4), (SECOND, -4)], "4/15s", 14, id="up-and-down-again"),
            pytest.param([(15 * SECOND, 4)], "4/15s", 14, id="exactly-a-period-ago-is-over"),
            pytest.param([(15 * SECOND - INSTANT, 4)], "4/15s", 10, id="just-inside-the-period"),
            pytest.param([(10 * SECOND, 5)], "100%/15s", 10, id="a-share-of-what-there-was"),
            pytest.param([(10 * SECOND, 2)], "100%/15s", 16, id="the-rest-of-a-share"),
            pytest.param([(20 * SECOND, 4)], "4/15s,6/30s", 14, id="each-has-its-own-period"),
            pytest.param([(20 * SECOND, 4)], "1/15s,9/30s", 15, id="the-longer-may-allow-more"),
            pytest.param([(10 * SECOND, 10)], "100%/15s", 10, id="a-share-of-none-is-of-one"),
        ],
    )
    def test_all_changes_within_the_period_count_whoever_made_them(
        self, changes: Past, limit: str, desired: int
    ) -> None:
        decision = decide(
            situation(
                waiting=900,
                replicas=10,
                max=1000,
                past=remembered(changes=changes),
                scale_out_limit=limits(limit),
            )
        )
        assert decision.desired == desired

    def test_a_change_that_this_look_has_found_counts(self) -> None:
        watch = Watch(3, scale_out_limit=limits("4/15s"), max=1000)
        assert watch.look(900, 3).desired == 7
        assert watch.look(900, 7).desired == 7
        assert watch.look(900, 7, after=15 * SECOND).desired == 11

    def test_a_change_that_was_begun_counts_from_its_decision(self) -> None:
        watch = Watch(3, scale_out_limit=limits("4/15s"), max=1000)
        assert watch.look(900, 3, begins=True).desired == 7
        assert watch.look(900, 7, after=15 * SECOND - INSTANT).desired == 7
        assert watch.look(900, 7, after=INSTANT).desired == 11

    def test_a_change_that_failed_does_not_count(self) -> None:
        watch = Watch(3, scale_out_limit=limits("4/15s"), max=1000)
        assert watch.look(900, 3, begins=True).desired == 7
        assert watch.look(900, 3).desired == 7

    def test_it_does_not_limit_a_scale_in(self) -> None:
        decision = decide(situation(waiting=0, replicas=9, scale_out_limit=limits("4/15s")))
        assert decision.desired == 1
        assert ReasonCode.SCALE_OUT_LIMIT not in codes(decision)


class TestScaleInLimit:
    @pytest.mark.parametrize(
        ("limit", "replicas", "desired"),
        [
            pytest.param("4/15s", 9, 5, id="a-count"),
            pytest.param("50%/15s", 8, 4, id="a-share"),
            pytest.param("10%/15s", 11, 9, id="what-a-share-leaves-is-rounded-down"),
            pytest.param("1%/15s", 3, 2, id="the-smallest-share-is-one"),
            pytest.param("4/15s,50%/15s", 6, 2, id="of-two-the-count-is-larger"),
            pytest.param("4/15s,50%/15s", 20, 10, id="of-two-the-share-is-larger"),
        ],
    )
    def test_a_scale_in_stops_at_the_limit(self, limit: str, replicas: int, desired: int) -> None:
        decision = decide(
            situation(replicas=replicas, scale_in_limit=limits(limit), **NEVER_STABILISED)
        )
        assert decision.desired == desired
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_LIMIT]
        assert str(decision.reasons[-1]) == f"scale-in limit {limit} → {desired}"

    @pytest.mark.parametrize(
        ("waiting", "moved_by"),
        [
            pytest.param(50, [ReasonCode.BACKLOG], id="exactly-the-limit"),
            pytest.param(40, [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_LIMIT], id="one-beyond"),
        ],
    )
    def test_a_scale_in_down_to_the_limit_is_free(
        self, waiting: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(situation(waiting=waiting, replicas=9, scale_in_limit=limits("4/15s")))
        assert decision.desired == 5
        assert codes(decision) == moved_by

    @pytest.mark.parametrize(
        ("limit", "desired"),
        [
            pytest.param("100%/15s", 0, id="all-of-them"),
            pytest.param("500%/15s", 0, id="more-than-all-of-them"),
            pytest.param("99/15s", 0, id="more-than-there-are"),
            pytest.param("50%/15s", 5, id="half"),
        ],
    )
    def test_a_generous_limit_lets_all_replicas_go(self, limit: str, desired: int) -> None:
        decision = decide(
            situation(replicas=10, min=0, scale_in_limit=limits(limit), **NEVER_STABILISED)
        )
        assert decision.desired == desired

    def test_the_last_replica_goes_whatever_the_share(self) -> None:
        assert decide(situation(min=0, scale_in_limit=limits("1%/15s"))).desired == 0

    @pytest.mark.parametrize(
        ("changes", "limit", "desired"),
        [
            pytest.param([(10 * SECOND, -4)], "4/15s", 10, id="the-limit-is-used-up"),
            pytest.param([(10 * SECOND, -3)], "4/15s", 9, id="a-part-of-the-limit-is-used"),
            pytest.param([(10 * SECOND, -9)], "4/15s", 10, id="more-than-the-limit-by-hand"),
            pytest.param([(10 * SECOND, 2)], "4/15s", 4, id="what-was-added-may-go-again"),
            pytest.param([(15 * SECOND, -4)], "4/15s", 6, id="exactly-a-period-ago-is-over"),
            pytest.param([(15 * SECOND - INSTANT, -4)], "4/15s", 10, id="just-inside-the-period"),
            pytest.param([(10 * SECOND, -10)], "50%/15s", 10, id="a-share-of-what-there-was"),
            pytest.param([(10 * SECOND, -6)], "50%/15s", 8, id="the-rest-of-a-share"),
            pytest.param([(20 * SECOND, -4)], "4/15s,6/30s", 6, id="each-has-its-own-period"),
        ],
    )
    def test_all_changes_within_the_period_count_whoever_made_them(
        self, changes: Past, limit: str, desired: int
    ) -> None:
        decision = decide(
            situation(
                replicas=10,
                past=remembered(changes=changes),
                scale_in_limit=limits(limit),
                **NEVER_STABILISED,
            )
        )
        assert decision.desired == desired

    def test_a_change_that_this_look_has_found_counts(self) -> None:
        watch = Watch(9, scale_in_limit=limits("4/15s"), **NEVER_STABILISED)
        assert watch.look(0, 9).desired == 5
        assert watch.look(0, 5).desired == 5
        assert watch.look(0, 5, after=15 * SECOND).desired == 1

    def test_a_change_that_was_begun_counts_from_its_decision(self) -> None:
        watch = Watch(9, scale_in_limit=limits("4/15s"), **NEVER_STABILISED)
        assert watch.look(0, 9, begins=True).desired == 5
        assert watch.look(0, 5, after=15 * SECOND - INSTANT).desired == 5
        assert watch.look(0, 5, after=INSTANT).desired == 1

    def test_it_does_not_limit_growth(self) -> None:
        decision = decide(situation(waiting=90, replicas=2, scale_in_limit=limits("1/15s")))
        assert decision.desired == 9
        assert codes(decision) == [ReasonCode.BACKLOG]
