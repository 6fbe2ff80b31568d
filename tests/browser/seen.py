"""What the tests of the page share: what the daemon sees, and where the page shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from autoscaler.core.report import ServiceReport
from tests.fakes.reports import tick
from tests.real.site import ServedSite


def show(site: ServedSite, *services: ServiceReport, **rest: Any) -> None:
    """Let the daemon see this now."""
    site.observe(tick(*services, **({"at": datetime.now(UTC)} | rest)))


def card(name: str) -> str:
    """Return the selector of a service's card."""
    return f".service[data-key='compose:{name}']"
