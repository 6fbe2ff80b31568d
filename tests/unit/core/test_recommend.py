"""How many replicas the signals alone call for: backlog, tolerance, max-wait, slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.backlog import Backlog
from autoscaler.core.decide import decide
from autoscaler.core.in_flight import InFlight, SlotKind, Slots, UnknownInFlight, Worker
from autoscaler.core.model import Replica
from autoscaler.core.reason import Reason, ReasonCode
from autoscaler.core.recommend import recommend
from autoscaler.core.situation import Situation
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    OUTDATED,
    SECOND,
    backlog,
    codes,
    remembered,
    situation,
    stats,
    task_queue,
    worker,
)


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

    def test_the_reason_shows_the_calculation(self) -> None:
        _, reason = recommend(situation(waiting=1234, target=100))
        assert str(reason) == "1,234 waiting tasks at target 100 → 13"
        assert reason.code is ReasonCode.BACKLOG

    def test_the_reason_counts_one_task_in_the_singular(self) -> None:
        assert str(recommend(situation(waiting=1))[1]) == "1 waiting task at target 10 → 1"

    def test_it_says_where_tasks_were_counted_because_the_servers_figure_is_older(self) -> None:
        counted = backlog(30, counted=True)
        others = Backlog({**counted.parts, task_queue("mails"): stats(3)})
        texts = [str(recommend(situation(waiting=each))[1]) for each in (counted, others)]
        assert texts == [
            "30 waiting tasks (counted now) at target 10 → 3",
            "33 waiting tasks (counted now) at target 10 → 4",
        ]

    def test_the_bounds_do_not_count_here(self) -> None:
        assert recommend(situation(waiting=100, target=1, max=5))[0] == 100


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
    def test_a_backlog_within_the_tolerance_keeps_the_present_replicas(
        self, waiting: int, tolerance: float, recommended: int
    ) -> None:
        given = situation(waiting=waiting, replicas=10, tolerance=tolerance)
        assert recommend(given)[0] == recommended

    @pytest.mark.parametrize(
        ("tolerance", "written"), [(0.1, "10%"), (0.125, "12.5%"), (0.29, "29%")]
    )
    def test_the_reason_names_the_number_that_was_not_recommended(
        self, tolerance: float, written: str
    ) -> None:
        given = situation(waiting=105, replicas=10, tolerance=tolerance)
        assert str(recommend(given)[1]) == (
            "105 waiting tasks at target 10 call for 11,"
            f" within the tolerance of {written} → keeps 10"
        )

    def test_the_reason_does_not_name_a_tolerance_that_changed_nothing(self) -> None:
        given = situation(waiting=95, replicas=10, tolerance=0.1)
        assert str(recommend(given)[1]) == "95 waiting tasks at target 10 → 10"

    def test_at_zero_replicas_there_is_no_tolerance(self) -> None:
        assert decide(situation(waiting=1, replicas=0, min=0, tolerance=1.0)).desired == 1

    def test_the_tolerance_does_not_cover_a_task_that_waits_for_too_long(self) -> None:
        given = situation(
            waiting=backlog(105, age=90 * SECOND), replicas=10, tolerance=0.1, max_wait=MINUTE
        )
        number, reason = recommend(given)
        assert number == 15
        assert reason.code is ReasonCode.MAX_WAIT

    def test_the_history_keeps_the_recommendation_with_the_tolerance(self) -> None:
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

    def test_the_reason_for_growth_names_the_wait(self) -> None:
        given = situation(waiting=backlog(1, age=90 * SECOND), replicas=2, max_wait=MINUTE)
        _, reason = recommend(given)
        assert reason.code is ReasonCode.MAX_WAIT
        assert str(reason) == "the oldest task has waited 1m30s of at most 1m → 3"

    def test_the_reason_never_says_that_the_wait_is_not_over(self) -> None:
        given = situation(waiting=backlog(1, age=MINUTE + INSTANT), replicas=2, max_wait=MINUTE)
        assert str(recommend(given)[1]) == "the oldest task has waited 1m1s of at most 1m → 3"

    def test_the_reason_for_a_held_scale_in_names_the_wait(self) -> None:
        given = situation(waiting=backlog(1, age=40 * SECOND), replicas=2, max_wait=MINUTE)
        _, reason = recommend(given)
        assert reason.code is ReasonCode.MAX_WAIT
        assert str(reason) == (
            "the oldest task has waited 40s of at most 1m, too close to shrink → keeps 2"
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

    @pytest.mark.parametrize(
        ("replicas", "changes", "recommended"),
        [
            pytest.param(20, [(SECOND, 10)], 20, id="what-was-doubled-a-second-ago-stays"),
            pytest.param(20, [(30 * SECOND - INSTANT, 10)], 20, id="not-started-yet"),
            pytest.param(20, [(30 * SECOND, 10)], 40, id="doubled-again-once-they-had-their-time"),
            pytest.param(12, [(10 * SECOND, 2)], 20, id="the-backlog-s-growth-takes-no-turn"),
            pytest.param(12, [(20 * SECOND, 1), (10 * SECOND, 1)], 20, id="nor-does-slow-growth"),
            pytest.param(10, [(10 * SECOND, -10)], 20, id="what-went-does-not-count"),
            pytest.param(3, [(10 * SECOND, 3)], 3, id="all-of-them-new"),
        ],
    )
    def test_new_replicas_have_30_s_to_start_before_a_late_task_asks_for_more(
        self, replicas: int, changes: list[tuple[timedelta, int]], recommended: int
    ) -> None:
        given = situation(
            waiting=backlog(1, age=HOUR),
            replicas=replicas,
            past=remembered(changes=changes),
            max_wait=MINUTE,
        )
        assert recommend(given)[0] == recommended

    def test_a_change_under_way_counts_as_new_replicas(self) -> None:
        first = situation(waiting=backlog(1, age=2 * MINUTE), replicas=2, max_wait=MINUTE)
        begun = decide(first).history.begin_change(4)
        later = replace(first, replicas=4, history=begun, changing=True, now=NOW + 5 * SECOND)
        assert str(recommend(later)[1]) == (
            "the oldest task has waited 2m of at most 1m,"
            " and 2 new replicas may still start → keeps 4"
        )

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

    def test_an_age_does_not_count_while_no_task_waits(self) -> None:
        assert recommend(situation(waiting=backlog(0, age=HOUR), max_wait=MINUTE))[0] == 0

    def test_an_unknown_age_keeps_every_replica(self) -> None:
        number, reason = recommend(
            situation(waiting=backlog(1, age=None), replicas=4, max_wait=MINUTE)
        )
        assert number == 4
        assert reason == Reason(
            ReasonCode.MAX_WAIT, "how long the oldest task has waited is unknown", "keeps 4"
        )

    def test_an_unknown_age_does_not_keep_the_backlog_from_growing_the_service(self) -> None:
        given = situation(waiting=backlog(90, age=None), replicas=4, max_wait=MINUTE)
        assert recommend(given)[0] == 9

    def test_without_max_wait_the_age_does_not_count(self) -> None:
        assert recommend(situation(waiting=backlog(1, age=HOUR), replicas=4))[0] == 1


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
    """With slots-target a service grows on slots in use, before a backlog forms."""

    def test_with_every_slot_in_use_a_service_without_backlog_grows(self) -> None:
        recommended, reason = recommend(fanned_out(*with_slots("r1", "r2")))
        assert recommended == 3
        assert reason.code is ReasonCode.SLOTS
        assert str(reason) == "4 of 4 activity slots in use, 80% aimed at → 3"

    def test_without_slots_target_slots_do_not_count(self) -> None:
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
    def test_it_asks_for_the_replicas_that_the_slots_in_use_need(
        self, used: int, free: int, recommended: int
    ) -> None:
        reports = with_slots("r1", "r2", used=used, free=free)
        assert recommend(fanned_out(*reports))[0] == recommended

    def test_growth_does_not_repeat_before_new_replicas_report(self) -> None:
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

    def test_of_equal_numbers_the_backlog_is_the_reason(self) -> None:
        assert recommend(fanned_out(*with_slots("r1", "r2"), waiting=30))[1].code is (
            ReasonCode.BACKLOG
        )

    def test_slots_for_workflows_do_not_count(self) -> None:
        cached = {
            SlotKind.WORKFLOW: Slots(used=100, free=0),
            SlotKind.ACTIVITY: Slots(used=0, free=2),
        }
        assert recommend(fanned_out(worker("r1", slots=cached)))[0] == 0

    @pytest.mark.parametrize("kind", [SlotKind.LOCAL_ACTIVITY, SlotKind.NEXUS])
    def test_the_kind_of_slot_with_the_greatest_need_counts(self, kind: SlotKind) -> None:
        mixed = {SlotKind.ACTIVITY: Slots(used=0, free=100), kind: Slots(used=2, free=0)}
        reports = [worker(host, slots=mixed) for host in ("r1", "r2")]
        recommended, reason = recommend(fanned_out(*reports))
        assert recommended == 3
        assert str(reason) == f"4 of 4 {kind} slots in use, 80% aimed at → 3"

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
    def test_leaving_workers_and_outdated_heartbeats_do_not_count(
        self, apart: Mapping[str, Any]
    ) -> None:
        reports = [*with_slots("r1"), *with_slots("r2", used=200, **apart)]
        assert str(recommend(fanned_out(*reports))[1]) == (
            "2 of 2 activity slots in use, 80% aimed at → 2"
        )

    @pytest.mark.parametrize(
        "reports",
        [
            pytest.param([], id="nobody-reports"),
            pytest.param(with_slots("r1", age=OUTDATED), id="all-reports-are-outdated"),
        ],
    )
    def test_without_a_fresh_report_the_replicas_stay(self, reports: list[Worker]) -> None:
        recommended, reason = recommend(fanned_out(*reports, replicas=4))
        assert recommended == 4
        assert str(reason) == "slots in use unknown → keeps 4"

    def test_workers_without_any_slots_leave_it_to_the_backlog(self) -> None:
        assert (
            recommend(fanned_out(*with_slots("r1", used=0), replicas=4))[1].code
            is ReasonCode.BACKLOG
        )

    def test_replicas_that_share_a_host_name_are_all_counted(self) -> None:
        sharing = tuple(Replica(f"r{number}", "vm", number) for number in range(10))
        workers = tuple(worker("vm", instance=f"w{number}", running=2) for number in range(10))
        full = replace(fanned_out(replicas=10, share=0.5), in_flight=InFlight(sharing, workers))
        assert recommend(full)[0] == 20

    def test_without_any_reading_the_replicas_stay_or_follow_a_larger_backlog(self) -> None:
        unread = replace(fanned_out(replicas=4), in_flight=UnknownInFlight("no answer"))
        assert recommend(unread)[0] == 4
        assert recommend(replace(unread, backlog=backlog(90)))[0] == 9

    def test_it_does_not_wake_a_service(self) -> None:
        assert recommend(fanned_out(*with_slots("gone"), replicas=0))[0] == 0

    def test_with_no_slot_in_use_the_service_scales_in(self) -> None:
        idle = fanned_out(*with_slots("r1", "r2", used=0, free=2))
        assert decide(idle).desired == 1
