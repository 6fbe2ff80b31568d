"""Swarm services, scaled by a compare-and-set of their number of replicas on the manager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from docker import APIClient

from autoscaler.core.durations import format_duration
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import Ceiling, Replica, ScalingAction, Service, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.spec import DEFAULT_PREFIX, scaling_labels
from autoscaler.orchestrators.engine import (
    DEFAULT_GRACE,
    Engine,
    EngineError,
    Json,
    Lane,
    api_url,
    api_version,
)
from autoscaler.orchestrators.swarm.tasks import container_of, in_turn

PICK_LOOKS, PICK_PAUSE = 20, 0.1
"""How often, and with what pause in seconds, the tasks are listed until a change shows in them."""
_NANO = 1_000_000_000

STACK = "com.docker.stack.namespace"

_NOT_A_MANAGER = ("not a swarm manager", "not part of a swarm")
"""The engine's words where it is in no Swarm, or a worker node. A locked Swarm says other words."""
_FORBIDDEN = 403
"""HTTP status of a socket proxy that does not let services through: no Swarm to look after."""
NO_MANAGER_PAUSE = timedelta(minutes=1)
"""Before an engine that manages no Swarm is asked again: it logs an error each time."""
_OUT_OF_SEQUENCE = "update out of sequence"
RECENT = timedelta(minutes=1)
"""A failure this young speaks against more tasks: Swarm starts a failing task again and again."""
_ROLLING_OUT = ("updating", "paused", "rollback_started", "rollback_paused")


class SwarmOrchestrator:
    """Scales the replicated services of the Swarm that this engine manages."""

    name = "swarm"

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime],
        prefix: str = DEFAULT_PREFIX,
        projects: Collection[str] = (),
        required: bool = False,
    ) -> None:
        """Look after the stacks `projects`, or all services where none is named.

        With `required`, an engine that is no Swarm manager is an error. Otherwise it has no
        services until it becomes one.
        """
        self._engine = engine
        self._clock = clock
        self._prefix = prefix
        self._projects = frozenset(projects)
        self._required = required
        self._ask_again: datetime | None = None

    async def discover(self) -> Sequence[Service]:
        """Return the Swarm services with a label of the autoscaler. Raises OrchestratorError."""
        if self._ask_again is not None and self._clock() < self._ask_again:
            return []
        try:
            rows: list[Json] = await self._engine.call("listing Swarm services", _services)
        except EngineError as error:
            refused = error.status == _FORBIDDEN
            if not refused and not any(words in str(error) for words in _NOT_A_MANAGER):
                raise
            if not self._required:
                self._ask_again = self._clock() + NO_MANAGER_PAUSE
                return []
            raise OrchestratorError(
                f"{error}; AUTOSCALER_ORCHESTRATORS names swarm, so run the daemon on a manager"
                " node, or `docker swarm init` to make this engine one"
            ) from error
        ours = [row for row in rows if self._is_ours(row)]
        tasks = await self._tasks_of([row["ID"] for row in ours if _lag(row) > 0])
        now = self._clock()
        return [self._service(row, tasks.get(row["ID"], ()), now) for row in ours]

    async def replicas(self, service: ServiceId) -> Sequence[Replica]:
        """Return the replicas in the order in which the Swarm stops them. Raises EngineError."""
        tasks: list[Json] = await self._engine.call(
            f"listing the tasks of {service}",
            lambda client: client.tasks(filters={"service": service.name}),
        )
        return in_turn(tasks, await self._only_node())

    async def grow(self, action: ScalingAction) -> None:
        """Raise the number of replicas, unless somebody else has changed it since the decision.

        Returns when the manager has taken the number. Raises OrchestratorError.
        """
        await self._set(action.service, action.current, action.desired)

    async def stop(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Have the chosen replicas stopped, each behind its own grace. Raises OrchestratorError.

        The Swarm itself picks the tasks that go when the number is lowered, so the number is
        lowered only by those that are first in its order. Where there are none, one task is stopped
        by its container. The Swarm then fills its slot again: the caller has to look once more
        whether the replacement is the first to go, before the number is lowered.
        """
        if choice.in_turn:
            return await self._lower(action, choice)
        for replica in choice.by_name[:1]:
            return await self._stop_by_name(action.service, replica, len(choice.of))
        return Stopped()

    async def remove_unstarted(self, service: ServiceId) -> None:
        """Do nothing: the Swarm starts and removes its tasks itself."""

    async def _lower(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Lower the number of replicas, and return which tasks the Swarm has picked."""
        fewer = action.current - len(choice.in_turn)
        if not await self._set(action.service, action.current, fewer):
            return Stopped()

        def gone(left: Sequence[Replica]) -> Sequence[str]:
            staying = {replica.id for replica in left}
            return [replica.id for replica in choice.of if replica.id not in staying]

        left = await self._replicas_once(
            action.service, lambda left: len(gone(left)) >= len(choice.in_turn)
        )
        return Stopped(tuple(gone(left)))

    async def _stop_by_name(self, service: ServiceId, replica: Replica, replicas: int) -> Stopped:
        """Stop one of so many replicas by its container; return when its replacement has a node."""
        task = await self._engine.call(
            f"inspecting task {replica.id}", lambda client: client.inspect_task(replica.id)
        )
        grace = (task["Spec"].get("ContainerSpec") or {}).get("StopGracePeriod")
        seconds = DEFAULT_GRACE if grace is None else grace // _NANO
        await self._engine.stop(container_of(task), seconds)
        # Its replacement gets a node within 0.1 s, and starts after the restart delay of 5 s.

        def replaced(found: Sequence[Replica]) -> bool:
            everywhere = all(each.id != replica.id and each.placed for each in found)
            return everywhere and len(found) >= replicas

        await self._replicas_once(service, replaced)
        return Stopped((replica.id,), vacated=True)

    async def _replicas_once(
        self, service: ServiceId, done: Callable[[Sequence[Replica]], bool]
    ) -> Sequence[Replica]:
        """Return the replicas as soon as `done` says so, or after two seconds."""
        found = await self.replicas(service)
        for _ in range(PICK_LOOKS):
            if done(found):
                break
            await asyncio.sleep(PICK_PAUSE)
            found = await self.replicas(service)
        return found

    async def _set(self, service: ServiceId, current: int, desired: int) -> bool:
        """Change the number of replicas; return whether it was still `current`."""

        def compare_and_set(client: APIClient) -> bool:
            # Without insertDefaults: a spec with defaults filled in differs from the stored
            # one, and writing it back would replace every running task.
            found = client.inspect_service(service.name)
            obstacle = refusal(found)
            if obstacle is not None:
                raise OrchestratorError(f"{service}: {obstacle}")
            spec: Json = found["Spec"]
            replicated = spec["Mode"]["Replicated"]
            if _replicas(replicated) != current:
                return False
            replicated["Replicas"] = desired
            client.post(
                api_url(client, f"/services/{found['ID']}/update"),
                params={"version": found["Version"]["Index"]},
                json=spec,
                timeout=client.timeout,
            ).raise_for_status()
            return True

        what = f"scaling {service} to {desired}"
        try:
            return await self._engine.call(what, compare_and_set, Lane.CHANGE)
        except EngineError as error:
            if _OUT_OF_SEQUENCE not in str(error):
                raise
            # Another writer was faster: try once more, if it has left the number as it was.
            return await self._engine.call(what, compare_and_set, Lane.CHANGE)

    async def _only_node(self) -> str:
        """Return the id of this engine's node if the Swarm has no other; else an empty string.

        With several nodes no task is stopped by name: its replacement would go to the emptiest
        node, where the Swarm would not stop it first.
        """
        info = await self._engine.call("looking up this node", lambda client: client.info())
        return str(info["Swarm"]["NodeID"]) if info["Swarm"].get("Nodes") == 1 else ""

    async def close(self, patience: timedelta) -> None:
        """Do nothing: the Swarm drains its tasks itself."""

    def _is_ours(self, row: Json) -> bool:
        if self._projects and _labels(row).get(STACK) not in self._projects:
            return False
        return any(
            scaling_labels(labels, self._prefix) for labels in (_labels(row), _task_labels(row))
        )

    async def _tasks_of(self, services: Sequence[str]) -> Mapping[str, Sequence[Json]]:
        """Return the tasks of these services, by the id of the service."""
        found: dict[str, list[Json]] = {id_: [] for id_ in services}
        if found:
            tasks = await self._engine.call(
                "listing Swarm tasks",
                lambda client: client.tasks(filters={"service": list(services)}),
            )
            for task in tasks:
                found.setdefault(task["ServiceID"], []).append(task)
        return found

    def _service(self, row: Json, tasks: Sequence[Json], now: datetime) -> Service:
        replicated = row["Spec"]["Mode"].get("Replicated")
        replicas = 0 if replicated is None else _replicas(replicated)
        trouble = stuck(tasks, now)
        return Service(
            id=ServiceId(self.name, row["Spec"]["Name"]),
            labels=_labels(row),
            replicas=replicas,
            ceiling=None if trouble is None else Ceiling(replicas, trouble),
            refusal=self._refusal(row),
            draining=max(0, -_lag(row)),
            grace=_grace(row),
        )

    def _refusal(self, row: Json) -> str | None:
        if not scaling_labels(_labels(row), self._prefix):
            return (
                f"its {self._prefix}.* labels stand under labels, where they only reach the"
                " containers; move them under deploy.labels"
            )
        return refusal(row)


def stuck(tasks: Sequence[Json], now: datetime) -> str | None:
    """Return why more tasks would not help: some cannot be placed, or have just failed. Pure."""
    for task in tasks:
        status = task["Status"]
        error = status.get("Err") or status.get("Message", "")
        if task["DesiredState"] == "running" and status["State"] == "pending" and status.get("Err"):
            return f"a task cannot be placed ({error})"
        if status["State"] in ("failed", "rejected"):
            since = now - datetime.fromisoformat(status["Timestamp"])
            if since < RECENT:
                return f"a task failed {format_duration(max(since, timedelta()))} ago ({error})"
    return None


def _services(client: APIClient) -> list[Json]:
    # The engine counts running tasks from API 1.41 on.
    counted = api_version(client) >= (1, 41)
    rows: list[Json] = client.services(status=True if counted else None)
    return rows


def _lag(row: Json) -> int:
    """Return how many tasks are missing; below zero, how many are still stopping.

    Zero where the engine does not count them.
    """
    status = row.get("ServiceStatus") or {}
    return int(status.get("DesiredTasks", 0)) - int(status.get("RunningTasks", 0))


def _grace(row: Json) -> timedelta | None:
    container: Json = row["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
    grace = container.get("StopGracePeriod")
    return None if grace is None else timedelta(microseconds=grace / 1000)


def _labels(row: Json) -> Mapping[str, str]:
    return row["Spec"].get("Labels") or {}


def _task_labels(row: Json) -> Mapping[str, str]:
    container: Json = row["Spec"]["TaskTemplate"].get("ContainerSpec") or {}
    return container.get("Labels") or {}


def _replicas(replicated: Json) -> int:
    # The API leaves out a number that was never set. Swarm then runs one task.
    return int(replicated.get("Replicas", 1))


def refusal(row: Json) -> str | None:
    """Return why a service cannot be scaled at present; None where it can. Pure."""
    mode: Json = row["Spec"]["Mode"]
    if "Replicated" not in mode:
        return (
            f"its mode is {_mode_name(mode)}, and only replicated services have a number of"
            " replicas to change; deploy it with mode replicated"
        )
    state = (row.get("UpdateStatus") or {}).get("State")
    if state in _ROLLING_OUT:
        # Every write replaces PreviousSpec: an automatic rollback would have nowhere to go.
        return f"a rollout is under way ({state}); it is scaled again afterwards"
    return None


def _mode_name(mode: Json) -> str:
    names = {"Global": "global", "ReplicatedJob": "replicated-job", "GlobalJob": "global-job"}
    return next((name for key, name in names.items() if key in mode), "unknown")
