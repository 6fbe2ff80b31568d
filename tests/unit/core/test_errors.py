"""Errors say in one line what is wrong."""

from __future__ import annotations

import asyncio

import pytest

from autoscaler.core.errors import ConfigurationError, OrchestratorError, alone, describe


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


class TestAlone:
    """One service fails alone."""

    def test_what_goes_well_leaves_no_trace(self) -> None:
        failures: dict[str, str] = {}
        with alone(failures, "a"):
            pass
        assert failures == {}

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            pytest.param(OrchestratorError("no engine"), "no engine", id="expected"),
            pytest.param(ValueError("odd"), "unexpected ValueError: odd", id="unexpected"),
        ],
    )
    def test_a_failure_is_kept_in_words_and_the_others_go_on(
        self, error: Exception, line: str
    ) -> None:
        failures: dict[str, str] = {}
        reached = []
        for name in ("a", "b", "c"):
            with alone(failures, name):
                if name == "b":
                    raise error
                reached.append(name)
        assert failures == {"b": line}
        assert reached == ["a", "c"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
    def test_an_end_that_somebody_asked_for_is_no_failure(self, error: BaseException) -> None:
        failures: dict[str, str] = {}
        with pytest.raises(type(error)), alone(failures, "a"):
            raise error
        assert failures == {}
