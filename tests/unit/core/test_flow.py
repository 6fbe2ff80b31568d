"""The flow of tasks, as the latest looks saw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from autoscaler.core.backlog import Backlog
from autoscaler.core.flow import Flow, Flows, Look, flows_of
from autoscaler.core.label_values import QueueType
from tests.fakes.clock import START as NOW
from tests.unit.builders import SECOND, backlog, stats, task_queue

WORKFLOW, ACTIVITY = QueueType.WORKFLOW, QueueType.ACTIVITY


def seen(looks: Sequence[tuple[int, int, float]], *, replicas: int = 2, every: int = 5) -> Flows:
    """Return what looks saw, each of waiting tasks, tasks added and tasks handed out a second."""
    flows = Flows()
    for number, (waiting, added, dispatched) in enumerate(looks):
        flow = Flow(waiting, added, dispatched, limited=False)
        at = NOW + number * every * SECOND
        flows = flows.with_look(Look(at, replicas, {WORKFLOW: flow}))
    return flows


class TestArrivals:
    def test_nobody_knows_them_before_half_a_minute_was_seen(self) -> None:
        assert seen([(0, 8, 8)] * 6).arriving(WORKFLOW) == 0
        assert seen([(0, 8, 8)] * 7).arriving(WORKFLOW) == 8

    def test_the_fewest_of_the_last_half_minute_count(self) -> None:
        assert seen([(0, 5, 5), *[(0, 8, 8)] * 6]).arriving(WORKFLOW) == 5
        assert seen([(0, 5, 5), *[(0, 8, 8)] * 7]).arriving(WORKFLOW) == 8

    def test_what_came_at_once_and_for_once_has_not_arrived_steadily(self) -> None:
        burst = [*[(0, 0, 0)] * 2, *[(600, 20, 10)] * 6, (0, 0, 10)]
        assert all(not seen(burst[:looks]).arriving(WORKFLOW) for looks in range(1, 10))

    def test_a_type_that_nothing_is_known_of_has_none(self) -> None:
        assert seen([(0, 8, 8)] * 7).arriving(ACTIVITY) == 0

    def test_more_than_now_is_remembered_for_a_minute(self) -> None:
        fell = [*[(0, 8, 8)] * 7, *[(0, 2, 2)] * 12]
        assert seen(fell).arrived(WORKFLOW) == 8
        assert seen([*fell, (0, 2, 2)]).arrived(WORKFLOW) == 2


class TestQueueing:
    @pytest.mark.parametrize(
        ("waiting", "dispatched", "queueing"),
        [
            pytest.param(0, 0.0, False, id="none-waits"),
            pytest.param(1, 0.1, True, id="one-where-few-are-handed-out"),
            pytest.param(7, 8.0, False, id="as-few-as-are-on-their-way"),
            pytest.param(8, 8.0, True, id="as-many-as-a-second-takes"),
        ],
    )
    def test_tasks_queue_where_more_wait_than_are_on_their_way(
        self,
        waiting: int,
        dispatched: float,
        queueing: bool,  # noqa: FBT001 - a parameter of the test
    ) -> None:
        assert Flow(waiting, 8.0, dispatched, limited=False).queueing is queueing

    def test_they_must_have_queued_at_every_look_of_half_a_minute(self) -> None:
        assert seen([(10, 8, 8)] * 7).queueing(WORKFLOW)
        assert not seen([(10, 8, 8)] * 6).queueing(WORKFLOW)
        assert not seen([*[(10, 8, 8)] * 5, (0, 8, 8), (10, 8, 8)]).queueing(WORKFLOW)


class TestDoneByEach:
    def test_it_is_what_is_handed_out_by_the_replicas_there_are(self) -> None:
        assert seen([(0, 8, 8)] * 7, replicas=4).done_by_each(WORKFLOW) == 2

    def test_it_is_unknown_while_their_number_changes(self) -> None:
        flows = seen([(0, 8, 8)] * 7, replicas=4)
        assert flows.looks
        changed = flows.with_look(Look(NOW + 35 * SECOND, 5, flows.looks[-1].flows))
        assert changed.done_by_each(WORKFLOW) == 0
        assert changed.done_roughly(WORKFLOW) == pytest.approx(8 / 4.14, rel=0.01)

    def test_it_is_unknown_where_the_server_limits_the_rate(self) -> None:
        flows = Flows()
        for number in range(8):
            flow = Flow(10, 8, 8, limited=True)
            flows = flows.with_look(Look(NOW + number * 5 * SECOND, 2, {WORKFLOW: flow}))
        assert flows.done_by_each(WORKFLOW) == flows.done_roughly(WORKFLOW) == 0

    def test_it_is_unknown_without_replicas(self) -> None:
        assert seen([(10, 8, 8)] * 7, replicas=0).done_by_each(WORKFLOW) == 0


class TestFlowsOfABacklog:
    def test_queues_of_one_type_add_up(self) -> None:
        parts = {
            task_queue("orders"): stats(3, add_rate=1.0, dispatch_rate=2.0),
            task_queue("mails"): stats(4, add_rate=0.5, dispatch_rate=0.5, rate_limited=True),
            task_queue("mails", ACTIVITY): stats(1, add_rate=3.0, dispatch_rate=3.0),
        }
        assert flows_of(Backlog(parts)) == {
            WORKFLOW: Flow(7, 1.5, 2.5, limited=True),
            ACTIVITY: Flow(1, 3.0, 3.0, limited=False),
        }

    def test_what_was_added_and_is_nowhere_has_not_arrived(self) -> None:
        flows = flows_of(backlog(3, add_rate=16.0, dispatch_rate=8.0))
        assert flows is not None
        assert flows[WORKFLOW].arriving == pytest.approx(8.1)

    @pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf, 1e12])
    @pytest.mark.parametrize("field", ["add_rate", "dispatch_rate"])
    def test_impossible_rates_say_nothing(self, field: str, rate: float) -> None:
        rates: dict[str, Any] = {"add_rate": 1.0, "dispatch_rate": 1.0, field: rate}
        assert flows_of(backlog(3, **rates)) is None

    def test_the_same_cached_answer_once_more_says_nothing(self) -> None:
        assert flows_of(backlog(3, new=False)) is None
