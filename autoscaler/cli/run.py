"""autoscaler run"""

from __future__ import annotations

import asyncio
import sys

from autoscaler.app import build
from autoscaler.settings import Settings
from autoscaler.telemetry.logging import RedactedStream


def run() -> None:
    """Follow the backlogs until SIGTERM: the daemon."""
    app = build(Settings.load())
    sys.stderr = RedactedStream(sys.stderr, app.redactor)
    asyncio.run(app.daemon().run())
