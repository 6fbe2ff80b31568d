"""The services that are scaled."""

from __future__ import annotations

from autoscaler.core.model import ServiceId


def test_a_service_is_called_by_its_own_name() -> None:
    assert str(ServiceId("compose", "shop/worker")) == "shop/worker"
