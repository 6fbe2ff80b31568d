"""Which replicas to stop: what is known of each, and whom the scheduler would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscaler.core.in_flight import (
    HEARTBEAT_SLACK,
    LONGEST_HEARTBEAT,
    InFlight,
    SlotKind,
    Slots,
    Standing,
    Worker,
    standings,
)
from autoscaler.core.model import Replica
from autoscaler.core.protect import Choice, choose_idle
from tests.fakes.clock import START as NOW
from tests.unit.builders import INSTANT, OUTDATED, SECOND, fleet, worker

IDLE, BUSY, SILENT, LEAVING = Standing


def standing(*workers: Worker, host: str | None = "r1") -> Standing:
    """Judge the only replica there is."""
    return standings(InFlight((Replica("r1", host),), workers), NOW)["r1"]


def judged(replicas: Sequence[Replica], *workers: Worker) -> list[Standing]:
    """Judge several replicas, in their order."""
    known = standings(InFlight(tuple(replicas), workers), NOW)
    return [known[replica.id] for replica in replicas]


class TestStandings:
    @pytest.mark.parametrize(
        ("reports", "known"),
        [
            pytest.param([worker()], IDLE, id="reports-nothing-running"),
            pytest.param([worker(running=1)], BUSY, id="reports-a-task"),
            pytest.param([], SILENT, id="does-not-report"),
            pytest.param([worker("r2")], SILENT, id="another-one-reports"),
            pytest.param([worker(leaving=True)], LEAVING, id="was-told-to-stop"),
            pytest.param([worker(leaving=True, running=1)], LEAVING, id="finishes-what-it-runs"),
        ],
    )
    def test_it_is_what_the_latest_heartbeat_says(
        self, reports: list[Worker], known: Standing
    ) -> None:
        assert standing(*reports) is known

    @pytest.mark.parametrize(
        ("kind", "known"),
        [
            (SlotKind.WORKFLOW, IDLE),
            (SlotKind.ACTIVITY, BUSY),
            (SlotKind.LOCAL_ACTIVITY, BUSY),
            (SlotKind.NEXUS, BUSY),
        ],
    )
    def test_cached_workflows_alone_are_no_work_that_is_lost(
        self, kind: SlotKind, known: Standing
    ) -> None:
        assert standing(worker(slots={kind: Slots(used=1)})) is known

    @pytest.mark.parametrize(
        ("age", "interval", "known"),
        [
            pytest.param(10 * SECOND + HEARTBEAT_SLACK, 10 * SECOND, IDLE, id="just-in-time"),
            pytest.param(
                10 * SECOND + HEARTBEAT_SLACK + INSTANT, 10 * SECOND, SILENT, id="overdue"
            ),
            pytest.param(
                LONGEST_HEARTBEAT + HEARTBEAT_SLACK, timedelta(), IDLE, id="the-first-in-time"
            ),
            pytest.param(
                LONGEST_HEARTBEAT + HEARTBEAT_SLACK + INSTANT,
                timedelta(),
                SILENT,
                id="the-first-overdue",
            ),
            pytest.param(-5 * SECOND, SECOND, IDLE, id="by-a-clock-ahead-of-ours"),
        ],
    )
    def test_an_idle_report_counts_until_the_next_one_is_overdue(
        self, age: timedelta, interval: timedelta, known: Standing
    ) -> None:
        assert standing(worker(age=age, interval=interval)) is known

    def test_a_busy_report_means_busy_however_old_it_is(self) -> None:
        assert standing(worker(running=1, age=OUTDATED)) is BUSY

    def test_a_report_of_leaving_is_outdated_like_any_other(self) -> None:
        assert standing(worker(leaving=True, age=OUTDATED)) is SILENT
        assert standing(worker(leaving=True, running=1, age=OUTDATED)) is BUSY

    def test_what_has_not_started_cannot_be_at_work(self) -> None:
        starting = Replica("r1", None, started=False)
        assert judged([starting]) == [IDLE]
        assert judged([starting], worker("elsewhere", running=1)) == [IDLE]


class TestSeveralWorkersOfOneReplica:
    """A process may run a worker for each of its task queues."""

    def test_one_at_work_is_enough(self) -> None:
        assert standing(worker(instance="a"), worker(instance="b", running=1)) is BUSY

    def test_one_at_work_is_enough_also_while_the_other_leaves(self) -> None:
        assert standing(worker(leaving=True), worker(running=1)) is BUSY

    def test_all_have_to_leave(self) -> None:
        assert standing(worker(leaving=True), worker(leaving=True)) is LEAVING
        assert standing(worker(leaving=True), worker()) is IDLE
        assert standing(worker(leaving=True, running=1), worker()) is BUSY

    def test_the_report_of_a_worker_before_a_restart_does_not_make_it_silent(self) -> None:
        assert standing(worker(instance="before", age=OUTDATED), worker(instance="now")) is IDLE


class TestSharedHosts:
    """A host name set by hand, or the host's own network: replicas cannot be told apart."""

    TWINS = (Replica("r1", "box"), Replica("r2", "box"))

    def test_one_at_work_makes_all_of_them_busy(self) -> None:
        assert judged(self.TWINS, worker("box"), worker("box", running=1)) == [BUSY, BUSY]

    def test_all_are_idle_when_as_many_report_nothing_running(self) -> None:
        assert judged(self.TWINS, worker("box"), worker("box")) == [IDLE, IDLE]

    def test_a_report_too_few_makes_all_of_them_silent(self) -> None:
        assert judged(self.TWINS, worker("box")) == [SILENT, SILENT]

    def test_an_outdated_report_does_not_make_up_for_a_missing_one(self) -> None:
        assert judged(self.TWINS, worker("box"), worker("box", age=OUTDATED)) == [SILENT, SILENT]

    def test_a_neighbour_on_a_host_of_its_own_is_judged_alone(self) -> None:
        replicas = (*self.TWINS, Replica("r3", "r3"))
        assert judged(replicas, worker("box", running=1), worker("r3")) == [BUSY, BUSY, IDLE]


class TestUnknownHosts:
    """Where the host name cannot be told, the workers that belong to nobody else count."""

    PAIR = (Replica("r1", None), Replica("r2", "r2"))

    def test_a_worker_that_matches_no_replica_counts(self) -> None:
        assert judged(self.PAIR, worker("box", running=1), worker("r2")) == [BUSY, IDLE]
        assert judged(self.PAIR, worker("box"), worker("r2")) == [IDLE, IDLE]

    def test_a_worker_of_another_replica_does_not(self) -> None:
        assert judged(self.PAIR, worker("r2", running=1)) == [SILENT, BUSY]

    def test_a_worker_that_matches_nobody_is_nothing_to_replicas_with_a_host(self) -> None:
        assert judged([Replica("r1", "r1")], worker("gone", running=1), worker("r1")) == [IDLE]

    def test_all_of_them_share_the_reports(self) -> None:
        both = (Replica("r1", None), Replica("r2", None))
        assert judged(both, worker("x")) == [SILENT, SILENT]
        assert judged(both, worker("x"), worker("y")) == [IDLE, IDLE]
        assert judged(both, worker("x"), worker("y", running=1)) == [BUSY, BUSY]

    def test_one_that_has_not_started_is_not_waited_for(self) -> None:
        replicas = (Replica("r1", None), Replica("r2", None, started=False))
        assert judged(replicas, worker("x")) == [IDLE, IDLE]


def chosen(known: str, wanted: int, **how: bool) -> list[str]:
    """Return which replicas of a fleet would be stopped."""
    choice = choose(fleet(known, **how), wanted)
    return [replica.id for replica in choice.replicas]


def choose(in_flight: InFlight, wanted: int) -> Choice:
    return choose_idle(in_flight.replicas, standings(in_flight, NOW), wanted)


class TestToStop:
    @pytest.mark.parametrize(
        ("known", "wanted", "going"),
        [
            pytest.param("iii", 2, ["r1", "r2"], id="the-first-in-turn"),
            pytest.param("iii", 0, [], id="none-wanted"),
            pytest.param("iii", 9, ["r1", "r2", "r3"], id="more-wanted-than-there-are"),
            pytest.param("bbb", 2, [], id="none-is-idle"),
            pytest.param("ibi", 2, ["r1", "r3"], id="a-busy-one-is-passed-over"),
            pytest.param("isi", 2, ["r1", "r3"], id="a-silent-one-is-passed-over"),
            pytest.param("bbi", 1, ["r3"], id="the-only-idle-one"),
            pytest.param("bibi", 3, ["r2", "r4"], id="fewer-than-wanted"),
            pytest.param("", 2, [], id="nothing-there"),
        ],
    )
    def test_idle_ones_go_in_the_schedulers_order(
        self, known: str, wanted: int, going: list[str]
    ) -> None:
        assert chosen(known, wanted) == going

    @pytest.mark.parametrize(
        ("known", "wanted", "going"),
        [
            pytest.param("lii", 1, [], id="the-one-that-is-wanted-leaves"),
            pytest.param("lii", 2, ["r2"], id="one-more-is-wanted"),
            pytest.param("ill", 1, [], id="more-leave-than-are-wanted"),
            pytest.param("lbi", 2, ["r3"], id="behind-a-busy-one"),
        ],
    )
    def test_those_that_leave_count_and_are_not_told_again(
        self, known: str, wanted: int, going: list[str]
    ) -> None:
        assert chosen(known, wanted) == going

    def test_a_replica_of_which_nothing_is_known_stays(self) -> None:
        assert choose_idle(fleet("i").replicas, {}, 1).replicas == ()


class TestTurns:
    """The scheduler stops replicas by turns, and chooses within a turn itself."""

    def test_behind_a_busy_one_only_those_go_that_can_be_chosen(self) -> None:
        assert chosen("iibii", 4) == ["r1", "r2", "r4", "r5"]
        assert chosen("iibii", 4, choosable=False) == ["r1", "r2"]

    def test_those_in_turn_go_before_those_one_by_one(self) -> None:
        choice = choose(fleet("iibii"), 3)
        assert [replica.id for replica in choice.in_turn] == ["r1", "r2"]
        assert [replica.id for replica in choice.one_by_one] == ["r4"]

    def test_a_turn_with_a_busy_one_in_it_does_not_go(self) -> None:
        assert chosen("iibi", 1, one_turn=True, choosable=False) == []
        choice = choose(fleet("iibi", one_turn=True), 2)
        assert choice.in_turn == ()
        assert [replica.id for replica in choice.one_by_one] == ["r1", "r2"]

    def test_of_a_turn_in_which_all_are_idle_a_part_may_go(self) -> None:
        assert chosen("iii", 1, one_turn=True, choosable=False) == ["r1"]

    def test_one_that_leaves_does_not_block_its_turn(self) -> None:
        assert chosen("lii", 2, one_turn=True, choosable=False) == ["r2"]

    def test_a_busy_one_blocks_the_turns_behind_it(self) -> None:
        replicas = [Replica(name, name, turn, choosable=False) for turn, name in ENTRIES]
        known = dict.fromkeys("abcde", IDLE) | {"d": BUSY}
        choice = choose_idle(replicas, known, 5)
        assert [replica.id for replica in choice.replicas] == ["a", "b"]


ENTRIES = ((0, "a"), (0, "b"), (1, "c"), (1, "d"), (2, "e"))
"""Turns and names of replicas on several nodes."""


@st.composite
def members(draw: st.DrawFn) -> tuple[list[Replica], Mapping[str, Standing]]:
    """Draw replicas in their scheduler's order, and what is known of them."""
    turns = sorted(draw(st.lists(st.integers(0, 4), max_size=10)))
    replicas = [
        Replica(f"r{number}", None, turn, choosable=draw(st.booleans()))
        for number, turn in enumerate(turns)
    ]
    known = {replica.id: draw(st.sampled_from(Standing)) for replica in replicas}
    return replicas, known


WANTED = st.integers(-3, 12)


@given(members(), WANTED)
def test_never_more_go_than_are_wanted(
    drawn: tuple[list[Replica], Mapping[str, Standing]], wanted: int
) -> None:
    replicas, known = drawn
    leaving = sum(known[replica.id] is LEAVING for replica in replicas)
    assert len(choose_idle(replicas, known, wanted).replicas) <= max(0, wanted - leaving)


@given(members(), WANTED)
def test_none_goes_that_is_not_known_to_be_idle_and_none_twice(
    drawn: tuple[list[Replica], Mapping[str, Standing]], wanted: int
) -> None:
    replicas, known = drawn
    going = [replica.id for replica in choose_idle(replicas, known, wanted).replicas]
    assert {known[id_] for id_ in going} <= {IDLE}
    assert len(set(going)) == len(going)


@given(members(), WANTED)
def test_those_one_by_one_can_be_chosen(
    drawn: tuple[list[Replica], Mapping[str, Standing]], wanted: int
) -> None:
    assert all(replica.choosable for replica in choose_idle(*drawn, wanted).one_by_one)


@given(members(), WANTED)
def test_whomever_the_scheduler_picks_when_it_is_asked_for_so_many_fewer_none_is_at_work(
    drawn: tuple[list[Replica], Mapping[str, Standing]], wanted: int
) -> None:
    """It takes turn after turn, and in the last turn any: all in it have to be idle or leaving."""
    replicas, known = drawn
    fewer = len(choose_idle(replicas, known, wanted).in_turn)
    if not fewer:
        return
    last = replicas[fewer - 1].turn
    within_reach = {known[replica.id] for replica in replicas if replica.turn <= last}
    assert within_reach <= {IDLE, LEAVING}


@given(members())
def test_of_replicas_that_can_all_be_chosen_every_idle_one_may_go(
    drawn: tuple[list[Replica], Mapping[str, Standing]],
) -> None:
    replicas, known = drawn
    free = [Replica(replica.id, None, replica.turn) for replica in replicas]
    going = {replica.id for replica in choose_idle(free, known, len(free)).replicas}
    assert going == {id_ for id_, standing_ in known.items() if standing_ is IDLE}
