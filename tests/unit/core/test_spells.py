"""How long tasks were seen to run: never longer than is certain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.core.in_flight import LONGEST_HEARTBEAT, SlotKind, Slots, Worker
from autoscaler.core.spells import observe_spells, tells_at
from tests.fakes.clock import START
from tests.unit.builders import SECOND, worker


def beat(after: int, running: int, processed: int = 0) -> Worker:
    """Describe the heartbeat that was sent `after` seconds from the start."""
    slots = {SlotKind.ACTIVITY: Slots(used=running, processed=processed)}
    return worker(at=START + after * SECOND, slots=slots)


def longest(*beats: Worker) -> timedelta:
    """Return the longest that a task is certain to have run, by these reports."""
    spells, most = observe_spells((), {})
    for each in beats:
        spells, seen = observe_spells([each], spells)
        most = max(most, seen)
    return most


@pytest.mark.parametrize(
    ("second", "seconds"),
    [
        pytest.param(beat(30, 1), 30, id="none-has-ended"),
        pytest.param(beat(30, 4, 3), 30, id="of-four-only-three-have-ended"),
        pytest.param(beat(30, 4, 4), 0, id="as-many-have-ended-as-ran"),
        pytest.param(beat(30, 9, 4), 0, id="whatever-has-begun-since"),
        pytest.param(beat(30, 0, 3), 0, id="none-runs-any-more"),
        pytest.param(beat(30, 4, -1), 0, id="a-count-that-went-back"),
    ],
)
def test_of_what_ran_no_more_has_ended_than_was_finished(second: Worker, seconds: int) -> None:
    assert longest(beat(0, 4), second) == seconds * SECOND


def test_a_spell_goes_on_over_many_reports() -> None:
    assert longest(beat(0, 4), beat(30, 4, 2), beat(60, 4, 3), beat(90, 4, 4)) == 60 * SECOND


def test_another_worker_begins_anew() -> None:
    assert longest(beat(0, 4), replace(beat(30, 4), instance="other")) == timedelta()


def test_one_look_alone_tells_nothing() -> None:
    assert longest(beat(0, 4, 100)) == timedelta()


@pytest.mark.parametrize(
    ("interval", "after"),
    [
        pytest.param(2 * SECOND, 12 * SECOND, id="often"),
        pytest.param(10 * SECOND, 20 * SECOND, id="as-long-as-asked"),
        pytest.param(11 * SECOND, 22 * SECOND, id="barely-longer"),
        pytest.param(60 * SECOND, 60 * SECOND, id="seldom"),
        pytest.param(timedelta(), LONGEST_HEARTBEAT, id="the-first-one"),
    ],
)
def test_when_a_report_may_tell(interval: timedelta, after: timedelta) -> None:
    first = replace(beat(0, 1), interval=interval)
    assert tells_at(first, 10 * SECOND) == START + after


def test_a_worker_that_does_not_say_when_it_reports_never_tells() -> None:
    assert tells_at(replace(beat(0, 1), at=None), 10 * SECOND) is None
