"""A budget of calls: each call keeps the interval while there is room; beyond, calls take turns."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.core.budget import Budget, LastCall
from tests.fakes.clock import START

POLL = timedelta(seconds=5)
SECOND = timedelta(seconds=1)


def budget(rate: float = 2, interval: timedelta = POLL) -> Budget:
    """A budget of ten calls a poll."""
    return Budget(rate, interval)


def made(quiet: int = 0, moving: int = 0, *, age: timedelta = POLL) -> dict[str, LastCall | None]:
    """Calls that were last made some time ago. None of them is made again within 4 s."""
    last = LastCall(START - age, moving=False, spacing=4 * SECOND)
    still = {f"quiet-{number}": last for number in range(quiet)}
    return {**still, **{f"moving-{n}": replace(last, moving=True) for n in range(moving)}}


class TestPace:
    @pytest.mark.parametrize(
        ("moving", "quiet", "expected"),
        [
            pytest.param(0, 10, (5, 5), id="all-fit"),
            pytest.param(10, 0, (5, 5), id="all-fit-in-motion"),
            pytest.param(0, 11, (5, 5.5), id="one-too-many"),
            pytest.param(0, 20, (5, 10), id="twice-too-many-take-twice-as-long"),
            pytest.param(5, 10, (5, 10), id="what-is-in-motion-keeps-the-interval"),
            pytest.param(5, 20, (5, 20), id="until-quiet-ones-take-four-times-as-long"),
            pytest.param(5, 40, (7.5, 30), id="then-both-stretch"),
            pytest.param(20, 0, (10, 40), id="all-in-motion"),
        ],
    )
    def test_calls_that_do_not_fit_wait_longer(
        self, moving: int, quiet: int, expected: tuple[float, float]
    ) -> None:
        pace = budget().pace(moving, quiet)
        assert (pace.moving.total_seconds(), pace.quiet.total_seconds()) == expected

    @pytest.mark.parametrize("moving", [0, 3, 7, 50, 400])
    @pytest.mark.parametrize("quiet", [11, 100, 1000])
    def test_the_pace_uses_up_the_budget_and_no_more(self, moving: int, quiet: int) -> None:
        pace = budget().pace(moving, quiet)
        rate = moving / pace.moving.total_seconds() + quiet / pace.quiet.total_seconds()
        assert rate == pytest.approx(2)


class TestChoice:
    def test_everything_is_chosen_while_there_is_room(self) -> None:
        chosen, pace, _ = budget().choose(made(quiet=7, moving=3), START)
        assert len(chosen) == 10
        assert pace.quiet == POLL

    def test_a_reading_that_is_fresh_is_used_again(self) -> None:
        chosen, _, _ = budget().choose(made(quiet=3, age=3.9 * SECOND), START)
        assert chosen == frozenset()

    def test_a_tick_between_two_polls_reads_again_what_is_not_fresh(self) -> None:
        chosen, _, _ = budget(interval=60 * SECOND).choose(made(quiet=3, age=4 * SECOND), START)
        assert len(chosen) == 3

    def test_a_call_that_brings_something_new_each_time_is_made_at_each_tick(self) -> None:
        soon = {"soon": LastCall(START - SECOND, moving=False, spacing=0.5 * SECOND)}
        late = made(quiet=3, age=SECOND)
        chosen, _, _ = budget(interval=SECOND, rate=10).choose({**soon, **late}, START)
        assert chosen == {"soon"}

    def test_calls_that_need_time_between_two_turns_take_little_of_the_budget(self) -> None:
        _, pace, _ = budget(interval=SECOND, rate=10).choose(made(quiet=40), START)
        assert pace.quiet == SECOND
        _, pace, _ = budget(interval=SECOND, rate=10).choose(made(quiet=41), START)
        assert pace.quiet > SECOND

    def test_beyond_the_budget_no_call_is_made_before_it_brings_something_new(self) -> None:
        calls = made(moving=100, age=3.9 * SECOND)
        chosen, pace, _ = budget(interval=SECOND, rate=30).choose(calls, START)
        assert pace.moving < 4 * SECOND
        assert chosen == frozenset()

    def test_no_more_are_chosen_than_are_left(self) -> None:
        chosen, _, after = budget().choose(made(quiet=1000, age=timedelta(hours=1)), START)
        assert len(chosen) == 10
        assert after.left == 0

    def test_the_longest_overdue_go_first(self) -> None:
        late = {f"late-{number}": LastCall(START - 3 * POLL, moving=False) for number in range(10)}
        chosen, _, _ = budget().choose({**made(quiet=10, age=2.5 * POLL), **late}, START)
        assert chosen == frozenset(late)

    def test_a_call_that_was_never_made_is_due_at_once(self) -> None:
        known = made(quiet=30, age=SECOND)
        chosen, _, _ = budget().choose({**known, "new": None}, START)
        assert chosen == {"new"}

    def test_a_clock_that_is_set_back_makes_no_call_wait(self) -> None:
        _, _, before = budget().choose(made(quiet=10), START)
        ahead = made(quiet=5, age=-timedelta(hours=1))
        chosen, _, _ = before.choose(ahead, START - timedelta(hours=1))
        assert chosen == frozenset()  # Nothing is left, and an hour back adds nothing ...
        chosen, _, _ = before.choose(ahead, START + POLL)
        assert len(chosen) == 5  # ... but no call waits for that hour to pass again.


class TestWhatIsLeft:
    def test_time_adds_calls(self) -> None:
        _, _, spent = budget().choose(made(quiet=100, age=timedelta(hours=1)), START)
        _, _, after = spent.choose({}, START + 2 * SECOND)
        assert after.left == 4

    def test_calls_that_are_left_over_are_not_saved_up(self) -> None:
        _, _, after = budget().choose({}, START + timedelta(hours=1))
        assert after.left == 10

    def test_a_budget_of_less_than_one_call_a_poll_makes_a_call_now_and_then(self) -> None:
        small = budget(rate=1, interval=0.5 * SECOND)
        _, _, begun = small.choose({}, START)
        later = START + SECOND
        chosen, _, _ = begun.choose(made(quiet=3, age=timedelta(hours=1)), later)
        assert len(chosen) == 1

    def test_the_first_calls_may_use_up_what_5_s_earn(self) -> None:
        calls = made(quiet=12, age=timedelta(hours=1))
        chosen, _, after = budget(rate=2, interval=SECOND).choose(calls, START)
        assert (len(chosen), after.left) == (10, 0)
        assert len(after.choose(calls, START + SECOND)[0]) == 2

    def test_calls_without_a_turn_delay_the_others(self) -> None:
        chosen, _, after = budget().charge(25).choose(made(quiet=3), START)
        assert chosen == frozenset()
        chosen, _, _ = after.choose(made(quiet=3, age=4 * POLL), START + 10 * SECOND)
        assert len(chosen) == 3


class TestCallsWithoutATurn:
    """Ten calls are left, and two a second are earned."""

    @pytest.mark.parametrize(
        ("calls", "ahead", "left"),
        [
            pytest.param(10, False, 0, id="all-that-is-left"),
            pytest.param(11, False, None, id="more-than-is-left"),
            pytest.param(12, True, -2, id="what-the-next-second-earns"),
            pytest.param(13, True, None, id="more-than-the-next-second-earns"),
        ],
    )
    def test_they_are_made_while_there_is_room(
        self,
        calls: int,
        ahead: bool,  # noqa: FBT001
        left: float | None,
    ) -> None:
        _, _, begun = budget().choose({}, START)
        after = begun.spend(calls, ahead=ahead)
        assert (None if after is None else after.left) == left


def test_over_an_hour_all_calls_keep_their_pace_within_the_budget() -> None:
    kinds = {f"quiet-{n}": False for n in range(40)} | {f"moving-{n}": True for n in range(4)}
    latest: dict[str, LastCall | None] = dict.fromkeys(kinds)
    made: Counter[str] = Counter()
    left, hour = budget(), 720
    for poll in range(hour):
        now = START + poll * POLL
        chosen, _, left = left.choose(latest, now)
        made.update(chosen)
        latest |= {call: LastCall(now, moving=kinds[call]) for call in chosen}
    assert made.total() <= hour * 10
    assert made.total() >= hour * 10 * 0.8, "paces are rounded up to whole polls"
    quiet = [made[call] for call, moving in kinds.items() if not moving]
    moving = [made[call] for call, moving in kinds.items() if moving]
    assert max(quiet) - min(quiet) <= 2, "evenly"
    assert min(moving) > 2.5 * max(quiet)
