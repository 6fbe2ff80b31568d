"""autoscaler unset"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from autoscaler.cli import live, say
from autoscaler.cli.exit_codes import ExitCode
from autoscaler.core.model import ServiceId
from autoscaler.core.override import Override, parse_service, without_prefix
from autoscaler.settings import Settings
from autoscaler.wishes.overrides_file import OverridesFile


def unset(
    service: live.Service,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Without names: all of them.")
    ] = None,
) -> None:
    """Remove what was set for a service: its labels count again.

    Exit code 1 where a name is not set.
    """
    settings = Settings.load()
    asked = {without_prefix(name, settings.label_prefix) for name in names or ()}
    removed = remove(parse_service(service), lambda each: not asked or each.name in asked)
    missing = sorted(asked - {each.name for each in removed})
    if missing:
        say.error(f"not set for {service}: {', '.join(missing)}")
        raise typer.Exit(ExitCode.TROUBLE)
    if not removed:
        print(f"nothing is set for {service}")  # noqa: T201


def remove(service: ServiceId, which: Callable[[Override], bool]) -> Sequence[Override]:
    """Remove the overrides of a service that are asked for; print and return them."""
    settings = Settings.load()
    file = OverridesFile(settings.state)
    removed = file.remove(service, which, datetime.now(UTC))
    for each in removed:
        print(f"{service}: removed {each}")  # noqa: T201
    if removed:
        live.say_where_it_counts(settings, file, live.Daemon(settings), service)
    return removed
