"""What the manager of a Swarm is asked: services, their tasks, and to compare and set a spec."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from docker import APIClient

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.engine import Engine, EngineError, Json, Lane, api_url, api_version

_OUT_OF_SEQUENCE = "update out of sequence"


async def services_of(engine: Engine) -> list[Json]:
    """Return all services, with the numbers of their tasks. Raises EngineError."""

    def look(client: APIClient) -> list[Json]:
        # The engine counts running tasks from API 1.41 on.
        counted = api_version(client) >= (1, 41)
        rows: list[Json] = client.services(status=True if counted else None)
        return rows

    return await engine.call("listing Swarm services", look)


async def tasks_by_service(engine: Engine, services: Sequence[str]) -> Mapping[str, Sequence[Json]]:
    """Return the tasks of these services, by the id of the service. Raises EngineError."""
    found: dict[str, list[Json]] = defaultdict(list)
    if services:
        tasks: list[Json] = await engine.call(
            "listing Swarm tasks",
            lambda client: client.tasks(filters={"service": list(services)}),
        )
        for task in tasks:
            found[task["ServiceID"]].append(task)
    return found


async def tasks_of(engine: Engine, service: ServiceId) -> list[Json]:
    """Return all tasks of a service, also those that have ended. Raises EngineError."""
    tasks: list[Json] = await engine.call(
        f"listing the tasks of {service}",
        lambda client: client.tasks(filters={"service": service.name}),
    )
    return tasks


async def rewrite(
    engine: Engine, what: str, service: str, edit: Callable[[Json], Json | None], tries: int = 2
) -> bool:
    """Write what `edit` makes of a service's row, unless somebody else has written meanwhile.

    `edit` returns the new spec, or None to leave the service as it is. Where another writer was
    faster, the row is read and edited again, until `tries` are used up. Return whether anything was
    written. Raises EngineError, and what `edit` raises.
    """

    def compare_and_set(client: APIClient) -> bool:
        # Without insertDefaults: a spec with defaults filled in differs from the stored one, and
        # writing it back would replace every running task.
        found: Json = client.inspect_service(service)
        spec = edit(found)
        if spec is None:
            return False
        client.post(
            api_url(client, f"/services/{found['ID']}/update"),
            params={"version": found["Version"]["Index"]},
            json=spec,
            timeout=client.timeout,
        ).raise_for_status()
        return True

    while True:
        tries -= 1
        try:
            return await engine.call(what, compare_and_set, Lane.CHANGE)
        except EngineError as error:
            if _OUT_OF_SEQUENCE not in str(error) or not tries:
                raise
