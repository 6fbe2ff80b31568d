"""The decision: recommend, wake or sleep, stabilise, limit, hold, bound, protect; with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from autoscaler.core.decide import decide, wants_in_flight
from autoscaler.core.history import History
from autoscaler.core.in_flight import InFlight, SlotKind, Slots, UnknownInFlight, Worker
from autoscaler.core.label_values import Fallback, QueueType, StepLimit
from autoscaler.core.model import Backlog, BuildStatus, Ceiling, QueueStats, Replica, UnknownBacklog
from autoscaler.core.protect import REPORT_WITHIN
from autoscaler.core.reason import ReasonCode
from autoscaler.core.recommend import recommend
from autoscaler.core.situation import Decision, Situation
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    OUTDATED,
    SECOND,
    Past,
    backlog,
    codes,
    fleet,
    remembered,
    situation,
    stats,
    task_queue,
    worker,
)

FIXED_NAME = Ceiling(1, "container_name is set")
NOT_ASKED = UnknownBacklog(())
NEVER_STABILISED: Mapping[str, Any] = {"scale_in_window": timedelta(), "max": 1000}


def limits(text: str) -> tuple[StepLimit, ...]:
    """Read step limits the way a label has them."""
    return tuple(map(StepLimit.parse, text.split(",")))


class Watch:
    """One service, looked at again and again."""

    def __init__(self, replicas: int, **spec: Any) -> None:
        self.history = History.seed(replicas, NOW)
        self.now: datetime = NOW
        self.spec = spec

    def look(
        self, waiting: int | Backlog | None, replicas: int, after: timedelta = 5 * SECOND
    ) -> Decision:
        """Let time pass and decide."""
        self.now += after
        seen = replace(
            situation(waiting=waiting, replicas=replicas, **self.spec),
            history=self.history,
            now=self.now,
        )
        decision = decide(seen)
        self.history = decision.history
        return decision


class TestRecommendation:
    @pytest.mark.parametrize(
        ("waiting", "target", "recommended"),
        [
            pytest.param(100, 10, 10, id="100-waiting-at-target-10-are-10"),
            pytest.param(5, 10, 1, id="5-waiting-at-target-10-are-1"),
            pytest.param(0, 10, 0, id="nothing-waiting-is-nothing"),
            pytest.param(1, 10, 1, id="a-single-task-needs-a-replica"),
            pytest.param(10, 10, 1, id="exactly-the-target"),
            pytest.param(11, 10, 2, id="one-more-than-the-target"),
            pytest.param(7, 1, 7, id="a-replica-for-each-task"),
            pytest.param(10**15 + 1, 10, 10**14 + 1, id="no-rounding-of-large-numbers"),
        ],
    )
    def test_it_is_the_backlog_over_the_target_rounded_up(
        self, waiting: int, target: int, recommended: int
    ) -> None:
        assert recommend(situation(waiting=waiting, target=target))[0] == recommended

    def test_its_reason_says_the_sum_in_words(self) -> None:
        _, reason = recommend(situation(waiting=1234, target=100))
        assert str(reason) == "1,234 waiting tasks at target 100: 13"
        assert reason.code is ReasonCode.BACKLOG

    def test_one_task_is_not_called_tasks(self) -> None:
        assert str(recommend(situation(waiting=1))[1]) == "1 waiting task at target 10: 1"

    def test_an_unknown_backlog_recommends_what_there_is(self) -> None:
        recommended, reason = recommend(situation(waiting=None, replicas=7))
        assert recommended == 7
        assert str(reason) == "backlog unknown: held at 7"

    def test_it_does_not_know_of_any_bound(self) -> None:
        assert recommend(situation(waiting=100, target=1, max=5))[0] == 100


class TestBounds:
    @pytest.mark.parametrize(
        ("waiting", "desired", "moved_by"),
        [
            pytest.param(0, 2, [ReasonCode.BACKLOG, ReasonCode.MIN], id="empty-is-min"),
            pytest.param(19, 2, [ReasonCode.BACKLOG], id="just-min"),
            pytest.param(200, 20, [ReasonCode.BACKLOG], id="exactly-max-times-target"),
            pytest.param(201, 20, [ReasonCode.BACKLOG, ReasonCode.MAX], id="one-task-beyond"),
        ],
    )
    def test_the_replicas_stay_between_min_and_max(
        self, waiting: int, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(situation(waiting=waiting, replicas=2, min=2, max=20))
        assert decision.desired == desired
        assert codes(decision) == moved_by

    def test_min_and_max_say_their_number(self) -> None:
        assert str(decide(situation(waiting=999)).reasons[-1]) == "max: 10"
        assert str(decide(situation(waiting=0)).reasons[-1]) == "min: 1"

    @pytest.mark.parametrize(
        ("waiting", "desired"),
        [pytest.param(0, 0, id="stays-at-zero"), pytest.param(1, 1, id="wakes-for-one-task")],
    )
    def test_with_min_0_a_service_at_zero_waits_for_work(self, waiting: int, desired: int) -> None:
        assert decide(situation(waiting=waiting, replicas=0, min=0)).desired == desired

    def test_with_min_0_the_last_replica_goes_when_there_is_no_work(self) -> None:
        assert decide(situation(waiting=0, replicas=1, min=0)).desired == 0

    def test_a_ceiling_of_docker_comes_after_every_wish(self) -> None:
        decision = decide(situation(waiting=100, min=2, ceiling=FIXED_NAME))
        assert decision.desired == 1
        assert codes(decision)[-1] is ReasonCode.CEILING
        assert str(decision.reasons[-1]) == "at most 1: container_name is set"

    def test_a_ceiling_that_is_not_reached_is_not_mentioned(self) -> None:
        decision = decide(situation(waiting=5, ceiling=FIXED_NAME))
        assert codes(decision) == [ReasonCode.BACKLOG]


class TestScaleInWindow:
    def test_the_largest_recommendation_in_it_counts(self) -> None:
        past = [(timedelta(seconds=50), 6), (timedelta(seconds=30), 8), (timedelta(seconds=5), 2)]
        decision = decide(situation(waiting=0, replicas=10, past=past))
        assert decision.desired == 8
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_WINDOW]
        assert str(decision.reasons[-1]) == (
            "largest recommendation in the scale-in window of 1m is 8: 8"
        )

    def test_a_recommendation_exactly_as_old_as_the_window_still_counts(self) -> None:
        assert decide(situation(waiting=0, replicas=9, past=[(MINUTE, 9)])).desired == 9

    def test_a_recommendation_older_than_the_window_does_not(self) -> None:
        assert decide(situation(waiting=0, replicas=9, past=[(MINUTE + INSTANT, 9)])).desired == 1

    def test_it_never_turns_a_scale_in_into_growth(self) -> None:
        decision = decide(situation(waiting=10, replicas=3, past=[(timedelta(seconds=5), 9)]))
        assert decision.desired == 3

    def test_it_does_not_hold_growth(self) -> None:
        decision = decide(situation(waiting=80, replicas=3, past=[(timedelta(seconds=5), 9)]))
        assert decision.desired == 8
        assert codes(decision) == [ReasonCode.BACKLOG]

    def test_without_a_window_replicas_go_at_once(self) -> None:
        past = [(INSTANT, 9)]
        decision = decide(situation(waiting=0, replicas=9, past=past, scale_in_window=timedelta()))
        assert decision.desired == 1


class TestScaleOutWindow:
    SPEC: ClassVar[dict[str, Any]] = {"scale_out_window": MINUTE, "max": 50}

    def test_the_smallest_recommendation_in_it_counts(self) -> None:
        past = [(timedelta(seconds=50), 6), (timedelta(seconds=30), 4), (timedelta(seconds=5), 9)]
        decision = decide(situation(waiting=100, replicas=2, past=past, **self.SPEC))
        assert decision.desired == 4
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_WINDOW]
        assert str(decision.reasons[-1]) == (
            "smallest recommendation in the scale-out window of 1m: 4"
        )

    def test_a_recommendation_exactly_as_old_as_the_window_still_counts(self) -> None:
        decision = decide(situation(waiting=100, past=[(MINUTE, 1)], **self.SPEC))
        assert decision.desired == 1

    def test_a_recommendation_older_than_the_window_does_not(self) -> None:
        decision = decide(situation(waiting=100, past=[(MINUTE + INSTANT, 1)], **self.SPEC))
        assert decision.desired == 10

    def test_it_never_turns_growth_into_a_scale_in(self) -> None:
        past = [(timedelta(seconds=5), 1)]
        decision = decide(situation(waiting=100, replicas=5, past=past, **self.SPEC))
        assert decision.desired == 5
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_WINDOW]
        assert "not every recommendation" in str(decision.reasons[-1])

    def test_by_default_there_is_none_and_growth_is_immediate(self) -> None:
        assert decide(situation(waiting=100, past=[(INSTANT, 1)])).desired == 10

    def test_min_is_reached_at_once_whatever_the_window_says(self) -> None:
        past = [(timedelta(seconds=5), 1)]
        decision = decide(situation(waiting=100, past=past, min=3, **self.SPEC))
        assert decision.desired == 3


class TestRestart:
    def test_a_restart_never_scales_in_inside_the_window(self) -> None:
        history = History.seed(20, NOW)
        desired = []
        for second in (0, 5, 59.999, 60, 60.001):
            now = NOW + timedelta(seconds=second)
            decision = decide(
                replace(situation(waiting=0, replicas=20, max=20), history=history, now=now)
            )
            history = decision.history
            desired.append(decision.desired)
        assert desired == [20, 20, 20, 20, 1]

    def test_a_restart_scales_out_at_once_where_the_backlog_asks_for_it(self) -> None:
        decision = decide(situation(waiting=90, replicas=2, past=[(INSTANT, 2)]))
        assert decision.desired == 9

    def test_a_decision_in_the_instant_of_the_start_is_not_held_by_it(self) -> None:
        seeded = replace(situation(waiting=90, replicas=2), history=History.seed(2, NOW))
        assert decide(seeded).desired == 9

    def test_the_history_outlives_a_change_of_the_window(self) -> None:
        past = [(timedelta(minutes=59), 8)]
        first = decide(situation(waiting=10, replicas=8, past=past))
        later = situation(waiting=10, replicas=8, scale_in_window=timedelta(hours=1))
        assert decide(replace(later, history=first.history)).desired == 8

    def test_what_is_recorded_is_the_recommendation_before_any_limit(self) -> None:
        decision = decide(situation(waiting=300, max=5))
        assert decision.history.since(NOW) == (30,)


class TestUnknownBacklog:
    def test_it_holds_the_replicas(self) -> None:
        decision = decide(situation(waiting=None, replicas=7))
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

    def test_it_does_not_give_a_recommendation_of_the_past_another_chance(self) -> None:
        past = [(timedelta(seconds=5), 1), (timedelta(seconds=1), 9)]
        decision = decide(situation(waiting=None, replicas=5, past=past, scale_out_window=MINUTE))
        assert decision.desired == 5

    def test_the_time_it_lasted_counts_as_a_time_when_the_replicas_were_needed(self) -> None:
        unknown = decide(situation(waiting=None, replicas=7))
        empty = situation(waiting=0, replicas=7)
        soon = replace(empty, history=unknown.history, now=NOW + MINUTE)
        late = replace(empty, history=unknown.history, now=NOW + MINUTE + INSTANT)
        assert decide(soon).desired == 7
        assert decide(late).desired == 1


class TestLeftAlone:
    @pytest.mark.parametrize("replicas", [0, 3, 50])
    def test_mode_off_leaves_the_replicas_bounds_or_not(self, replicas: int) -> None:
        decision = decide(situation(waiting=100, replicas=replicas, mode="off"))
        assert decision.desired == replicas
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.OFF]

    def test_mode_off_is_the_reason_also_while_the_backlog_is_not_read(self) -> None:
        decision = decide(situation(waiting=None, replicas=3, mode="off"))
        assert ReasonCode.OFF in codes(decision)

    def test_a_refusal_leaves_the_replicas_and_says_why(self) -> None:
        decision = decide(situation(waiting=0, replicas=30, refusal="a rollout is under way"))
        assert decision.desired == 30
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.REFUSED]
        assert str(decision.reasons[-1]) == "left at 30: a rollout is under way"

    @pytest.mark.parametrize(
        "waiting", [pytest.param(100, id="with-work"), pytest.param(None, id="unknown")]
    )
    def test_a_service_stopped_by_hand_is_left_at_zero(self, waiting: int | None) -> None:
        assert decide(situation(waiting=waiting, replicas=0, min=1)).desired == 0

    def test_a_service_stopped_by_hand_says_how_to_let_it_scale_again(self) -> None:
        decision = decide(situation(waiting=100, replicas=0, min=1))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.STOPPED_BY_HAND]
        assert "start one to let it scale again" in str(decision.reasons[-1])

    def test_once_one_replica_runs_again_it_scales_again(self) -> None:
        stopped = decide(situation(waiting=100, replicas=0, min=1))
        started = replace(situation(waiting=100, replicas=1), history=stopped.history)
        assert decide(started).desired == 10

    def test_the_history_goes_on_meanwhile(self) -> None:
        off = decide(situation(waiting=80, replicas=8, mode="off"))
        on = replace(situation(waiting=0, replicas=8), history=off.history)
        assert decide(on).desired == 8


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "waiting", "desired"),
        [
            pytest.param("pause-in", 0, 5, id="pause-in-holds-a-scale-in"),
            pytest.param("pause-in", 90, 9, id="pause-in-lets-it-grow"),
            pytest.param("pause-out", 90, 5, id="pause-out-holds-growth"),
            pytest.param("pause-out", 0, 1, id="pause-out-lets-it-shrink"),
            pytest.param("dry-run", 90, 9, id="dry-run-decides-as-on-does"),
        ],
    )
    def test_a_mode_holds_its_direction_only(self, mode: str, waiting: int, desired: int) -> None:
        assert decide(situation(waiting=waiting, replicas=5, mode=mode)).desired == desired

    @pytest.mark.parametrize(("mode", "waiting"), [("pause-in", 0), ("pause-out", 90)])
    def test_a_held_direction_is_a_reason(self, mode: str, waiting: int) -> None:
        decision = decide(situation(waiting=waiting, replicas=5, mode=mode))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.PAUSED]
        assert str(decision.reasons[-1]) == f"mode is {mode}: 5"


class TestActivation:
    @pytest.mark.parametrize(
        ("waiting", "desired", "moved_by"),
        [
            pytest.param(
                20, 0, [ReasonCode.BACKLOG, ReasonCode.ACTIVATION], id="exactly-the-activation"
            ),
            pytest.param(21, 3, [ReasonCode.BACKLOG], id="one-task-above"),
            pytest.param(1, 0, [ReasonCode.BACKLOG, ReasonCode.ACTIVATION], id="far-below"),
            pytest.param(0, 0, [ReasonCode.BACKLOG], id="nothing-needs-no-reason"),
        ],
    )
    def test_only_more_than_that_wakes_a_service_at_zero(
        self, waiting: int, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(situation(waiting=waiting, replicas=0, min=0, activation=20))
        assert decision.desired == desired
        assert codes(decision) == moved_by

    def test_it_says_its_number(self) -> None:
        decision = decide(situation(waiting=1, replicas=0, min=0, activation=2))
        assert str(decision.reasons[-1]) == "1 waiting task not above the activation of 2: 0"

    def test_it_holds_at_zero_only(self) -> None:
        decision = decide(situation(waiting=20, replicas=1, min=0, activation=20))
        assert decision.desired == 2
        assert codes(decision) == [ReasonCode.BACKLOG]

    def test_it_does_not_hold_a_fallback(self) -> None:
        unknown = remembered(known_at=NOW - HOUR)
        decision = decide(
            situation(
                waiting=None, replicas=0, min=0, past=unknown, activation=20, fallback=Fallback(3)
            )
        )
        assert decision.desired == 3


class TestCooldown:
    SPEC: ClassVar[dict[str, Any]] = {"min": 0, "cooldown": 5 * MINUTE}

    @pytest.mark.parametrize(
        ("quiet", "desired", "moved_by"),
        [
            pytest.param(5 * MINUTE, 0, [ReasonCode.BACKLOG], id="exactly-the-cooldown"),
            pytest.param(
                5 * MINUTE - INSTANT,
                1,
                [ReasonCode.BACKLOG, ReasonCode.COOLDOWN],
                id="just-before",
            ),
            pytest.param(timedelta(), 1, [ReasonCode.BACKLOG, ReasonCode.COOLDOWN], id="just-now"),
        ],
    )
    def test_the_last_replica_goes_only_after_it(
        self, quiet: timedelta, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        past = remembered(active_at=NOW - quiet)
        decision = decide(situation(waiting=0, past=past, **self.SPEC))
        assert decision.desired == desired
        assert codes(decision) == moved_by

    def test_it_says_how_long_it_has_been_quiet(self) -> None:
        past = remembered(active_at=NOW - 90 * SECOND)
        decision = decide(situation(waiting=0, past=past, **self.SPEC))
        assert str(decision.reasons[-1]) == "quiet for 1m30s of the cooldown of 5m: 1"

    def test_the_replicas_before_the_last_do_not_wait_for_it(self) -> None:
        past = remembered(active_at=NOW)
        assert decide(situation(waiting=0, replicas=8, past=past, **self.SPEC)).desired == 1

    def test_it_is_no_matter_where_one_replica_stays_anyway(self) -> None:
        past = remembered(active_at=NOW)
        decision = decide(situation(waiting=0, past=past, min=1))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.MIN]

    def test_it_wakes_nothing(self) -> None:
        past = remembered(active_at=NOW)
        decision = decide(situation(waiting=0, replicas=0, past=past, **self.SPEC))
        assert decision.desired == 0
        assert codes(decision) == [ReasonCode.BACKLOG]

    def test_without_one_the_last_replica_goes_at_once(self) -> None:
        past = remembered(active_at=NOW)
        decision = decide(situation(waiting=0, past=past, min=0, cooldown=timedelta()))
        assert decision.desired == 0

    @pytest.mark.parametrize(
        ("seen", "desired"),
        [
            pytest.param(backlog(0, add_rate=0.1), 1, id="arrivals"),
            pytest.param(backlog(0, dispatch_rate=0.1), 1, id="dispatches"),
            pytest.param(None, 1, id="unknown"),
            pytest.param(backlog(0, add_rate=0.0011), 1, id="a-rate-just-above-what-fades"),
            pytest.param(backlog(0, add_rate=0.001), 0, id="a-rate-that-only-fades"),
            pytest.param(backlog(0, dispatch_rate=0.001), 0, id="dispatches-that-only-fade"),
            pytest.param(backlog(0, pollers=4), 0, id="workers-that-only-poll"),
        ],
    )
    def test_what_counts_as_activity_though_every_poll_reads_empty(
        self, seen: Backlog | None, desired: int
    ) -> None:
        watch = Watch(1, **self.SPEC)
        for _ in range(60):
            watch.look(seen, 1)
        assert watch.look(0, 1).desired == desired

    def test_activity_of_any_queue_and_type_counts(self) -> None:
        seen = Backlog(
            {
                task_queue("orders"): stats(0),
                task_queue("mails", QueueType.ACTIVITY): stats(0, dispatch_rate=3.0),
            }
        )
        assert decide(situation(waiting=seen, queues=("orders", "mails"), min=0)).desired == 1

    def test_it_begins_anew_with_every_activity(self) -> None:
        watch = Watch(1, **self.SPEC)
        watch.look(1, 1, after=4 * MINUTE)
        assert watch.look(0, 1, after=5 * MINUTE - INSTANT).desired == 1
        assert watch.look(0, 1, after=INSTANT).desired == 0

    def test_it_begins_with_a_restart(self) -> None:
        watch = Watch(1, **self.SPEC)
        assert watch.look(0, 1, after=5 * MINUTE - INSTANT).desired == 1
        assert watch.look(0, 1, after=INSTANT).desired == 0

    def test_a_fallback_of_0_leaves_one_for_nobody_knows_that_it_is_quiet(self) -> None:
        past = remembered(known_at=NOW - HOUR)
        decision = decide(
            situation(waiting=None, replicas=3, past=past, fallback=Fallback(0), **self.SPEC)
        )
        assert decision.desired == 1
        assert codes(decision) == [ReasonCode.FALLBACK, ReasonCode.COOLDOWN]


class TestScaleOutLimit:
    @pytest.mark.parametrize(
        ("limit", "replicas", "desired"),
        [
            pytest.param("4/15s", 3, 7, id="a-count"),
            pytest.param("100%/15s", 3, 6, id="a-share"),
            pytest.param("10%/15s", 11, 13, id="a-share-rounded-up"),
            pytest.param("1%/15s", 1, 2, id="the-smallest-share-is-one"),
            pytest.param("50%/15s", 4, 6, id="a-share-without-a-rest"),
            pytest.param("4/15s,100%/15s", 3, 7, id="of-two-the-count-is-larger"),
            pytest.param("4/15s,100%/15s", 5, 10, id="of-two-the-share-is-larger"),
            pytest.param("4/15s", 0, 4, id="a-count-from-zero"),
            pytest.param("100%/15s", 0, 2, id="a-share-from-zero-is-of-one"),
            pytest.param("10%/15s", 0, 2, id="a-small-share-from-zero"),
        ],
    )
    def test_growth_goes_no_further(self, limit: str, replicas: int, desired: int) -> None:
        decision = decide(
            situation(
                waiting=900, replicas=replicas, min=0, max=1000, scale_out_limit=limits(limit)
            )
        )
        assert decision.desired == desired
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_LIMIT]
        assert str(decision.reasons[-1]) == f"scale-out limit {limit}: {desired}"

    @pytest.mark.parametrize(
        ("waiting", "moved_by"),
        [
            pytest.param(70, [ReasonCode.BACKLOG], id="exactly-the-limit"),
            pytest.param(71, [ReasonCode.BACKLOG, ReasonCode.SCALE_OUT_LIMIT], id="one-beyond"),
        ],
    )
    def test_growth_up_to_the_limit_is_not_touched(
        self, waiting: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(situation(waiting=waiting, replicas=3, scale_out_limit=limits("4/15s")))
        assert decision.desired == 7
        assert codes(decision) == moved_by

    @pytest.mark.parametrize(
        ("changes", "limit", "desired"),
        [
            pytest.param([(10 * SECOND, 4)], "4/15s", 10, id="all-of-it-used"),
            pytest.param([(10 * SECOND, 3)], "4/15s", 11, id="some-of-it-used"),
            pytest.param([(10 * SECOND, 9)], "4/15s", 10, id="more-than-all-used-by-hand"),
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
    def test_changes_in_its_period_count_whoever_made_them(
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

    def test_a_change_noticed_just_now_counts_too(self) -> None:
        watch = Watch(3, scale_out_limit=limits("4/15s"), max=1000)
        assert watch.look(900, 3).desired == 7
        assert watch.look(900, 7).desired == 7
        assert watch.look(900, 7, after=15 * SECOND).desired == 11

    def test_an_action_that_failed_uses_nothing_up(self) -> None:
        watch = Watch(3, scale_out_limit=limits("4/15s"), max=1000)
        assert watch.look(900, 3).desired == 7
        assert watch.look(900, 3).desired == 7

    def test_it_does_not_touch_a_scale_in(self) -> None:
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
    def test_shrinking_goes_no_further(self, limit: str, replicas: int, desired: int) -> None:
        decision = decide(
            situation(replicas=replicas, scale_in_limit=limits(limit), **NEVER_STABILISED)
        )
        assert decision.desired == desired
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_LIMIT]
        assert str(decision.reasons[-1]) == f"scale-in limit {limit}: {desired}"

    @pytest.mark.parametrize(
        ("waiting", "moved_by"),
        [
            pytest.param(50, [ReasonCode.BACKLOG], id="exactly-the-limit"),
            pytest.param(40, [ReasonCode.BACKLOG, ReasonCode.SCALE_IN_LIMIT], id="one-beyond"),
        ],
    )
    def test_shrinking_down_to_the_limit_is_not_touched(
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
    def test_it_may_allow_everything_to_go(self, limit: str, desired: int) -> None:
        decision = decide(
            situation(replicas=10, min=0, scale_in_limit=limits(limit), **NEVER_STABILISED)
        )
        assert decision.desired == desired

    def test_the_last_one_goes_whatever_the_share(self) -> None:
        assert decide(situation(min=0, scale_in_limit=limits("1%/15s"))).desired == 0

    @pytest.mark.parametrize(
        ("changes", "limit", "desired"),
        [
            pytest.param([(10 * SECOND, -4)], "4/15s", 10, id="all-of-it-used"),
            pytest.param([(10 * SECOND, -3)], "4/15s", 9, id="some-of-it-used"),
            pytest.param([(10 * SECOND, -9)], "4/15s", 10, id="more-than-all-used-by-hand"),
            pytest.param([(10 * SECOND, 2)], "4/15s", 4, id="what-was-added-may-go-again"),
            pytest.param([(15 * SECOND, -4)], "4/15s", 6, id="exactly-a-period-ago-is-over"),
            pytest.param([(15 * SECOND - INSTANT, -4)], "4/15s", 10, id="just-inside-the-period"),
            pytest.param([(10 * SECOND, -10)], "50%/15s", 10, id="a-share-of-what-there-was"),
            pytest.param([(10 * SECOND, -6)], "50%/15s", 8, id="the-rest-of-a-share"),
            pytest.param([(20 * SECOND, -4)], "4/15s,6/30s", 6, id="each-has-its-own-period"),
        ],
    )
    def test_changes_in_its_period_count_whoever_made_them(
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

    def test_a_change_noticed_just_now_counts_too(self) -> None:
        watch = Watch(9, scale_in_limit=limits("4/15s"), **NEVER_STABILISED)
        assert watch.look(0, 9).desired == 5
        assert watch.look(0, 5).desired == 5
        assert watch.look(0, 5, after=15 * SECOND).desired == 1

    def test_it_does_not_touch_growth(self) -> None:
        decision = decide(situation(waiting=90, replicas=2, scale_in_limit=limits("1/15s")))
        assert decision.desired == 9
        assert codes(decision) == [ReasonCode.BACKLOG]


class TestTolerance:
    @pytest.mark.parametrize(
        ("waiting", "tolerance", "recommended"),
        [
            pytest.param(110, 0.1, 10, id="exactly-10-percent-more"),
            pytest.param(111, 0.1, 12, id="one-task-beyond"),
            pytest.param(90, 0.1, 10, id="exactly-10-percent-less"),
            pytest.param(89, 0.1, 9, id="one-task-short-of-it"),
            pytest.param(129, 0.29, 10, id="exactly-29-percent-more"),
            pytest.param(130, 0.29, 13, id="one-task-beyond-29-percent"),
            pytest.param(71, 0.29, 10, id="exactly-29-percent-less"),
            pytest.param(70, 0.29, 7, id="one-task-short-of-29-percent"),
            pytest.param(101, 0.0, 11, id="none"),
            pytest.param(200, 1.0, 10, id="exactly-twice-as-much"),
            pytest.param(201, 1.0, 21, id="one-task-beyond-twice-as-much"),
        ],
    )
    def test_a_backlog_this_near_to_what_there_is_for_changes_nothing(
        self, waiting: int, tolerance: float, recommended: int
    ) -> None:
        given = situation(waiting=waiting, replicas=10, tolerance=tolerance)
        assert recommend(given)[0] == recommended

    @pytest.mark.parametrize(
        ("tolerance", "written"), [(0.1, "10%"), (0.125, "12.5%"), (0.29, "29%")]
    )
    def test_it_says_so_with_the_number_that_it_replaces(
        self, tolerance: float, written: str
    ) -> None:
        given = situation(waiting=105, replicas=10, tolerance=tolerance)
        assert str(recommend(given)[1]) == (
            f"105 waiting tasks at target 10: 11, within the tolerance of {written}: 10"
        )

    def test_it_says_nothing_where_it_replaces_nothing(self) -> None:
        given = situation(waiting=95, replicas=10, tolerance=0.1)
        assert str(recommend(given)[1]) == "95 waiting tasks at target 10: 10"

    def test_at_zero_replicas_there_is_none(self) -> None:
        assert decide(situation(waiting=1, replicas=0, min=0, tolerance=1.0)).desired == 1

    def test_a_task_that_waits_for_too_long_is_never_tolerable(self) -> None:
        given = situation(
            waiting=backlog(105, age=90 * SECOND), replicas=10, tolerance=0.1, max_wait=MINUTE
        )
        number, reason = recommend(given)
        assert number == 15
        assert reason.code is ReasonCode.MAX_WAIT

    def test_what_is_remembered_is_what_was_tolerated(self) -> None:
        decision = decide(situation(waiting=95, replicas=10, tolerance=0.1))
        assert decision.history.since(NOW) == (10,)


class TestMaxWait:
    @pytest.mark.parametrize(
        ("age", "replicas", "recommended"),
        [
            pytest.param(60 * SECOND, 10, 10, id="exactly-max-wait-keeps"),
            pytest.param(60 * SECOND + INSTANT, 10, 11, id="just-above-is-one-more"),
            pytest.param(60 * SECOND + INSTANT, 1, 2, id="at-least-one"),
            pytest.param(72 * SECOND, 10, 12, id="a-fifth-late-is-a-fifth-more"),
            pytest.param(66 * SECOND, 100, 110, id="no-rounding-error"),
            pytest.param(90 * SECOND, 10, 15, id="half-late-is-half-more"),
            pytest.param(90 * SECOND, 3, 5, id="rounded-up"),
            pytest.param(120 * SECOND, 10, 20, id="twice-is-doubled"),
            pytest.param(3 * HOUR, 10, 20, id="never-more-than-doubled"),
            pytest.param(30 * SECOND + INSTANT, 10, 10, id="just-above-half-keeps"),
            pytest.param(30 * SECOND, 10, 1, id="exactly-half-may-shrink"),
            pytest.param(timedelta(), 10, 1, id="no-wait-at-all"),
        ],
    )
    def test_replicas_grow_in_proportion_to_how_late_the_oldest_task_is(
        self, age: timedelta, replicas: int, recommended: int
    ) -> None:
        given = situation(waiting=backlog(1, age=age), replicas=replicas, max_wait=MINUTE)
        assert recommend(given)[0] == recommended

    def test_growth_says_the_wait(self) -> None:
        given = situation(waiting=backlog(1, age=90 * SECOND), replicas=2, max_wait=MINUTE)
        _, reason = recommend(given)
        assert reason.code is ReasonCode.MAX_WAIT
        assert str(reason) == "the oldest task has waited 1m30s of at most 1m: 3"

    def test_a_held_scale_in_says_the_wait(self) -> None:
        given = situation(waiting=backlog(1, age=40 * SECOND), replicas=2, max_wait=MINUTE)
        _, reason = recommend(given)
        assert reason.code is ReasonCode.MAX_WAIT
        assert str(reason) == (
            "the oldest task has waited 40s of at most 1m, too close to shrink: 2"
        )

    @pytest.mark.parametrize(
        ("waiting", "code", "recommended"),
        [
            pytest.param(30, ReasonCode.BACKLOG, 3, id="as-much-by-the-backlog"),
            pytest.param(31, ReasonCode.BACKLOG, 4, id="more-by-the-backlog"),
            pytest.param(20, ReasonCode.MAX_WAIT, 3, id="more-by-the-wait"),
        ],
    )
    def test_of_backlog_and_wait_the_larger_counts(
        self, waiting: int, code: ReasonCode, recommended: int
    ) -> None:
        seen = backlog(waiting, age=90 * SECOND)
        number, reason = recommend(situation(waiting=seen, replicas=2, max_wait=MINUTE))
        assert number == recommended
        assert reason.code is code

    def test_the_oldest_task_of_all_queues_counts(self) -> None:
        parts = {
            task_queue("orders"): stats(1, age=90 * SECOND),
            task_queue("mails"): stats(1, age=SECOND),
        }
        given = situation(waiting=Backlog(parts), replicas=4, max_wait=MINUTE)
        assert recommend(given)[0] == 6

    def test_at_zero_replicas_only_the_backlog_counts(self) -> None:
        seen = backlog(5, age=HOUR)
        decision = decide(situation(waiting=seen, replicas=0, min=0, max_wait=MINUTE, activation=5))
        assert decision.desired == 0
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.ACTIVATION]

    def test_an_age_without_a_task_is_no_wait(self) -> None:
        assert recommend(situation(waiting=backlog(0, age=HOUR), max_wait=MINUTE))[0] == 0

    def test_without_the_label_no_wait_is_too_long(self) -> None:
        assert recommend(situation(waiting=backlog(1, age=HOUR), replicas=4))[0] == 1


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
    def test_it_counts_after_a_while(self, for_: timedelta, desired: int, code: ReasonCode) -> None:
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
    def test_it_is_what_the_label_says(self, fallback: str, desired: int) -> None:
        decision = decide(self.unknown(HOUR, fallback=Fallback.parse(fallback)))
        assert decision.desired == desired
        assert len(decision.reasons) == 1

    def test_it_says_how_long_nobody_has_known(self) -> None:
        decision = decide(self.unknown(200 * SECOND, fallback=Fallback(8, at_least=True)))
        assert str(decision.reasons[0]) == ("backlog unknown for 3m20s: fallback of at-least 8: 8")

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
        assert decide(self.unknown(HOUR, [(age, 5)], fallback=Fallback(2))).desired == desired

    def test_the_scale_out_window_still_applies(self) -> None:
        given = self.unknown(HOUR, [(SECOND, 5)], fallback=Fallback(9), scale_out_window=MINUTE)
        assert decide(given).desired == 5

    def test_the_step_limits_still_apply(self) -> None:
        grown = decide(self.unknown(HOUR, fallback=Fallback(9), scale_out_limit=limits("1/15s")))
        shrunk = decide(self.unknown(HOUR, fallback=Fallback(2), scale_in_limit=limits("1/15s")))
        assert (grown.desired, shrunk.desired) == (6, 4)

    def test_after_nothing_at_all_it_counts_at_once(self) -> None:
        given = self.unknown(timedelta(), fallback=Fallback(8), fallback_after=timedelta())
        assert decide(given).desired == 8

    def test_one_answer_begins_the_wait_anew(self) -> None:
        watch = Watch(5, fallback=Fallback(8))
        assert watch.look(None, 5, after=3 * MINUTE).desired == 8
        watch.look(50, 5)
        assert watch.look(None, 5, after=3 * MINUTE - INSTANT).desired == 5
        assert watch.look(None, 5, after=INSTANT).desired == 8

    def test_a_restart_begins_the_wait_anew(self) -> None:
        watch = Watch(5, fallback=Fallback(8))
        assert watch.look(None, 5, after=3 * MINUTE - INSTANT).desired == 5
        assert watch.look(None, 5, after=INSTANT).desired == 8

    def test_while_nobody_asked_nothing_failed(self) -> None:
        watch = Watch(5, fallback=Fallback(8))
        watch.history = watch.history.observe(5, NOT_ASKED, 5, NOW + HOUR, HOUR)
        watch.now += HOUR
        assert watch.look(None, 5).desired == 5


class TestRateLimited:
    @pytest.mark.parametrize(
        ("since", "desired", "moved_by"),
        [
            pytest.param(
                10 * SECOND, 2, [ReasonCode.BACKLOG, ReasonCode.RATE_LIMITED], id="exactly-10s"
            ),
            pytest.param(10 * SECOND - INSTANT, 9, [ReasonCode.BACKLOG], id="just-before"),
            pytest.param(timedelta(), 9, [ReasonCode.BACKLOG], id="the-first-time"),
        ],
    )
    def test_growth_is_held_once_the_server_has_said_so_for_a_while(
        self, since: timedelta, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(
            situation(
                waiting=backlog(90, rate_limited=True),
                replicas=2,
                past=remembered(rate_limited_since=NOW - since),
            )
        )
        assert decision.desired == desired
        assert codes(decision) == moved_by

    def test_it_says_where_it_holds(self) -> None:
        watch = Watch(2)
        watch.look(backlog(90, rate_limited=True), 2)
        decision = watch.look(backlog(90, rate_limited=True), 2, after=MINUTE)
        assert str(decision.reasons[-1]) == (
            "the server limits the rate of the task queue: held at 2"
        )

    def test_a_scale_in_is_not_held(self) -> None:
        past = remembered(rate_limited_since=NOW - HOUR)
        decision = decide(situation(waiting=backlog(1, rate_limited=True), replicas=9, past=past))
        assert decision.desired == 1
        assert codes(decision) == [ReasonCode.BACKLOG]

    @pytest.mark.parametrize(
        "between", [pytest.param(backlog(90), id="no"), pytest.param(None, id="unknown")]
    )
    def test_any_other_answer_begins_anew(self, between: Backlog | None) -> None:
        limited = backlog(90, rate_limited=True)
        watch = Watch(2)
        watch.look(limited, 2)
        watch.look(between, 2)
        assert watch.look(limited, 2).desired == 9
        assert watch.look(limited, 2, after=10 * SECOND - INSTANT).desired == 9
        assert watch.look(limited, 2, after=INSTANT).desired == 2

    def test_one_limited_queue_of_several_is_enough(self) -> None:
        parts = {task_queue("orders"): stats(80), task_queue("mails"): stats(9, rate_limited=True)}
        past = remembered(rate_limited_since=NOW - HOUR)
        assert decide(situation(waiting=Backlog(parts), replicas=2, past=past)).desired == 2


class TestPhantom:
    """Tasks that wait though no worker gets any."""

    WARNING = (
        "90 tasks wait and none is dispatched, although replicas were added:"
        " they may belong to closed workflows, or no worker polls for their kind"
    )

    @staticmethod
    def stalled() -> Watch:
        """Watch a service of 2 replicas in front of whose 90 tasks nothing has moved for 10m."""
        watch = Watch(2, scale_out_limit=limits("1/15s"))
        for _ in range(11):
            assert watch.look(90, 2, after=MINUTE).desired == 3
        return watch

    @pytest.mark.parametrize(
        ("after", "desired"),
        [
            pytest.param(2 * MINUTE - INSTANT, 4, id="just-before-2m"),
            pytest.param(2 * MINUTE, 3, id="exactly-2m"),
            pytest.param(HOUR, 3, id="exactly-an-hour"),
            pytest.param(HOUR + 5 * SECOND, 3, id="more-than-an-hour"),
        ],
    )
    def test_growth_in_vain_is_held_after_a_while(self, after: timedelta, desired: int) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        decision = watch.look(90, 3, after=after)
        assert decision.desired == desired
        assert (ReasonCode.PHANTOM in codes(decision)) == (desired == 3)
        assert (decision.warnings == (self.WARNING,)) == (desired == 3)

    def test_it_is_still_held_when_every_look_in_more_than_an_hour_found_the_same(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        desired = {watch.look(90, 3, after=MINUTE).desired for _ in range(130)}
        assert watch.look(90, 3).desired == 3
        assert desired == {3, 4}

    def test_it_says_where_it_holds(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        decision = watch.look(90, 3, after=2 * MINUTE)
        assert codes(decision) == [
            ReasonCode.BACKLOG,
            ReasonCode.SCALE_OUT_LIMIT,
            ReasonCode.PHANTOM,
        ]
        assert str(decision.reasons[-1]) == (
            "nothing was dispatched since replicas were added: held at 3"
        )

    def test_where_nothing_was_added_growth_is_not_held(self) -> None:
        decision = self.stalled().look(90, 2, after=HOUR)
        assert decision.desired == 3
        assert decision.warnings == ()

    def test_a_removal_is_no_growth(self) -> None:
        watch = self.stalled()
        watch.look(90, 1)
        assert watch.look(90, 1, after=2 * MINUTE).desired == 2

    def test_more_growth_in_vain_does_not_begin_anew(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        watch.look(90, 4, after=MINUTE)
        assert watch.look(90, 4, after=MINUTE).desired == 4

    def test_growth_that_failed_is_no_growth(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        watch.look(90, 2)
        decision = watch.look(90, 2, after=2 * MINUTE)
        assert decision.desired == 3
        assert decision.warnings == ()

    def test_one_that_goes_among_several_in_vain_lets_nothing_grow(self) -> None:
        watch = self.stalled()
        watch.look(90, 4)
        assert watch.look(90, 4, after=2 * MINUTE).desired == 4
        assert watch.look(90, 3).desired == 3

    @pytest.mark.parametrize(
        "movement",
        [
            pytest.param(backlog(90, dispatch_rate=0.1), id="a-dispatch"),
            pytest.param(backlog(90, add_rate=0.1), id="an-arrival"),
            pytest.param(0, id="an-empty-queue"),
            pytest.param(None, id="unknown"),
        ],
    )
    def test_any_movement_lets_it_grow_again(self, movement: Backlog | int | None) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        assert watch.look(90, 3, after=2 * MINUTE).desired == 3
        watch.look(movement, 3)
        assert watch.look(90, 3).desired == 4
        assert watch.look(90, 3, after=HOUR).desired == 4

    def test_growth_of_before_it_stalled_does_not_count(self) -> None:
        watch = Watch(2)
        watch.look(backlog(90, dispatch_rate=1.0), 2)
        watch.look(backlog(90, dispatch_rate=1.0), 3)
        watch.look(90, 3)
        assert watch.look(90, 3, after=HOUR - MINUTE).desired == 9

    def test_growth_noticed_when_it_stalled_counts(self) -> None:
        watch = Watch(2)
        watch.look(backlog(90, add_rate=1.0), 2)
        watch.look(90, 3)
        assert watch.look(90, 3, after=2 * MINUTE).desired == 3

    def test_growth_by_hand_counts_as_well(self) -> None:
        watch = Watch(2, mode="pause-out")
        watch.look(90, 2)
        watch.look(90, 4)
        decision = watch.look(90, 4, after=2 * MINUTE)
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.PHANTOM]

    def test_a_scale_in_is_not_held(self) -> None:
        watch = self.stalled()
        watch.look(1, 3)
        assert watch.look(1, 3, after=2 * MINUTE).desired == 1

    def test_at_zero_there_is_nothing_to_warn_of(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        watch.look(90, 3, after=2 * MINUTE)
        assert watch.look(90, 0).warnings == ()


class TestSilentQueue:
    """A queue that never had a poller, a task or an addition: its name is probably wrong."""

    SILENT = (
        "task queue 'mails' has had no poller, no backlog and no task added so far:"
        " check its name and namespace, and that the workers poll it"
    )

    @staticmethod
    def seen(**of_mails: Any) -> Backlog:
        """Describe `orders`, where workers poll, and `mails`."""
        return Backlog(
            {
                task_queue("orders"): stats(0, pollers=2),
                task_queue("mails"): stats(0),
                task_queue("mails", QueueType.ACTIVITY): stats(0, **of_mails),
            }
        )

    @pytest.mark.parametrize(
        ("after", "warnings"),
        [
            pytest.param(
                MINUTE,
                (SILENT,),
                id="exactly-a-minute",
            ),
            pytest.param(MINUTE - INSTANT, (), id="just-before"),
        ],
    )
    def test_the_silent_one_is_named_after_a_minute(
        self, after: timedelta, warnings: tuple[str, ...]
    ) -> None:
        watch = Watch(1, queues=("orders", "mails"))
        assert watch.look(self.seen(), 1, after=timedelta()).warnings == ()
        assert watch.look(self.seen(), 1, after=after).warnings == warnings

    @pytest.mark.parametrize(
        ("replicas", "seen"),
        [
            pytest.param(0, backlog(0), id="without-replicas"),
            pytest.param(1, None, id="unknown"),
        ],
    )
    def test_nobody_is_warned_where_nothing_can_be_known(
        self, replicas: int, seen: Backlog | None
    ) -> None:
        watch = Watch(replicas, min=0)
        watch.look(seen, replicas)
        assert watch.look(seen, replicas, after=HOUR).warnings == ()

    @pytest.mark.parametrize(
        "life",
        [
            pytest.param(stats(0, pollers=1), id="a-poller"),
            pytest.param(stats(0, add_rate=0.1), id="an-addition"),
            pytest.param(stats(1), id="a-task"),
        ],
    )
    def test_one_sign_of_life_of_any_type_is_enough_for_ever(self, life: QueueStats) -> None:
        watch = Watch(1, queues=("orders", "mails"))
        watch.look(Backlog({**self.seen().parts, task_queue("mails"): life}), 1)
        assert watch.look(self.seen(), 1, after=HOUR).warnings == ()
        assert watch.look(self.seen(), 1, after=9 * HOUR).warnings == ()

    def test_a_sign_of_life_ends_the_warning(self) -> None:
        watch = Watch(1, queues=("orders", "mails"))
        watch.look(self.seen(), 1)
        assert watch.look(self.seen(), 1, after=MINUTE).warnings
        assert watch.look(self.seen(pollers=1), 1).warnings == ()

    def test_several_silent_ones_are_all_named(self) -> None:
        watch = Watch(1, queues=("b", "a"))
        seen = Backlog({task_queue("b"): stats(0), task_queue("a"): stats(0)})
        watch.look(seen, 1)
        warnings = watch.look(seen, 1, after=MINUTE).warnings
        assert [warning.split("'")[1] for warning in warnings] == ["a", "b"]

    def test_it_changes_nothing(self) -> None:
        watch = Watch(3)
        watch.look(0, 3)
        assert watch.look(0, 3, after=2 * MINUTE).desired == 1

    def test_a_queue_that_was_just_written_on_the_label_has_a_minute_too(self) -> None:
        watch = Watch(1, queues=("orders", "mails"))
        watch.look(backlog(0, pollers=1), 1)
        assert watch.look(self.seen(), 1, after=HOUR).warnings == ()
        assert watch.look(self.seen(), 1, after=MINUTE).warnings

    def test_a_service_that_was_just_started_has_a_minute_too(self) -> None:
        watch = Watch(0, min=0, cooldown=HOUR)
        watch.look(0, 0)
        assert watch.look(0, 1, after=HOUR).warnings == ()
        assert watch.look(0, 1, after=MINUTE).warnings

    def test_the_same_name_in_another_namespace_is_another_queue(self) -> None:
        watch = Watch(1)
        watch.look(backlog(0, pollers=1), 1)
        elsewhere = Backlog({task_queue(namespace="typo"): stats(0)})
        watch.look(elsewhere, 1)
        assert watch.look(elsewhere, 1, after=MINUTE).warnings


class TestChangedLabels:
    """A changed label takes effect without forgetting what still applies."""

    def test_a_longer_scale_in_window_finds_what_was_before_it(self) -> None:
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

    def test_a_longer_scale_out_window_finds_what_was_before_it(self) -> None:
        watch = Watch(2)
        watch.look(40, 2, after=10 * MINUTE)
        watch.spec = {"scale_out_window": 5 * MINUTE}
        assert watch.look(90, 2, after=MINUTE).desired == 4

    def test_a_step_limit_counts_what_changed_before_it_was_there(self) -> None:
        watch = Watch(2)
        watch.look(90, 2)
        watch.look(90, 9)
        watch.spec = {"scale_out_limit": limits("8/10m"), "max": 100}
        assert watch.look(900, 9, after=MINUTE).desired == 10

    def test_a_longer_period_counts_what_was_before_the_shorter_one(self) -> None:
        watch = Watch(9, scale_in_limit=limits("4/15s"), **NEVER_STABILISED)
        watch.look(0, 9)
        watch.look(0, 5, after=MINUTE)
        watch.spec = {"scale_in_limit": limits("5/10m")} | dict(NEVER_STABILISED)
        assert watch.look(0, 5, after=MINUTE).desired == 4

    def test_a_cooldown_counts_the_quiet_before_it_was_changed(self) -> None:
        watch = Watch(1, min=1)
        watch.look(0, 1, after=10 * MINUTE)
        watch.spec = {"min": 0, "cooldown": 10 * MINUTE}
        assert watch.look(0, 1).desired == 0

    def test_a_fallback_counts_the_time_before_it_was_there(self) -> None:
        watch = Watch(5)
        watch.look(None, 5, after=3 * MINUTE)
        watch.spec = {"fallback": Fallback(8)}
        assert watch.look(None, 5).desired == 8

    def test_bounds_count_at_once(self) -> None:
        watch = Watch(8)
        watch.look(80, 8)
        watch.spec = {"max": 4}
        assert watch.look(80, 8).desired == 4

    def test_what_is_remembered_does_not_depend_on_the_labels(self) -> None:
        plain, special = Watch(8), Watch(8, scale_in_window=SECOND, scale_out_limit=limits("1/1s"))
        for watch in (plain, special):
            watch.look(80, 8)
            watch.look(None, 7, after=30 * MINUTE)
            watch.look(backlog(5, rate_limited=True), 9)
        assert plain.history == special.history


def shrinking(in_flight: InFlight | UnknownInFlight, desired: int, **spec: Any) -> Situation:
    """Describe a service whose backlog needs no more than `desired` of its replicas any more."""
    replicas = len(in_flight.replicas) if isinstance(in_flight, InFlight) else 5
    quick = {"min": 0, "scale_in_window": timedelta(), "cooldown": timedelta()}
    given = situation(waiting=10 * desired, replicas=replicas, **{**quick, **spec})
    return replace(given, in_flight=in_flight)


def silent_for(silent: timedelta) -> History:
    """Describe a service of which nobody has reported, whenever somebody looked."""
    return remembered(unreported_since=NOW - silent)


class TestProtect:
    """A scale-in stops idle replicas only."""

    @pytest.mark.parametrize(
        ("known", "wanted", "desired"),
        [
            pytest.param("iiiii", 1, 1, id="all-are-idle"),
            pytest.param("iiibb", 1, 2, id="those-at-work-stay"),
            pytest.param("bbbbb", 1, 5, id="all-are-at-work"),
            pytest.param("iissb", 1, 3, id="those-that-do-not-report-stay-while-others-do"),
            pytest.param("iiibb", 3, 3, id="no-more-go-than-are-to-go"),
            pytest.param("lliib", 1, 1, id="those-that-leave-are-as-good-as-gone"),
            pytest.param("lllll", 3, 3, id="more-leave-than-are-to-go"),
            pytest.param("b", 0, 1, id="the-last-one-is-at-work"),
        ],
    )
    @pytest.mark.parametrize("busy", ["protect", "strict"])
    def test_only_idle_replicas_go(self, known: str, wanted: int, desired: int, busy: str) -> None:
        assert decide(shrinking(fleet(known), wanted, busy=busy)).desired == desired

    @pytest.mark.parametrize(
        ("known", "why"),
        [
            pytest.param("iib", "1 replica may not be stopped (1 at work): 1", id="one-at-work"),
            pytest.param("iibb", "2 replicas may not be stopped (2 at work): 2", id="two-at-work"),
            pytest.param(
                "iis", "1 replica may not be stopped (1 not reporting): 1", id="one-silent"
            ),
            pytest.param(
                "bbsi",
                "3 replicas may not be stopped (2 at work, 1 not reporting): 3",
                id="some-of-both",
            ),
        ],
    )
    def test_it_says_how_many_stay_and_why(self, known: str, why: str) -> None:
        decision = decide(shrinking(fleet(known), 0))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.BUSY]
        assert str(decision.reasons[-1]) == why

    def test_where_the_idle_ones_are_enough_there_is_nothing_to_say(self) -> None:
        assert codes(decide(shrinking(fleet("iibb"), 2))) == [ReasonCode.BACKLOG]

    def test_it_has_no_say_in_growth_or_rest(self) -> None:
        grown = decide(shrinking(fleet("bbb"), 9))
        assert (grown.desired, codes(grown)) == (9, [ReasonCode.BACKLOG])
        at_rest = decide(shrinking(fleet("bbb"), 3))
        assert (at_rest.desired, codes(at_rest)) == (3, [ReasonCode.BACKLOG])

    @pytest.mark.parametrize(
        "in_flight",
        [
            pytest.param(fleet("bbbbb"), id="all-at-work"),
            pytest.param(fleet("sssss"), id="nobody-reports"),
            pytest.param(UnknownInFlight("no answer"), id="unknown"),
        ],
    )
    def test_ignore_lets_all_go(self, in_flight: InFlight | UnknownInFlight) -> None:
        decision = decide(shrinking(in_flight, 1, busy="ignore"))
        assert (decision.desired, codes(decision)) == (1, [ReasonCode.BACKLOG])

    @pytest.mark.parametrize("busy", ["protect", "strict"])
    def test_what_could_not_be_read_holds_all_of_them(self, busy: str) -> None:
        decision = decide(shrinking(UnknownInFlight("no answer"), 1, busy=busy))
        assert decision.desired == 5
        assert str(decision.reasons[-1]) == "it is unknown what is in flight: held at 5"

    def test_more_than_max_stay_while_they_are_at_work(self) -> None:
        decision = decide(shrinking(fleet("ibbbb"), 20, max=2))
        assert decision.desired == 4
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.MAX, ReasonCode.BUSY]

    def test_more_stay_than_docker_could_make(self) -> None:
        decision = decide(shrinking(fleet("ibb"), 20, ceiling=FIXED_NAME))
        assert codes(decision)[-2:] == [ReasonCode.CEILING, ReasonCode.BUSY]
        assert decision.desired == 2

    def test_steady_short_tasks_do_not_keep_replicas_for_ever(self) -> None:
        """Each look finds another replica at work: the others go meanwhile."""
        replicas = 10
        for at_work in (3, 0, 1, 0):
            known = "".join("b" if each == at_work else "i" for each in range(replicas))
            replicas = decide(shrinking(fleet(known), 1)).desired
        assert replicas == 1


class TestProtectWhereTheSchedulerChooses:
    """Swarm picks the tasks that go itself, turn after turn."""

    @pytest.mark.parametrize(
        ("known", "wanted", "desired"),
        [
            pytest.param("iiibb", 1, 2, id="idle-ones-in-turn"),
            pytest.param("bbiii", 1, 5, id="a-busy-one-is-the-first-in-turn"),
            pytest.param("ibiii", 1, 4, id="only-up-to-the-busy-one"),
            pytest.param("isiii", 1, 4, id="only-up-to-the-silent-one"),
        ],
    )
    def test_idle_ones_go_only_as_far_as_it_hits_no_other(
        self, known: str, wanted: int, desired: int
    ) -> None:
        assert decide(shrinking(fleet(known, choosable=False), wanted)).desired == desired

    def test_it_says_whose_choice_it_is(self) -> None:
        decision = decide(shrinking(fleet("ibii", choosable=False), 0))
        assert str(decision.reasons[-1]) == (
            "1 replica may not be stopped (1 at work), and the scheduler would choose from them: 3"
        )

    def test_of_a_turn_with_a_busy_one_in_it_none_goes(self) -> None:
        known = fleet("iib", one_turn=True, choosable=False)
        assert decide(shrinking(known, 1)).desired == 3


class TestNobodyReports:
    """An older SDK or server: scale-in goes on behind the grace, once that is sure to be so."""

    @pytest.mark.parametrize(
        ("silent", "desired"),
        [
            pytest.param(timedelta(), 3, id="since-just-now"),
            pytest.param(REPORT_WITHIN - INSTANT, 3, id="just-less-than-a-heartbeat-takes"),
            pytest.param(REPORT_WITHIN, 1, id="exactly-as-long-as-a-heartbeat-takes"),
            pytest.param(HOUR, 1, id="for-long"),
        ],
    )
    def test_replicas_go_once_nobody_has_reported_for_as_long_as_a_heartbeat_takes(
        self, silent: timedelta, desired: int
    ) -> None:
        assert decide(shrinking(fleet("sss"), 1, past=silent_for(silent))).desired == desired

    def test_until_then_it_says_for_how_long(self) -> None:
        decision = decide(shrinking(fleet("sss"), 1, past=silent_for(64 * SECOND)))
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.BUSY]
        assert str(decision.reasons[-1]) == ("no worker has reported for 1m4s of 1m5s: held at 3")

    def test_the_first_look_begins_to_count(self) -> None:
        first = decide(shrinking(fleet("sss"), 1))
        assert first.desired == 3
        again = replace(shrinking(fleet("sss"), 1), history=first.history, now=NOW + REPORT_WITHIN)
        assert decide(again).desired == 1

    def test_one_report_ends_it(self) -> None:
        seen = decide(shrinking(fleet("ssi"), 1, past=silent_for(HOUR)))
        assert seen.desired == 2
        assert seen.history.unreported_since is None

    def test_strict_stops_none_however_long_it_lasts(self) -> None:
        decision = decide(shrinking(fleet("sss"), 1, past=silent_for(HOUR), busy="strict"))
        assert decision.desired == 3
        assert str(decision.reasons[-1]) == "no replica is known to be idle: held at 3"

    @pytest.mark.parametrize(
        ("draining", "desired"),
        [
            pytest.param(0, 4, id="one-goes"),
            pytest.param(1, 5, id="none-while-one-drains"),
        ],
    )
    def test_where_the_scheduler_chooses_one_goes_at_a_time(
        self, draining: int, desired: int
    ) -> None:
        given = shrinking(fleet("sssss", choosable=False), 1, past=silent_for(HOUR))
        decision = decide(replace(given, draining=draining))
        assert decision.desired == desired
        assert str(decision.reasons[-1]) == (
            f"no worker reports, so one replica at a time: {desired}"
        )

    def test_a_single_one_that_is_to_go_needs_no_reason(self) -> None:
        given = shrinking(fleet("ss", choosable=False), 1, past=silent_for(HOUR))
        assert codes(decide(given)) == [ReasonCode.BACKLOG]

    @pytest.mark.parametrize("busy", ["protect", "strict"])
    def test_those_that_have_not_started_are_not_waited_for(self, busy: str) -> None:
        """Tasks that the Swarm finds no place for go at once when nobody needs them any more."""
        waiting = tuple(
            Replica(f"t{number}", None, choosable=False, started=False) for number in range(4)
        )
        decision = decide(shrinking(InFlight(waiting, ()), 1, busy=busy))
        assert (decision.desired, codes(decision)) == (1, [ReasonCode.BACKLOG])
        assert decision.history.unreported_since is None

    def test_one_that_has_started_among_them_is(self) -> None:
        waiting = (Replica("t1", None, choosable=False, started=False), Replica("t2", "t2", 1))
        decision = decide(shrinking(InFlight(waiting, ()), 0))
        assert decision.desired == 2
        assert decision.history.unreported_since == NOW

    def test_replicas_that_nobody_found_are_not_taken_for_silent(self) -> None:
        found = InFlight((), ())
        decision = decide(replace(shrinking(fleet("sss"), 1), in_flight=found))
        assert decision.desired == 3
        assert decision.history.unreported_since is None


def with_slots(*hosts: str, kind: SlotKind = SlotKind.ACTIVITY, **rest: Any) -> list[Worker]:
    """Describe a worker on each host that uses 2 of its 2 slots, or as `rest` says."""
    used, free = rest.pop("used", 2), rest.pop("free", 0)
    return [worker(host, slots={kind: Slots(used, free)}, **rest) for host in hosts]


def fanned_out(
    *workers: Worker, replicas: int = 2, waiting: int = 0, share: float | None = 0.8
) -> Situation:
    """Describe a service with a slots-target whose workers report this."""
    given = situation(waiting=waiting, replicas=replicas, slots_target=share)
    members = tuple(Replica(f"r{number}", f"r{number}") for number in range(1, replicas + 1))
    return replace(given, in_flight=InFlight(members, workers))


class TestSlotsTarget:
    """Grow on slots in use, before a backlog forms."""

    def test_with_every_slot_in_use_it_grows_though_nothing_waits(self) -> None:
        recommended, reason = recommend(fanned_out(*with_slots("r1", "r2")))
        assert recommended == 3
        assert reason.code is ReasonCode.SLOTS
        assert str(reason) == "4 of 4 activity slots in use, 80% aimed at: 3"

    def test_without_it_nothing_grows(self) -> None:
        assert recommend(fanned_out(*with_slots("r1", "r2"), share=None))[0] == 0

    @pytest.mark.parametrize(
        ("used", "free", "recommended"),
        [
            pytest.param(0, 10, 0, id="none-in-use"),
            pytest.param(1, 9, 1, id="one-needs-a-replica"),
            pytest.param(8, 2, 2, id="exactly-as-aimed-at"),
            pytest.param(9, 1, 3, id="just-above"),
            pytest.param(4, 6, 1, id="as-few-as-half"),
        ],
    )
    def test_it_asks_for_as_many_replicas_as_the_slots_in_use_need(
        self, used: int, free: int, recommended: int
    ) -> None:
        reports = with_slots("r1", "r2", used=used, free=free)
        assert recommend(fanned_out(*reports))[0] == recommended

    def test_growth_does_not_repeat_before_the_new_replicas_report(self) -> None:
        reports = with_slots("r1", "r2")
        assert recommend(fanned_out(*reports, replicas=2))[0] == 3
        assert recommend(fanned_out(*reports, replicas=3))[0] == 3
        full_again = with_slots("r1", "r2", "r3")
        assert recommend(fanned_out(*full_again, replicas=3))[0] == 4

    def test_the_larger_of_backlog_and_slots_counts(self) -> None:
        reports = with_slots("r1", "r2")
        recommended, reason = recommend(fanned_out(*reports, waiting=90))
        assert (recommended, reason.code) == (9, ReasonCode.BACKLOG)
        recommended, reason = recommend(fanned_out(*reports, waiting=20))
        assert (recommended, reason.code) == (3, ReasonCode.SLOTS)

    def test_of_equals_the_backlog_is_the_reason(self) -> None:
        assert recommend(fanned_out(*with_slots("r1", "r2"), waiting=30))[1].code is (
            ReasonCode.BACKLOG
        )

    def test_slots_for_workflows_never_count(self) -> None:
        cached = {
            SlotKind.WORKFLOW: Slots(used=100, free=0),
            SlotKind.ACTIVITY: Slots(used=0, free=2),
        }
        assert recommend(fanned_out(worker("r1", slots=cached)))[0] == 0

    @pytest.mark.parametrize("kind", [SlotKind.LOCAL_ACTIVITY, SlotKind.NEXUS])
    def test_the_kind_in_greatest_need_counts(self, kind: SlotKind) -> None:
        mixed = {SlotKind.ACTIVITY: Slots(used=0, free=100), kind: Slots(used=2, free=0)}
        reports = [worker(host, slots=mixed) for host in ("r1", "r2")]
        recommended, reason = recommend(fanned_out(*reports))
        assert recommended == 3
        assert str(reason) == f"4 of 4 {kind} slots in use, 80% aimed at: 3"

    def test_workers_of_one_replica_add_up(self) -> None:
        both = [*with_slots("r1"), *with_slots("r1", used=0, free=2)]
        assert recommend(fanned_out(*both, replicas=1, share=0.5))[0] == 1

    @pytest.mark.parametrize(
        "apart",
        [
            pytest.param({"age": OUTDATED}, id="outdated"),
            pytest.param({"leaving": True}, id="leaving"),
        ],
    )
    def test_workers_that_leave_or_whose_report_is_outdated_do_not_count(
        self, apart: Mapping[str, Any]
    ) -> None:
        reports = [*with_slots("r1"), *with_slots("r2", used=200, **apart)]
        assert str(recommend(fanned_out(*reports))[1]) == (
            "2 of 2 activity slots in use, 80% aimed at: 2"
        )

    @pytest.mark.parametrize(
        "reports",
        [
            pytest.param([], id="nobody-reports"),
            pytest.param(with_slots("r1", age=OUTDATED), id="all-reports-are-outdated"),
        ],
    )
    def test_where_it_is_unknown_the_replicas_stay(self, reports: list[Worker]) -> None:
        recommended, reason = recommend(fanned_out(*reports, replicas=4))
        assert recommended == 4
        assert str(reason) == "slots in use unknown: held at 4"

    def test_workers_that_only_run_workflows_have_no_say(self) -> None:
        assert (
            recommend(fanned_out(*with_slots("r1", used=0), replicas=4))[1].code
            is ReasonCode.BACKLOG
        )

    def test_replicas_that_share_a_host_name_are_each_counted(self) -> None:
        sharing = tuple(Replica(f"r{number}", "vm", number) for number in range(10))
        workers = tuple(worker("vm", instance=f"w{number}", running=2) for number in range(10))
        full = replace(fanned_out(replicas=10, share=0.5), in_flight=InFlight(sharing, workers))
        assert recommend(full)[0] == 20

    def test_where_it_could_not_be_read_they_stay_or_follow_a_larger_backlog(self) -> None:
        unread = replace(fanned_out(replicas=4), in_flight=UnknownInFlight("no answer"))
        assert recommend(unread)[0] == 4
        assert recommend(replace(unread, backlog=backlog(90)))[0] == 9

    def test_it_wakes_nothing_from_zero(self) -> None:
        assert recommend(fanned_out(*with_slots("gone"), replicas=0))[0] == 0

    def test_with_nothing_in_use_the_service_comes_down(self) -> None:
        idle = fanned_out(*with_slots("r1", "r2", used=0, free=2))
        assert decide(idle).desired == 1


class TestScaleToZeroWithWorkInFlight:
    """The last replica goes only when nothing has been in flight for the cooldown."""

    LONG_QUIET = remembered(active_at=NOW - HOUR)

    def quiet(self, in_flight: InFlight, **spec: Any) -> Decision:
        """Decide where nothing has waited or been dispatched for an hour."""
        given = shrinking(in_flight, 0, past=self.LONG_QUIET, cooldown=5 * MINUTE, **spec)
        return decide(given)

    def test_an_idle_one_goes(self) -> None:
        assert self.quiet(fleet("i")).desired == 0

    def test_what_is_in_flight_restarts_the_cooldown(self) -> None:
        busy = self.quiet(fleet("b"))
        assert busy.desired == 1
        assert codes(busy) == [ReasonCode.BACKLOG, ReasonCode.COOLDOWN]
        assert busy.history.active_at == NOW

    @pytest.mark.parametrize(
        ("after", "desired"),
        [
            pytest.param(5 * MINUTE - INSTANT, 1, id="just-before-its-end"),
            pytest.param(5 * MINUTE, 0, id="at-its-end"),
        ],
    )
    def test_once_it_is_over_the_idle_one_goes(self, after: timedelta, desired: int) -> None:
        now = NOW + after
        idle = InFlight((Replica("r1", "r1"),), (worker("r1", at=now),))
        given = shrinking(idle, 0, cooldown=5 * MINUTE)
        later = replace(given, history=self.quiet(fleet("b")).history, now=now)
        assert decide(later).desired == desired

    def test_work_of_a_replica_that_leaves_counts_as_well(self) -> None:
        leaving = InFlight((Replica("r1", "r1"),), (worker("r1", running=1, leaving=True),))
        assert self.quiet(leaving).desired == 1


def of_build(status: BuildStatus, waiting: int = 0) -> Backlog:
    return backlog(waiting, build=status)


class TestBuilds:
    """A service that runs one build of a Worker Deployment."""

    SPEC: ClassVar[dict[str, Any]] = {
        "min": 0,
        "cooldown": timedelta(),
        "deployment": "shop",
        "build_id": "v1",
    }

    @pytest.mark.parametrize("window", [timedelta(), MINUTE], ids=["no-window", "a-window"])
    @pytest.mark.parametrize("replicas", [0, 1])
    @pytest.mark.parametrize(
        ("status", "kept"),
        [
            (BuildStatus.NEVER_POLLED, True),
            (BuildStatus.DRAINING, True),
            (BuildStatus.DRAINED, False),
            (BuildStatus.CURRENT, False),
            (BuildStatus.RAMPING, False),
            (BuildStatus.INACTIVE, False),
        ],
    )
    def test_one_that_drains_or_has_never_polled_keeps_a_replica(
        self, status: BuildStatus, replicas: int, window: timedelta, *, kept: bool
    ) -> None:
        given = situation(
            waiting=of_build(status),
            replicas=replicas,
            past=[(SECOND, 0)],
            scale_out_window=window,
            **self.SPEC,
        )
        decision = decide(given)
        assert decision.desired == int(kept)
        assert (ReasonCode.BUILD in codes(decision)) is kept

    @pytest.mark.parametrize(
        ("status", "why"),
        [
            (BuildStatus.NEVER_POLLED, "build v1 has never polled: 1"),
            (BuildStatus.DRAINING, "build v1 is draining: 1"),
        ],
    )
    def test_it_says_why(self, status: BuildStatus, why: str) -> None:
        decision = decide(situation(waiting=of_build(status), replicas=1, **self.SPEC))
        assert str(decision.reasons[-1]) == why

    def test_the_activation_does_not_keep_a_new_build_from_polling(self) -> None:
        new = of_build(BuildStatus.NEVER_POLLED, waiting=3)
        decision = decide(situation(waiting=new, replicas=0, activation=10, **self.SPEC))
        assert decision.desired == 1

    def test_more_replicas_come_and_go_with_its_own_backlog(self) -> None:
        busy = of_build(BuildStatus.DRAINING, waiting=40)
        assert decide(situation(waiting=busy, replicas=1, **self.SPEC)).desired == 4
        quiet = of_build(BuildStatus.DRAINING)
        assert decide(situation(waiting=quiet, replicas=4, **self.SPEC)).desired == 1

    def test_a_service_that_names_no_build_is_not_kept(self) -> None:
        spec = {"min": 0, "cooldown": timedelta()}
        assert decide(situation(waiting=0, replicas=1, **spec)).desired == 0


class TestStopWarnings:
    """What could cost a task when a replica is stopped."""

    NOT_SET = (
        "stop_grace_period is not set, so Docker kills a replica 10 s after its stop signal:"
        " set it longer than the longest activity; see docs/graceful-shutdown.md"
    )
    NO_REPORTS = (
        "no worker reports what it is running, so only the stop grace protects its tasks (and"
        " strict stops none): it takes Temporal server 1.30, an SDK with worker heartbeats"
        " (Python 1.20) and a host name per container; see docs/graceful-shutdown.md"
    )

    @pytest.mark.parametrize(
        ("grace", "warnings"),
        [
            pytest.param(None, (NOT_SET,), id="left-at-dockers"),
            pytest.param(10 * SECOND, (), id="chosen-though-short"),
        ],
    )
    def test_a_grace_that_nobody_chose(
        self, grace: timedelta | None, warnings: tuple[str, ...]
    ) -> None:
        assert decide(replace(situation(), grace=grace)).warnings == warnings

    @pytest.mark.parametrize(
        ("longest", "warned"),
        [
            pytest.param(30 * SECOND, False, id="as-long-as-the-grace"),
            pytest.param(31 * SECOND, True, id="longer"),
        ],
    )
    def test_a_task_that_was_seen_to_run_for_longer_than_the_grace(
        self, longest: timedelta, *, warned: bool
    ) -> None:
        past = remembered(longest_task=longest)
        warning = (
            "a task was seen to run for longer than the stop grace of 30s:"
            " raise stop_grace_period; see docs/graceful-shutdown.md"
        )
        assert decide(situation(past=past)).warnings == ((warning,) if warned else ())

    @pytest.mark.parametrize(
        ("silent", "warnings"),
        [
            pytest.param(REPORT_WITHIN - INSTANT, (), id="not-for-long-enough"),
            pytest.param(REPORT_WITHIN, (NO_REPORTS,), id="as-long-as-a-heartbeat-takes"),
        ],
    )
    def test_nobody_reports(self, silent: timedelta, warnings: tuple[str, ...]) -> None:
        given = shrinking(fleet("sss"), 1, past=silent_for(silent))
        assert decide(given).warnings == warnings

    def test_some_report(self) -> None:
        assert decide(shrinking(fleet("ssi"), 1, past=silent_for(HOUR))).warnings == ()

    def test_mode_off_warns_of_none_of_it(self) -> None:
        past = remembered(longest_task=HOUR, unreported_since=NOW - HOUR)
        for grace in (None, SECOND):
            given = situation(waiting=NOT_ASKED, past=past, mode="off")
            assert decide(replace(given, grace=grace)).warnings == ()

    def test_all_of_it_at_once_is_said_one_by_one(self) -> None:
        given = replace(shrinking(fleet("sss"), 1, past=silent_for(HOUR)), grace=None)
        assert decide(given).warnings == (self.NOT_SET, self.NO_REPORTS)


class TestBuildWarnings:
    def test_builds_that_are_summed_up_are_named_with_what_to_do(self) -> None:
        seen = Backlog(
            {
                task_queue("orders"): stats(0, deployment="shop"),
                task_queue("orders", QueueType.ACTIVITY): stats(0, deployment="shop"),
                task_queue("mails"): stats(0, pollers=1),
            }
        )
        (warning,) = decide(situation(waiting=seen)).warnings
        assert warning == (
            "task queue 'orders' belongs to Worker Deployment 'shop', and its backlog sums up all"
            " builds; set the labels deployment and build-id to scale one build by its own"
        )

    @pytest.mark.parametrize(
        ("status", "replicas", "warned"),
        [
            pytest.param(BuildStatus.NEVER_POLLED, 1, True, id="it-runs"),
            pytest.param(BuildStatus.NEVER_POLLED, 0, False, id="it-does-not-run"),
            pytest.param(BuildStatus.CURRENT, 1, False, id="it-is-known"),
        ],
    )
    def test_a_build_that_runs_and_that_temporal_does_not_know(
        self, status: BuildStatus, replicas: int, *, warned: bool
    ) -> None:
        given = situation(waiting=of_build(status), replicas=replicas, **TestBuilds.SPEC)
        warning = (
            "Temporal knows no worker of build 'v1' of Worker Deployment 'shop' yet:"
            " if its workers run, check both names"
        )
        assert decide(given).warnings == ((warning,) if warned else ())


class TestWantsInFlight:
    """What is in flight costs calls to read: only where the decision depends on it."""

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
    def test_it_is_read_only_where_it_counts(self, given: Situation, *, wanted: bool) -> None:
        assert wants_in_flight(given, decide(given)) is wanted

    def test_the_last_replica_is_asked_once_the_cooldown_is_over(self) -> None:
        quiet = remembered(active_at=NOW - 5 * MINUTE)
        given = situation(replicas=1, min=0, past=quiet)
        assert wants_in_flight(given, decide(given))
        quieting = remembered(active_at=NOW - 4 * MINUTE)
        given = situation(replicas=1, min=0, past=quieting)
        assert not wants_in_flight(given, decide(given))


GROWTH_HELD = backlog(900, rate_limited=True)
STALLED_AND_GROWN = (
    History.seed(1, NOW - HOUR)
    .observe(1, GROWTH_HELD, 1, NOW - 6 * MINUTE, keep=HOUR)
    .observe(2, GROWTH_HELD, 2, NOW - 5 * MINUTE, keep=HOUR)
)
"""Of a service whose second replica was added in vain, and whose queue is rate limited."""


class TestOrder:
    """Where the order of two limits shows, the earlier one is named first in the id."""

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
                    **TestBuilds.SPEC,
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
