"""Backlogs of several integrations: each is read once, few at a time, and within the budget."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.backlog import QueueStats, TaskQueue
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.in_flight import WorkerQuery
from autoscaler.core.label_values import QueueType
from autoscaler.core.sighting import FRESH
from autoscaler.sources.temporal.calls import AT_ONCE, DEADLINE
from tests.unit.builders import stats, task_queue
from tests.unit.sources.temporal.place import Place, small_budget

GONE = RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")


@pytest.fixture
def place() -> Place:
    return Place()


class TestReading:
    async def test_the_servers_figures_are_returned(self, place: Place) -> None:
        place.server.stats["orders"] = TaskQueueStats(
            approximate_backlog_count=1234,
            approximate_backlog_age=Duration(seconds=90),
            tasks_add_rate=1.5,
            tasks_dispatch_rate=0.5,
        )
        queue = task_queue()
        assert await place.source.read([queue]) == {
            queue: QueueStats(1234, timedelta(seconds=90), 1.5, 0.5)
        }

    async def test_every_call_is_measured_even_one_that_fails(self, place: Place) -> None:
        place.server.broken_queues["mails"] = RPCError("?", RPCStatusCode.INVALID_ARGUMENT, b"")
        await place.source.read([task_queue("orders"), task_queue("mails")])
        assert len(place.took) == 2
        assert all(0 <= seconds < 5 for seconds in place.took)

    @pytest.mark.parametrize(
        ("type_", "asked"),
        [
            (QueueType.WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
            (QueueType.ACTIVITY, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
            (QueueType.NEXUS, TaskQueueType.TASK_QUEUE_TYPE_NEXUS),
        ],
    )
    async def test_each_type_is_read_as_that_type(
        self, place: Place, type_: QueueType, asked: TaskQueueType.ValueType
    ) -> None:
        await place.source.read([task_queue("orders", type_)])
        (call,) = place.server.calls
        assert (call.task_queue.name, call.task_queue_type) == ("orders", asked)
        assert call.report_stats

    async def test_a_call_is_not_retried_and_has_a_deadline_of_its_own(self, place: Place) -> None:
        await place.source.read([task_queue()])
        assert place.server.options == [(False, DEADLINE)]

    async def test_each_queue_and_type_is_read_once(self, place: Place) -> None:
        queues = [task_queue(name, type_) for name in ("a", "b") for type_ in QueueType]
        await place.source.read(queues)
        asked = Counter((call.task_queue.name, call.task_queue_type) for call in place.server.calls)
        assert len(asked) == 6
        assert set(asked.values()) == {1}

    async def test_a_namespace_named_by_label_and_by_integration_is_read_once(
        self, place: Place
    ) -> None:
        place.fill("orders", 7)
        by_integration, by_label = task_queue(), task_queue(namespace="shop")
        answers = await place.source.read([by_integration, by_label])
        assert len(place.server.calls) == 1
        assert answers == {by_integration: stats(7), by_label: stats(7)}

    @pytest.mark.parametrize(
        ("queue", "namespace"),
        [
            pytest.param(task_queue(), "shop", id="the-integrations-own"),
            pytest.param(task_queue(namespace="eu"), "eu", id="another-one"),
            pytest.param(task_queue(integration="prod"), "live", id="of-another-integration"),
        ],
    )
    async def test_the_namespace_is_the_label_or_else_the_integration_default(
        self, place: Place, queue: TaskQueue, namespace: str
    ) -> None:
        await place.source.read([queue])
        assert [call.namespace for call in place.server.calls] == [namespace]

    @pytest.mark.parametrize(
        ("age", "calls"),
        [
            pytest.param(FRESH - timedelta(milliseconds=1), 1, id="fresh-enough"),
            pytest.param(FRESH, 2, id="too-old"),
            pytest.param(-timedelta(hours=1), 2, id="after-the-clock-was-set-back"),
        ],
    )
    async def test_a_reading_is_used_again_while_it_is_fresh(
        self, place: Place, age: timedelta, calls: int
    ) -> None:
        for _ in range(2):
            await place.source.read([task_queue()])
            place.clock.now += age
        assert len(place.server.calls) == calls

    async def test_a_failure_is_not_used_again_as_a_reading(self, place: Place) -> None:
        place.server.broken_queues["orders"] = RPCError("", RPCStatusCode.INVALID_ARGUMENT, b"")
        await place.source.read([task_queue()])
        del place.server.broken_queues["orders"]
        assert await place.source.read([task_queue()]) == {task_queue(): stats(0)}

    async def test_nothing_to_read_takes_no_call(self, place: Place) -> None:
        assert await place.source.read([]) == {}
        assert place.server.calls == []

    async def test_calls_at_the_same_time_are_limited(self, place: Place) -> None:
        await place.source.read([task_queue(f"q{number}") for number in range(200)])
        assert len(place.server.calls) == 200
        assert place.server.most_at_once == AT_ONCE == 100

    async def test_namespaces_of_one_connection_share_the_limit(self, place: Place) -> None:
        await place.source.read(
            [task_queue(f"q{n}", namespace=space) for n in range(50) for space in ("eu", "us")]
        )
        assert place.server.most_at_once == AT_ONCE


class TestTrouble:
    async def test_an_unknown_integration_makes_only_its_own_queues_unknown(
        self, place: Place
    ) -> None:
        known, unknown = task_queue(), task_queue(integration="pord")
        answers = await place.source.read([known, unknown])
        assert answers[known] == stats(0)
        assert str(answers[unknown]) == "integration pord is not known"

    async def test_a_namespace_that_fails_makes_only_its_own_queues_unknown(
        self, place: Place
    ) -> None:
        place.server.broken_namespaces["eu"] = GONE
        broken, whole = task_queue(namespace="eu"), task_queue()
        answers = await place.source.read([broken, whole])
        assert isinstance(answers[broken], BacklogUnavailable)
        assert answers[whole] == stats(0)

    async def test_each_namespace_has_a_pause_of_its_own(self, place: Place) -> None:
        place.server.broken_namespaces["eu"] = GONE
        await place.why(task_queue(namespace="eu"))
        answers = await place.source.read([task_queue(), task_queue(namespace="eu")])
        assert answers[task_queue()] == stats(0)

    async def test_a_namespace_that_no_service_uses_any_more_is_forgotten(
        self, place: Place
    ) -> None:
        place.server.broken_namespaces["shop"] = GONE
        await place.why(task_queue())
        await place.source.read([])
        await place.why(task_queue())
        assert len(place.server.calls) == 2


class TestBudget:
    """Two calls a second: ten at each poll."""

    @pytest.fixture
    def place(self) -> Place:
        return Place(small_budget())

    async def test_what_fits_is_read_at_every_poll_without_a_warning(self, place: Place) -> None:
        queues = [task_queue(f"q{number}") for number in range(10)]
        assert [await place.calls(queues) for _ in range(3)] == [10, 10, 10]
        assert place.source.warnings("default") == ()

    async def test_beyond_the_budget_all_get_their_turn(self, place: Place) -> None:
        queues = [task_queue(f"q{number}") for number in range(30)]
        assert [await place.calls(queues) for _ in range(3)] == [10, 10, 10]
        assert len({call.task_queue.name for call in place.server.calls}) == 30

    async def test_what_waits_for_its_first_turn_is_missing(self, place: Place) -> None:
        queues = [task_queue(f"q{number}") for number in range(30)]
        answers = await place.source.read(queues)
        assert len(answers) == 10
        assert all(isinstance(answer, QueueStats) for answer in answers.values())

    async def test_until_its_next_turn_the_latest_reading_answers(self, place: Place) -> None:
        queues = [task_queue(f"q{number}") for number in range(20)]
        for _ in range(2):
            await place.calls(queues)
        place.fill("q0", 7)
        place.clock.advance(0.1)
        assert (await place.source.read(queues))[queues[0]] == stats(0)

    async def test_queues_in_motion_are_read_more_often_than_quiet_ones(self, place: Place) -> None:
        queues = [task_queue(f"q{number}") for number in range(30)]
        place.fill("q0", 7)
        for _ in range(60):
            await place.calls(queues)
        read = Counter(call.task_queue.name for call in place.server.calls)
        assert read["q0"] > 2.5 * read["q1"]

    async def test_the_warning_stays_the_same_from_tick_to_tick(self, place: Place) -> None:
        queues = [task_queue(f"q{number}") for number in range(31)]
        said = set()
        for _ in range(12):
            await place.calls(queues)
            said.update(place.source.warnings("default"))
        (text,) = said
        assert text == (
            "integration default: its task queues want more than the 2 calls a second of"
            " AUTOSCALER_RPC_BUDGET, so quiet ones are read about every 20s and those in motion"
            " about every 5s instead of every 5s"
        )

    async def test_each_integration_has_a_budget_of_its_own(self, place: Place) -> None:
        queues = [task_queue(f"q{number}", integration="prod") for number in range(10)]
        queues += [task_queue(f"q{number}") for number in range(20)]
        assert await place.calls(queues) == 20
        assert place.source.warnings("prod") == ()
        assert len(place.source.warnings("default")) == 1

    async def test_namespaces_of_an_integration_share_its_budget(self, place: Place) -> None:
        queues = [task_queue(f"q{number}", namespace="eu") for number in range(10)]
        queues += [task_queue(f"q{number}") for number in range(10)]
        assert await place.calls(queues) == 10

    async def test_heartbeats_do_not_wait_for_a_turn_and_backlogs_make_room_for_them(
        self, place: Place
    ) -> None:
        queues = [task_queue(f"q{number}") for number in range(10)]
        await place.calls(queues)
        for _ in range(5):
            await place.source.workers(
                WorkerQuery("default", None, frozenset({"host"}), frozenset())
            )
        assert await place.calls(queues) == 5

    async def test_after_a_failure_the_error_answers_until_the_next_turn_and_no_older_reading(
        self, place: Place
    ) -> None:
        queues = [task_queue(f"q{number}") for number in range(20)]
        for _ in range(2):
            await place.calls(queues)
        place.server.broken_namespaces["shop"] = GONE
        place.clock.advance(60)
        failed = [
            q for q, a in (await place.source.read(queues)).items() if not isinstance(a, QueueStats)
        ]
        del place.server.broken_namespaces["shop"]
        place.clock.advance(1)
        answers = await place.source.read(queues)
        assert len(failed) == 10
        assert {type(answers[queue]) for queue in failed} == {BacklogUnavailable}
