"""Growth that would be in vain is held."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.core.backlog import Backlog
from autoscaler.core.decide import decide
from autoscaler.core.in_flight import InFlight, SlotKind, Slots
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import Replica
from autoscaler.core.reason import ReasonCode
from tests.fakes.clock import START as NOW
from tests.unit.builders import (
    HOUR,
    INSTANT,
    MINUTE,
    SECOND,
    Watch,
    backlog,
    codes,
    limits,
    remembered,
    situation,
    stats,
    task_queue,
    worker,
)


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
    def test_growth_is_held_once_the_server_has_limited_the_rate_for_10s(
        self, since: timedelta, desired: int, moved_by: list[ReasonCode]
    ) -> None:
        decision = decide(
            situation(
                waiting=backlog(90, rate_limited=True),
                replicas=2,
                past=remembered(rate_limited_since={task_queue(): NOW - since}),
            )
        )
        assert decision.desired == desired
        assert codes(decision) == moved_by

    def test_the_reason_says_where_growth_is_held(self) -> None:
        watch = Watch(2)
        watch.look(backlog(90, rate_limited=True), 2)
        decision = watch.look(backlog(90, rate_limited=True), 2, after=MINUTE)
        assert str(decision.reasons[-1]) == (
            "the server limits the rate of the task queue → keeps 2"
        )

    def test_a_scale_in_is_not_held(self) -> None:
        past = remembered(rate_limited_since={task_queue(): NOW - HOUR})
        decision = decide(situation(waiting=backlog(1, rate_limited=True), replicas=9, past=past))
        assert decision.desired == 1
        assert codes(decision) == [ReasonCode.BACKLOG]

    @pytest.mark.parametrize(
        "between", [pytest.param(backlog(90), id="no"), pytest.param(None, id="unknown")]
    )
    def test_any_other_answer_starts_the_10s_again(self, between: Backlog | None) -> None:
        limited = backlog(90, rate_limited=True)
        watch = Watch(2)
        watch.look(limited, 2)
        watch.look(between, 2)
        assert watch.look(limited, 2).desired == 9
        assert watch.look(limited, 2, after=10 * SECOND - INSTANT).desired == 9
        assert watch.look(limited, 2, after=INSTANT).desired == 2

    @pytest.mark.parametrize(
        ("replicas", "tasks", "activities", "desired"),
        [
            pytest.param(1, 900, 9, 90, id="the-others-let-it-grow"),
            pytest.param(0, 900, 9, 90, id="the-others-wake-it"),
            pytest.param(2, 50, 900, 5, id="as-far-as-they-ask-for-it"),
            pytest.param(2, 10, 900, 2, id="no-further-than-it-is"),
            pytest.param(2, 0, 900, 2, id="nothing-else-waits"),
            pytest.param(0, 0, 900, 0, id="nothing-else-waits-at-zero"),
        ],
    )
    def test_only_the_growth_that_a_limited_queue_asks_for_is_held(
        self, replicas: int, tasks: int, activities: int, desired: int
    ) -> None:
        limited = task_queue(type_=QueueType.ACTIVITY)
        parts = {task_queue(): stats(tasks), limited: stats(activities, rate_limited=True)}
        decision = decide(
            situation(
                waiting=Backlog(parts),
                replicas=replicas,
                past=remembered(rate_limited_since={limited: NOW - HOUR}),
                min=0,
                max=100,
            )
        )
        assert decision.desired == desired
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.RATE_LIMITED]
        keeps = "" if desired > replicas else "keeps "
        assert str(decision.reasons[-1]) == (
            f"the server limits the rate of 'orders' (activity) → {keeps}{desired}"
        )

    def test_the_others_wake_a_service_only_above_the_activation(self) -> None:
        limited = task_queue("mails")
        parts = {task_queue(): stats(5), limited: stats(9, rate_limited=True)}
        past = remembered(rate_limited_since={limited: NOW - HOUR})

        def desired(activation: int) -> int:
            given = situation(
                waiting=Backlog(parts), replicas=0, min=0, past=past, activation=activation
            )
            return decide(given).desired

        assert (desired(4), desired(5)) == (1, 0)

    def test_each_queue_has_10s_of_its_own(self) -> None:
        watch = Watch(1, max=100)

        def look(limited: str) -> int:
            parts = {
                task_queue(name): stats(100, rate_limited=name in limited, dispatch_rate=1.0)
                for name in ("a", "b")
            }
            return watch.look(Backlog(parts), 1).desired

        assert [look("a"), look("ab"), look("ab"), look("ab")] == [20, 20, 10, 1]

    @pytest.mark.parametrize(
        ("kind", "desired"),
        [
            pytest.param(SlotKind.ACTIVITY, 2, id="slots-of-its-type-do-not-count"),
            pytest.param(SlotKind.LOCAL_ACTIVITY, 3, id="other-slots-do"),
        ],
    )
    def test_slots_that_only_limited_tasks_can_take_ask_for_no_growth(
        self, kind: SlotKind, desired: int
    ) -> None:
        limited = task_queue(type_=QueueType.ACTIVITY)
        parts = {task_queue(): stats(0), limited: stats(0, rate_limited=True)}
        past = remembered(rate_limited_since={limited: NOW - HOUR})
        workers = tuple(worker(host, slots={kind: Slots(used=2)}) for host in ("r1", "r2"))
        replicas = (Replica("r1", "r1"), Replica("r2", "r2"))
        given = situation(waiting=Backlog(parts), replicas=2, past=past, slots_target=0.8)
        decision = decide(replace(given, in_flight=InFlight(replicas, workers)))
        assert decision.desired == desired


class TestPhantom:
    """Growth for tasks that no worker gets is held."""

    @staticmethod
    def stalled() -> Watch:
        """Watch a service of 2 replicas whose 90 waiting tasks have not moved for 11 minutes."""
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
    def test_growth_is_held_2m_after_replicas_were_added_in_vain(
        self, after: timedelta, desired: int
    ) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        decision = watch.look(90, 3, after=after)
        assert decision.desired == desired
        assert (ReasonCode.PHANTOM in codes(decision)) == (desired == 3)

    def test_growth_is_held_for_more_than_an_hour_if_nothing_moves(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        desired = {watch.look(90, 3, after=MINUTE).desired for _ in range(130)}
        assert watch.look(90, 3).desired == 3
        assert desired == {3, 4}

    def test_the_reason_says_where_growth_is_held(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        decision = watch.look(90, 3, after=2 * MINUTE)
        assert codes(decision) == [
            ReasonCode.BACKLOG,
            ReasonCode.SCALE_OUT_LIMIT,
            ReasonCode.PHANTOM,
        ]
        assert str(decision.reasons[-1]) == (
            "nothing was dispatched since replicas were added → keeps 3"
        )

    def test_growth_is_free_where_no_replica_was_added(self) -> None:
        assert self.stalled().look(90, 2, after=HOUR).desired == 3

    def test_a_removal_does_not_count_as_growth(self) -> None:
        watch = self.stalled()
        watch.look(90, 1)
        assert watch.look(90, 1, after=2 * MINUTE).desired == 2

    def test_more_growth_in_vain_does_not_restart_the_2m(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        watch.look(90, 4, after=MINUTE)
        assert watch.look(90, 4, after=MINUTE).desired == 4

    def test_growth_that_was_undone_does_not_count(self) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        watch.look(90, 2)
        assert watch.look(90, 2, after=2 * MINUTE).desired == 3

    def test_growth_is_held_while_some_of_the_added_replicas_remain(self) -> None:
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
    def test_any_movement_lets_the_service_grow_again(self, movement: Backlog | int | None) -> None:
        watch = self.stalled()
        watch.look(90, 3)
        assert watch.look(90, 3, after=2 * MINUTE).desired == 3
        watch.look(movement, 3)
        assert watch.look(90, 3).desired == 4
        assert watch.look(90, 3, after=HOUR).desired == 4

    def test_growth_before_the_stall_does_not_count(self) -> None:
        watch = Watch(2)
        watch.look(backlog(90, dispatch_rate=1.0), 2)
        watch.look(backlog(90, dispatch_rate=1.0), 3)
        watch.look(90, 3)
        assert watch.look(90, 3, after=HOUR - MINUTE).desired == 9

    def test_growth_found_by_the_look_that_finds_the_stall_counts(self) -> None:
        watch = Watch(2)
        watch.look(backlog(90, add_rate=1.0), 2)
        watch.look(90, 3)
        assert watch.look(90, 3, after=2 * MINUTE).desired == 3

    def test_growth_by_hand_counts(self) -> None:
        watch = Watch(2, mode="pause-out")
        watch.look(90, 2)
        watch.look(90, 4)
        decision = watch.look(90, 4, after=2 * MINUTE)
        assert codes(decision) == [ReasonCode.BACKLOG, ReasonCode.PHANTOM]

    def test_a_scale_in_is_not_held(self) -> None:
        watch = self.stalled()
        watch.look(1, 3)
        assert watch.look(1, 3, after=2 * MINUTE).desired == 1
