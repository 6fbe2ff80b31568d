"""What was listed holds while the engine's events tell of nothing new."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoscaler.orchestrators.changes import LONGEST, SILENCE, Changes, Listed
from tests.fakes.clock import Clock


@pytest.fixture
def changes() -> Changes:
    made = Changes()
    made.stands()
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def listed(changes: Changes, clock: Clock) -> Listed[str]:
    made = Listed[str](changes, clock)
    made.keep("rows", changes.mark)
    return made


def test_what_was_listed_holds_while_nothing_happens(listed: Listed[str]) -> None:
    assert listed.content == "rows"


def test_nothing_holds_before_it_was_listed(changes: Changes, clock: Clock) -> None:
    assert Listed[str](changes, clock).content is None


def test_an_event_ends_it(listed: Listed[str], changes: Changes) -> None:
    changes.noticed()
    assert listed.content is None


def test_an_event_while_it_is_listed_ends_it_as_well(listed: Listed[str], changes: Changes) -> None:
    before = changes.mark
    changes.noticed()
    listed.keep("rows", before)
    assert listed.content is None


def test_nothing_holds_while_the_event_stream_does_not_stand(
    listed: Listed[str], changes: Changes
) -> None:
    changes.broke_off()
    assert listed.content is None


def test_what_was_listed_without_a_stream_does_not_hold_with_one(clock: Clock) -> None:
    changes = Changes()
    listed = Listed[str](changes, clock)
    listed.keep("rows", changes.mark)
    changes.stands()
    assert listed.content is None


def test_what_happened_during_a_break_is_not_known(listed: Listed[str], changes: Changes) -> None:
    changes.broke_off()
    changes.stands()
    assert listed.content is None


def test_it_is_listed_anew_after_a_while_in_case_an_event_was_lost(
    listed: Listed[str], clock: Clock
) -> None:
    clock.advance((LONGEST - timedelta(seconds=1)).total_seconds())
    assert listed.content == "rows"
    clock.advance(1)
    assert listed.content is None


def test_a_clock_that_was_set_back_tells_no_age(listed: Listed[str], clock: Clock) -> None:
    clock.advance(-1)
    assert listed.content is None


class TestSilence:
    """An engine that says nothing may hang."""

    @pytest.fixture
    def silent(self, listed: Listed[str], clock: Clock) -> Listed[str]:
        clock.advance(SILENCE.total_seconds())
        return listed

    def test_it_is_no_doubt_at_first(self, listed: Listed[str], clock: Clock) -> None:
        clock.advance(SILENCE.total_seconds() - 1)
        assert not listed.doubtful

    def test_it_is_after_a_while(self, silent: Listed[str]) -> None:
        assert silent.doubtful

    def test_an_answer_ends_the_doubt(self, silent: Listed[str]) -> None:
        silent.answered()
        assert not silent.doubtful

    def test_a_new_list_ends_the_doubt(self, silent: Listed[str], changes: Changes) -> None:
        silent.keep("rows", changes.mark)
        assert not silent.doubtful

    def test_a_clock_that_was_set_back_tells_nothing(
        self, listed: Listed[str], clock: Clock
    ) -> None:
        clock.advance(-1)
        assert listed.doubtful
