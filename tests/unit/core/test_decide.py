"""The decision: every step in its order, and all services each for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from autoscaler.core.backlog import BuildStatus
from autoscaler.core.decide import decide, decide_all, wants_in_flight
from autoscaler.core.history import History
from autoscaler.core.label_values import Fallback
from autoscaler.core.model import Ceiling, EndedBy, Ending, ServiceId
from autoscaler.core.reason import ReasonCode
from autoscaler.core.situation import Situation
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    MINUTE,
    ONE_BUILD,
    SECOND,
    Watch,
    backlog,
    codes,
    fleet,
    limits,
    of_build,
    remembered,
    shrinking,
    situation,
)

FIXED_NAME = Ceiling(1, "container_name is set")
BY_HAND = Ending(EndedBy.HAND, seen=True)


NEVER_STABILISED: Mapping[str, Any] = {"scale_in_window": timedelta(), "max": 1000}


class TestLeftAlone:
    @pytest.mark.parametrize("replicas", [0, 3, 50])
    def test_mode_off_leaves_the_replicas_even_outside_the_bounds(self, replicas: int) -> None:
        decision = decide(situation(waiting=100, replicas=replicas, mode="off"))
        assert decision.desired == replicas
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.OFF]

    def test_mode_off_is_a_reason_although_the_backlog_is_not_read(self) -> None:
        decision = decide(situation(waiting=None, replicas=3, mode="off"))
        assert ReasonCode.OFF in codes(decision)

    def test_a_refusal_leaves_the_replicas_and_says_why(self) -> None:
        decision = decide(situation(waiting=0, replicas=30, refusal="a rollout is under way"))
        assert decision.desired == 30
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.REFUSED]
        assert str(decision.reasons[-1]) == "keeps 30: a rollout is under way"

    @pytest.mark.parametrize(
        "given",
        [
            pytest.param(situation(waiting=0, replicas=0, min=2, ending=BY_HAND), id="below-min"),
            pytest.param(situation(waiting=120, replicas=12, refusal="no"), id="above-max"),
            pytest.param(situation(waiting=120, replicas=12, mode="off"), id="off-above-max"),
            pytest.param(situation(waiting=20, replicas=2, min=3, refusal="no"), id="refused"),
            pytest.param(
                situation(waiting=20, replicas=2, ceiling=FIXED_NAME, refusal="no"),
                id="above-the-ceiling",
            ),
        ],
    )
    def test_outside_the_bounds_it_says_why_also_where_the_backlog_asks_for_the_number(
        self, given: Situation
    ) -> None:
        decision = decide(given)
        assert decision.desired == given.replicas
        assert len(decision.limits) == 1

    def test_within_the_bounds_the_backlog_explains_the_number_that_it_asks_for(self) -> None:
        decision = decide(situation(waiting=30, replicas=3, refusal="no"))
        assert codes(decision) == [ReasonCode.BACKLOG]

    @pytest.mark.parametrize(
        "waiting", [pytest.param(100, id="with-work"), pytest.param(None, id="unknown")]
    )
    def test_a_service_stopped_by_hand_is_left_at_zero(self, waiting: int | None) -> None:
        assert decide(situation(waiting=waiting, replicas=0, ending=BY_HAND)).desired == 0
        assert decide(situation(waiting=waiting, replicas=0, min=0, ending=BY_HAND)).desired == 0

    def test_the_reason_says_how_to_let_a_stopped_service_scale_again(self) -> None:
        decision = decide(situation(waiting=100, replicas=0, ending=BY_HAND))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.STOPPED_BY_HAND]
        assert "start one to let it scale again" in str(decision.reasons[-1])

    def test_a_stopped_service_scales_again_once_a_replica_runs(self) -> None:
        stopped = decide(situation(waiting=100, replicas=0, ending=BY_HAND))
        started = replace(situation(waiting=100, replicas=1), history=stopped.history)
        assert decide(started).desired == 10

    def test_a_service_at_zero_that_nobody_has_stopped_follows_its_labels(self) -> None:
        """It was never started, or the daemon itself brought it there and min was raised since."""
        assert decide(situation(waiting=0, replicas=0, min=2)).desired == 2
        assert decide(situation(waiting=500, replicas=0, min=2, max=40)).desired == 40

    def test_exit_codes_alone_stop_no_service_that_may_go_to_zero(self) -> None:
        """The daemon may have brought it to zero itself, before it was started again."""
        ending = Ending(EndedBy.HAND, seen=False)
        assert decide(situation(waiting=100, replicas=0, min=0, ending=ending)).desired == 10
        assert decide(situation(waiting=100, replicas=0, min=1, ending=ending)).desired == 0

    def test_the_history_goes_on_while_the_service_is_left_alone(self) -> None:
        off = decide(situation(waiting=80, replicas=8, mode="off"))
        on = replace(situation(waiting=0, replicas=8), history=off.history)
        assert decide(on).desired == 8


class TestWantsInFlight:
    """Reading what is in flight costs calls, so it is read only where the decision needs it."""

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            pytest.param(situation(waiting=10, replicas=3), True, id="a-scale-in"),
            pytest.param(situation(waiting=30, replicas=3), False, id="at-rest"),
            pytest.param(situation(waiting=90, replicas=3), False, id="growth"),
            pytest.param(
                situation(waiting=10, replicas=3, past=[(SECOND, 3)]),
                False,
                id="a-scale-in-that-the-window-holds",
            ),
            pytest.param(situation(waiting=10, replicas=3, busy="strict"), True, id="strict"),
            pytest.param(situation(waiting=10, replicas=3, busy="ignore"), False, id="ignore"),
            pytest.param(situation(waiting=30, replicas=3, max=2), True, id="more-than-max"),
            pytest.param(
                situation(waiting=30, replicas=3, slots_target=0.8), True, id="slots-target"
            ),
            pytest.param(
                situation(waiting=30, replicas=3, slots_target=0.8, busy="ignore"),
                True,
                id="slots-target-counts-whatever-is-stopped",
            ),
            pytest.param(situation(replicas=0, min=0, slots_target=0.8), False, id="nothing-runs"),
            pytest.param(situation(replicas=3, mode="off"), False, id="mode-off"),
            pytest.param(
                situation(replicas=3, mode="off", slots_target=0.8),
                False,
                id="mode-off-with-slots-target",
            ),
            pytest.param(situation(replicas=3, refusal="no"), False, id="a-refusal"),
            pytest.param(situation(waiting=None, replicas=3), False, id="backlog-unknown"),
        ],
    )
    def test_it_is_wanted_only_where_the_decision_depends_on_it(
        self, given: Situation, *, wanted: bool
    ) -> None:
        assert wants_in_flight(given) is wanted

    def test_for_the_last_replica_it_is_wanted_once_the_cooldown_is_over(self) -> None:
        quiet = remembered(active_at=NOW - 5 * MINUTE)
        given = situation(replicas=1, min=0, past=quiet)
        assert wants_in_flight(given)
        quieting = remembered(active_at=NOW - 4 * MINUTE)
        given = situation(replicas=1, min=0, past=quieting)
        assert not wants_in_flight(given)


class TestChangedLabels:
    """A changed label takes effect at once, and the history that still applies is kept."""

    def test_a_longer_scale_in_window_counts_recommendations_from_before_the_change(self) -> None:
        watch = Watch(8, scale_in_window=SECOND)
        watch.look(80, 8)
        assert watch.look(0, 8, after=10 * MINUTE).desired == 1
        watch.spec = {"scale_in_window": HOUR}
        assert watch.look(0, 8).desired == 8

    def test_a_shorter_scale_in_window_counts_at_once(self) -> None:
        watch = Watch(8, scale_in_window=HOUR)
        assert watch.look(0, 8, after=MINUTE).desired == 8
        watch.spec = {"scale_in_window": SECOND}
        assert watch.look(0, 8).desired == 1

    def test_a_longer_scale_out_window_counts_recommendations_from_before_the_change(self) -> None:
        watch = Watch(2)
        watch.look(40, 2, after=10 * MINUTE)
        watch.spec = {"scale_out_window": 5 * MINUTE}
        assert watch.look(90, 2, after=MINUTE).desired == 4

    def test_a_new_step_limit_counts_earlier_changes_of_replicas(self) -> None:
        watch = Watch(2)
        watch.look(90, 2)
        watch.look(90, 9)
        watch.spec = {"scale_out_limit": limits("8/10m"), "max": 100}
        assert watch.look(900, 9, after=MINUTE).desired == 10

    def test_a_longer_period_counts_changes_older_than_the_shorter_one(self) -> None:
        watch = Watch(9, scale_in_limit=limits("4/15s"), **NEVER_STABILISED)
        watch.look(0, 9)
        watch.look(0, 5, after=MINUTE)
        watch.spec = {"scale_in_limit": limits("5/10m")} | dict(NEVER_STABILISED)
        assert watch.look(0, 5, after=MINUTE).desired == 4

    def test_a_new_cooldown_counts_the_quiet_time_before_the_change(self) -> None:
        watch = Watch(1, min=1)
        watch.look(0, 1, after=10 * MINUTE)
        watch.spec = {"min": 0, "cooldown": 10 * MINUTE}
        assert watch.look(0, 1).desired == 0

    def test_a_new_fallback_counts_the_time_before_the_change(self) -> None:
        watch = Watch(5)
        watch.look(None, 5, after=3 * MINUTE)
        watch.spec = {"fallback": Fallback(8)}
        assert watch.look(None, 5).desired == 8

    def test_bounds_count_at_once(self) -> None:
        watch = Watch(8)
        watch.look(80, 8)
        watch.spec = {"max": 4}
        assert watch.look(80, 8).desired == 4

    def test_the_history_does_not_depend_on_the_labels(self) -> None:
        plain, special = Watch(8), Watch(8, scale_in_window=SECOND, scale_out_limit=limits("1/1s"))
        for watch in (plain, special):
            watch.look(80, 8)
            watch.look(None, 7, after=30 * MINUTE)
            watch.look(backlog(5, rate_limited=True), 9)
        assert plain.history == special.history


GROWTH_HELD = backlog(900, rate_limited=True)


STALLED_AND_GROWN = (
    History.seed(1, NOW - HOUR)
    .observe(1, GROWTH_HELD, 1, NOW - 6 * MINUTE, keep=HOUR)
    .observe(2, GROWTH_HELD, 2, NOW - 5 * MINUTE, keep=HOUR)
)
"""A service whose second replica was added in vain, and whose queue is rate limited."""


class TestOrder:
    """Each id names two limits whose order shows in the result, the earlier one first."""

    @pytest.mark.parametrize(
        ("given", "desired", "moved_by"),
        [
            pytest.param(
                situation(min=0, replicas=5, past=remembered([(SECOND, 3)], active_at=NOW)),
                3,
                [ReasonCode.BACKLOG, ReasonCode.COOLDOWN, ReasonCode.SCALE_IN_WINDOW],
                id="cooldown-then-scale-in-window",
            ),
            pytest.param(
                situation(replicas=5, min=0, past=remembered(active_at=NOW), mode="pause-in"),
                5,
                [ReasonCode.BACKLOG, ReasonCode.COOLDOWN, ReasonCode.PAUSED],
                id="cooldown-then-pause",
            ),
            pytest.param(
                situation(
                    waiting=900,
                    max=100,
                    past=[(SECOND, 30)],
                    scale_out_window=MINUTE,
                    scale_out_limit=limits("4/15s"),
                ),
                5,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_WINDOW, ReasonCode.SCALE_OUT_LIMIT],
                id="scale-out-window-then-scale-out-limit",
            ),
            pytest.param(
                situation(replicas=10, past=[(SECOND, 4)], scale_in_limit=limits("1/15s")),
                9,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_WINDOW, ReasonCode.SCALE_IN_LIMIT],
                id="scale-in-window-then-scale-in-limit",
            ),
            pytest.param(
                situation(waiting=900, past=[(SECOND, 1)], scale_out_window=MINUTE, min=3),
                3,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_WINDOW, ReasonCode.MIN],
                id="scale-out-window-then-min",
            ),
            pytest.param(
                situation(replicas=20, past=[(SECOND, 15)], max=5),
                5,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_WINDOW, ReasonCode.MAX],
                id="scale-in-window-then-max",
            ),
            pytest.param(
                situation(
                    waiting=GROWTH_HELD,
                    replicas=2,
                    past=STALLED_AND_GROWN,
                    scale_out_limit=limits("1/15s"),
                ),
                2,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_LIMIT, ReasonCode.RATE_LIMITED],
                id="scale-out-limit-then-rate-limited-then-phantom",
            ),
            pytest.param(
                situation(
                    waiting=900,
                    replicas=2,
                    past=STALLED_AND_GROWN,
                    scale_out_limit=limits("1/15s"),
                    mode="pause-out",
                ),
                2,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_LIMIT, ReasonCode.PHANTOM],
                id="scale-out-limit-then-phantom-then-pause",
            ),
            pytest.param(
                situation(waiting=900, replicas=2, scale_out_limit=limits("1/15s"), min=6),
                6,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_LIMIT, ReasonCode.MIN],
                id="scale-out-limit-then-min",
            ),
            pytest.param(
                situation(replicas=20, scale_in_limit=limits("1/15s"), max=5),
                5,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_LIMIT, ReasonCode.MAX],
                id="scale-in-limit-then-max",
            ),
            pytest.param(
                situation(replicas=9, scale_in_limit=limits("1/15s"), mode="pause-in"),
                9,
                [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_LIMIT, ReasonCode.PAUSED],
                id="scale-in-limit-then-pause",
            ),
            pytest.param(
                situation(waiting=GROWTH_HELD, replicas=2, past=STALLED_AND_GROWN, min=3),
                3,
                [ReasonCode.BACKLOG, ReasonCode.RATE_LIMITED, ReasonCode.MIN],
                id="rate-limited-then-min",
            ),
            pytest.param(
                situation(waiting=900, replicas=2, past=STALLED_AND_GROWN, min=3),
                3,
                [ReasonCode.BACKLOG, ReasonCode.PHANTOM, ReasonCode.MIN],
                id="phantom-then-min",
            ),
            pytest.param(
                situation(replicas=20, max=5, mode="pause-in"),
                5,
                [ReasonCode.BACKLOG, ReasonCode.PAUSED, ReasonCode.MAX],
                id="pause-in-then-max",
            ),
            pytest.param(
                situation(waiting=900, replicas=2, min=5, mode="pause-out"),
                5,
                [ReasonCode.BACKLOG, ReasonCode.PAUSED, ReasonCode.MIN],
                id="pause-out-then-min",
            ),
            pytest.param(
                situation(waiting=900, replicas=2, ceiling=FIXED_NAME),
                1,
                [ReasonCode.BACKLOG, ReasonCode.MAX, ReasonCode.CEILING],
                id="max-then-ceiling",
            ),
            pytest.param(
                situation(replicas=1, min=3, ceiling=FIXED_NAME),
                1,
                [ReasonCode.BACKLOG, ReasonCode.MIN, ReasonCode.CEILING],
                id="min-then-ceiling",
            ),
            pytest.param(
                shrinking(fleet("iibb"), 1, min=3),
                3,
                [ReasonCode.BACKLOG, ReasonCode.MIN],
                id="min-leaves-nothing-to-protect",
            ),
            pytest.param(
                shrinking(fleet("bbbb"), 1, min=2),
                4,
                [ReasonCode.BACKLOG, ReasonCode.MIN, ReasonCode.BUSY],
                id="min-then-busy",
            ),
            pytest.param(
                situation(
                    waiting=of_build(BuildStatus.DRAINING),
                    replicas=0,
                    mode="pause-out",
                    **ONE_BUILD,
                ),
                0,
                [ReasonCode.BACKLOG, ReasonCode.BUILD, ReasonCode.PAUSED],
                id="build-then-pause",
            ),
            pytest.param(
                situation(waiting=900, replicas=30, refusal="no", past=[(SECOND, 50)], max=5),
                30,
                [ReasonCode.BACKLOG, ReasonCode.REFUSED],
                id="a-refusal-before-everything",
            ),
            pytest.param(
                situation(waiting=900, replicas=0, mode="off", refusal="no"),
                0,
                [ReasonCode.BACKLOG, ReasonCode.OFF],
                id="off-before-a-refusal",
            ),
            pytest.param(
                situation(waiting=900, replicas=0, refusal="no"),
                0,
                [ReasonCode.BACKLOG, ReasonCode.REFUSED],
                id="a-refusal-before-stopped-by-hand",
            ),
        ],
    )
    def test_the_limits_apply_in_their_order(
        self, given: Situation, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(given)
        assert decision.desired == desired
        assert codes(decision) == moved_by


class TestDecideAll:
    """Each service is decided for itself."""

    A, B, C = (ServiceId("compose", name) for name in "abc")

    def test_every_service_gets_its_own_decision(self) -> None:
        given = {self.A: situation(waiting=90), self.B: situation(waiting=20)}
        failures: dict[ServiceId, str] = {}
        decisions = decide_all(given, failures)
        assert decisions == {id_: decide(each) for id_, each in given.items()}
        assert failures == {}

    def test_a_service_whose_decision_fails_is_left_out_and_named(self) -> None:
        broken = replace(situation(waiting=20), history=cast("History", None))
        given = {self.A: situation(waiting=90), self.B: broken, self.C: situation(waiting=30)}
        failures: dict[ServiceId, str] = {}
        decisions = decide_all(given, failures)
        assert {id_: each.desired for id_, each in decisions.items()} == {self.A: 9, self.C: 3}
        assert list(failures) == [self.B]
        assert failures[self.B].startswith("unexpected AttributeError")

    def test_earlier_failures_are_kept(self) -> None:
        failures = {self.B: "no engine"}
        decide_all({self.A: situation()}, failures)
        assert failures == {self.B: "no engine"}
