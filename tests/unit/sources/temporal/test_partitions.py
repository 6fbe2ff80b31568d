"""What waits is counted on each partition, where that is fresher than the server's own figures."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from temporalio.api.taskqueue.v1 import TaskQueueStats
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.backlog import QueueStats, WorkerVersion
from autoscaler.core.budget import Budget
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.label_values import QueueType
from autoscaler.core.sighting import FRESH
from autoscaler.sources.temporal.partitions import NAMES_KEPT, PAUSE, REFUSED_FOR
from tests.fakes.clock import run_in_virtual_time
from tests.unit.builders import SECOND, task_queue
from tests.unit.sources.temporal.place import Place

ORDERS = task_queue()
OTHERS = [f"/_sys/orders/{number}" for number in (1, 2, 3)]
EVERY_SECOND = Budget(rate=40, interval=SECOND)


@pytest.fixture
def place() -> Place:
    """A server that says what waits on each of four partitions, and is looked at each second."""
    made = Place(EVERY_SECOND)
    made.spread("orders", 0, 0, 0, 0)
    return made


class TestCounting:
    async def test_tasks_that_have_come_since_the_servers_figures_are_counted(
        self, place: Place
    ) -> None:
        assert await place.look(ORDERS) == (0, False)
        place.spread("orders", 8, 7, 9, 6)
        assert await place.look(ORDERS) == (30, True)
        assert place.asked() == ["orders", "orders", *OTHERS]

    async def test_they_stay_counted_until_the_server_has_newer_figures(self, place: Place) -> None:
        await place.look(ORDERS)
        place.spread("orders", 8, 7, 9, 6)
        await place.look(ORDERS)
        place.spread("orders", 2, 0, 0, 0)
        assert await place.look(ORDERS) == (30, True)
        place.fill("orders", 12)
        assert await place.look(ORDERS) == (12, False)

    async def test_a_queue_at_rest_takes_one_call_at_each_look(self, place: Place) -> None:
        for _ in range(20):
            await place.look(ORDERS)
        assert place.asked() == ["orders"] * 20
        assert place.server.asked_for_partitions == 0

    async def test_what_has_been_counted_is_not_counted_again_until_more_comes(
        self, place: Place
    ) -> None:
        place.spread("orders", 8, 7, 9, 6)
        await place.look(ORDERS)
        assert await place.look(ORDERS) == (30, True)
        assert place.asked() == ["orders", *OTHERS] * 2
        assert await place.look(ORDERS) == (30, True)
        assert place.asked() == ["orders"]

    async def test_the_last_of_many_tasks_are_counted_on_whatever_partition_they_are(
        self, place: Place
    ) -> None:
        await place.look(ORDERS)
        place.spread("orders", 8, 7, 0, 0)
        assert await place.look(ORDERS) == (15, True)
        place.spread("orders", 8, 7, 9, 6)
        assert await place.look(ORDERS) == (30, True)

    async def test_a_partition_is_asked_without_the_figures_which_only_the_root_has(
        self, place: Place
    ) -> None:
        place.spread("orders", 8, 7, 9, 6)
        await place.look(ORDERS)
        (root, *others) = place.server.calls
        assert (root.report_stats, root.include_task_queue_status) == (True, True)
        for call in others:
            assert (call.report_stats, call.include_task_queue_status) == (False, True)
            assert call.task_queue_type == root.task_queue_type

    async def test_a_queue_with_a_single_partition_takes_no_more_calls(self, place: Place) -> None:
        place.spread("orders", 0)
        await place.look(ORDERS)
        place.spread("orders", 30)
        assert await place.look(ORDERS, at_zero=True) == (30, True)
        assert place.asked() == ["orders", "orders"]

    async def test_the_names_of_partitions_are_asked_for_every_few_minutes(
        self, place: Place
    ) -> None:
        for _ in range(3):
            await place.look(ORDERS, at_zero=True)
        assert place.server.asked_for_partitions == 1
        place.spread("orders", 0, 0, 0, 0, 0, 1)
        assert await place.look(ORDERS, at_zero=True) == (0, False)
        await place.look(ORDERS, at_zero=True, after=NAMES_KEPT.total_seconds())
        assert await place.look(ORDERS, at_zero=True) == (1, True)
        assert place.server.asked_for_partitions == 2


class TestAtZero:
    """A single task is on any of the partitions."""

    @pytest.mark.parametrize("partition", range(4))
    async def test_it_is_seen_at_once(self, place: Place, partition: int) -> None:
        await place.look(ORDERS, at_zero=True)
        tasks = [0, 0, 0, 0]
        tasks[partition] = 1
        place.spread("orders", *tasks)
        assert await place.look(ORDERS, at_zero=True) == (1, True)

    async def test_with_replicas_only_the_root_is_asked(self, place: Place) -> None:
        await place.look(ORDERS)
        place.spread("orders", 0, 1, 0, 0)
        assert await place.look(ORDERS) == (0, False)

    async def test_beyond_the_budget_the_longest_uncounted_queues_go_first(self) -> None:
        place = Place(Budget(rate=10, interval=SECOND))
        queues = [task_queue(f"q{number}") for number in range(4)]
        for queue in queues:
            place.spread(queue.name, 0, 0, 0, 0)
        await place.source.read(queues)
        place.asked()
        counted = []
        for _ in range(4):
            place.clock.advance(1)
            await place.source.read(queues, queues)
            names = place.asked()
            assert len(names) <= 10
            counted += sorted({name.split("/")[2] for name in names if name.startswith("/_sys/")})
        # The first count takes one call more, for the names of the partitions.
        assert set(counted) == {"q0", "q1", "q2", "q3"}
        assert len(counted) >= 4

    async def test_its_queues_are_read_as_often_as_those_in_motion(self) -> None:
        place = Place(Budget(rate=2, interval=5 * SECOND))
        queues = [task_queue(f"q{number}") for number in range(30)]
        for _ in range(60):
            place.clock.advance(5.2)
            await place.source.read(queues, queues[:1])
        read = Counter(place.asked())
        assert read["q0"] > 2.5 * read["q1"]

    async def test_a_queue_is_the_same_whether_a_label_names_its_namespace_or_not(
        self, place: Place
    ) -> None:
        by_label = task_queue(namespace="shop")
        await place.look(ORDERS)
        place.spread("orders", 0, 1, 0, 0)
        place.clock.advance(1)
        answers = await place.source.read([ORDERS, by_label], [by_label])
        assert [answer.waiting for answer in answers.values()] == [1, 1]  # type: ignore[union-attr]


class TestBudget:
    """Counts are paid for."""

    async def test_a_rise_is_counted_ahead_of_what_the_budget_has_earned(self) -> None:
        place = Place(Budget(rate=4, interval=SECOND))
        queues = [task_queue(f"q{number}") for number in range(4)]
        for queue in queues:
            place.spread(queue.name, 0, 0, 0, 0)
        assert await place.calls(queues, after=1) == 4
        place.spread("q0", 8, 7, 9, 6)
        assert await place.calls(queues, after=1) == 4 + 3
        assert await place.calls(queues, after=1) == 0
        assert await place.calls(queues, after=1) > 0

    async def test_where_the_server_made_its_figures_for_this_look_no_call_is_borrowed(
        self,
    ) -> None:
        place = Place(Budget(rate=4, interval=FRESH))
        queues = [task_queue(f"q{number}") for number in range(20)]
        for queue in queues:
            place.spread(queue.name, 0, 0, 0, 0)
        await place.calls(queues, after=FRESH.total_seconds())
        place.spread("q0", 8, 7, 9, 6)
        assert await place.calls(queues, after=FRESH.total_seconds()) == 20


class TestWithoutCounts:
    """Where there is no count, the server's figures are all there is, every five seconds."""

    async def test_a_server_that_leaves_the_field_out(self, place: Place) -> None:
        del place.server.on_partitions["orders"]
        place.fill("orders", 3)
        assert [await place.look(ORDERS, at_zero=True) for _ in range(12)] == [(3, False)] * 12
        assert place.asked() == ["orders"] * 2
        assert place.server.asked_for_partitions == 0

    async def test_a_server_that_refuses_the_field_is_asked_without_it(self, place: Place) -> None:
        place.server.refuses_status = True
        place.fill("orders", 3)
        assert await place.look(ORDERS, at_zero=True) == (3, False)
        assert place.asked() == ["orders"] * 2
        assert [await place.look(ORDERS, at_zero=True) for _ in range(12)] == [(3, False)] * 12
        assert place.asked() == ["orders"] * 2
        place.server.refuses_status = False
        await place.look(ORDERS, after=REFUSED_FOR.total_seconds())
        assert place.server.calls[-1].include_task_queue_status

    async def test_an_invalid_name_is_no_refusal(self, place: Place) -> None:
        place.server.broken_queues["/bad"] = RPCError("", RPCStatusCode.INVALID_ARGUMENT, b"")
        await place.why(task_queue("/bad"))
        await place.look(ORDERS)
        assert place.server.calls[-1].include_task_queue_status

    async def test_operations_of_nexus_are_never_counted(self, place: Place) -> None:
        queue = task_queue(type_=QueueType.NEXUS)
        place.spread("orders", 1, 1, 1, 1)
        assert [await place.look(queue, at_zero=True) for _ in range(3)] == [(0, False)] * 3
        (call,) = place.server.calls
        assert not call.include_task_queue_status

    async def test_a_build_has_the_servers_figures_only(self, place: Place) -> None:
        queue = task_queue()._replace(version=WorkerVersion("shop", "v1"))
        await place.source.read([queue], [queue])
        assert place.asked() == []

    @pytest.mark.parametrize(
        "error",
        [RPCError("no", RPCStatusCode.PERMISSION_DENIED, b""), RuntimeError("gone")],
    )
    async def test_where_partitions_may_not_be_listed_the_root_alone_tells(
        self, place: Place, error: Exception
    ) -> None:
        place.server.hides_partitions = error
        await place.look(ORDERS)
        place.spread("orders", 8, 7, 9, 6)
        assert [await place.look(ORDERS) for _ in range(3)] == [(8, True)] * 3
        assert place.server.asked_for_partitions == 1
        place.server.hides_partitions = None
        assert await place.look(ORDERS, after=PAUSE.total_seconds()) == (30, True)

    async def test_a_partition_that_does_not_answer_leaves_the_reading(self, place: Place) -> None:
        place.server.broken_queues[OTHERS[1]] = RPCError("", RPCStatusCode.UNAVAILABLE, b"")
        place.fill("orders", 3)
        place.spread("orders", 1, 9, 9, 9)
        assert await place.look(ORDERS) == (3, False)
        assert place.source.integrations()[0].error is None

    def test_a_count_that_takes_long_is_given_up(self, place: Place) -> None:
        async def work() -> tuple[tuple[int, bool], float]:
            place.server.hanging = {OTHERS[2]}
            place.spread("orders", 8, 7, 9, 6)
            place.fill("orders", 3)
            return await place.look(ORDERS), asyncio.get_running_loop().time()

        assert run_in_virtual_time(work()) == ((8, True), pytest.approx(1, abs=0.1))


class TestNew:
    """An answer that an earlier look has brought teaches nothing."""

    async def test_the_same_cached_answer_is_not_new(self, place: Place) -> None:
        place.server.stats["orders"] = TaskQueueStats(tasks_add_rate=1.5)
        new = []
        for _ in range(7):
            place.clock.advance(1)
            answer = (await place.source.read([ORDERS]))[ORDERS]
            assert isinstance(answer, QueueStats)
            new.append(answer.new)
        assert new == [True, False, False, False, False, False, True]

    async def test_a_reading_that_is_used_again_is_not_new(self, place: Place) -> None:
        first = (await place.source.read([ORDERS]))[ORDERS]
        place.clock.now += timedelta(milliseconds=400)
        again = (await place.source.read([ORDERS]))[ORDERS]
        assert isinstance(first, QueueStats)
        assert isinstance(again, QueueStats)
        assert (first.new, again.new) == (True, False)
        assert place.asked() == ["orders"]

    async def test_after_a_failure_every_answer_is_new(self, place: Place) -> None:
        await place.source.read([ORDERS])
        place.server.broken_namespaces["shop"] = RPCError("", RPCStatusCode.UNAVAILABLE, b"")
        place.clock.advance(1)
        assert isinstance((await place.source.read([ORDERS]))[ORDERS], BacklogUnavailable)
        del place.server.broken_namespaces["shop"]
        place.clock.advance(1)
        answer = (await place.source.read([ORDERS]))[ORDERS]
        assert isinstance(answer, QueueStats)
        assert answer.new
