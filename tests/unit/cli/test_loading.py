"""What is not loaded at the start, because it takes long or much memory and is seldom needed."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules of a process that has loaded the command line with all its verbs."""
    # Where paramiko is installed, docker-py loads it, and cryptography with it.
    code = "import sys; sys.modules['paramiko'] = None; import autoscaler.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["cryptography", "plotext", "temporalio.client"])
def test_it_is_loaded_only_where_it_is_used(loaded: set[str], module: str) -> None:
    assert "autoscaler.app" in loaded
    assert module not in loaded
