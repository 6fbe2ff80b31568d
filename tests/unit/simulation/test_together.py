"""Services that share limits, simulated together: who gets what, and what is never exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.groups import NO_GROUPS, Groups
from autoscaler.core.label_values import Busy, Mode
from autoscaler.simulation.controllers import Autoscaler
from autoscaler.simulation.replay import replay
from autoscaler.simulation.together import Member, MemberRun, SharedRun, replay_together
from autoscaler.simulation.trace import START, Trace
from autoscaler.simulation.workers import Phase, Workers
from tests.unit.simulation.builders import PLAIN, arrivals, at_once, backlogs, spec

GPU = Groups({"gpu": 8})
NONE = timedelta()


def member(
    name: str, trace: Trace | None = None, workers: Workers = PLAIN, **fields: object
) -> Member:
    """Return a service of the group gpu; without a trace it has plenty of work at once."""
    labels = spec(**{"groups": ("gpu",), "min": 0, "max": 20, "cooldown": NONE, **fields})
    return Member(name, labels, trace or at_once(200), workers)


def together(*members: Member, groups: Groups = GPU, interval: float = 5.0) -> SharedRun:
    return replay_together(members, groups, interval)


def replicas(run: MemberRun, at: float) -> int:
    """Return the replicas of a service at a moment at which there is a look."""
    return next(step.replicas for step in run.run.steps if step.at == at)


def drained(run: MemberRun) -> float:
    seconds = run.run.figures.time_to_drain
    assert seconds is not None
    return seconds


class TestWhoGetsWhat:
    def test_a_higher_priority_gets_its_wish_first(self) -> None:
        low, high = together(member("a"), member("b", priority=10)).members
        assert (replicas(low, 50), replicas(high, 50)) == (0, 8)
        assert drained(high) < drained(low)
        assert any("b has priority 10" in reason for reason in low.run.steps[10].reasons)

    def test_when_it_is_done_the_others_take_over(self) -> None:
        low, high = together(member("a"), member("b", priority=10)).members
        # The heartbeats tell within 60 s that the others have nothing to do.
        assert replicas(low, drained(high) + 80) == 8

    @pytest.mark.parametrize(
        ("busy", "later"),
        [
            pytest.param(Busy.IGNORE, (0, 8), id="they-finish-their-tasks-and-go"),
            pytest.param(Busy.PROTECT, (8, 0), id="busy-ones-stay"),
        ],
    )
    def test_replicas_at_work_are_given_back_where_their_labels_allow_it(
        self, busy: Busy, later: tuple[int, int]
    ) -> None:
        late = member("b", arrivals((0, 0), (100, 100), (101, 0)), priority=10)
        low, high = together(member("a", busy=busy), late).members
        assert (replicas(low, 95), replicas(high, 95)) == (8, 0)
        assert (replicas(low, 150), replicas(high, 150)) == later

    def test_what_drains_takes_its_room_until_it_has_ended(self) -> None:
        slow = replace(PLAIN, service_time=60.0)
        late = member("b", arrivals((0, 0), (100, 100), (101, 0)), priority=10)
        low, high = together(member("a", workers=slow, busy=Busy.IGNORE), late).members
        # The tasks that run when the others come end at second 120.
        assert (replicas(low, 115), replicas(high, 115)) == (0, 0)
        assert replicas(high, 130) == 8

    def test_equal_weights_get_the_same(self) -> None:
        one, other = together(member("a"), member("b")).members
        assert (replicas(one, 50), replicas(other, 50)) == (4, 4)

    def test_what_does_not_divide_differs_by_one(self) -> None:
        runs = together(member("a"), member("b"), member("c")).members
        assert [replicas(each, 50) for each in runs] == [3, 3, 2]

    def test_weights_are_shares(self) -> None:
        one, other = together(member("a"), member("b", weight=3)).members
        assert (replicas(one, 50), replicas(other, 50)) == (2, 6)

    def test_a_service_outside_of_the_group_is_as_if_alone(self) -> None:
        _, other = together(member("a"), member("b", groups=())).members
        assert replicas(other, 50) == 20
        assert other.held == 0

    def test_all_services_together_have_a_limit(self) -> None:
        shared = together(member("a"), member("b", groups=()), groups=Groups({}, of_all=6))
        assert [replicas(each, 50) for each in shared.members] == [3, 3]
        assert [(limit.name, limit.most, limit.peak) for limit in shared.limits] == [
            ("all services", 6, 6)
        ]

    def test_a_service_in_dry_run_keeps_what_it_has(self) -> None:
        still, other = together(member("a", mode=Mode.DRY_RUN, min=2), member("b")).members
        assert {step.desired for step in still.run.steps} == {2}
        assert replicas(other, 50) == 6


class TestFigures:
    def test_a_service_is_held_as_long_as_it_gets_less_than_it_wishes(self) -> None:
        low, high = together(member("a"), member("b", priority=10, max=8)).members
        assert high.held == 0
        looks = [
            step
            for step, wished in zip(low.run.steps, low.wishes, strict=True)
            if wished > step.desired
        ]
        assert low.held == 5 * len(looks) > drained(high)

    def test_the_wish_is_that_of_a_service_alone(self) -> None:
        low, _ = together(member("a"), member("b", priority=10)).members
        assert low.wishes[10] == 20

    def test_a_limit_says_how_much_of_it_was_used(self) -> None:
        (limit,) = together(member("a", max=3), member("b", max=2)).limits
        assert (limit.name, limit.most, limit.peak) == ("group gpu", 8, 5)

    def test_a_service_that_is_alone_runs_as_in_a_simulation_of_its_own(self) -> None:
        alone = member("a")
        (run,) = replay(alone.trace, [Autoscaler(alone.spec)], alone.workers)
        (shared,) = together(alone, groups=NO_GROUPS).members
        assert shared.run == run


class TestClock:
    """Traces of dates keep them; seconds begin with the earliest date."""

    MORNING = datetime(2027, 3, 1, 8, tzinfo=UTC)

    def dated(self, late: timedelta) -> Trace:
        trace = backlogs((0, 50), (60, 50), (120, 0))
        return replace(trace, begins=self.MORNING + late, dated=True)

    def grown_at(self, *members: Member) -> Sequence[float]:
        return [
            next(step.at for step in each.run.steps if step.desired > step.replicas)
            for each in together(*members, groups=NO_GROUPS, interval=10).members
        ]

    def test_a_later_trace_begins_later(self) -> None:
        early, late = self.dated(timedelta()), self.dated(timedelta(minutes=5))
        assert self.grown_at(member("a", late), member("b", early)) == [300, 0]

    def test_seconds_begin_with_the_earliest_date(self) -> None:
        plain = backlogs((0, 0), (20, 50), (60, 0))
        assert self.grown_at(member("a", plain), member("b", self.dated(timedelta()))) == [20, 0]

    def test_all_have_the_same_second_0(self) -> None:
        shared = together(
            member("a"), member("b", self.dated(timedelta(hours=1))), groups=NO_GROUPS
        )
        for each in shared.members:
            assert (each.member.trace.begins, each.member.trace.dated) == (
                self.MORNING + timedelta(hours=1),
                True,
            )

    def test_without_dates_they_begin_as_every_trace(self) -> None:
        (alone,) = together(member("a")).members
        assert (alone.member.trace.begins, alone.member.trace.dated) == (START, False)

    def test_workers_that_change_do_so_later_too(self) -> None:
        workers = replace(PLAIN, later=(Phase(30.0, 2.0),))
        late = member("b", self.dated(timedelta(minutes=5)), workers)
        _, shared = together(member("a", self.dated(timedelta())), late).members
        assert [phase.since for phase in shared.member.workers.later] == [330.0]

    def test_dates_that_are_a_year_apart_are_refused(self) -> None:
        old, new = self.dated(timedelta()), self.dated(timedelta(days=365))
        with pytest.raises(ConfigurationError, match="of a ends more than 31 days after that of b"):
            together(member("a", new), member("b", old))


members = st.builds(
    member,
    st.just(""),
    st.lists(st.integers(0, 80), min_size=1, max_size=4).map(
        lambda tasks: arrivals(*((40.0 * row, each) for row, each in enumerate([*tasks, 0])))
    ),
    st.builds(
        Workers,
        service_time=st.sampled_from([1.0, 7.5, 30.0]),
        slots=st.integers(1, 3),
        startup=st.sampled_from([0.0, 3.0, 40.0]),
        heartbeat=st.sampled_from([0.0, 1.0, 60.0]),
    ),
    min=st.integers(0, 2),
    max=st.integers(2, 12),
    priority=st.integers(-1, 1),
    weight=st.sampled_from([0.5, 1.0, 2.0]),
)


@settings(max_examples=20)
@given(st.lists(members, min_size=1, max_size=4))
def test_a_group_of_8_is_never_exceeded_by_what_runs_and_drains(found: list[Member]) -> None:
    named = [replace(each, name=f"s{number}") for number, each in enumerate(found)]
    shared = together(*named)
    (limit,) = shared.limits
    assert limit.peak <= 8
    steps = zip(*(each.run.steps for each in shared.members), strict=True)
    assert all(sum(step.desired for step in look) <= 8 for look in steps)


@settings(max_examples=5)
@given(st.lists(members, min_size=2, max_size=3))
def test_the_order_of_the_services_changes_nothing(found: list[Member]) -> None:
    named = [replace(each, name=f"s{number}") for number, each in enumerate(found)]
    forth, back = together(*named), together(*reversed(named))
    assert forth.members == tuple(reversed(back.members))
    assert forth.limits == back.limits
