"""What is right and wrong with the Docker Engine, for `doctor`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from docker import APIClient

from autoscaler.core.findings import Finding, Outcome
from autoscaler.orchestrators.engine import Engine, EngineError, api_url

SUBJECT = "engine"
_NOT_FOUND = 404


async def examine_engine(engine: Engine) -> Sequence[Finding]:
    """Return findings on the engine, the rights on its socket, and whether it manages a Swarm."""
    try:
        version = await engine.call(
            "asking for the engine's version",
            lambda client: (client.version()["Version"], client.api_version),
        )
        found = [
            Finding(
                SUBJECT,
                Outcome.OK,
                f"Docker Engine {version[0]} answers at {engine.address} (API {version[1]})",
            )
        ]
        found.append(await _may_read(engine))
        found.append(await _may_change(engine))
        found.append(await _swarm(engine))
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
    """Try to stop a container that does not exist: that changes nothing, and shows the rights."""
    nobody = secrets.token_hex(32)

    def stop(client: APIClient) -> None:
        client.post(
            api_url(client, f"/containers/{nobody}/stop"), timeout=client.timeout
        ).raise_for_status()

    try:
        await engine.call("stopping a container", stop)
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


async def _swarm(engine: Engine) -> Finding:
    try:
        await engine.call(
            "listing Swarm services",
            lambda client: client.services(filters={"id": "none"}),
        )
    except EngineError as error:
        if error.status is None:
            raise
        return Finding(
            SUBJECT, Outcome.OK, "it is no Swarm manager: Compose services are looked after"
        )
    return Finding(
        SUBJECT, Outcome.OK, "it is a Swarm manager: Compose and Swarm services are looked after"
    )
