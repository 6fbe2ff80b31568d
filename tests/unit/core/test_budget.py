"""A budget of calls: each call keeps the interval while there is room; beyond, calls take turns."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from autoscaler.core.budget import Budget, LastCall
from tests.fakes.clock import START

POLL = timedelta(seconds=5)
SECOND = timedelta(seconds=1)


def budget(rate: float = 2, interval: timedelta = POLL) -> Budget:
    """A budget of ten calls a poll; no call is made again within 4 s."""
    return Budget(rate, interval, spacing=4 * SECOND)


def made(quiet: int = 0, moving: int = 0, *, age: timedelta = POLL) -> dict[str, LastCall | None]:
    """Calls that were last made some time ago."""
    still = {f"quiet-{number}": LastCall(START - age, moving=False) for number in range(quiet)}
    return {**still, **{f"moving-{n}": LastCall(START - age, moving=True) for n in range(moving)}}


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
        chosen, _, _ = small.choose(made(quiet=3, age=timedelta(hours=1)), START)
        assert len(chosen) == 1

    def test_calls_without_a_turn_delay_the_others(self) -> None:
        chosen, _, after = budget().charge(25).choose(made(quiet=3), START)
        assert chosen == frozenset()
        chosen, _, _ = after.choose(made(quiet=3, age=4 * POLL), START + 10 * SECOND)
        assert len(chosen) == 3


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
