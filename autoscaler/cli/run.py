"""autoscaler run"""

from __future__ import annotations

import asyncio

from autoscaler.app import build
from autoscaler.settings import Settings


def run() -> None:
    """Follow the backlogs until SIGTERM: the daemon."""
    asyncio.run(build(Settings.load()).daemon().run())
