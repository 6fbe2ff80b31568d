"""How much of an agent one sender may use."""

from __future__ import annotations

import pytest

from autoscaler.agent import limits
from autoscaler.agent.limits import A_SECOND_FROM_ONE, AT_ONCE, AT_ONCE_FROM_ONE, Limits


def test_one_address_has_16_connections_at_once_and_others_have_theirs() -> None:
    made = Limits()
    for _ in range(AT_ONCE_FROM_ONE):
        assert made.enter("10.0.1.2", 0) is None

    assert made.enter("10.0.1.2", 0) == "more than 16 connections at once from one address"
    assert made.enter("10.0.1.3", 0) is None
    made.leave("10.0.1.2")
    assert made.enter("10.0.1.2", 0) is None


def test_all_addresses_together_have_64_connections() -> None:
    made = Limits()
    for number in range(AT_ONCE):
        assert made.enter(f"10.0.1.{number}", 0) is None

    assert made.enter("10.0.2.1", 0) == "more than 64 connections at once"
    made.leave("10.0.1.1")
    assert made.enter("10.0.2.1", 0) is None


def test_one_address_makes_50_connections_a_second() -> None:
    made = Limits()

    def made_at(now: float) -> int:
        count = 0
        while made.enter("10.0.1.2", now) is None:
            made.leave("10.0.1.2")
            count += 1
        return count

    assert made_at(0) == A_SECOND_FROM_ONE
    assert made_at(0.5) == A_SECOND_FROM_ONE / 2
    assert made_at(60) == A_SECOND_FROM_ONE
    assert made.enter("10.0.1.3", 60) is None


def test_only_so_many_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_ADDRESSES", 3)
    made = Limits()
    for number in range(10):
        made.enter(f"10.0.1.{number}", 0)
        made.leave(f"10.0.1.{number}")

    assert len(made._paces) == 3
    assert not made._open
