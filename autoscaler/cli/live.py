"""What the commands that set and remove overrides share."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import getpass
import os
from datetime import UTC, datetime
from typing import Annotated

import typer

from autoscaler.app import build
from autoscaler.cli import say
from autoscaler.cli.status import NoAnswer, ask
from autoscaler.core.errors import AutoscalerError
from autoscaler.core.model import ServiceId
from autoscaler.core.override import Wanted
from autoscaler.present import Plain
from autoscaler.settings import Settings
from autoscaler.wishes.overrides_file import OverridesFile

ASKED_FOR = 2.0
"""Seconds that a command waits for the daemon, which it only asks for advice."""


def known_services() -> list[str]:
    """Return the names of the services that a shell completes: none while no daemon answers."""
    try:
        rows = ask(Settings.load(), ASKED_FOR)["services"]
    except AutoscalerError:
        return []
    return [row["service"] for row in rows]


Service = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE",
        help="project/service on Compose, such as shop/worker; a name on Swarm.",
        autocompletion=known_services,
    ),
]
For = Annotated[str, typer.Option("--for", help="How long: a duration such as 30m, or ever.")]
Reason = Annotated[str, typer.Option(help="Why, for those who wonder later.")]
By = Annotated[str, typer.Option(help="Who sets it; without it, the name of this user.")]


def put(new: Wanted) -> None:
    """Write overrides, and print what holds now and what a person should know about it."""
    settings = Settings.load()
    file = OverridesFile(settings.state)
    daemon = Daemon(settings)
    now = datetime.now(UTC)
    replaced = file.put(new, settings.label_prefix, daemon.values_of(new.service), now)
    for each in new.overrides(now):
        print(f"{new.service}: {each}")  # noqa: T201
    for each in replaced:
        print(f"  instead of {each}")  # noqa: T201
    say_where_it_counts(settings, file, daemon, new.service)


def say_where_it_counts(
    settings: Settings, file: OverridesFile, daemon: Daemon, service: ServiceId
) -> None:
    """Print what keeps overrides from lasting, or a daemon from taking them up."""
    app = build(settings)
    if file.damage:
        say.warning(file.damage)
    if not app.place.outlives(file.folder):
        say.warning(
            f"{file.folder} is no volume, so overrides go with this container; mount a volume there"
        )
    others = asyncio.run(app.daemons_without(file.folder))
    for each in others:
        say.warning(
            f"the autoscaler in container {each.name} does not read {file.folder}; run this command"
            f" there: {each.command} ..."
        )
    remark = daemon.remark_on(service)
    if remark and not others:
        say.warning(remark)


class Daemon:
    """What the running daemon says of its services, where it answers."""

    def __init__(self, settings: Settings) -> None:
        """Ask it once."""
        self._answer: Plain | None = None
        with contextlib.suppress(NoAnswer):
            self._answer = ask(settings, ASKED_FOR)

    @property
    def _rows(self) -> list[Plain]:
        rows: list[Plain] = [] if self._answer is None else self._answer["services"]
        return rows

    def values_of(self, service: ServiceId) -> dict[str, str]:
        """Return the values of a service by the full names of labels; empty where not known."""
        row = next((each for each in self._rows if _id(each) == service), None)
        return {} if row is None else {name: one["value"] for name, one in row["values"].items()}

    def remark_on(self, service: ServiceId) -> str | None:
        """Return what a person should know who sets something for a service."""
        if self._answer is None:
            return "no daemon answers here; it counts once one runs with the same AUTOSCALER_STATE"
        known = [_id(each) for each in self._rows]
        if service in known or self._answer["at"] is None or self._answer["errors"]:
            return None
        near = difflib.get_close_matches(service.name, [each.name for each in known], n=1)
        hint = f"; the nearest is {near[0]}" if near else ""
        return f"the daemon looks after no service {service}{hint}"


def _id(row: Plain) -> ServiceId:
    return ServiceId(row["orchestrator"], row["service"])


def user() -> str:
    """Return the name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.geteuid()}"
