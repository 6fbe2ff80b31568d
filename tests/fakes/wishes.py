"""Wishes as most tests need them."""

from __future__ import annotations

from autoscaler.core.spec import DEFAULT_PREFIX
from autoscaler.wishes.labels import Labels
from autoscaler.wishes.wishes import Wishes


def by_labels(prefix: str = DEFAULT_PREFIX) -> Wishes:
    """Return wishes that stand on services as labels, and nowhere else."""
    return Wishes([Labels(prefix)], prefix)
