"""autoscaler resume"""

from __future__ import annotations

from autoscaler.cli import live
from autoscaler.cli.unset import remove
from autoscaler.core.override import parse_service


def resume(service: live.Service) -> None:
    """End the pause of a service: it follows its backlog again. Other values that are set stay."""
    if not remove(parse_service(service), lambda each: each.pauses):
        print(f"{service} is not paused by an override")  # noqa: T201
