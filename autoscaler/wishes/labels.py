"""Wishes that stand on the service itself, as labels."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.model import Service
from autoscaler.core.spec import scaling_labels


class Labels:
    """The autoscaler's labels of a service."""

    def __init__(self, prefix: str) -> None:
        """Read the labels that begin with `prefix` and a dot."""
        self._prefix = prefix

    def labels(self, service: Service) -> Mapping[str, str]:
        """Return the service's labels that belong to the autoscaler."""
        return scaling_labels(service.labels, self._prefix)
