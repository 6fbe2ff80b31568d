"""One task queue, several services: how what waits in it is divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscaler.core.backlog import (
    Backlog,
    BuildStatus,
    QueueStats,
    TaskQueue,
    UnknownBacklog,
    WorkerVersion,
)
from autoscaler.core.decide import decide
from autoscaler.core.divide import divide
from autoscaler.core.history import History
from autoscaler.core.label_values import KeepUp, Mode, QueueType
from autoscaler.core.model import Ceiling, EndedBy, Ending, ServiceId
from autoscaler.core.reason import ReasonCode
from autoscaler.core.schedule import Schedule
from autoscaler.core.share import Allowance
from autoscaler.core.sharers import sharing_with
from autoscaler.core.situation import Situation
from autoscaler.core.throughput import Throughput
from tests.unit.builders import (
    MINUTE,
    NOW,
    SECOND,
    UNKNOWN,
    remembered,
    situation,
    stats,
    task_queue,
)
from tests.unit.core.strategies import some

A, B, C = (ServiceId("compose", f"shop/{letter}") for letter in "abc")
QUEUE = task_queue()
OWN = {"default": "orders-ns"}
NO_WINDOW: Mapping[str, Any] = {"scale_in_window": timedelta()}


def polling(
    waiting: int | Backlog | UnknownBacklog | None,
    allowance: Allowance | None = None,
    **rest: Any,
) -> Situation:
    """Describe a service at target 10 that may have 0 to 10 replicas and has none."""
    given = situation(waiting=waiting, **{"replicas": 0, "min": 0, **NO_WINDOW, **rest})
    return replace(given, allowance=allowance)


def portions(situations: Mapping[ServiceId, Situation]) -> list[int | None]:
    """Return the tasks that each service is left with; None where its backlog is unknown."""
    return [
        each.backlog.waiting if isinstance(each.backlog, Backlog) else None
        for _, each in sorted(situations.items())
    ]


def replicas(situations: Mapping[ServiceId, Situation]) -> list[int]:
    """Return the replicas that are decided for each service."""
    return [decide(each).desired for _, each in sorted(situations.items())]


def known(given: Situation) -> Backlog:
    """Return the backlog of a service, which has to be known."""
    assert isinstance(given.backlog, Backlog)
    return given.backlog


class TestTasksThatWait:
    def test_they_are_dealt_in_portions_of_a_target(self) -> None:
        divided = divide({service: polling(34) for service in (A, B, C)}, OWN)
        assert portions(divided) == [14, 10, 10]
        assert replicas(divided) == [2, 1, 1]

    def test_two_services_get_together_what_one_alone_would(self) -> None:
        divided = divide({service: polling(34) for service in (A, B)}, OWN)
        assert replicas(divided) == [2, 2]
        assert replicas({A: polling(34)}) == [4]

    def test_the_portions_of_a_service_come_as_often_as_its_weight_says(self) -> None:
        divided = divide({A: polling(80), B: polling(80, weight=3)}, OWN)
        assert portions(divided) == [20, 60]

    def test_the_heavier_service_comes_first(self) -> None:
        assert portions(divide({A: polling(7), B: polling(7, weight=2)}, OWN)) == [0, 7]

    def test_a_few_tasks_go_to_one_service(self) -> None:
        assert portions(divide({A: polling(7), B: polling(7)}, OWN)) == [7, 0]

    def test_an_empty_queue_leaves_nothing_to_anybody(self) -> None:
        assert portions(divide({A: polling(0), B: polling(0)}, OWN)) == [0, 0]

    def test_services_of_different_targets_get_portions_of_their_own(self) -> None:
        divided = divide({A: polling(34, target=5), B: polling(34, target=20)}, OWN)
        assert portions(divided) == [10, 24]

    def test_all_types_of_task_are_dealt_together(self) -> None:
        backlog = Backlog(
            {
                task_queue(type_=QueueType.WORKFLOW): stats(14),
                task_queue(type_=QueueType.ACTIVITY): stats(24),
            }
        )
        divided = divide({A: polling(backlog), B: polling(backlog)}, OWN)
        assert sum(replicas(divided)) == 4

    def test_a_backlog_without_bounds_costs_no_more_than_the_replicas_that_there_can_be(
        self,
    ) -> None:
        divided = divide({A: polling(10**9, target=1), B: polling(10**9, target=1)}, OWN)
        assert sum(each or 0 for each in portions(divided)) == 10**9
        assert replicas(divided) == [10, 10]

    def test_replicas_of_compose_and_swarm_share_alike(self) -> None:
        both = (ServiceId("compose", "shop/a"), ServiceId("swarm", "shop_a"))
        assert portions(divide({service: polling(34) for service in both}, OWN)) == [20, 14]


class TestWhatOneCannotTake:
    @pytest.mark.parametrize(
        "held",
        [
            {"max": 1},
            {"mode": Mode.PAUSE_OUT, "replicas": 1},
            {"ceiling": Ceiling(1, "it has a fixed name")},
            {"activation": 2, "max": 1},
            {"allowance": Allowance(1, "group gpu")},
            {
                "replicas": 0,
                "ending": Ending(EndedBy.ITSELF, seen=True, retry_at=NOW - MINUTE),
            },
        ],
        ids=str,
    )
    def test_goes_to_the_others(self, held: Mapping[str, Any]) -> None:
        divided = divide({A: polling(34, **held), B: polling(34)}, OWN)
        assert portions(divided) == [10, 24]
        assert replicas(divided) == [1, 3]

    @pytest.mark.parametrize(
        "held",
        [
            {"mode": Mode.OFF, "waiting": UnknownBacklog(())},
            {"mode": Mode.PAUSE_OUT},
            {"mode": Mode.DRY_RUN},
            {"refusal": "an update is under way"},
            {"ceiling": Ceiling(0, "its image is gone")},
            {"activation": 34},
            {"ending": Ending(EndedBy.HAND, seen=True)},
            {"ending": Ending(EndedBy.ITSELF, seen=True, retry_at=NOW + MINUTE)},
            {"waiting": UNKNOWN},
        ],
        ids=str,
    )
    def test_a_service_that_stays_at_zero_leaves_all_to_the_others(
        self, held: Mapping[str, Any]
    ) -> None:
        divided = divide({A: polling(**{"waiting": 34, **held}), B: polling(34)}, OWN)
        assert portions(divided)[1] == 34
        assert replicas(divided) == [0, 4]

    def test_a_schedule_says_what_max_is_now(self) -> None:
        always = Schedule.parse("daily 00:00-24:00 min=0 max=1", 10_000)
        spec = polling(34, max=10, schedule=always).spec.at(NOW)
        divided = divide({A: replace(polling(34), spec=spec), B: polling(34)}, OWN)
        assert portions(divided) == [10, 24]

    def test_what_nobody_can_take_is_shown_to_the_first(self) -> None:
        divided = divide({A: polling(100, max=2), B: polling(100, max=1)}, OWN)
        assert portions(divided) == [90, 10]
        assert replicas(divided) == [2, 1]

    @pytest.mark.parametrize(
        "held",
        [
            {"mode": Mode.OFF, "waiting": UnknownBacklog(())},
            {"mode": Mode.DRY_RUN},
            {"refusal": "an update is under way"},
            {"ending": Ending(EndedBy.ITSELF, seen=True, retry_at=NOW + MINUTE)},
            {"ending": Ending(EndedBy.ITSELF, seen=True)},
        ],
        ids=str,
    )
    def test_a_service_that_is_not_scaled_leaves_all_to_the_others(
        self, held: Mapping[str, Any]
    ) -> None:
        first = polling(**{"waiting": 34, "replicas": 2, "min": 1, **held})
        divided = divide({A: first, B: polling(34)}, OWN)
        assert portions(divided)[1] == 34
        assert replicas(divided)[1] == 4

    def test_a_dry_run_shows_what_the_others_cannot_take(self) -> None:
        divided = divide({A: polling(34, mode=Mode.DRY_RUN), B: polling(34, max=2)}, OWN)
        assert portions(divided) == [14, 20]

    def test_dry_runs_share_like_any_services(self) -> None:
        dry = polling(34, mode=Mode.DRY_RUN)
        assert portions(divide({A: dry, B: dry}, OWN)) == [20, 14]

    def test_replicas_of_a_service_that_is_off_work_too(self) -> None:
        off = polling(UnknownBacklog(()), mode=Mode.OFF, replicas=3)
        moving = Backlog({QUEUE: stats(34, add_rate=4.0, dispatch_rate=4.0)})
        divided = divide({A: off, B: polling(moving, replicas=1)}, OWN)
        part = known(divided[B]).parts[QUEUE]
        assert (part.waiting, part.add_rate, part.dispatch_rate) == (34, 4.0, 1.0)

    def test_replicas_that_stay_anyway_are_filled_first(self) -> None:
        for held in ({"min": 3}, {"mode": Mode.PAUSE_IN, "replicas": 3}):
            divided = divide({A: polling(34), B: polling(34, **held)}, OWN)
            assert portions(divided) == [4, 30]
            assert replicas(divided) == [1, 3]

    def test_a_service_at_zero_sleeps_on_while_others_have_to_be_there_anyway(self) -> None:
        divided = divide({A: polling(8), B: polling(8, min=1, replicas=1)}, OWN)
        assert replicas(divided) == [0, 1]


class TestWakingAndSleeping:
    def test_activation_is_compared_with_the_whole_queue(self) -> None:
        divided = divide({A: polling(34, activation=30), B: polling(34, activation=30)}, OWN)
        assert replicas(divided) == [2, 2]
        assert replicas(
            divide({A: polling(30, activation=30), B: polling(30, activation=30)}, OWN)
        ) == [0, 0]

    def test_one_service_stays_awake_for_tasks_that_only_move(self) -> None:
        moving = Backlog({QUEUE: stats(0, add_rate=0.1, dispatch_rate=0.1)})
        divided = divide({A: polling(moving, replicas=1), B: polling(moving, replicas=1)}, OWN)
        assert replicas(divided) == [1, 0]

    def test_that_is_one_that_is_awake(self) -> None:
        moving = Backlog({QUEUE: stats(0, add_rate=0.1, dispatch_rate=0.1)})
        divided = divide({A: polling(moving), B: polling(moving, replicas=1)}, OWN)
        assert replicas(divided) == [0, 1]

    def test_or_one_that_is_there_anyway(self) -> None:
        moving = Backlog({QUEUE: stats(0, add_rate=0.1, dispatch_rate=0.1)})
        divided = divide(
            {A: polling(moving, replicas=1), B: polling(moving, replicas=1, min=1)}, OWN
        )
        assert replicas(divided) == [0, 1]

    def test_a_service_in_its_cooldown_comes_before_one_at_zero(self) -> None:
        awake = polling(7, replicas=1, past=remembered(active_at=NOW - SECOND))
        divided = divide({A: polling(7, weight=3), B: awake}, OWN)
        assert replicas(divided) == [0, 1]

    def test_the_cooldown_is_for_the_last_replica_of_all(self) -> None:
        awake = polling(0, replicas=1, past=remembered(active_at=NOW - SECOND))
        assert replicas(divide({A: awake, B: awake}, OWN)) == [1, 0]

    def test_a_service_with_a_queue_of_its_own_has_a_cooldown_of_its_own(self) -> None:
        both = Backlog({QUEUE: stats(0), task_queue("mails"): stats(0)})
        past = remembered(active_at=NOW - SECOND)
        divided = divide(
            {A: polling(0, replicas=1, past=past), B: polling(both, replicas=1, past=past)}, OWN
        )
        assert replicas(divided) == [1, 1]

    def test_activation_counts_the_whole_queue_beside_one_whose_rate_is_limited(self) -> None:
        mails = task_queue("mails")
        both = Backlog({QUEUE: stats(34), mails: stats(50, rate_limited=True)})
        past = remembered(rate_limited_since={mails: NOW - MINUTE})
        spec: Mapping[str, Any] = {"activation": 30, "past": past, "keep_up": KeepUp(on=False)}
        divided = divide({A: polling(both, **spec), B: polling(both, **spec)}, OWN)
        assert all(replicas(divided))

    def test_a_queue_whose_tasks_others_get_is_no_stalled_one(self) -> None:
        moving = Backlog({QUEUE: stats(34, add_rate=1.0, dispatch_rate=1.0)})
        divided = divide({A: polling(moving, replicas=2), B: polling(moving)}, OWN)
        assert decide(divided[B]).history.stalled_since is None

    def test_a_queue_that_others_get_tasks_of_is_no_silent_one(self) -> None:
        divided = divide({A: polling(7), B: polling(7, replicas=1, past=History.seed(1, NOW))}, OWN)
        assert decide(divided[B]).history.silent_since == {}


class TestRates:
    def test_arrivals_ask_for_as_many_replicas_as_for_one_service(self) -> None:
        arriving = Backlog({QUEUE: stats(0, add_rate=3.3, dispatch_rate=3.3)})
        spec = {"keep_up": KeepUp(throughput=1.0), "replicas": 1}
        divided = divide({service: polling(arriving, **spec) for service in (A, B, C)}, OWN)
        assert replicas(divided) == [2, 1, 1]

    def test_arrivals_move_no_replica_from_one_service_to_another(self) -> None:
        arriving = Backlog({QUEUE: stats(0, add_rate=3.3, dispatch_rate=3.3)})
        spec = {"keep_up": KeepUp(throughput=1.0)}
        divided = divide(
            {A: polling(arriving, replicas=1, **spec), B: polling(arriving, replicas=3, **spec)},
            OWN,
        )
        assert replicas(divided) == [1, 3]

    def test_a_service_at_zero_leaves_arrivals_to_the_others(self) -> None:
        arriving = Backlog({QUEUE: stats(0, add_rate=3.3, dispatch_rate=3.3)})
        spec = {"keep_up": KeepUp(throughput=1.0)}
        divided = divide(
            {A: polling(arriving, **spec), B: polling(arriving, replicas=2, **spec)}, OWN
        )
        assert replicas(divided) == [0, 4]

    def test_a_service_that_does_not_keep_up_takes_only_what_its_replicas_do(self) -> None:
        arriving = Backlog({QUEUE: stats(0, add_rate=3.3, dispatch_rate=3.3)})
        divided = divide(
            {
                A: polling(arriving, replicas=1, keep_up=KeepUp(on=False)),
                B: polling(arriving, replicas=1, keep_up=KeepUp(throughput=1.0)),
            },
            OWN,
        )
        rates = [known(divided[each]).parts[QUEUE].add_rate for each in (A, B)]
        assert rates == pytest.approx([1.0, 2.3])

    def test_what_is_dispatched_goes_by_the_present_replicas(self) -> None:
        moving = Backlog({QUEUE: stats(0, add_rate=4.0, dispatch_rate=4.0)})
        divided = divide({A: polling(moving, replicas=1), B: polling(moving, replicas=3)}, OWN)
        rates = [known(divided[service]).parts[QUEUE].dispatch_rate for service in (A, B)]
        assert rates == [1.0, 3.0]

    def test_each_type_of_task_goes_by_what_a_replica_does_of_it(self) -> None:
        learnt = Throughput(rates={QueueType.ACTIVITY: 2.0})
        activity = task_queue(type_=QueueType.ACTIVITY)
        arriving = Backlog({activity: stats(0, add_rate=3.0, dispatch_rate=3.0)})
        past = remembered(throughput=learnt)
        divided = divide(
            {service: polling(arriving, replicas=1, past=past) for service in (A, B)}, OWN
        )
        assert [known(divided[each]).parts[activity].add_rate for each in (A, B)] == [2.0, 1.0]

    def test_a_replica_of_unknown_throughput_does_what_those_of_the_others_do(self) -> None:
        arriving = Backlog({QUEUE: stats(0, add_rate=3.0, dispatch_rate=3.0)})
        divided = divide(
            {
                A: polling(arriving, replicas=1),
                B: polling(arriving, replicas=1, keep_up=KeepUp(throughput=2.0)),
            },
            OWN,
        )
        assert [known(divided[each]).parts[QUEUE].add_rate for each in (A, B)] == [2.0, 1.0]

    def test_the_limit_of_the_server_holds_for_all(self) -> None:
        limited = Backlog({QUEUE: stats(34, rate_limited=True)})
        divided = divide({A: polling(limited), B: polling(limited)}, OWN)
        assert all(known(each).rate_limited for each in divided.values())


class TestLateTasks:
    LATE = Backlog({QUEUE: stats(8, age=2 * MINUTE)})

    def late(self, **rest: Any) -> Situation:
        return polling(self.LATE, **{"max_wait": MINUTE, **rest})

    def test_one_service_grows_by_what_all_lack(self) -> None:
        divided = divide({A: self.late(replicas=1), B: self.late(replicas=1)}, OWN)
        assert replicas(divided) == [3, 1]
        (said,) = [each for each in decide(divided[B]).reasons if each.code is ReasonCode.MAX_WAIT]
        assert "another service of the task queue grows for it" in str(said)

    def test_the_next_is_the_one_with_fewest_replicas(self) -> None:
        divided = divide({A: self.late(replicas=2), B: self.late(replicas=1)}, OWN)
        assert replicas(divided) == [2, 4]

    def test_nobody_else_grows_until_new_replicas_have_had_time_to_start(self) -> None:
        grown = remembered(changes=[(5 * SECOND, 2)])
        divided = divide({A: self.late(replicas=3, past=grown), B: self.late(replicas=1)}, OWN)
        assert replicas(divided) == [3, 1]

    def test_a_service_at_its_max_leaves_the_turn_to_the_others(self) -> None:
        divided = divide({A: self.late(replicas=1, max=1), B: self.late(replicas=2)}, OWN)
        assert replicas(divided) == [1, 5]

    def test_nobody_shrinks_while_the_oldest_task_is_half_late(self) -> None:
        waiting = Backlog({QUEUE: stats(8, age=40 * SECOND)})
        spec = {"replicas": 2, "max_wait": MINUTE}
        divided = divide({A: polling(waiting, **spec), B: polling(waiting, **spec)}, OWN)
        assert replicas(divided) == [2, 2]


class TestWhoShares:
    def test_a_service_that_is_alone_keeps_its_own_situation(self) -> None:
        other = Backlog({task_queue("mails"): stats(34)})
        alone = {A: polling(34), B: polling(other, queues=("mails",))}
        divided = divide(alone, OWN)
        assert divided[A] is alone[A]
        assert divided[B] is alone[B]

    @pytest.mark.parametrize(
        "other",
        [
            task_queue(namespace="another"),
            task_queue(integration="cloud"),
            task_queue("mails"),
            task_queue(type_=QueueType.NEXUS),
            TaskQueue("default", None, "orders", QueueType.WORKFLOW, WorkerVersion("shop", "v1")),
        ],
        ids=str,
    )
    def test_another_namespace_integration_name_type_or_build_is_another_queue(
        self, other: TaskQueue
    ) -> None:
        situations = {A: polling(34), B: polling(Backlog({other: stats(34)}))}
        divided = divide(situations, OWN)
        assert all(divided[service] is situations[service] for service in (A, B))

    def test_the_own_namespace_of_an_integration_may_be_named(self) -> None:
        named = Backlog({task_queue(namespace="orders-ns"): stats(34)})
        divided = divide({A: polling(34), B: polling(named)}, OWN)
        assert portions(divided) == [20, 14]
        assert set(known(divided[B]).parts) == {task_queue(namespace="orders-ns")}

    def test_a_queue_of_its_own_is_left_to_its_service(self) -> None:
        both = Backlog({QUEUE: stats(34), task_queue("mails"): stats(36)})
        divided = divide({A: polling(34), B: polling(both)}, OWN)
        assert known(divided[B]).parts[task_queue("mails")].waiting == 36
        assert portions(divided) == [30, 40]

    def test_services_that_share_different_queues_are_divided_together(self) -> None:
        mails = task_queue("mails")
        middle = Backlog({QUEUE: stats(20), mails: stats(20)})
        divided = divide(
            {A: polling(20), B: polling(middle), C: polling(Backlog({mails: stats(20)}))}, OWN
        )
        assert sum(replicas(divided)) == 4

    def test_sharing_goes_on_from_queue_to_queue(self) -> None:
        mails = task_queue("mails")
        queues = {A: [QUEUE], B: [QUEUE, mails], C: [mails]}
        assert sharing_with({A}, queues, OWN) == {A, B, C}
        assert sharing_with({A}, {A: [QUEUE], C: [mails]}, OWN) == {A}
        assert sharing_with((), queues, OWN) == set()


class TestWhatIsUnknown:
    def test_a_queue_that_cannot_be_read_is_unknown_for_all(self) -> None:
        assert portions(divide({A: polling(None), B: polling(None)}, OWN)) == [None, None]

    def test_a_service_whose_backlog_is_unknown_keeps_the_portion_of_its_replicas(self) -> None:
        divided = divide({A: polling(None, replicas=2), B: polling(34, replicas=2)}, OWN)
        assert replicas(divided) == [2, 2]

    def test_a_service_that_was_not_seen_keeps_the_portion_of_its_replicas(self) -> None:
        divided = divide({B: polling(34, replicas=2)}, OWN, {A: polling(20, replicas=2)})
        assert replicas(divided) == [2]
        assert set(divided) == {B}

    def test_the_status_of_a_build_is_that_of_the_queue(self) -> None:
        drained = Backlog({QUEUE: stats(34, build=BuildStatus.DRAINED)})
        divided = divide({A: polling(drained), B: polling(drained)}, OWN)
        assert all(known(each).build is BuildStatus.DRAINED for each in divided.values())


class TestReasons:
    def test_they_say_what_a_portion_is_a_portion_of(self) -> None:
        divided = divide({A: polling(34), B: polling(34)}, OWN)
        assert [str(decide(divided[each]).recommendation) for each in (A, B)] == [
            "20 waiting tasks of 34, shared with shop/b, at target 10 → 2",
            "14 waiting tasks of 34, shared with shop/a, at target 10 → 2",
        ]

    def test_they_name_three_services_at_most(self) -> None:
        many = [ServiceId("compose", f"shop/{letter}") for letter in "abcdef"]
        divided = divide({service: polling(7) for service in many}, OWN)
        assert str(decide(divided[many[0]]).recommendation) == (
            "7 waiting tasks of 7, shared with shop/b, shop/c, shop/d and 2 more, at target 10 → 1"
        )


# ------------------------------------------------------------------ properties


@st.composite
def sharers(draw: st.DrawFn) -> dict[ServiceId, Situation]:
    """Draw services that poll one or two of two queues, and may be held by anything."""
    whole = {
        queue: stats(
            draw(st.integers(0, 200)),
            add_rate=draw(st.sampled_from([0.0, 0.5, 7.3])),
            dispatch_rate=draw(st.sampled_from([0.0, 0.5, 7.3])),
            age=draw(st.sampled_from([0, 50, 100])) * SECOND,
        )
        for queue in (QUEUE, task_queue("mails"))
    }
    found: dict[ServiceId, Situation] = {}
    for number in range(draw(st.integers(1, 4))):
        low = draw(st.sampled_from([0, 0, 1, 4]))
        polled = draw(st.sampled_from([[QUEUE], [QUEUE], list(whole), [task_queue("mails")]]))
        found[ServiceId("compose", f"shop/{number}")] = polling(
            Backlog({queue: whole[queue] for queue in polled}),
            target=draw(st.integers(1, 30)),
            min=low,
            max=draw(st.integers(max(low, 1), 12)),
            replicas=draw(st.integers(0, 12)),
            mode=draw(
                st.sampled_from([Mode.ON] * 4 + [Mode.PAUSE_IN, Mode.PAUSE_OUT, Mode.DRY_RUN])
            ),
            refusal=draw(st.sampled_from([None, None, None, "an update is under way"])),
            activation=draw(st.sampled_from([0, 0, 20])),
            max_wait=draw(st.sampled_from([None, MINUTE])),
            weight=draw(st.sampled_from([1, 1, 0.5, 3])),
            keep_up=draw(st.sampled_from([KeepUp(), KeepUp(on=False), KeepUp(throughput=1.5)])),
        )
    return found


class TestProperties:
    @some
    @given(sharers())
    def test_nothing_is_lost_and_nothing_counts_twice(
        self, situations: dict[ServiceId, Situation]
    ) -> None:
        divided = divide(situations, OWN)
        whole: dict[TaskQueue, QueueStats] = {}
        for each in situations.values():
            whole |= known(each).parts
        for queue, stats_ in whole.items():
            parts = [
                known(each).parts[queue] for each in divided.values() if queue in known(each).parts
            ]
            assert sum(part.waiting for part in parts) == stats_.waiting
            assert sum(part.add_rate for part in parts) == pytest.approx(stats_.add_rate)
            assert sum(part.dispatch_rate for part in parts) == pytest.approx(stats_.dispatch_rate)
            assert all(part.waiting >= 0 and part.add_rate >= 0 for part in parts)

    @some
    @given(sharers())
    def test_what_is_divided_already_is_divided_in_the_same_way(
        self, situations: dict[ServiceId, Situation]
    ) -> None:
        once = divide(situations, OWN)
        assert divide(once, OWN) == once

    @some
    @given(sharers())
    def test_the_order_in_which_services_come_changes_nothing(
        self, situations: dict[ServiceId, Situation]
    ) -> None:
        backwards = dict(reversed(list(situations.items())))
        assert divide(backwards, OWN) == divide(situations, OWN)

    @some
    @given(sharers())
    def test_a_service_that_polls_alone_keeps_its_own_situation(
        self, situations: dict[ServiceId, Situation]
    ) -> None:
        divided = divide(situations, OWN)
        for service, before in situations.items():
            others = {
                queue
                for id_, each in situations.items()
                if id_ != service
                for queue in known(each).parts
            }
            alone = others.isdisjoint(known(before).parts)
            assert alone == (divided[service] is before)

    @some
    @given(
        st.integers(0, 500),
        st.integers(1, 40),
        st.lists(st.tuples(st.integers(0, 3), st.integers(3, 15)), min_size=1, max_size=5),
    )
    def test_with_equal_targets_and_room_enough_they_get_what_one_alone_would(
        self, waiting: int, target: int, bounds: list[tuple[int, int]]
    ) -> None:
        services = {
            ServiceId("compose", f"shop/{number}"): polling(
                waiting, target=target, min=low, max=high, replicas=low
            )
            for number, (low, high) in enumerate(bounds)
        }
        least, most = sum(low for low, _ in bounds), sum(high for _, high in bounds)
        found = replicas(divide(services, OWN))
        assert sum(found) == min(max(-(-waiting // target), least), most)
        assert all(low <= number <= high for number, (low, high) in zip(found, bounds, strict=True))

    @some
    @given(
        st.integers(0, 300),
        st.lists(st.tuples(st.integers(0, 3), st.integers(3, 15)), min_size=2, max_size=5),
    )
    def test_one_more_task_takes_nothing_from_anybody(
        self, waiting: int, bounds: list[tuple[int, int]]
    ) -> None:
        def dealt(tasks: int) -> list[int | None]:
            return portions(
                divide(
                    {
                        ServiceId("compose", f"shop/{number}"): polling(tasks, min=low, max=high)
                        for number, (low, high) in enumerate(bounds)
                    },
                    OWN,
                )
            )

        pairs = list(zip(dealt(waiting), dealt(waiting + 1), strict=True))
        assert all(before is not None and after is not None for before, after in pairs)
        assert sorted((after or 0) - (before or 0) for before, after in pairs) == [
            *[0] * (len(pairs) - 1),
            1,
        ]

    @some
    @given(st.integers(0, 300), st.lists(st.integers(0, 12), min_size=2, max_size=4))
    def test_what_was_decided_is_decided_again(self, waiting: int, present: list[int]) -> None:
        """Nobody's portion follows from its own replicas, so none goes to and fro."""

        def decided(numbers: list[int]) -> list[int]:
            return replicas(
                divide(
                    {
                        ServiceId("compose", f"shop/{at}"): polling(waiting, replicas=number)
                        for at, number in enumerate(numbers)
                    },
                    OWN,
                )
            )

        once = decided(present)
        twice = decided(once)
        assert decided(twice) == twice
