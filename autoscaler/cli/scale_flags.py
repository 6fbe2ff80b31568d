"""autoscaler scale-flags"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from autoscaler.app import build
from autoscaler.cli import say
from autoscaler.cli.status import NoAnswer, ask
from autoscaler.core.errors import OrchestratorError
from autoscaler.present import Plain
from autoscaler.settings import Settings

COMPOSE = "compose"


@dataclass(frozen=True, slots=True)
class Running:
    """What runs of one Compose service."""

    project: str
    service: str
    containers: int
    """Those that drain among them: Compose counts them too."""

    @classmethod
    def of(cls, name: str, replicas: int, draining: int) -> Running:
        """Make it of a service's name and its replicas."""
        project, _, service = name.partition("/")
        return cls(project, service, replicas + draining)

    @property
    def flag(self) -> str:
        """The option that makes `docker compose up` keep these.

        At zero it asks for one: with 0, Compose removes the stopped container that the daemon keeps
        to make replicas of, and nobody could wake the service again.
        """
        return f"--scale {shlex.quote(self.service)}={max(1, self.containers)}"


def scale_flags(
    project: Annotated[
        str | None, typer.Argument(help="The Compose project, where there are several.")
    ] = None,
) -> None:
    """Print what runs as options for `docker compose up`, so that it stops no replica.

    Without them, `up` brings each service back to the replicas in its file.
    """
    settings = Settings.load()
    found = _of_project(_running(settings), project)
    if not found:
        say.note("no Compose service is looked after here: no flags")
    print(" ".join(each.flag for each in sorted(found, key=lambda it: it.service)))  # noqa: T201


def _of_project(running: Iterable[Running], project: str | None) -> list[Running]:
    """Return what runs of one project. Raises OrchestratorError where it is not clear which."""
    by_project: dict[str, list[Running]] = {}
    for each in running:
        by_project.setdefault(each.project, []).append(each)
    names = ", ".join(sorted(by_project))
    if project is not None:
        if project not in by_project:
            raise OrchestratorError(
                f"no service of a project {project} is looked after here (known: {names or 'none'})"
            )
        return by_project[project]
    if len(by_project) > 1:
        raise OrchestratorError(
            f"there are several projects: {names}; name one of them: autoscaler scale-flags PROJECT"
        )
    return [each for found in by_project.values() for each in found]


def _running(settings: Settings) -> list[Running]:
    """Return what runs, as the daemon says, or else as the engine says.

    Raises OrchestratorError where it cannot be told: what is not known is never left out.
    """
    try:
        answer = ask(settings)
    except NoAnswer:
        return asyncio.run(_by_engine(settings))
    if answer["at"] is None:
        return asyncio.run(_by_engine(settings))
    return _by_daemon(answer)


def _by_daemon(answer: Plain) -> list[Running]:
    if answer["errors"]:
        raise OrchestratorError(
            f"the daemon does not see what runs ({'; '.join(answer['errors'])}): mend that first"
        )
    return [
        Running.of(row["service"], row["replicas"], row["draining"])
        for row in answer["services"]
        if row["orchestrator"] == COMPOSE
    ]


async def _by_engine(settings: Settings) -> list[Running]:
    app = build(settings)
    await app.wishes.renew()
    services = [
        service
        for orchestrator in app.orchestrators
        if orchestrator.name == COMPOSE
        for service in await orchestrator.discover()
    ]
    await app.reconciler.close(timedelta())
    return [Running.of(each.id.name, each.replicas, each.draining) for each in services]
