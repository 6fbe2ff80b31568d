"""The last hour of a service: a point for each change, peaks kept, nothing older than needed."""

from __future__ import annotations

from datetime import timedelta

from autoscaler.web.trail import SPAN, STEP, Point, Trail
from tests.fakes.clock import START

FIRST = int(START.timestamp())


def trail(*ticks: tuple[float, int | None, int]) -> Trail:
    """Add what ticks saw: seconds since the beginning, backlog, replicas."""
    made = Trail()
    for seconds, backlog, replicas in ticks:
        made.add(START + timedelta(seconds=seconds), backlog, replicas)
    return made


def seen(made: Trail) -> list[tuple[int, int | None, int]]:
    return [(point.at - FIRST, point.backlog, point.replicas) for point in made.points]


def test_what_stays_as_it_is_makes_one_point() -> None:
    assert seen(trail(*((second, 7, 2) for second in range(0, 600, 5)))) == [(0, 7, 2)]


def test_a_change_makes_a_point_at_the_beginning_of_its_step() -> None:
    assert seen(trail((0, 0, 1), (42, 30, 1), (61, 30, 3))) == [(0, 0, 1), (30, 30, 1), (60, 30, 3)]


def test_a_peak_between_two_steps_is_kept_and_what_follows_it_as_well() -> None:
    assert seen(trail((0, 0, 1), (5, 100, 10), (10, 0, 1), (30, 0, 1))) == [
        (0, 100, 10),
        (30, 0, 1),
    ]


def test_an_unknown_backlog_is_no_number() -> None:
    assert seen(trail((0, 5, 1), (30, None, 1), (35, None, 1), (60, 5, 1))) == [
        (0, 5, 1),
        (30, None, 1),
        (60, 5, 1),
    ]


def test_within_one_step_a_known_backlog_counts_more_than_an_unknown_one() -> None:
    assert seen(trail((0, None, 1), (5, 4, 1), (10, None, 1))) == [(0, 4, 1)]


def test_a_tick_returns_the_newest_point_where_it_made_or_moved_it() -> None:
    made = Trail()
    assert made.add(START, 1, 1) == Point(FIRST, 1, 1)
    assert made.add(START + timedelta(seconds=5), 1, 1) is None
    assert made.add(START + timedelta(seconds=10), 9, 1) == Point(FIRST, 9, 1)
    assert made.add(START + STEP, 9, 1) is None


def test_what_is_older_than_the_span_goes_but_for_how_it_began() -> None:
    steps = int(SPAN / STEP)
    made = trail(*((30 * number, number, 1) for number in range(3 * steps)))
    assert len(made.points) == steps + 1
    assert made.points[0].at == made.points[-1].at - int(SPAN.total_seconds())


def test_a_quiet_service_remembers_what_it_has_been_like_however_long_ago() -> None:
    made = trail((0, 3, 1), (7200, 3, 1), (7230, 0, 1))
    assert seen(made) == [(0, 3, 1), (7230, 0, 1)]
