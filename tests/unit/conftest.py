"""What all unit tests share: they see nothing of the machine, and Hypothesis has a profile."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# The fixed profile draws the same examples in every run, so a failure is caused by the code and by
# nothing else. The random one draws others each time, and more: TEST_RANDOM=1 pytest tests/unit.
# What fails is repeated with --hypothesis-seed and the seed that pytest prints.
# There is no deadline because a busy machine is no bug.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("random", max_examples=400, deadline=None, database=None)
hypothesis.settings.load_profile("random" if os.environ.get("TEST_RANDOM") else "fixed")


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the real environment, home and working directory from the test."""
    for name in os.environ:
        if name.upper().startswith(("AUTOSCALER_", "TEMPORAL_", "DOCKER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
