"""How long tasks waited: the mean, the time that 95 % of them kept within, and the longest."""

from __future__ import annotations

import pytest

from autoscaler.simulation.waits import WaitFigures, Waits


def figures(*waited: tuple[float, int], waiting: tuple[tuple[float, int], ...] = ()) -> WaitFigures:
    waits = Waits()
    for seconds, tasks in waited:
        waits.add(seconds, tasks)
    return waits.figures(waiting)


def test_without_tasks_nobody_waited() -> None:
    assert figures() == WaitFigures(0, 0, 0)


@pytest.mark.parametrize(
    ("waited", "p95"),
    [
        pytest.param([(0, 19), (8, 1)], 0, id="19-of-20-did-not-wait"),
        pytest.param([(0, 18), (8, 2)], 8, id="18-of-20-did-not-wait"),
        pytest.param([(5, 1)], 5, id="one"),
        pytest.param([(second, 1) for second in range(1, 101)], 95, id="one-each-second"),
    ],
)
def test_95_percent_waited_no_longer(waited: list[tuple[float, int]], p95: float) -> None:
    assert figures(*waited).p95 == p95


def test_every_task_counts_in_the_mean() -> None:
    assert figures((0, 6), (10, 2)) == WaitFigures(mean=2.5, p95=10, longest=10)


def test_those_that_still_wait_count_with_the_time_so_far() -> None:
    assert figures((0, 3), waiting=((4, 1),)) == WaitFigures(mean=1, p95=4, longest=4)


def test_asking_changes_nothing() -> None:
    waits = Waits()
    waits.add(2, 1)
    assert waits.figures([(10, 1)]) != waits.figures([])
    assert waits.figures([]) == WaitFigures(2, 2, 2)
