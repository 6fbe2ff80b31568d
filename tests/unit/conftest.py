"""Keeps unit tests independent of the machine that they run on."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# Every run tries the same examples, so that a failure comes from a change of the code. There is no
# deadline, because a busy machine must not fail a test.
hypothesis.settings.register_profile("unit", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("unit")


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the real environment, home and working directory from the test."""
    for name in os.environ:
        if name.upper().startswith(("AUTOSCALER_", "TEMPORAL_", "DOCKER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
