"""autoscaler run"""

from __future__ import annotations

import asyncio
import gc
import sys

from autoscaler.app import build
from autoscaler.settings import Settings
from autoscaler.telemetry.logging import RedactedStream

OBJECTS_BETWEEN_SEARCHES = 100_000
"""A tick makes many objects and no circles. To search for circles after every 700 new ones, as
Python does, took a sixth of a tick over 5,000 services."""


def run() -> None:
    """Follow the backlogs until SIGTERM: the daemon."""
    gc.set_threshold(OBJECTS_BETWEEN_SEARCHES)
    app = build(Settings.load())
    sys.stderr = RedactedStream(sys.stderr, app.redactor)
    asyncio.run(app.daemon().run())
