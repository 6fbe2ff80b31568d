"""autoscaler overrides"""

from __future__ import annotations

import json as jsonlib
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoscaler import present
from autoscaler.cli import say
from autoscaler.core.override import Override, holding, time_left
from autoscaler.core.redaction import Redactor
from autoscaler.settings import Settings
from autoscaler.wishes.overrides_file import OverridesFile


def overrides(
    *, json: Annotated[bool, typer.Option(help="A list of objects, for programs.")] = False
) -> None:
    """Show what is set live: until when, by whom and why."""
    file = OverridesFile(Settings.load().state)
    now = datetime.now(UTC)
    found = holding(file.read(), now)
    if file.damage:
        say.warning(file.damage)
    if json:
        print(jsonlib.dumps([_plain(each) for each in found], indent=2))  # noqa: T201
    elif not found:
        print("nothing is set")  # noqa: T201
    else:
        Console(markup=False, highlight=False).print(_table(found, now))


def _plain(override: Override) -> present.Plain:
    return {
        "service": override.service.name,
        "orchestrator": override.service.orchestrator,
        **present.override(override, Redactor()),
    }


def _table(overrides: tuple[Override, ...], now: datetime) -> Table:
    table = Table("service", "value", "until", "by", "reason")
    for each in overrides:
        end = "removed" if each.until is None else f"{each.until:%Y-%m-%d %H:%M} UTC"
        left = "" if each.until is None else f"\n{time_left(each.until, now)}"
        row = (str(each.service), f"{each.name}={each.value}", end + left, each.by, each.reason)
        table.add_row(*map(Text, row))
    return table
