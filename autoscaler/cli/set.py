"""autoscaler set"""

from __future__ import annotations

from typing import Annotated

import typer

from autoscaler.cli import live
from autoscaler.core.errors import OverrideError
from autoscaler.core.override import parse_service, read_wanted, without_prefix
from autoscaler.settings import Settings


def set_values(
    service: live.Service,
    values: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Labels without their prefix.")
    ],
    *,
    time: live.For = "1h",
    reason: live.Reason = "",
    by: live.By = "",
) -> None:
    """Set values of a service for a while, without touching its containers: set shop/worker max=6

    They count instead of its labels, and end by themselves. Works while the daemon runs, and while
    it does not.
    """
    prefix = Settings.load().label_prefix
    live.put(
        read_wanted(parse_service(service), _read(values, prefix), time, reason, by or live.user())
    )


def _read(texts: list[str], prefix: str) -> dict[str, str]:
    """Return values by names. Raises OverrideError naming all that are none."""
    pairs = [(text, *text.partition("=")) for text in texts]
    problems = [
        f"{text!r} is no value: NAME=VALUE is needed, such as max=6"
        for text, name, equals, _ in pairs
        if not equals or not name.strip()
    ]
    if problems:
        raise OverrideError(problems)
    return {without_prefix(name, prefix): value.strip() for _, name, _, value in pairs}
