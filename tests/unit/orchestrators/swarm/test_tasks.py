"""The tasks of a Swarm service, and in which order the Swarm would stop them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscaler.core.model import Replica
from autoscaler.orchestrators.swarm.tasks import (
    container_of,
    finishing,
    in_turn,
    is_running,
    least_growth,
)
from tests.fakes.clock import START

HERE, THERE = "here", "there"


def task(
    slot: int,
    state: str = "running",
    *,
    node: str = HERE,
    desired: str = "running",
    id_: str | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return a task as the manager lists it; the container of slot 1 is `c1` and zeros."""
    container = {"ContainerID": f"c{slot}".ljust(64, "0")} if state == "running" else {}
    return {
        "ID": id_ or f"t{slot}",
        "Slot": slot,
        "NodeID": node,
        "DesiredState": desired,
        "Status": {"State": state, "ContainerStatus": container},
        "Spec": {"ContainerSpec": {}, "RestartPolicy": {"Condition": "any"}},
    } | changes


def told(slot: int, ago: timedelta, state: str = "running", **changes: Any) -> dict[str, Any]:
    """Return a task that the Swarm told to stop so long ago."""
    at = {"UpdatedAt": (START - ago).isoformat()}
    return task(slot, state, desired="remove") | at | changes


def order(*tasks: dict[str, Any]) -> list[str]:
    """Return the ids of tasks, those first that would be stopped first."""
    return [replica.id for replica in in_turn(tasks, HERE)]


def turns(*tasks: dict[str, Any]) -> list[set[str]]:
    """Return the ids of tasks turn by turn."""
    replicas = in_turn(tasks, HERE)
    return [
        {each.id for each in replicas if each.turn == turn}
        for turn in sorted({each.turn for each in replicas})
    ]


def only(tasks: Sequence[dict[str, Any]]) -> Replica:
    (replica,) = in_turn(tasks, HERE)
    return replica


class TestOneNode:
    """Here the order is exact: no two tasks share a turn."""

    def test_the_highest_slot_goes_first(self) -> None:
        assert turns(task(2), task(11), task(1)) == [{"t11"}, {"t2"}, {"t1"}]

    @pytest.mark.parametrize("state", ["new", "pending", "preparing", "ready", "starting"])
    def test_one_that_does_not_run_goes_before_them(self, state: str) -> None:
        assert turns(task(1, state), task(2), task(3)) == [{"t1"}, {"t3"}, {"t2"}]

    def test_of_several_that_do_not_run_the_highest_slot_goes_first(self) -> None:
        assert order(task(4, "ready"), task(1), task(2, "starting")) == ["t4", "t2", "t1"]

    def test_one_that_has_no_node_yet_goes_before_all(self) -> None:
        assert turns(task(1, "pending", node=""), task(2, "starting"), task(3)) == [
            {"t1"},
            {"t2"},
            {"t3"},
        ]

    def test_those_without_a_node_go_in_any_order(self) -> None:
        nowhere = [task(slot, "pending", node="") for slot in (1, 2)]
        assert turns(*nowhere, task(3)) == [{"t1", "t2"}, {"t3"}]

    def test_a_task_that_never_got_a_node_may_say_so_by_leaving_it_out(self) -> None:
        unplaced = task(1, "pending")
        del unplaced["NodeID"]
        assert order(task(2), unplaced) == ["t1", "t2"]

    def test_nothing_has_no_order(self) -> None:
        assert in_turn([], HERE) == []


class TestSlotsWithSeveralTasks:
    """While a task is replaced, its slot holds the old one and the new one."""

    REPLACED = (task(1), task(1, "ready", desired="ready", id_="new"))

    def test_such_a_slot_goes_first(self) -> None:
        assert order(task(2), task(3), *self.REPLACED) == ["t1", "t3", "t2"]

    def test_it_is_one_replica_and_the_task_that_runs_stands_for_it(self) -> None:
        assert order(*reversed(self.REPLACED)) == ["t1"]

    def test_it_is_no_copy_of_its_node(self) -> None:
        assert turns(*self.REPLACED, task(2)) == [{"t1"}, {"t2"}]

    @pytest.mark.parametrize("desired", ["shutdown", "remove", "complete", "orphaned"])
    def test_a_task_that_is_not_wanted_any_more_is_no_replica(self, desired: str) -> None:
        assert order(task(1), task(2, desired=desired)) == ["t1"]
        assert order(task(1), task(1, "ready", desired="ready", id_="new")) == ["t1"]

    def test_the_one_that_makes_up_for_a_task_that_has_ended_is_one(self) -> None:
        """The scheduler waits a while before it starts it: it is the first to go."""
        ended = task(1, "complete", desired="shutdown", id_="old")
        delayed = task(1, "ready", desired="ready", id_="new")
        assert turns(ended, delayed, task(2), task(3)) == [{"new"}, {"t3"}, {"t2"}]


class TestSeveralNodes:
    """The fullest nodes go first; between equally full ones, nobody knows."""

    def test_the_node_with_the_most_copies_goes_first(self) -> None:
        tasks = [task(1), task(2, node=THERE), task(3), task(4)]
        assert turns(*tasks) == [{"t4"}, {"t3"}, {"t1", "t2"}]

    def test_between_equally_full_ones_the_order_is_undefined(self) -> None:
        tasks = [task(1), task(2, node=THERE), task(3), task(4, node=THERE)]
        assert turns(*tasks) == [{"t3", "t4"}, {"t1", "t2"}]

    def test_a_task_that_does_not_run_makes_its_node_no_emptier(self) -> None:
        tasks = [task(1), task(2, node=THERE), task(3, "starting", node=THERE)]
        assert turns(*tasks) == [{"t3"}, {"t1", "t2"}]

    def test_one_that_does_not_run_is_the_last_copy_of_its_node_whatever_its_slot(self) -> None:
        tasks = [task(1, "starting"), task(2), task(3, node=THERE), task(4, node=THERE)]
        assert turns(*tasks) == [{"t1", "t4"}, {"t2", "t3"}]


class TestATaskAboutToGetItsNode:
    """Where it goes decides who is next: on several nodes, nobody knows that yet."""

    TASKS = (task(1), task(2, node=THERE), task(3))
    UNPLACED = task(4, "pending", node="")

    @pytest.mark.parametrize("state", ["new", "allocated", "pending"])
    def test_all_share_one_turn_until_it_has_one(self, state: str) -> None:
        unplaced = task(4, state, node="")
        assert {each.turn for each in in_turn([*self.TASKS, unplaced], "")} == {0}

    def test_on_the_only_node_it_is_the_first_to_go_in_any_case(self) -> None:
        assert turns(*self.TASKS, self.UNPLACED)[0] == {"t4"}

    def test_one_that_cannot_be_placed_goes_first(self) -> None:
        stuck = task(4, node="", Status={"State": "pending", "Err": "no suitable node"})
        assert in_turn([*self.TASKS, stuck], "")[0].id == "t4"

    def test_once_it_has_a_node_the_balance_counts_it(self) -> None:
        placed = task(4, "ready", node=THERE, desired="ready")
        first, *_ = in_turn([*self.TASKS, placed], "")
        assert {
            each.id for each in in_turn([*self.TASKS, placed], "") if each.turn == first.turn
        } == {
            "t3",
            "t4",
        }


class TestFinishing:
    """A task that was told to stop finishes its work as long as it runs, within bounds."""

    def test_it_counts_until_it_has_ended(self) -> None:
        just_now = timedelta(seconds=2)
        assert finishing([task(1), told(2, just_now), told(3, just_now)], START) == 2
        assert finishing([task(1), told(2, just_now, "shutdown")], START) == 0

    def test_on_a_node_that_is_lost_it_counts_a_minute_beyond_its_grace(self) -> None:
        chosen = {"Spec": {"ContainerSpec": {"StopGracePeriod": 30_000_000_000}}}
        assert finishing([told(1, timedelta(seconds=89), **chosen)], START) == 1
        assert finishing([told(1, timedelta(seconds=90), **chosen)], START) == 0
        assert finishing([told(1, timedelta(seconds=70))], START) == 0

    def test_by_a_clock_ahead_of_ours_it_was_just_now(self) -> None:
        assert finishing([told(1, -timedelta(seconds=5))], START) == 1


class TestLeastGrowth:
    """Growth takes the lowest free slots again; what runs in other free slots is forgotten."""

    JUST_NOW = timedelta(seconds=2)

    @pytest.mark.parametrize(
        ("held", "given_up", "least"),
        [
            pytest.param([1, 2], [3, 4, 5], 3, id="the-highest"),
            pytest.param([3, 4], [1, 2, 5], 3, id="some-below"),
            pytest.param([1, 2], [5], 3, id="behind-free-ones"),
            pytest.param([1, 3], [2], 1, id="between"),
            pytest.param([1, 2], [2], 0, id="in-a-slot-that-is-taken-again"),
            pytest.param([1, 2], [], 0, id="none"),
        ],
    )
    def test_every_slot_below_the_last_one_is_taken_first(
        self, held: list[int], given_up: list[int], least: int
    ) -> None:
        tasks = [*map(task, held), *(told(slot, self.JUST_NOW) for slot in given_up)]
        assert least_growth(tasks, START) == least

    def test_one_that_has_ended_does_not_count(self) -> None:
        assert least_growth([task(1), told(2, self.JUST_NOW, "shutdown")], START) == 0


class TestReplica:
    """What is known of a task."""

    def test_it_is_known_by_its_task_and_reports_by_its_containers_short_id(self) -> None:
        replica = only([task(1)])
        assert (replica.id, replica.host) == ("t1", "c10000000000")
        assert replica.started

    @pytest.mark.parametrize(
        "named",
        [
            pytest.param({"Spec": {"ContainerSpec": {"Hostname": "box"}}}, id="set-by-hand"),
            pytest.param(
                {"NetworksAttachments": [{"Network": {"DriverState": {"Name": "host"}}}]},
                id="the-hosts-own",
            ),
        ],
    )
    def test_where_its_host_has_another_name_that_cannot_be_told(
        self, named: dict[str, Any]
    ) -> None:
        assert only([task(1, **named)]).host is None

    def test_on_a_network_of_its_own_it_can(self) -> None:
        overlay = [{"Network": {"DriverState": {"Name": "overlay"}}}, {"Network": {}}]
        assert only([task(1, NetworksAttachments=overlay)]).host == "c10000000000"

    def test_without_a_container_it_has_not_started(self) -> None:
        replica = only([task(1, "preparing")])
        assert (replica.host, replica.started) == (None, False)

    def test_a_container_that_was_made_may_run_any_moment(self) -> None:
        starting = task(1, "starting")
        starting["Status"]["ContainerStatus"] = {"ContainerID": "c" * 64}
        replica = only([starting])
        assert (replica.host, replica.started) == ("c" * 12, True)

    @pytest.mark.parametrize(
        ("changes", "choosable"),
        [
            pytest.param({}, True, id="a-container-within-reach"),
            pytest.param({"node": THERE}, False, id="on-another-node"),
            pytest.param({"node": ""}, False, id="on-no-node"),
            pytest.param({"state": "starting"}, False, id="not-running-yet"),
            pytest.param({"Spec": {"RestartPolicy": {}}}, True, id="restarted-by-default"),
            pytest.param({"Spec": {}}, True, id="without-any-policy"),
            pytest.param(
                {"Spec": {"RestartPolicy": {"Condition": "on-failure"}}}, False, id="on-failure"
            ),
            pytest.param({"Spec": {"RestartPolicy": {"Condition": "none"}}}, False, id="never"),
        ],
    )
    def test_one_can_be_stopped_by_name_where_the_swarm_makes_up_for_it(
        self, changes: dict[str, Any], *, choosable: bool
    ) -> None:
        assert only([task(1, **changes)]).choosable is choosable

    @pytest.mark.parametrize(
        "status",
        [{"State": "pending"}, {"State": "failed", "ContainerStatus": None}],
    )
    def test_a_task_without_a_container_has_no_container(self, status: dict[str, Any]) -> None:
        assert container_of(task(1, Status=status)) == ""
        assert not is_running(task(1, Status=status))

    def test_one_with_a_container_does(self) -> None:
        assert container_of(task(1)).startswith("c1000")
        assert is_running(task(1))


TASKS = st.lists(
    st.builds(
        task,
        st.integers(1, 6),
        st.sampled_from(["running", "running", "starting", "pending"]),
        node=st.sampled_from([HERE, THERE, ""]),
        desired=st.sampled_from(["running", "ready", "shutdown"]),
    ),
    max_size=9,
)


@given(TASKS)
def test_every_slot_that_is_wanted_is_one_replica(tasks: list[dict[str, Any]]) -> None:
    wanted = {each["Slot"] for each in tasks if each["DesiredState"] != "shutdown"}
    assert sorted(order(*tasks)) == sorted(f"t{slot}" for slot in wanted)


@given(TASKS, st.integers(0, 6))
def test_it_is_the_order_of_swarmkit(tasks: list[dict[str, Any]], fewer: int) -> None:
    """What swarmkit would stop, worked out as its code does it, is within the turns taken."""
    replicas = in_turn(tasks, HERE)
    if fewer > len(replicas):
        return
    stopped = swarmkit(tasks)[len(replicas) - fewer :]
    last = max((each.turn for each in replicas[:fewer]), default=-1)
    assert set(stopped) <= {each.id for each in replicas if each.turn <= last}
    assert {each.id for each in replicas if each.turn < last} <= set(stopped)


def swarmkit(tasks: Sequence[dict[str, Any]]) -> list[str]:
    """Sort the slots as the replicated orchestrator does: those it would stop come last."""
    slots: dict[int, list[dict[str, Any]]] = {}
    for each in tasks:
        if each["DesiredState"] != "shutdown":
            slots.setdefault(each["Slot"], []).append(each)

    def runs(slot: int) -> bool:
        return any(each["Status"]["State"] == "running" for each in slots[slot])

    copies: dict[str, int] = {}
    indices: dict[int, float] = {}
    for slot in sorted(slots, key=lambda slot: (0 if runs(slot) else 1, slot)):
        node = slots[slot][0]["NodeID"]
        if len(slots[slot]) > 1 or not node:
            indices[slot] = float("inf")
        else:
            copies[node] = copies.get(node, 0) + 1
            indices[slot] = copies[node]
    return [f"t{slot}" for slot in sorted(indices, key=lambda slot: indices[slot])]
