"""Where a value comes from."""

from __future__ import annotations

from dataclasses import dataclass

LABEL = "label"
"""The origin of what stands on the service itself."""


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody wants of one label of a service, as text, and where that was said."""

    value: str
    origin: str
    """In words for people: `label`, `shop.yaml:3`, `override by anna until 15:00 UTC: deploy`."""
