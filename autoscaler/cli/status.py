"""autoscaler status"""

from __future__ import annotations

import http.client
import json as jsonlib
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from autoscaler.cli import table
from autoscaler.cli.exit_codes import ExitCode
from autoscaler.core.errors import AutoscalerError, ConfigurationError
from autoscaler.present import Plain
from autoscaler.settings import Settings

WATCH_INTERVAL = 2.0
"""Seconds between two questions with --watch."""
ANSWER_TIMEOUT = 10.0
"""Seconds to wait for an answer."""
REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on
"""Where a daemon that listens on every address is reached from the same machine."""


class NoAnswer(AutoscalerError):
    """The daemon could not be asked."""


def status(
    *,
    watch: Annotated[bool, typer.Option(help="Go on until Ctrl-C, every 2 seconds.")] = False,
    json: Annotated[
        bool, typer.Option(help="Print the object that /api/services returns, for programs.")
    ] = False,
) -> None:
    """Show what the running daemon last saw and did.

    Exit code 1 when it does not answer, or when something keeps it from scaling a service.
    """
    if watch and json:
        raise ConfigurationError(["--watch and --json are both given: keep one of them"])
    settings = Settings.load()
    # Square brackets in names and errors are no markup.
    console = Console(markup=False, highlight=False)
    if watch:
        _watch(settings, console)
        return
    answer = ask(settings)
    if json:
        print(jsonlib.dumps(answer, indent=2))  # noqa: T201
    else:
        console.print(picture(answer, datetime.now(UTC)))
    if answer["errors"] or any(service["errors"] for service in answer["services"]):
        raise typer.Exit(ExitCode.TROUBLE)


def _watch(settings: Settings, console: Console) -> None:
    """Ask again and again until Ctrl-C, also while no daemon answers."""
    latest: Plain | None = None
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                parts: list[RenderableType] = []
                try:
                    latest = ask(settings)
                except NoAnswer as error:
                    parts.append(Text(f"lost: {error}", "red"))
                if latest is not None:
                    parts.append(picture(latest, datetime.now(UTC)))
                live.update(Group(*parts), refresh=True)
                time.sleep(WATCH_INTERVAL)
    except KeyboardInterrupt:
        return


def ask(settings: Settings, timeout: float = ANSWER_TIMEOUT) -> Plain:
    """Return what /api/services of the daemon with these settings answers. Raises NoAnswer."""
    host, port = settings.listen
    host = REACHED_AT.get(host, host)
    address = f"{f'[{host}]' if ':' in host else host}:{port}"
    headers = {}
    if settings.access_token is not None:
        headers["Authorization"] = f"Bearer {settings.access_token.get_secret_value()}"
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/api/services", headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.status == http.HTTPStatus.OK:
            answer: Plain = jsonlib.loads(body)
            return answer
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise NoAnswer(
            f"no daemon answers at {address} ({why}): check that `autoscaler run` runs here,"
            " with the same AUTOSCALER_LISTEN"
        ) from error
    finally:
        connection.close()
    if response.status == http.HTTPStatus.UNAUTHORIZED:
        raise NoAnswer(
            f"the daemon at {address} asks for its access token: set AUTOSCALER_ACCESS_TOKEN"
            " as it is set there"
        )
    raise NoAnswer(f"what answers at {address} is no autoscaler (status {response.status})")


def picture(answer: Plain, now: datetime) -> RenderableType:
    """Draw what the daemon answered, with ages as they are at `now`."""
    if answer["at"] is None:
        return Text("The daemon has not looked yet.")
    parts: list[RenderableType] = [
        Text(f"looked {table.ago(answer['at'], now)}", "dim"),
        *(Text(f"error: {error}", "red") for error in answer["errors"]),
        *(Text(f"warning: {warning}", "yellow") for warning in answer["warnings"]),
    ]
    if answer["integrations"]:
        parts.append(table.connections_table(answer["integrations"], now))
    if answer["services"]:
        parts.append(table.services_table(answer["services"], now))
    elif not (answer["errors"] or answer["left_alone"]):
        parts.append(Text("No service carries a label of the autoscaler."))
    parts += [Text(table.shared(limit)) for limit in answer["limits"]]
    if answer["memory"] is not None:
        parts.append(Text(table.host_memory(answer["memory"])))
    if answer["left_alone"]:
        parts.append(Text(table.left_alone(answer["left_alone"])))
    return Group(*parts)
