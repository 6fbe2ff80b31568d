"""Enough replicas for the tasks that arrive: on modelled workers, and where signs are wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from autoscaler.core.backlog import QueueStats
from autoscaler.core.label_values import KeepUp
from autoscaler.simulation.controllers import START, Autoscaler, Observation
from autoscaler.simulation.trace import Trace
from autoscaler.simulation.workers import Phase, Workers
from autoscaler.simulation.world import ClosedLoop
from tests.unit.simulation.builders import arrivals, spec

MINUTE = 60
EACH_ONE = Workers(service_time=2, slots=2, startup=3)
"""A replica does one task a second."""
Lie = Callable[[QueueStats], QueueStats]


def truth(stats: QueueStats) -> QueueStats:
    return stats


def steady(rate: int, minutes: int) -> Trace:
    """Return a trace in which so many tasks arrive in each second, and then none any more."""
    return arrivals((0, rate * 10 * MINUTE), *_more(rate, minutes), (minutes * MINUTE, 0))


def _more(rate: int, minutes: int) -> list[tuple[float, int]]:
    return [(at * MINUTE, rate * 10 * MINUTE) for at in range(10, minutes, 10)]


@dataclass
class Run:
    """A service that is looked at every 5 s."""

    trace: Trace
    most: int = 20
    keep_up: KeepUp = field(default_factory=KeepUp)
    workers: Workers = EACH_ONE
    at: int = 0
    numbers: list[int] = field(default_factory=list)
    """Replicas at each look."""
    waiting: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.controller = Autoscaler(spec(max=self.most, keep_up=self.keep_up))
        self.world = ClosedLoop(self.trace, self.workers, self.controller.start(START))

    def until(self, minute: float, lie: Lie = truth) -> Run:
        """Go on with what `lie` makes of the signs."""
        while self.at <= minute * MINUTE:
            self.world.advance(self.at)
            replicas = len(self.world.fleet.staying)
            now = START + timedelta(seconds=self.at)
            shown = Observation(now, replicas, lie(self.world.stats()))
            desired = self.controller.decide(shown).desired
            self.numbers.append(replicas)
            self.waiting.append(self.world.waiting)
            if desired != replicas:
                self.world.scale(desired)
            self.at += 5
        return self

    def since(self, minute: float) -> list[int]:
        """Return the replicas at each look from a minute on."""
        return self.numbers[int(minute * MINUTE / 5) :]

    def plain(self) -> int:
        """Return what the backlog alone asks for now, within the bounds."""
        return min(max(1, -(-self.world.waiting // 10)), self.most)


def then(minute: float, service_time: float) -> Workers:
    """Return workers whose tasks take another time from a minute on."""
    return replace(EACH_ONE, later=(Phase(minute * MINUTE, service_time),))


def turns(numbers: list[int]) -> int:
    """Count the changes of direction."""
    pairs = itertools.pairwise(numbers)
    out = [after > before for before, after in pairs if after != before]
    return sum(one != two for one, two in itertools.pairwise(out))


class TestSteadyArrivals:
    def test_replicas_that_just_keep_up_stay_although_nothing_waits(self) -> None:
        run = Run(steady(5, 40)).until(40)
        assert max(run.waiting[60:]) <= 20
        settled = run.since(3)
        assert sorted(settled)[len(settled) // 20] == 5
        assert max(settled) <= 6
        assert turns(settled) <= 10

    def test_without_keep_up_there_are_only_as_many_as_tasks_that_wait_ask_for(self) -> None:
        run = Run(steady(5, 40), keep_up=KeepUp(on=False)).until(40)
        assert min(run.waiting[60:-5]) > 40

    def test_once_no_more_tasks_arrive_min_is_left_within_a_minute(self) -> None:
        run = Run(steady(5, 20)).until(20)
        assert run.numbers[-1] >= 5
        assert run.until(21).numbers[-1] == 1

    def test_tasks_that_come_once_ask_for_nothing_but_their_backlog(self) -> None:
        trace = arrivals((0, 0), (67, 100), (68, 0))
        with_it, without = Run(trace), Run(trace, keep_up=KeepUp(on=False))
        assert with_it.until(5).numbers == without.until(5).numbers
        assert max(with_it.numbers) == 10

    def test_a_given_throughput_needs_no_learning(self) -> None:
        run = Run(steady(5, 10), keep_up=KeepUp(throughput=1.0)).until(10)
        assert set(run.since(2)) == {5}
        assert turns(run.numbers) == 0


class TestWorkersThatChange:
    @pytest.mark.parametrize("since", [5, 12, 31])
    def test_tasks_that_take_twice_as_long_have_their_replicas_in_two_minutes(
        self, since: int
    ) -> None:
        run = Run(steady(5, 60), workers=then(since, 4)).until(since + 2)
        assert run.numbers[-1] >= 10
        before = run.world.waiting
        run.until(since + 6)
        assert run.world.waiting <= before
        assert run.world.waiting <= 20
        assert run.numbers[-1] <= 13

    def test_tasks_that_take_ten_times_as_long_lead_to_max_and_not_beyond(self) -> None:
        run = Run(steady(5, 40), workers=then(10, 20)).until(13)
        assert max(run.numbers) == run.numbers[-1] == 20

    def test_tasks_that_take_a_tenth_are_found_out_by_a_trial(self) -> None:
        run = Run(steady(5, 90), workers=then(10, 0.2)).until(75)
        assert run.numbers[-1] == 1


def without_rates(stats: QueueStats) -> QueueStats:
    return replace(stats, add_rate=0.0, dispatch_rate=0.0)


def without_dispatches(stats: QueueStats) -> QueueStats:
    return replace(stats, dispatch_rate=0.0)


def doubled(stats: QueueStats) -> QueueStats:
    return replace(
        stats,
        waiting=2 * stats.waiting,
        add_rate=2 * stats.add_rate,
        dispatch_rate=2 * stats.dispatch_rate,
    )


def twice_the_arrivals(stats: QueueStats) -> QueueStats:
    return replace(stats, add_rate=2 * stats.add_rate)


def negative(stats: QueueStats) -> QueueStats:
    return replace(stats, add_rate=-5.0, dispatch_rate=-1.0)


def absurd(stats: QueueStats) -> QueueStats:
    return replace(stats, add_rate=1e15, dispatch_rate=float("nan"))


LIES = [without_rates, without_dispatches, doubled, twice_the_arrivals, negative, absurd]


class TestWrongSigns:
    @pytest.mark.parametrize("lie", LIES)
    @pytest.mark.parametrize("since", [1, 3, 11])
    def test_they_ask_for_no_more_than_helped_or_waits(self, lie: Lie, since: int) -> None:
        run = Run(steady(5, 40)).until(since)
        run.until(since + 10, lie)
        by_backlog = [-(-2 * waiting // 10) for waiting in run.waiting]
        assert max(run.numbers) <= max(8, *by_backlog)

    @pytest.mark.parametrize("lie", [without_rates, without_dispatches])
    def test_rates_of_0_leave_it_to_the_plain_rule(self, lie: Lie) -> None:
        plain = Run(steady(5, 40), keep_up=KeepUp(on=False)).until(12, lie)
        run = Run(steady(5, 40)).until(10).until(12, lie)
        assert max(run.since(11.5)) <= max(plain.since(3))

    def test_tasks_that_nobody_gets_bring_growth_that_is_given_back(self) -> None:
        """A restart of the server may leave tasks counted that are not there."""

        def phantoms(stats: QueueStats) -> QueueStats:
            return replace(stats, waiting=stats.waiting + 50)

        run = Run(steady(3, 40)).until(11)
        run.until(20, phantoms)
        assert max(run.since(11)) <= 8
        # 50 tasks at target 10 are 5 by the plain rule.
        assert run.since(13.1)[0] <= 6
        assert run.numbers[-1] <= 6

    def test_replicas_held_in_vain_are_given_back_in_two_minutes(self) -> None:
        """What was learnt of slow tasks holds too many for fast ones, and waits show nothing."""
        workers = replace(EACH_ONE, service_time=4, later=(Phase(1.5 * MINUTE, 0.1),))
        run = Run(steady(3, 40), workers=workers).until(6)
        held = run.since(2)
        assert held[0] > 1
        assert run.since(4.5)[0] == 1
