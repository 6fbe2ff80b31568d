"""The page on engines tells every difference that the matrix allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.differences import DIFFERENCES, Difference

PAGE = " ".join((Path(__file__).parents[2] / "docs/engines.md").read_text().split())


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.tests)
def test_a_difference_that_the_matrix_allows_stands_there(difference: Difference) -> None:
    assert difference.because in PAGE
