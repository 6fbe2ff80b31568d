"""Rows of a Swarm manager's lists."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.fakes.clock import START


def task(
    state: str,
    *,
    id: str = "t1",  # noqa: A002 - as the API names it
    slot: int = 1,
    desired: str = "running",
    age: timedelta = timedelta(),
    **status: Any,
) -> Any:
    """Return a task of the service with the id `id1`, whose state is `age` old."""
    return {
        "ID": id,
        "ServiceID": "id1",
        "Slot": slot,
        "DesiredState": desired,
        "UpdatedAt": (START - age).isoformat(),
        "Spec": {"ContainerSpec": {}},
        "Status": {"State": state, "Timestamp": (START - age).isoformat(), **status},
    }
