"""Each failure in a row doubles the pause, up to the longest."""

from __future__ import annotations

from datetime import timedelta

from autoscaler.core.backoff import Backoff
from tests.fakes.clock import START


def test_the_first_attempt_is_due_at_once() -> None:
    assert Backoff().ready(START)


def test_the_pause_doubles_with_each_failure_up_to_the_longest() -> None:
    backoff = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=5))
    pauses = []
    for _ in range(5):
        backoff = backoff.failed(START)
        pauses.append(backoff.pause.total_seconds())
    assert pauses == [1, 2, 4, 5, 5]


def test_the_longest_pause_also_bounds_the_first() -> None:
    backoff = Backoff(first=timedelta(seconds=10), longest=timedelta(seconds=5))
    assert backoff.failed(START).pause == timedelta(seconds=5)


def test_another_attempt_is_due_exactly_when_the_pause_has_passed() -> None:
    backoff = Backoff(first=timedelta(seconds=2)).failed(START)
    assert not backoff.ready(START + timedelta(seconds=1.999))
    assert backoff.ready(START + timedelta(seconds=2))


def test_a_clock_that_is_set_back_makes_no_pause_longer() -> None:
    backoff = Backoff(first=timedelta(seconds=2)).failed(START)
    assert backoff.ready(START - timedelta(hours=1))


def test_a_success_forgets_all_failures_and_keeps_the_bounds() -> None:
    fresh = Backoff(first=timedelta(seconds=2), longest=timedelta(minutes=1))
    assert fresh.failed(START).failed(START).succeeded() == fresh
