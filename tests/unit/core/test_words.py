"""Numbers in sentences, and the words that go with them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.advice import advise
from autoscaler.core.decide import decide
from autoscaler.core.situation import Situation
from autoscaler.core.words import agreeing, counted, figure, size
from tests.unit.core.strategies import in_flight_situations, relabelled, situations, some


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")]
)
def test_a_number_has_a_separator_from_a_thousand_on(value: int, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1200, "1,200 tasks")]
)
def test_a_thing_agrees_with_its_number(count: int, text: str) -> None:
    assert counted(count, "task") == text


@pytest.mark.parametrize(("count", "verb"), [(0, "are"), (1, "is"), (2, "are")])
def test_a_verb_agrees_with_its_number(count: int, verb: str) -> None:
    assert agreeing(count, "is", "are") == verb


NUMBERS = st.sampled_from([0, 1, 2, 999, 1000, 5000])


@some
@given(situations() | in_flight_situations(), NUMBERS, NUMBERS)
def test_in_every_text_of_a_decision_numbers_are_grouped_and_agree(
    drawn: Situation, low: int, high: int
) -> None:
    most = max(low, high, 1)
    given_bounds = relabelled(drawn, min=low, max=most, target=most, activation=high)
    decision = decide(given_bounds)
    for text in (*map(str, decision.reasons), *advise(given_bounds, decision.history)):
        assert not re.search(r"\d{4}", text), text
        assert not re.search(r"\b1 (tasks|replicas|waiting tasks|activity slots)\b", text), text
        assert not re.search(r"\b1 task wait\b|\b1 replica are\b", text), text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (100 * 2**20, "100 MiB"),
        (1024 * 2**20 - 1, "1 GiB"),
        (25_276_059_648, "24 GiB"),
        (3 * 2**40, "3 TiB"),
        (-(2**20), "-1 MiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text
