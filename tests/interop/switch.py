"""The matrix takes minutes, so it runs only on request."""

from __future__ import annotations

import os

import pytest

MARKER = "matrix: takes minutes; run by `make test-matrix`"


def skip_unless_wanted() -> None:
    """Skip the test, unless `make test-matrix` runs it."""
    if os.environ.get("TEST_MATRIX") != "1":
        pytest.skip("the matrix of engines and Compose versions is run by `make test-matrix`")
