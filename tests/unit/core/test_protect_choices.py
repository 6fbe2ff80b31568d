"""Which replicas stop: the idle ones, as far as the scheduler takes no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscaler.core.in_flight import Standing, standings
from autoscaler.core.model import Replica, ScalingAction, ServiceId
from autoscaler.core.protect import (
    Choice,
    choose,
    choose_idle,
    choose_in_order,
    choose_vacated,
    stops_nobody,
)
from tests.fakes.clock import START as NOW
from tests.unit.builders import fleet, shrinking

IDLE, BUSY, SILENT, LEAVING = Standing


def names(replicas: tuple[Replica, ...]) -> list[str]:
    """Return the ids of replicas."""
    return [replica.id for replica in replicas]


def chosen(known: str, wanted: int, **how: bool) -> list[str]:
    """Return which idle replicas of a fleet would be stopped."""
    return names(idle_choice(known, wanted, **how).replicas)


def idle_choice(known: str, wanted: int, **how: bool) -> Choice:
    """Choose from a fleet by what is known of each replica."""
    in_flight = fleet(known, **how)
    return choose_idle(in_flight.replicas, standings(in_flight, NOW), wanted)


class TestChooseIdle:
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
    def test_idle_replicas_go_in_the_schedulers_order(
        self, known: str, wanted: int, going: list[str]
    ) -> None:
        assert chosen(known, wanted) == going

    @pytest.mark.parametrize(
        ("known", "wanted", "going"),
        [
            pytest.param("lii", 1, [], id="as-many-leave-as-are-wanted"),
            pytest.param("lii", 2, ["r2"], id="one-more-is-wanted"),
            pytest.param("ill", 1, [], id="more-leave-than-are-wanted"),
            pytest.param("lbi", 2, ["r3"], id="behind-a-busy-one"),
        ],
    )
    def test_leaving_replicas_count_and_are_not_stopped_again(
        self, known: str, wanted: int, going: list[str]
    ) -> None:
        assert chosen(known, wanted) == going

    def test_a_replica_of_which_nothing_is_known_stays(self) -> None:
        assert choose_idle(fleet("i").replicas, {}, 1).replicas == ()


class TestTurns:
    """The scheduler stops replicas turn by turn, and itself chooses within a turn."""

    def test_behind_a_busy_replica_only_those_go_that_can_be_stopped_by_name(self) -> None:
        assert chosen("iibii", 4) == ["r1", "r2", "r4", "r5"]
        assert chosen("iibii", 4, choosable=False) == ["r1", "r2"]

    def test_replicas_in_turn_go_before_those_stopped_by_name(self) -> None:
        choice = idle_choice("iibii", 3)
        assert names(choice.in_turn) == ["r1", "r2"]
        assert names(choice.by_name) == ["r4"]

    def test_in_a_turn_with_a_busy_replica_none_goes_in_turn(self) -> None:
        assert chosen("iibi", 1, one_turn=True, choosable=False) == []
        choice = idle_choice("iibi", 2, one_turn=True)
        assert choice.in_turn == ()
        assert names(choice.by_name) == ["r1", "r2"]

    def test_a_part_of_an_idle_turn_may_go(self) -> None:
        assert chosen("iii", 1, one_turn=True, choosable=False) == ["r1"]

    def test_a_leaving_replica_does_not_block_its_turn(self) -> None:
        assert chosen("lii", 2, one_turn=True, choosable=False) == ["r2"]

    def test_a_busy_replica_blocks_its_turn_and_all_later_ones(self) -> None:
        turns = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2}
        replicas = [Replica(name, name, turn, choosable=False) for name, turn in turns.items()]
        known = dict.fromkeys(turns, IDLE) | {"d": BUSY}
        assert names(choose_idle(replicas, known, 5).replicas) == ["a", "b"]


class TestChooseInOrder:
    """Where nobody cares, or nobody can know, what the replicas run."""

    @pytest.mark.parametrize(
        ("wanted", "going"),
        [
            pytest.param(2, ["r1", "r2"], id="the-first-in-the-schedulers-order"),
            pytest.param(9, ["r1", "r2", "r3"], id="more-than-there-are"),
            pytest.param(0, [], id="none"),
            pytest.param(-1, [], id="fewer-than-none"),
        ],
    )
    def test_the_first_go_busy_or_not(self, wanted: int, going: list[str]) -> None:
        choice = choose_in_order(fleet("bsi").replicas, wanted)
        assert names(choice.in_turn) == going
        assert choice.by_name == ()

    def test_the_choice_names_all_replicas_it_was_made_from(self) -> None:
        assert names(choose_in_order(fleet("bsi").replicas, 1).of) == ["r1", "r2", "r3"]


class TestChoose:
    """The choice right before the stop, by what is known at that moment."""

    @pytest.mark.parametrize("reported", [True, False])
    def test_where_a_worker_reports_only_idle_replicas_go(self, *, reported: bool) -> None:
        choice = choose(fleet("bisi"), 3, NOW, reported=reported)
        assert names(choice.replicas) == ["r2", "r4"]

    def test_where_no_worker_has_ever_reported_replicas_go_in_order(self) -> None:
        choice = choose(fleet("sss"), 2, NOW, reported=False)
        assert names(choice.in_turn) == ["r1", "r2"]

    def test_where_reports_have_stopped_since_the_decision_none_goes(self) -> None:
        assert choose(fleet("sss"), 2, NOW, reported=True).replicas == ()

    @pytest.mark.parametrize("known", ["iib", "sss"])
    def test_the_choice_names_all_replicas_it_was_made_from(self, known: str) -> None:
        assert names(choose(fleet(known), 1, NOW, reported=False).of) == ["r1", "r2", "r3"]


@st.composite
def members(draw: st.DrawFn, min_size: int = 0) -> tuple[list[Replica], Mapping[str, Standing]]:
    """Draw replicas in their scheduler's order, and what is known of each."""
    turns = sorted(draw(st.lists(st.integers(0, 4), min_size=min_size, max_size=10)))
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
def test_only_replicas_known_to_be_idle_go_and_none_goes_twice(
    drawn: tuple[list[Replica], Mapping[str, Standing]], wanted: int
) -> None:
    replicas, known = drawn
    going = [replica.id for replica in choose_idle(replicas, known, wanted).replicas]
    assert {known[id_] for id_ in going} <= {IDLE}
    assert len(set(going)) == len(going)


@given(members(), WANTED)
def test_only_choosable_replicas_are_stopped_by_name(
    drawn: tuple[list[Replica], Mapping[str, Standing]], wanted: int
) -> None:
    assert all(replica.choosable for replica in choose_idle(*drawn, wanted).by_name)


@st.composite
def with_an_idle_front(
    draw: st.DrawFn,
) -> tuple[list[Replica], Mapping[str, Standing], int]:
    """Draw replicas whose first turn is idle, and how many are wanted: at least one goes."""
    replicas, known = draw(members(min_size=1))
    front = {each.id: IDLE for each in replicas if each.turn == replicas[0].turn}
    known = {**known, **front}
    leaving = sum(standing is LEAVING for standing in known.values())
    return replicas, known, leaving + draw(st.integers(1, 10))


@given(with_an_idle_front())
def test_whichever_replicas_the_scheduler_picks_in_turn_none_is_at_work(
    drawn: tuple[list[Replica], Mapping[str, Standing], int],
) -> None:
    """The scheduler goes turn by turn, and in the last turn it may pick any replica."""
    replicas, known, wanted = drawn
    fewer = len(choose_idle(replicas, known, wanted).in_turn)
    assert fewer > 0
    staying = [each for each in replicas if known[each.id] is not LEAVING]
    last = staying[fewer - 1].turn
    within_reach = {known[replica.id] for replica in replicas if replica.turn <= last}
    assert within_reach <= {IDLE, LEAVING}


@given(members())
def test_where_all_replicas_are_choosable_every_idle_one_may_go(
    drawn: tuple[list[Replica], Mapping[str, Standing]],
) -> None:
    replicas, known = drawn
    free = [Replica(replica.id, None, replica.turn) for replica in replicas]
    going = {replica.id for replica in choose_idle(free, known, len(free)).replicas}
    assert going == {id_ for id_, standing_ in known.items() if standing_ is IDLE}


class TestVacatedPlace:
    """A replica was stopped by name: the scheduler replaces it unless it is asked for fewer."""

    OLD = Replica("old", "old", turn=1)

    @pytest.mark.parametrize(
        ("replacement", "goes"),
        [
            pytest.param(Replica("new", None, started=False), True, id="alone-in-the-first-turn"),
            pytest.param(
                Replica("new", None, started=False, placed=False), False, id="without-a-node"
            ),
            pytest.param(Replica("new", "new"), False, id="started-already"),
            pytest.param(Replica("new", None, turn=1, started=False), False, id="in-one-turn"),
            pytest.param(Replica("new", None, turn=2, started=False), False, id="in-a-later-turn"),
        ],
    )
    def test_the_replacement_goes_only_where_its_turn_is_certain(
        self, replacement: Replica, *, goes: bool
    ) -> None:
        replicas = sorted((replacement, self.OLD), key=lambda each: each.turn)
        choice = choose_vacated(replicas)
        assert choice == Choice(tuple(replicas), in_turn=(replacement,) if goes else ())

    def test_where_no_replica_is_left_none_goes(self) -> None:
        assert choose_vacated([]) == Choice(())


class TestStopsNobody:
    """A change that nobody has to be told of is not started."""

    @pytest.mark.parametrize(
        ("known", "desired", "nobody"),
        [
            pytest.param("l", 0, True, id="the-only-one-leaves-already"),
            pytest.param("lli", 1, True, id="as-many-leave-as-are-wanted"),
            pytest.param("lli", 0, False, id="an-idle-one-goes-beside-them"),
            pytest.param("i", 0, False, id="an-idle-one"),
            pytest.param("b", 0, True, id="a-busy-one"),
        ],
    )
    def test_as_far_as_this_look_can_tell(self, known: str, desired: int, *, nobody: bool) -> None:
        given = shrinking(fleet(known), desired)
        assert stops_nobody(action(len(known), desired), given) is nobody

    def test_growth_is_no_stop(self) -> None:
        assert not stops_nobody(action(1, 3), shrinking(fleet("l"), 3))

    def test_where_nobody_looked_it_is_started(self) -> None:
        given = replace(shrinking(fleet("l"), 0), in_flight=None)
        assert not stops_nobody(action(1, 0), given)

    def test_where_there_are_more_replicas_than_it_counts_nobody_stops(self) -> None:
        """The scheduler still lets go of earlier ones: it is not known who comes next."""
        assert stops_nobody(action(1, 0), shrinking(fleet("ii"), 0))

    def test_where_busy_replicas_are_ignored_any_goes(self) -> None:
        assert not stops_nobody(action(1, 0), shrinking(fleet("b"), 0, busy="ignore"))


def action(current: int, desired: int) -> ScalingAction:
    """Ask for a change of one service."""
    return ScalingAction(ServiceId("compose", "shop/worker"), current, desired)
