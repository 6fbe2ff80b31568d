"""autoscaler status"""

from __future__ import annotations

import http.client
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autoscaler.core.durations import format_duration
from autoscaler.core.errors import AutoscalerError
from autoscaler.settings import Settings

EVERY = 2.0
"""Seconds between two looks with --watch."""
PATIENCE = 10.0
"""Seconds to wait for an answer."""
NEAR = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is dialled is the other side
"""Where a daemon that listens on every address can be reached from beside it."""

Wire = dict[str, Any]


class NoAnswer(AutoscalerError):
    """The daemon could not be asked."""


def status(
    *, watch: Annotated[bool, typer.Option(help="Go on until Ctrl-C, every 2 seconds.")] = False
) -> None:
    """Show what the running daemon last saw and did.

    Exit code 1 when it does not answer, or when something keeps it from scaling a service.
    """
    settings = Settings.load()
    # Square brackets in names and errors are no markup.
    console = Console(markup=False, highlight=False)
    if watch:
        _watch(settings, console)
        return
    try:
        seen = ask(settings)
    except NoAnswer as error:
        print(f"autoscaler: {error}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1) from error
    console.print(picture(seen, datetime.now(UTC)))
    if seen["errors"] or any(service["errors"] for service in seen["services"]):
        raise typer.Exit(1)


def _watch(settings: Settings, console: Console) -> None:
    """Look again and again; a daemon that is lost may come back."""
    seen: Wire | None = None
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                parts: list[RenderableType] = []
                try:
                    seen = ask(settings)
                except NoAnswer as error:
                    parts.append(Text(f"lost: {error}", "red"))
                if seen is not None:
                    parts.append(picture(seen, datetime.now(UTC)))
                live.update(Group(*parts), refresh=True)
                time.sleep(EVERY)
    except KeyboardInterrupt:
        return


def ask(settings: Settings) -> Wire:
    """Ask the daemon that these settings belong to for /api/services. Raises NoAnswer."""
    host, port = settings.listen
    host = NEAR.get(host, host)
    address = f"{f'[{host}]' if ':' in host else host}:{port}"
    headers = {}
    if settings.access_token is not None:
        headers["Authorization"] = f"Bearer {settings.access_token.get_secret_value()}"
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/api/services", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == http.HTTPStatus.OK:
            seen: Wire = json.loads(body)
            return seen
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise NoAnswer(
            f"no daemon answers at {address} ({why}): check that `autoscaler run` runs here,"
            " with the same AUTOSCALER_LISTEN"
        ) from error
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.UNAUTHORIZED:
        raise NoAnswer(
            f"the daemon at {address} asks for its access token: set AUTOSCALER_ACCESS_TOKEN"
            " as it is set there"
        )
    raise NoAnswer(f"what answers at {address} is no autoscaler (status {answer.status})")


def picture(seen: Wire, now: datetime) -> RenderableType:
    """Draw what the daemon said, as it is at `now`."""
    if seen["at"] is None:
        return Text("The daemon has not looked yet.")
    parts: list[RenderableType] = [
        Text(f"looked {_ago(seen['at'], now)} ago", "dim"),
        *(Text(f"error: {error}", "red") for error in seen["errors"]),
    ]
    if seen["integrations"]:
        parts.append(_connections(seen["integrations"], now))
    if seen["services"]:
        parts.append(_services(seen["services"], now))
    elif not seen["errors"]:
        parts.append(Text("No service carries a label of the autoscaler."))
    return Group(*parts)


def _connections(integrations: list[Wire], now: datetime) -> Table:
    table = Table("connection", "endpoint", "namespace", "state")
    for one in integrations:
        state = {True: Text("up", "green"), False: Text("down", "red"), None: Text("not used")}
        said = [state[one["up"]]]
        if one["expires_at"] is not None:
            expiry = datetime.fromtimestamp(one["expires_at"], UTC)
            left = f"expires {expiry:%Y-%m-%d %H:%M} UTC"
            said.append(Text(left if expiry > now else left.replace("expires", "expired")))
        if one["error"]:
            said.append(Text(one["error"], "red"))
        table.add_row(Text(one["name"]), one["endpoint"], one["namespace"], Text("\n").join(said))
    return table


def _services(services: list[Wire], now: datetime) -> Table:
    table = Table("service", "queue", "backlog", "replicas", "why")
    for one in services:
        table.add_row(
            one["service"],
            ", ".join(one["queues"]),
            _backlog(one),
            _replicas(one),
            Text("\n").join(_why(one, now)),
        )
    return table


def _backlog(one: Wire) -> str:
    if one["backlog"] is None:
        return "unknown"
    oldest = f"\noldest {format_duration(timedelta(seconds=one['age']))}"
    return f"{one['backlog']:,}{oldest if one['backlog'] else ''}"


def _replicas(one: Wire) -> str:
    moving = one["desired"] != one["replicas"]
    now = f"{one['replicas']} -> {one['desired']}" if moving else f"{one['replicas']}"
    notes = [] if one["max"] is None else [f"{one['min']}-{one['max']}"]
    if one["busy"] is not None:
        notes.append(f"{one['busy']} busy")
    if one["draining"]:
        notes.append(f"{one['draining']} draining")
    return "\n".join([now, *([", ".join(notes)] if notes else [])])


def _why(one: Wire, now: datetime) -> list[Text]:
    lines = [Text(reason["text"]) for reason in one["reasons"]]
    if one["dry_run"]:
        lines.append(Text("dry run: nothing is changed"))
    if one["unseen"]:
        lines.append(Text("not seen at the latest look", "red"))
    lines += [Text(f"warning: {warning}", "yellow") for warning in one["warnings"]]
    lines += [Text(f"error: {error}", "red") for error in one["errors"]]
    for change in one["changes"][-1:]:
        text = f"{_ago(change['at'], now)} ago: {change['current']} -> {change['desired']}"
        lines.append(Text(text, "dim"))
    return lines


def _ago(at: float, now: datetime) -> str:
    passed = max(0.0, now.timestamp() - at)
    return format_duration(timedelta(seconds=int(passed)))
