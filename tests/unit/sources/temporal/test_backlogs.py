"""Backlogs by DescribeTaskQueue: each once, few at a time, a silent namespace left alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.budget import Budget
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.in_flight import WorkerQuery
from autoscaler.core.integration import Integration
from autoscaler.core.model import QueueStats, TaskQueue
from autoscaler.core.spec import QueueType
from autoscaler.sources.temporal.backlogs import FRESH, TemporalBacklogSource
from autoscaler.sources.temporal.calls import AT_ONCE, DEADLINE
from tests.fakes.clock import Clock, run_in_virtual_time
from tests.fakes.temporal import FakeConnections, FakeTemporal
from tests.unit.builders import stats, task_queue

GONE = RPCError("connection refused", RPCStatusCode.UNAVAILABLE, b"")


class Place:
    """A source that reads from one fake server."""

    def __init__(self) -> None:
        self.server = FakeTemporal()
        self.clock = Clock()
        self.integrations = {
            "default": Integration(endpoint="temporal:7233", namespace="shop"),
            "prod": Integration(endpoint="prod:7233", namespace="live"),
        }
        self.source = TemporalBacklogSource(
            FakeConnections(self.server, self.integrations), self.clock
        )

    def fill(self, name: str, waiting: int) -> None:
        """Let tasks wait in a queue, whatever its type."""
        self.server.stats[name] = TaskQueueStats(approximate_backlog_count=waiting)

    async def why(self, queue: TaskQueue) -> str:
        """Read one queue that cannot be read, and return the reason."""
        answer = (await self.source.read([queue]))[queue]
        assert isinstance(answer, BacklogUnavailable)
        return str(answer)


@pytest.fixture
def place() -> Place:
    return Place()


class TestReading:
    async def test_the_servers_statistics_are_taken_over(self, place: Place) -> None:
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

    async def test_every_call_is_measured_also_one_that_fails(self, place: Place) -> None:
        measured: list[float] = []
        connections = FakeConnections(place.server, place.integrations)
        source = TemporalBacklogSource(connections, place.clock, took=measured.append)
        place.server.broken_queues["mails"] = RPCError("?", RPCStatusCode.INVALID_ARGUMENT, b"")
        await source.read([task_queue("orders"), task_queue("mails")])
        assert len(measured) == 2
        assert all(0 <= seconds < 5 for seconds in measured)

    @pytest.mark.parametrize(
        ("type_", "asked"),
        [
            (QueueType.WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
            (QueueType.ACTIVITY, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
            (QueueType.NEXUS, TaskQueueType.TASK_QUEUE_TYPE_NEXUS),
        ],
    )
    async def test_each_type_is_asked_for_as_itself(
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

    async def test_a_namespace_named_by_label_or_by_integration_is_one_read(
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
    async def test_the_namespace_is_the_labels_or_else_the_integrations(
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

    async def test_nothing_to_read_costs_nothing(self, place: Place) -> None:
        assert await place.source.read([]) == {}
        assert place.server.calls == []

    async def test_only_so_many_calls_are_made_at_once(self, place: Place) -> None:
        await place.source.read([task_queue(f"q{number}") for number in range(200)])
        assert len(place.server.calls) == 200
        assert place.server.most_at_once == AT_ONCE == 100

    async def test_namespaces_of_one_connection_share_that_number(self, place: Place) -> None:
        await place.source.read(
            [task_queue(f"q{n}", namespace=space) for n in range(50) for space in ("eu", "us")]
        )
        assert place.server.most_at_once == AT_ONCE


class TestTrouble:
    async def test_an_integration_that_is_not_known_fails_its_own_queues_only(
        self, place: Place
    ) -> None:
        known, unknown = task_queue(), task_queue(integration="pord")
        answers = await place.source.read([known, unknown])
        assert answers[known] == stats(0)
        assert str(answers[unknown]) == "integration pord is not known"

    async def test_a_namespace_that_fails_is_unknown_and_the_others_are_read(
        self, place: Place
    ) -> None:
        place.server.broken_namespaces["eu"] = GONE
        broken, whole = task_queue(namespace="eu"), task_queue()
        answers = await place.source.read([broken, whole])
        assert isinstance(answers[broken], BacklogUnavailable)
        assert answers[whole] == stats(0)

    async def test_after_the_first_failure_the_rest_of_a_namespace_is_not_tried(
        self, place: Place
    ) -> None:
        place.server.broken_namespaces["shop"] = GONE
        queues = [task_queue(f"q{number}") for number in range(200)]
        answers = await place.source.read(queues)
        assert len(place.server.calls) <= AT_ONCE
        assert {str(answer) for answer in answers.values()} == {await place.why(queues[0])}

    async def test_a_failing_namespace_is_left_alone_and_answers_with_its_last_error(
        self, place: Place
    ) -> None:
        place.server.broken_namespaces["shop"] = GONE
        first = await place.why(task_queue())
        place.clock.advance(0.9)
        assert await place.why(task_queue("mails")) == first
        assert len(place.server.calls) == 1

    async def test_the_pause_doubles_up_to_half_a_minute(self, place: Place) -> None:
        place.server.broken_namespaces["shop"] = GONE
        tried = []
        for second in range(120):
            before = len(place.server.calls)
            await place.why(task_queue())
            if len(place.server.calls) > before:
                tried.append(second)
            place.clock.advance(1)
        assert tried == [0, 1, 3, 7, 15, 31, 61, 91]

    async def test_a_namespace_that_is_back_is_read_again_and_forgiven(self, place: Place) -> None:
        place.fill("orders", 7)
        place.server.broken_namespaces["shop"] = GONE
        await place.why(task_queue())
        del place.server.broken_namespaces["shop"]
        place.clock.advance(1)
        assert (await place.source.read([task_queue()]))[task_queue()] == stats(7)
        place.clock.advance(FRESH.total_seconds())
        place.server.broken_namespaces["shop"] = GONE
        for _ in range(2):
            await place.why(task_queue())
            place.clock.advance(1)
        assert len(place.server.calls) == 4

    async def test_the_pause_of_one_namespace_is_not_that_of_another(self, place: Place) -> None:
        place.server.broken_namespaces["eu"] = GONE
        await place.why(task_queue(namespace="eu"))
        answers = await place.source.read([task_queue(), task_queue(namespace="eu")])
        assert answers[task_queue()] == stats(0)

    async def test_a_namespace_nobody_asks_for_any_more_is_forgotten(self, place: Place) -> None:
        place.server.broken_namespaces["shop"] = GONE
        await place.why(task_queue())
        await place.source.read([])
        await place.why(task_queue())
        assert len(place.server.calls) == 2

    async def test_an_invalid_name_of_a_queue_fails_this_queue_only(self, place: Place) -> None:
        place.server.broken_queues["/bad"] = RPCError(
            "invalid task queue name", RPCStatusCode.INVALID_ARGUMENT, b""
        )
        good, bad = task_queue("good"), task_queue("/bad")
        answers = await place.source.read([bad, good])
        assert answers[good] == stats(0)
        assert "reading task queue '/bad' in namespace shop at temporal:7233" in str(answers[bad])
        assert (await place.source.read([good]))[good] == stats(0)

    async def test_an_error_names_the_integration_the_call_and_the_endpoint(
        self, place: Place
    ) -> None:
        place.server.broken_namespaces["live"] = GONE
        why = await place.why(task_queue(integration="prod"))
        assert why.startswith(
            "integration prod: reading backlogs in namespace live at prod:7233 failed"
            " (UNAVAILABLE: connection refused); "
        )

    async def test_a_connection_that_cannot_be_made_is_unknown_too(self, place: Place) -> None:
        place.server.broken_namespaces["shop"] = RuntimeError("Failed client connect: refused")
        assert "Failed client connect: refused" in await place.why(task_queue())

    def test_a_server_that_hangs_is_given_up(self, place: Place) -> None:
        async def work() -> str:
            place.server.answering = asyncio.Event()
            return await place.why(task_queue())

        assert "DEADLINE_EXCEEDED: no answer within 5 s" in run_in_virtual_time(work())

    def test_where_nothing_comes_back_no_more_is_asked(self, place: Place) -> None:
        async def work() -> list[object]:
            place.server.answering = asyncio.Event()
            return list((await place.source.read(queues)).values())

        queues = [task_queue(f"q{number}") for number in range(200)]
        answers = run_in_virtual_time(work())
        assert len(answers) == 200
        assert all("no answer within 5 s" in str(answer) for answer in answers)
        assert len(place.server.calls) == AT_ONCE

    def test_one_call_that_never_comes_back_does_not_take_the_answers_of_others(
        self, place: Place
    ) -> None:
        async def work() -> Mapping[TaskQueue, object]:
            place.server.hanging = {"q0"}
            return await place.source.read(queues)

        queues = [task_queue(f"q{number}") for number in range(200)]
        answers = run_in_virtual_time(work())
        assert "no answer within 5 s" in str(answers.pop(task_queue("q0")))
        assert answers == dict.fromkeys(queues[1:], stats(0))


class TestBudget:
    """Two calls a second: ten at each poll."""

    @staticmethod
    def place() -> Place:
        place = Place()
        place.source = TemporalBacklogSource(
            FakeConnections(place.server, place.integrations),
            place.clock,
            budget=Budget(rate=2, interval=timedelta(seconds=5)),
        )
        return place

    @staticmethod
    async def read(place: Place, queues: list[TaskQueue], *, after: float = 5.2) -> int:
        """Let time pass and read; return how many calls that took."""
        place.clock.advance(after)
        before = len(place.server.calls)
        await place.source.read(queues)
        return len(place.server.calls) - before

    async def test_what_fits_is_read_at_every_poll_and_nothing_is_said(self) -> None:
        place, queues = self.place(), [task_queue(f"q{number}") for number in range(10)]
        assert [await self.read(place, queues) for _ in range(3)] == [10, 10, 10]
        assert place.source.warnings("default") == ()

    async def test_beyond_it_no_more_calls_are_made_and_all_get_their_turn(self) -> None:
        place, queues = self.place(), [task_queue(f"q{number}") for number in range(30)]
        assert [await self.read(place, queues) for _ in range(3)] == [10, 10, 10]
        assert len({call.task_queue.name for call in place.server.calls}) == 30

    async def test_what_waits_for_its_first_turn_is_missing_and_no_error(self) -> None:
        place, queues = self.place(), [task_queue(f"q{number}") for number in range(30)]
        answers = await place.source.read(queues)
        assert len(answers) == 10
        assert all(isinstance(answer, QueueStats) for answer in answers.values())

    async def test_until_its_next_turn_the_latest_reading_answers(self) -> None:
        place, queues = self.place(), [task_queue(f"q{number}") for number in range(20)]
        for _ in range(2):
            await self.read(place, queues)
        place.fill("q0", 7)
        place.clock.advance(0.1)
        assert (await place.source.read(queues))[queues[0]] == stats(0)

    async def test_queues_in_motion_are_read_more_often_than_quiet_ones(self) -> None:
        place, queues = self.place(), [task_queue(f"q{number}") for number in range(30)]
        place.fill("q0", 7)
        for _ in range(60):
            await self.read(place, queues)
        read = Counter(call.task_queue.name for call in place.server.calls)
        assert read["q0"] > 2.5 * read["q1"]

    async def test_it_says_so_in_words_that_stay_the_same(self) -> None:
        place, queues = self.place(), [task_queue(f"q{number}") for number in range(31)]
        said = set()
        for _ in range(12):
            await self.read(place, queues)
            said.update(place.source.warnings("default"))
        (text,) = said
        assert text == (
            "integration default: its task queues want more than the 2 calls a second of"
            " AUTOSCALER_RPC_BUDGET, so quiet ones are read about every 20s and those in motion"
            " about every 5s instead of every 5s"
        )

    async def test_each_integration_has_a_budget_of_its_own(self) -> None:
        place = self.place()
        queues = [task_queue(f"q{number}", integration="prod") for number in range(10)]
        queues += [task_queue(f"q{number}") for number in range(20)]
        assert await self.read(place, queues) == 20
        assert place.source.warnings("prod") == ()
        assert len(place.source.warnings("default")) == 1

    async def test_namespaces_of_an_integration_share_it(self) -> None:
        place = self.place()
        queues = [task_queue(f"q{number}", namespace="eu") for number in range(10)]
        queues += [task_queue(f"q{number}") for number in range(10)]
        assert await self.read(place, queues) == 10

    async def test_heartbeats_do_not_wait_but_backlogs_make_up_for_them(self) -> None:
        place, queues = self.place(), [task_queue(f"q{number}") for number in range(10)]
        await self.read(place, queues)
        for _ in range(5):
            await place.source.workers(
                WorkerQuery("default", None, frozenset({"host"}), frozenset())
            )
        assert await self.read(place, queues) == 5

    async def test_a_failure_is_not_followed_by_an_older_reading(self) -> None:
        place, queues = self.place(), [task_queue(f"q{number}") for number in range(20)]
        for _ in range(2):
            await self.read(place, queues)
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
