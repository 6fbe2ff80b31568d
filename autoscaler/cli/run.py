"""autoscaler run"""

from __future__ import annotations

import asyncio
import gc
import sys

from autoscaler.app import build
from autoscaler.settings import Settings
from autoscaler.telemetry.logging import RedactedStream

OBJECTS_BETWEEN_SEARCHES = 100_000
"""New objects after which Python looks for reference cycles; its default is 700.

A tick makes many objects and no cycles. With the default the search took a sixth of the time of a
tick over 5,000 services. Remove this when that is no longer so.
"""


def run() -> None:
    """Run the daemon: scale services by their backlogs until SIGTERM."""
    gc.set_threshold(OBJECTS_BETWEEN_SEARCHES)
    app = build(Settings.load())
    sys.stderr = RedactedStream(sys.stderr, app.redactor)
    asyncio.run(app.daemon().run())
