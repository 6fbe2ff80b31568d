"""What the integration tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autoscaler.orchestrators.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine of this machine."""
    made = Engine()
    yield made
    made.close()
