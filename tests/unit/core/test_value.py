"""Values: dataclasses that nobody changes, and that cost little to make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.value import value


@value
class Point:
    """Where something is."""

    x: int
    y: int = 0


def test_values_compare_and_hash_by_their_fields() -> None:
    assert Point(1) == Point(1, 0) != Point(2)
    assert len({Point(1), Point(1), Point(2)}) == 2


def test_a_value_that_differs_is_made_anew() -> None:
    point = Point(1)
    assert replace(point, y=2) == Point(1, 2)
    assert point == Point(1)


def test_a_value_has_no_fields_but_its_own() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 3  # type: ignore[attr-defined]


def test_the_type_checker_lets_nobody_change_one() -> None:
    """Where it did, it would call the first of these marks unused."""
    point = Point(1)
    point.x = 2  # type: ignore[misc]
    assert point.x == 2
