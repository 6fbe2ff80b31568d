"""What workers have written down is read."""

from __future__ import annotations

from tests.losses.journal import attempts_in
from tests.losses.ledger import Begun


def test_attempts_that_ended_and_one_that_did_not() -> None:
    journal = "begun py-1 100.5\nended py-1 101\nbegun py-2 102\n"

    assert attempts_in("a", journal) == [Begun("py-1", "a", 100.5, 101), Begun("py-2", "a", 102)]


def test_two_attempts_of_one_task_on_one_host() -> None:
    journal = "begun py-1 100\nbegun py-1 130\nended py-1 132\n"

    assert attempts_in("a", journal) == [Begun("py-1", "a", 100), Begun("py-1", "a", 130, 132)]


def test_a_line_that_was_cut_off_counts_for_nothing() -> None:
    for line in ("begun py-2", "begun py-2 10", "beg"):
        assert attempts_in("a", "begun py-1 100\n" + line) == [Begun("py-1", "a", 100)]
