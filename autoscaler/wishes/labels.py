"""Wishes that stand on the service itself, as labels."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.labels import scaling_labels
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.origin import LABEL, Given
from autoscaler.ports import WishSource


class Labels(WishSource):
    """The autoscaler's labels of a service. Each look at a service brings them along."""

    def __init__(self, prefix: str) -> None:
        """Read the labels that begin with `prefix` and a dot."""
        self._prefix = prefix

    def given(self, service: Service) -> Mapping[str, Given]:
        """Return the service's labels that belong to the autoscaler."""
        return {
            name: Given(value, LABEL)
            for name, value in scaling_labels(service.labels, self._prefix).items()
        }

    def looks_after(self, service: ServiceId, labels: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Return whether a service carries a label of the autoscaler."""
        return bool(scaling_labels(labels, self._prefix))
