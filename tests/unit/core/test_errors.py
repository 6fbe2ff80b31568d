"""Errors say in one line what is wrong."""

from __future__ import annotations

import pytest

from autoscaler.core.errors import ConfigurationError, OrchestratorError, describe


def test_a_configuration_error_names_every_problem() -> None:
    error = ConfigurationError(["A is wrong", "B is missing"])
    assert error.problems == ("A is wrong", "B is missing")
    assert str(error) == "A is wrong; B is missing"


def test_each_problem_is_one_line_whatever_it_quotes() -> None:
    error = ConfigurationError(["temporal.a\nb\x1e=1 is not a label", "größer"])
    assert error.problems == (r"temporal.a\nb\x1e=1 is not a label", "größer")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        pytest.param(OrchestratorError("no engine"), "no engine", id="expected"),
        pytest.param(
            ValueError("two\n  lines"), "unexpected ValueError: two lines", id="unexpected"
        ),
        pytest.param(KeyError(), "unexpected KeyError()", id="unexpected-without-words"),
    ],
)
def test_an_error_is_described_in_one_line(error: Exception, line: str) -> None:
    assert describe(error) == line
