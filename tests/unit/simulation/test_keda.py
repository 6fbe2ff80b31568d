"""KEDA and the HPA with their documented rules and defaults."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.backlog import QueueStats
from autoscaler.simulation.controllers import START, Observation
from autoscaler.simulation.keda import Keda


def seen(at: float, waiting: int, replicas: int) -> Observation:
    stats = QueueStats(waiting=waiting, age=timedelta(), add_rate=0.0, dispatch_rate=0.0)
    return Observation(START + timedelta(seconds=at), replicas, stats)


def decisions(keda: Keda, backlogs: Sequence[int], begin: int | None = None) -> list[int]:
    """Show it a backlog every 15 s, and do what it says; return the replicas after each look."""
    replicas = keda.start(START) if begin is None else begin
    if begin is not None:
        keda.start(START)
    after = []
    for number, waiting in enumerate(backlogs):
        replicas = keda.decide(seen(15 * number, waiting, replicas)).desired
        after.append(replicas)
    return after


class TestRecommendation:
    @pytest.mark.parametrize(
        ("waiting", "replicas", "wanted"),
        [
            pytest.param(40, 2, 4, id="twice-the-target-for-each-doubles"),
            pytest.param(41, 2, 5, id="rounded-up"),
            pytest.param(30, 2, 3, id="half-as-much-again"),
            pytest.param(22, 2, 2, id="a-tenth-more-is-within-the-tolerance"),
            pytest.param(23, 2, 3, id="just-more-than-a-tenth"),
            pytest.param(18, 2, 2, id="a-tenth-less-is-within-the-tolerance"),
        ],
    )
    def test_it_is_the_whole_backlog_over_the_target(
        self, waiting: int, replicas: int, wanted: int
    ) -> None:
        assert decisions(Keda(10, 1), [waiting], replicas) == [wanted]

    def test_half_the_target_for_each_halves_once_the_window_is_over(self) -> None:
        assert decisions(Keda(100, 1), [400] * 21 + [200] * 20, 4)[-2:] == [4, 2]

    def test_the_reasons_say_the_sum_and_what_limited_it(self) -> None:
        keda = Keda(10, 1)
        keda.start(START)
        assert keda.decide(seen(0, 2000, 1)).reasons == (
            "2,000 waiting tasks at target 10 → 200",
            "at most 4 more, or twice as many, in 15 s → 5",
        )


class TestScaleUp:
    def test_each_15_s_four_more_or_twice_as_many_whatever_is_more(self) -> None:
        assert decisions(Keda(1, 1, 1000), [10_000] * 7) == [5, 10, 20, 40, 80, 160, 320]

    def test_looks_within_the_same_15_s_count_together(self) -> None:
        keda = Keda(1, 1)
        keda.start(START)
        assert keda.decide(seen(0, 100, 1)).desired == 5
        assert keda.decide(seen(10, 100, 5)).desired == 5
        assert keda.decide(seen(15, 100, 5)).desired == 10

    def test_there_is_no_window(self) -> None:
        assert decisions(Keda(10, 1), [0, 0, 50]) == [1, 1, 5]

    def test_max_is_the_last_word(self) -> None:
        assert decisions(Keda(1, 1, 7), [100] * 3) == [5, 7, 7]


class TestScaleDown:
    def test_the_largest_recommendation_of_300_s_counts(self) -> None:
        counts = decisions(Keda(10, 1), [50, 30, *[0] * 21])
        assert counts[:20] == [5] * 20, "the recommendation of second 0 counts until second 285"
        assert counts[20:] == [3, 1, 1]

    def test_all_may_go_at_once_when_the_window_is_over(self) -> None:
        assert decisions(Keda(1, 1), [100, 0, *[0] * 19], 100)[-2:] == [100, 1]

    def test_a_start_counts_as_a_recommendation_of_what_there_was(self) -> None:
        keda = Keda(10, 3)
        assert keda.start(START) == 3

    def test_min_is_the_last_word(self) -> None:
        assert decisions(Keda(10, 2), [0] * 30, 2)[-1] == 2


class TestZero:
    def test_it_wakes_at_a_poll_of_30_s_not_at_a_look_of_the_hpa(self) -> None:
        assert decisions(Keda(10), [0, 50, 50, 50]) == [0, 0, 1, 5]

    @pytest.mark.parametrize(
        ("waiting", "wanted"),
        [
            pytest.param(5, 0, id="as-much-as-the-activation"),
            pytest.param(6, 1, id="more-than-the-activation"),
        ],
    )
    def test_it_wakes_strictly_above_the_activation(self, waiting: int, wanted: int) -> None:
        assert decisions(Keda(10, activation=5), [waiting]) == [wanted]

    def test_it_goes_to_zero_after_300_s_without_work(self) -> None:
        counts = decisions(Keda(10), [1, *[0] * 30])
        # Polls are at 0, 30, ...: at 300 s it is not yet more than the cool-down.
        assert counts.index(0) * 15 == 330
        assert set(counts[:22]) == {1}

    def test_work_in_between_begins_the_cooldown_anew(self) -> None:
        backlogs = [1, *[0] * 9, 1, *[0] * 30]
        assert decisions(Keda(10), backlogs).index(0) * 15 == 150 + 330

    def test_with_min_1_it_never_goes_to_zero(self) -> None:
        assert min(decisions(Keda(10, 1), [0] * 100)) == 1

    def test_the_hpa_keeps_one_however_little_there_is(self) -> None:
        assert decisions(Keda(10, activation=5), [6, 3, 3], 0) == [1, 1, 1]


def test_a_start_forgets_everything() -> None:
    keda = Keda(10)
    first = decisions(keda, [0, 50, 500, 0, 0, 7])
    assert decisions(keda, [0, 50, 500, 0, 0, 7]) == first


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=60),
    st.integers(0, 4),
    st.integers(4, 40),
    st.integers(1, 50),
)
def test_it_stays_within_its_bounds_and_its_pace(
    backlogs: list[int], least: int, most: int, target: int
) -> None:
    counts = [least, *decisions(Keda(target, least, most), backlogs)]
    assert all(least <= count <= most for count in counts)
    for before, after in itertools.pairwise(counts):
        assert after <= max(before + 4, 2 * before)
