"""What is right and wrong with the Docker Engine, for `doctor`."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence

from docker import APIClient

from autoscaler.core.findings import Finding, Outcome
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine, EngineError, api_url
from autoscaler.orchestrators.neighbours import daemons
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.absence import without_swarm
from autoscaler.orchestrators.swarm.agents import Agents
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator

SUBJECT = "engine"
_NOT_FOUND = 404


async def examine_engine(
    engine: Engine, names: Collection[str] = ("compose", "swarm"), *, required: bool = False
) -> Sequence[Finding]:
    """Return findings on the engine, the rights on its socket, and which services are looked after.

    `names` are the orchestrators in use; `required` says that a Swarm has to be there.
    """
    try:
        version = await engine.call(
            "asking for the engine's version",
            lambda client: (client.version()["Version"], client.api_version),
        )
        found = [
            Finding(
                SUBJECT,
                Outcome.OK,
                f"{engine.product.removeprefix('the ')} {version[0]} answers at {engine.address}"
                f" (API {version[1]})",
            )
        ]
        found.append(await _may_read(engine))
        found.append(await _may_change(engine))
        found += await _orchestrators(engine, names, required=required)
    except EngineError as error:
        return [Finding(SUBJECT, Outcome.WRONG, str(error))]
    return found


async def _may_read(engine: Engine) -> Finding:
    try:
        await engine.call("listing containers", lambda client: client.containers(limit=1))
    except EngineError as error:
        if error.status is None:
            raise
        return Finding(
            SUBJECT, Outcome.WRONG, f"{error}; a proxy before the socket has to let this through"
        )
    return Finding(SUBJECT, Outcome.OK, "containers can be listed")


async def _may_change(engine: Engine) -> Finding:
    """Try to signal a container that does not exist: that changes nothing, and shows the rights."""
    nobody = secrets.token_hex(32)

    def signal(client: APIClient) -> None:
        client.post(
            api_url(client, f"/containers/{nobody}/kill"), timeout=client.timeout
        ).raise_for_status()

    try:
        await engine.call("sending a signal to a container", signal)
    except EngineError as error:
        if error.status is None:
            raise
        if error.status != _NOT_FOUND:
            return Finding(
                SUBJECT,
                Outcome.WARNING,
                f"{error}; only looking is allowed here, so run with AUTOSCALER_DRY_RUN=true or"
                " let the proxy before the socket pass changes",
            )
    return Finding(SUBJECT, Outcome.OK, "containers can be changed")


async def _orchestrators(
    engine: Engine, names: Collection[str], *, required: bool
) -> list[Finding]:
    """Say which services are looked after, and why not the others.

    What the tick reports as an error of its own is left to it.
    """
    if SwarmOrchestrator.name not in names:
        return [
            _ok("Compose services are looked after; AUTOSCALER_ORCHESTRATORS leaves out Swarm's")
        ]
    try:
        await engine.call(
            "listing Swarm services",
            lambda client: client.services(filters={"id": "none"}),
        )
    except EngineError as error:
        if error.status is None:
            raise
        without = without_swarm(error)
        if without is None or required:
            return []
        return [_ok(f"{without}: Compose services are looked after")]
    if ComposeOrchestrator.name not in names:
        return [
            _ok(
                "it is a Swarm manager: Swarm services are looked after;"
                " AUTOSCALER_ORCHESTRATORS leaves out Compose's"
            )
        ]
    return [_ok("it is a Swarm manager: Compose and Swarm services are looked after")]


async def examine_territory(engine: Engine, projects: Projects) -> Sequence[Finding]:
    """Return findings on the projects that are looked after, and on the daemons that run."""
    try:
        territory = await projects.territory()
        found = await daemons(engine)
    except EngineError:
        # The tick meets the same engine and reports what is wrong with it.
        return []
    return [
        Finding("projects", Outcome.OK, f"{territory} looked after from here: {territory.because}"),
        *(
            Finding(
                "projects",
                Outcome.OK,
                f"container {each.name} is an autoscaler that looks after {each.territory}"
                f"{', as a dry run' if each.dry_run else ''}",
            )
            for each in found
        ),
    ]


async def examine_agents(agents: Agents) -> Sequence[Finding]:
    """Return a finding for each node of the Swarm whose agent does not answer, or that all do.

    Empty where this engine manages no Swarm.
    """
    try:
        silent = await agents.silent()
    except EngineError as error:
        if without_swarm(error) is not None:
            return []
        return [Finding("agents", Outcome.WRONG, str(error))]
    if not silent:
        return [Finding("agents", Outcome.OK, "the agent on every node of the Swarm answers")]
    return [Finding("agents", Outcome.WRONG, each) for each in silent]


def _ok(text: str) -> Finding:
    return Finding(SUBJECT, Outcome.OK, text)
