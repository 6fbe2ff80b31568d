"""What each kind of worker is promised."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from autoscaler.core.label_values import SwarmChoice
from tests.losses.columns import COLUMNS, PYTHON, SWARM_COLUMNS, Column, OnSignal

FINISHES, ENDS, IGNORES = OnSignal.FINISHES, OnSignal.ENDS, OnSignal.IGNORES


def column(
    on_signal: OnSignal, heartbeat: float, grace: float, choice: SwarmChoice | None = None
) -> Column:
    return Column("one", PYTHON, on_signal, heartbeat, grace, choice=choice)


@pytest.mark.parametrize(
    ("on_signal", "heartbeat", "grace", "promise"),
    [
        (FINISHES, 5, 10, "no task is lost"),
        (FINISHES, 60, 90, "no task is lost"),
        (IGNORES, 5, 30, "no task is lost"),
        (FINISHES, 60, 10, "none that has run for 60 s or ends within 10 s"),
        (FINISHES, 0, 30, "none that ends within 30 s"),
        (ENDS, 5, 10, "none that has run for 5 s"),
    ],
)
def test_the_promise_in_words(
    on_signal: OnSignal, heartbeat: float, grace: float, promise: str
) -> None:
    assert column(on_signal, heartbeat, grace).promise == promise


@pytest.mark.parametrize(
    ("ran", "left", "kept"),
    [
        pytest.param(66, 100, True, id="reported"),
        pytest.param(64, 100, False, id="its-report-may-not-have-come"),
        pytest.param(1, 4, True, id="ends-within-the-grace"),
        pytest.param(1, 6, False, id="may-need-the-whole-grace"),
    ],
)
def test_long_tasks_are_kept_by_heartbeats_and_short_ones_by_the_grace(
    ran: float, left: float, *, kept: bool
) -> None:
    assert column(FINISHES, 60, 10).promised(ran, left) is kept


def test_without_heartbeats_only_the_grace_keeps_a_task() -> None:
    assert not column(FINISHES, 0, 30).promised(1000, 31)
    assert column(FINISHES, 0, 30).promised(0, 20)


def test_no_grace_keeps_a_task_of_a_worker_that_ends_at_once() -> None:
    assert not column(ENDS, 5, 60).promised(1, 1)
    assert column(ENDS, 5, 60).promised(11, 1)


@pytest.mark.parametrize("choice", SwarmChoice)
class TestOnASwarm:
    """It kills what still runs when the grace is over, however the tasks that go are chosen."""

    def test_a_task_is_kept_that_was_reported_or_ends_within_the_grace(
        self, choice: SwarmChoice
    ) -> None:
        one = column(FINISHES, 5, 10, choice)

        assert one.promise == "none that has run for 5 s or ends within 10 s"
        assert one.promised(11, 100)
        assert one.promised(1, 4)
        assert not one.promised(1, 100)

    def test_a_worker_that_ignores_its_signal_finishes_what_ends_within_the_grace(
        self, choice: SwarmChoice
    ) -> None:
        one = column(IGNORES, 5, 30, choice)

        assert one.promised(0, 20)
        assert not one.promised(0, 31)

    def test_the_title_names_the_choice(self, choice: SwarmChoice) -> None:
        title = column(FINISHES, 5, 10, choice).title

        assert title == f"Python, finishes its tasks, heartbeats 5 s, grace 10 s, `{choice}`"


@pytest.mark.parametrize("columns", [COLUMNS, SWARM_COLUMNS])
def test_every_column_has_a_name_and_a_title_of_its_own(columns: Sequence[Column]) -> None:
    assert len({each.name for each in columns}) == len(columns)
    assert len({each.title for each in columns}) == len(columns)
