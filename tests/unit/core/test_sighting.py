"""How fresh the figures of a task queue are, and what a count adds to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from autoscaler.core.backlog import QueueStats
from autoscaler.core.sighting import BUILD_KEPT, FRESH, KEPT, Sighting, look
from tests.fakes.clock import START
from tests.unit.builders import INSTANT, SECOND, stats


def at(seconds: float) -> datetime:
    """Return a moment after the start."""
    return START + seconds * SECOND


class Queue:
    """A task queue that is looked at again and again."""

    def __init__(self) -> None:
        self.seen: Sighting | None = None

    def look(
        self, seconds: float, waiting: int, on_root: int | None = 0, elsewhere: int | None = None
    ) -> Sighting:
        """Look so many seconds after the start, and count the other partitions."""
        self.seen = look(self.seen, stats(waiting), at(seconds), on_root=on_root)
        if elsewhere is not None:
            self.seen = self.seen.counted(elsewhere)
        return self.seen


@pytest.fixture
def queue() -> Queue:
    return Queue()


class TestNew:
    """An answer that is the same cached one again is not a new one."""

    def test_the_first_answer_is_new(self, queue: Queue) -> None:
        assert queue.look(0, 3).stats.new

    @pytest.mark.parametrize(
        "change",
        [
            {"waiting": 4},
            {"age": SECOND},
            {"add_rate": 1.0},
            {"dispatch_rate": 1.0},
            {"rate_limited": True},
        ],
    )
    def test_another_answer_is_new(self, change: dict[str, object]) -> None:
        first = look(None, stats(3), at(0), on_root=0)
        again = replace(stats(3), **change)  # type: ignore[arg-type]
        assert look(first, again, at(1), on_root=0).stats.new

    def test_pollers_come_and_go_in_the_same_answer(self) -> None:
        first = look(None, stats(3, pollers=1), at(0), on_root=0)
        again = look(first, stats(3, pollers=2), at(1), on_root=0)
        assert (again.stats.new, again.stats.pollers) == (False, 2)

    def test_an_equal_answer_is_the_same_one_while_the_server_keeps_it(self, queue: Queue) -> None:
        queue.look(0, 3)
        assert not queue.look(2, 3).stats.new
        assert not queue.look((FRESH - INSTANT).total_seconds(), 3).stats.new
        assert queue.look(FRESH.total_seconds(), 3).stats.new
        assert not queue.look(FRESH.total_seconds() + 5, 3).stats.new

    def test_an_equal_answer_of_a_build_stays_the_same_for_longer(self) -> None:
        first = look(None, stats(3), at(0), kept=BUILD_KEPT)
        assert not look(first, stats(3), at(10), kept=BUILD_KEPT).stats.new
        assert look(first, stats(3), at(10.1), kept=BUILD_KEPT).stats.new

    def test_nothing_is_known_after_the_clock_was_set_back(self, queue: Queue) -> None:
        queue.look(100, 3, on_root=2, elsewhere=20)
        seen = queue.look(0, 3)
        assert seen.stats == stats(3)
        assert (seen.stats.new, seen.stats.since) == (True, at(0) - KEPT)


class TestSince:
    """When the server may have made its figures, at the earliest."""

    def test_the_first_ones_are_at_most_five_seconds_old(self, queue: Queue) -> None:
        assert queue.look(0, 3).stats.since == at(-5)

    def test_other_figures_were_made_after_the_look_before(self, queue: Queue) -> None:
        queue.look(0, 3)
        assert queue.look(1, 4).stats.since == at(0)

    def test_and_at_most_five_seconds_ago(self, queue: Queue) -> None:
        queue.look(0, 3)
        assert queue.look(60, 4).stats.since == at(55)

    def test_the_same_ones_are_as_old_as_they_were(self, queue: Queue) -> None:
        queue.look(0, 3)
        queue.look(1, 4)
        assert queue.look(4, 4).stats.since == at(0)

    def test_equal_ones_may_have_been_made_at_any_time_that_the_server_keeps_them(
        self, queue: Queue
    ) -> None:
        for second in range(6):
            queue.look(second, 3)
        assert queue.look(6, 3).stats.since == at(1)

    def test_those_of_a_build_are_up_to_ten_seconds_old(self) -> None:
        first = look(None, stats(3), at(0), kept=BUILD_KEPT)
        assert look(first, stats(4), at(5), kept=BUILD_KEPT).stats.since == at(-5)


class TestCounts:
    """Upwards the fresher sign counts; downwards only figures that are newer."""

    @staticmethod
    def told(seen: Sighting) -> tuple[int, bool]:
        return seen.stats.waiting, seen.stats.counted

    def test_a_count_above_the_figures_counts(self, queue: Queue) -> None:
        assert self.told(queue.look(0, 3, on_root=8, elsewhere=22)) == (30, True)

    def test_a_count_below_the_figures_is_ignored(self, queue: Queue) -> None:
        assert self.told(queue.look(0, 40, on_root=8, elsewhere=22)) == (40, False)

    def test_the_root_alone_counts_where_it_has_more_than_the_figures(self, queue: Queue) -> None:
        assert self.told(queue.look(0, 3, on_root=8)) == (8, True)

    def test_a_count_holds_until_figures_come_that_were_made_after_it(self, queue: Queue) -> None:
        queue.look(0, 3)
        queue.look(1, 3, on_root=8, elsewhere=22)
        assert self.told(queue.look(2, 3)) == (30, True)
        assert self.told(queue.look(3, 12)) == (12, False)

    def test_figures_that_may_be_older_than_a_count_do_not_end_it(self, queue: Queue) -> None:
        queue.look(0, 3)
        queue.look(1, 5, on_root=8, elsewhere=22)
        assert self.told(queue.look(2, 5)) == (30, True)

    def test_a_smaller_count_does_not_end_a_larger_one(self, queue: Queue) -> None:
        queue.look(0, 3)
        queue.look(1, 3, on_root=8, elsewhere=22)
        assert self.told(queue.look(2, 3, on_root=9, elsewhere=1)) == (30, True)

    def test_after_five_seconds_equal_figures_are_newer(self, queue: Queue) -> None:
        queue.look(0, 3)
        queue.look(1, 3, on_root=8, elsewhere=22)
        assert self.told(queue.look(5.9, 3)) == (30, True)
        assert self.told(queue.look(6, 3)) == (3, False)

    def test_a_server_that_stops_to_say_it_leaves_its_figures(self, queue: Queue) -> None:
        queue.look(0, 3, on_root=8, elsewhere=22)
        assert self.told(queue.look(6, 12, on_root=None)) == (12, False)

    def test_the_rates_are_those_of_the_server(self) -> None:
        busy = QueueStats(3, SECOND, 1.5, 2.5)
        seen = look(None, busy, at(0), on_root=8).counted(22)
        assert seen.stats == replace(busy, waiting=30, counted=True)


class TestTimeToCount:
    """The other partitions are asked where more has come than the latest count knew."""

    def test_where_nothing_waits_there_is_nothing_to_count(self, queue: Queue) -> None:
        assert not queue.look(0, 0).risen

    def test_where_the_server_does_not_say_what_waits_on_the_root(self, queue: Queue) -> None:
        assert not queue.look(0, 30, on_root=None).risen

    @pytest.mark.parametrize(
        ("waiting", "on_root", "risen"),
        [
            pytest.param(30, 8, False, id="as-before"),
            pytest.param(30, 9, True, id="more-on-the-root"),
            pytest.param(31, 8, True, id="more-in-all"),
            pytest.param(20, 5, False, id="less"),
        ],
    )
    def test_where_the_root_or_the_figures_have_risen(
        self, queue: Queue, waiting: int, on_root: int, *, risen: bool
    ) -> None:
        for second in (0, 1):
            queue.look(second, 3, on_root=8, elsewhere=22)
        assert queue.look(2, waiting, on_root).risen is risen

    def test_once_more_where_the_latest_count_found_more_than_the_one_before(
        self, queue: Queue
    ) -> None:
        """The last tasks of many may come to other partitions than the root."""
        queue.look(0, 0, on_root=8, elsewhere=10)
        assert queue.look(1, 0, on_root=8).risen
        queue.look(1, 0, on_root=8, elsewhere=22)
        assert queue.look(2, 0, on_root=8).risen
        queue.look(2, 0, on_root=8, elsewhere=22)
        assert not queue.look(3, 0, on_root=8).risen

    def test_a_rise_that_was_not_counted_stays_one(self, queue: Queue) -> None:
        queue.look(0, 0, on_root=1)
        assert queue.look(1, 0, on_root=1).risen

    def test_after_a_fall_a_smaller_rise_is_one(self, queue: Queue) -> None:
        for second in (-1, 0):
            queue.look(second, 30, on_root=8, elsewhere=22)
        assert not queue.look(1, 0, on_root=0).risen
        assert queue.look(2, 0, on_root=2).risen

    def test_figures_that_the_count_leaves_out_are_no_rise(self, queue: Queue) -> None:
        """As with tasks of pinned builds, which no partition counts."""
        for second in (-1, 0):
            queue.look(second, 50, on_root=1, elsewhere=2)
        assert not queue.look(1, 50, on_root=1).risen
        assert not queue.look(2, 49, on_root=1).risen

    @pytest.mark.parametrize(("gap", "made"), [(4.9, False), (5, True)])
    def test_figures_are_made_for_a_look_where_the_one_before_is_five_seconds_ago(
        self, queue: Queue, gap: float, *, made: bool
    ) -> None:
        queue.look(0, 3)
        assert queue.look(gap, 3).made_for_it is made
