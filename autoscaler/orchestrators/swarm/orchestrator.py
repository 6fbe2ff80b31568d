"""Swarm services, scaled by a compare-and-set of their number of replicas on the manager."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from autoscaler.core.drain import Drain
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.label_values import SwarmChoice
from autoscaler.core.labels import DEFAULT_PREFIX, scaling_labels
from autoscaler.core.model import Ceiling, Replica, ScalingAction, Service, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.territory import Surroundings, Territory
from autoscaler.orchestrators.engine import Engine, EngineError, Json
from autoscaler.orchestrators.projects import OWN_SERVICE, SWARM_SERVICE, Projects
from autoscaler.orchestrators.swarm.absence import NO_SWARM, without_swarm
from autoscaler.orchestrators.swarm.agents import Agents
from autoscaler.orchestrators.swarm.choosing import Choosing
from autoscaler.orchestrators.swarm.failures import Failures, Zero, replicas_of, stuck
from autoscaler.orchestrators.swarm.manager import (
    rewrite,
    services_of,
    tasks_by_service,
    tasks_of,
)
from autoscaler.orchestrators.swarm.reach import Reach
from autoscaler.orchestrators.swarm.rows import (
    LEFT_FROZEN,
    grace_of,
    labels_of,
    lag_of,
    needs_thaw,
    refusal,
    stack_of,
    task_labels_of,
    was_left_frozen,
)
from autoscaler.orchestrators.swarm.tasks import (
    container_of,
    finishing,
    grace_of_task,
    in_turn,
    least_growth,
)
from autoscaler.ports import LooksAfter
from autoscaler.wishes.labels import Labels

PICK_LOOKS, PICK_PAUSE = 20, 0.1
"""How often, and with what pause in seconds, the tasks are listed until a change shows in them."""
NO_MANAGER_PAUSE = timedelta(minutes=1)
"""Before an engine that manages no Swarm is asked again: it logs an error each time."""


class SwarmOrchestrator:
    """Scales the replicated services of the Swarm that this engine manages."""

    name = "swarm"

    def __init__(  # noqa: PLR0913 - as Compose, and whether a Swarm has to be there
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime],
        prefix: str = DEFAULT_PREFIX,
        projects: Projects | None = None,
        looks_after: LooksAfter | None = None,
        required: bool = False,
        agents: Agents | None = None,
    ) -> None:
        """Look after services of the stacks among `projects`; without any, of all.

        `looks_after` says which; without it, those with a label that begins with `prefix`.
        With `required`, an engine that is no Swarm manager is an error. Otherwise it has no
        services until it becomes one. With `agents`, tasks on their nodes can be chosen.
        """
        self._engine = engine
        self._clock = clock
        self._prefix = prefix
        self._projects = projects or Projects(engine)
        self._looks_after = looks_after or Labels(prefix).looks_after
        self._required = required
        self._surroundings = Surroundings()
        self._ask_again: datetime | None = None
        self._zero = Zero()
        self._failures = Failures()
        self._reach = Reach(engine, agents)
        self._choosing = Choosing(engine, agents, clock, self._failures, self._zero)

    async def discover(self) -> Sequence[Service]:
        """Return the Swarm services that are looked after, and those that were left frozen.

        Raises OrchestratorError.
        """
        if self._ask_again is not None and self._clock() < self._ask_again:
            return []
        self._surroundings = Surroundings()
        territory = await self._projects.territory()
        try:
            rows = await services_of(self._engine)
        except EngineError as error:
            if without_swarm(error) is None:
                raise
            if not self._required:
                self._ask_again = self._clock() + NO_MANAGER_PAUSE
                return []
            remedy = (
                "which this engine does not have: set it to compose"
                if without_swarm(error) == NO_SWARM
                else "so run the daemon on a manager node, or `docker swarm init` to make this"
                " engine one"
            )
            raise OrchestratorError(
                f"{error}; AUTOSCALER_ORCHESTRATORS names swarm, {remedy}"
            ) from error
        self._surroundings = self._seen_beside(rows, territory)
        now = self._clock()
        ours = [
            row
            for row in rows
            if territory.includes(stack_of(row))
            and (self._is_meant(row) or was_left_frozen(row, now))
        ]
        # The tasks of a job are meant to end, and those of other modes are not counted here either.
        moving = [row for row in ours if "Replicated" in row["Spec"]["Mode"] and lag_of(row)]
        tasks = await tasks_by_service(self._engine, [row["ID"] for row in moving])
        names = {row["Spec"]["Name"] for row in ours}
        self._zero.forget_all_but(names)
        self._failures.forget_all_but(names)
        self._reach.forget_all_but({row["ID"] for row in ours})
        own = (await self._projects.own_labels()).get(SWARM_SERVICE)
        return [
            self._service(row, tasks.get(row["ID"], ()), now, own=row["ID"] == own) for row in ours
        ]

    @property
    def surroundings(self) -> Surroundings:
        """What the latest look saw beside its own services."""
        return self._surroundings

    def _seen_beside(self, rows: Sequence[Json], territory: Territory) -> Surroundings:
        return Surroundings(
            frozenset(stack for stack in map(stack_of, rows) if stack is not None),
            tuple(
                self._id(row)
                for row in rows
                if self._is_meant(row) and not territory.includes(stack_of(row))
            ),
            frozenset(map(self._id, rows)),
        )

    async def replicas(
        self, service: ServiceId, how: SwarmChoice = SwarmChoice.ORDER
    ) -> Sequence[Replica]:
        """Return the replicas in the order in which the Swarm stops them. Raises EngineError."""
        tasks = await tasks_of(self._engine, service)
        within_reach = await self._reach.look(tasks) if how is SwarmChoice.ANY else ()
        return in_turn(tasks, await self._only_node(), within_reach)

    async def grow(self, action: ScalingAction) -> None:
        """Raise the number of replicas, unless somebody else has changed it since the decision.

        Returns when the manager has taken the number. Raises OrchestratorError.

        The number stays while growth would repeat the stop signal of tasks of an earlier scale-in:
        a new task that is missing may have hidden them from the decision.
        """
        tasks = await tasks_of(self._engine, action.service)
        if action.desired - action.current < least_growth(tasks, self._clock()):
            return
        await self._set(action.service, action.current, action.desired)

    async def stop(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Have the chosen replicas stopped, each behind its own grace. Raises OrchestratorError.

        The Swarm itself picks the tasks that go when the number is lowered, so the number is
        lowered only by those that are first in its order. Where there are none, one task is stopped
        by its container. The Swarm then fills its slot again: the caller has to look once more
        whether the replacement is the first to go, before the number is lowered. Where that is not
        needed, because a service can be frozen, all tasks are stopped at once.

        Nothing is stopped while tasks of an earlier scale-in still run: a new task that is missing
        may have hidden them from the decision.
        """
        if finishing(await tasks_of(self._engine, action.service), self._clock()):
            return Stopped()
        if choice.in_turn:
            return await self._lower(action, choice)
        for replica in choice.by_name[:1]:
            if not replica.vacates:
                return await self._stop_frozen(action, choice)
            return await self._stop_by_name(action.service, replica, len(choice.of))
        return Stopped()

    async def restore(self, service: ServiceId) -> None:
        """Give a frozen service its own placement again. Raises EngineError."""
        await self._choosing.restore(service)

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

    async def _stop_frozen(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Stop all tasks that were chosen by name, while the service is frozen."""
        stopped = await self._choosing.stop(action, choice.by_name)
        fewer = action.current - len(stopped.replicas)
        await self._replicas_once(action.service, lambda left: len(left) <= fewer)
        return stopped

    async def _stop_by_name(self, service: ServiceId, replica: Replica, replicas: int) -> Stopped:
        """Stop one of so many replicas by its container; return when its replacement has a node."""
        task = await self._engine.call(
            f"inspecting task {replica.id}", lambda client: client.inspect_task(replica.id)
        )
        self._failures.told_to_stop(service.name, replica.id)
        # The engine takes whole seconds: a part of one is no reason to kill at once.
        grace = math.ceil(grace_of_task(task).total_seconds())
        await self._engine.stop(container_of(task), grace)
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

        def edit(row: Json) -> Json | None:
            obstacle = refusal(row)
            if obstacle is not None:
                raise OrchestratorError(f"{service}: {obstacle}")
            spec: Json = row["Spec"]
            if replicas_of(spec) != current:
                return None
            spec["Mode"]["Replicated"]["Replicas"] = desired
            self._zero.asked_for(service.name, desired, row["Version"]["Index"])
            return spec

        return await rewrite(self._engine, f"scaling {service} to {desired}", service.name, edit)

    async def _only_node(self) -> str:
        """Return the id of this engine's node if the Swarm has no other; else an empty string.

        With several nodes no task is stopped by name: its replacement would go to the emptiest
        node, where the Swarm would not stop it first. A number of nodes that the engine leaves out
        is unknown, and may be more than one.
        """
        info = await self._engine.call("looking up this node", lambda client: client.info())
        swarm: Json = info.get("Swarm") or {}
        return str(swarm.get("NodeID") or "") if swarm.get("Nodes") == 1 else ""

    @property
    def drains(self) -> Sequence[Drain]:
        """None: the Swarm itself ends its tasks when their stop grace is over."""
        return ()

    def take_up(self, drain: Drain) -> None:
        """Do nothing: the Swarm brings its tasks to their end."""

    def take_back(self, drain: Drain, *, ignores: bool) -> None:
        """Do nothing: the Swarm never takes back a task."""

    def kill(self, drain: Drain) -> None:
        """Do nothing: the Swarm kills its tasks itself."""

    async def close(self, patience: timedelta) -> None:
        """Do nothing: the Swarm drains its tasks itself."""

    def _is_meant(self, row: Json) -> bool:
        """Whether a service is looked after, or has labels that do not count."""
        return self._follows(row) or self._stray_labels(row) is not None

    def _follows(self, row: Json) -> bool:
        return self._looks_after(self._id(row), labels_of(row))

    def _stray_labels(self, row: Json) -> str | None:
        """Return where the labels belong that stand only where they do not count; None: nowhere."""
        if scaling_labels(labels_of(row), self._prefix) or not scaling_labels(
            task_labels_of(row), self._prefix
        ):
            return None
        return (
            f"its {self._prefix}.* labels stand under labels, where they only reach the"
            " containers; move them under deploy.labels"
        )

    def _id(self, row: Json) -> ServiceId:
        return ServiceId(self.name, row["Spec"]["Name"])

    def _service(self, row: Json, tasks: Sequence[Json], now: datetime, *, own: bool) -> Service:
        """Return a service; `tasks` are all that it has where some are missing or draining."""
        replicas = replicas_of(row["Spec"])
        lacking = tasks if lag_of(row) > 0 else ()
        trouble = stuck(lacking)
        follows, stray = self._follows(row), self._stray_labels(row)
        id_ = self._id(row)
        by_hand = self._zero.look(row, replicas)
        crash, crashed = self._failures.look(id_.name, lacking, now)
        return Service(
            id=id_,
            labels=labels_of(row),
            replicas=replicas,
            ceiling=None if trouble is None else Ceiling(replicas, trouble),
            refusal=OWN_SERVICE if own else refusal(row) if follows else stray or LEFT_FROZEN,
            warnings=(stray,) if follows and stray else (),
            draining=max(0, -lag_of(row)),
            finishing=finishing(tasks, now),
            least_growth=least_growth(tasks, now),
            grace=grace_of(row),
            ending=by_hand or crash,
            crashed=crashed,
            version=(row["Spec"]["TaskTemplate"].get("ContainerSpec") or {}).get("Image") or "",
            order_only=self._reach.shortfall(row),
            frozen=needs_thaw(row),
        )
