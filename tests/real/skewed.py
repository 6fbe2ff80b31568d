"""`autoscaler run` with a clock that a test sets: python -m tests.real.skewed run

The clock is this machine's, plus the number of seconds in the file `skew`. A change of the file
counts at once.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autoscaler.app import build
from autoscaler.settings import Settings

SKEW = "skew"


def skewed() -> datetime:
    """Return the time of the clock that the test sets."""
    try:
        seconds = float(Path(SKEW).read_text() or 0)
    except FileNotFoundError:
        seconds = 0
    return datetime.now(UTC) + timedelta(seconds=seconds)


if __name__ == "__main__":
    asyncio.run(build(Settings.load(), skewed).daemon().run())
