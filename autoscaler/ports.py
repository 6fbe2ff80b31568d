"""What the reconciler needs from the outside world."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from autoscaler.core.backlog import QueueStats, TaskQueue
from autoscaler.core.drain import Drain
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.in_flight import Worker, WorkerQuery
from autoscaler.core.integration import Integration
from autoscaler.core.label_values import SwarmChoice
from autoscaler.core.model import Replica, ScalingAction, Service, ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.report import IntegrationReport, TickReport
from autoscaler.core.territory import Surroundings

LooksAfter = Callable[[ServiceId, Mapping[str, str]], bool]
"""Whether a service that carries these labels is looked after: by its labels, or for what a
services file says of it."""


class Orchestrator(Protocol):
    """Finds services and scales them. Every method may raise OrchestratorError."""

    @property
    def name(self) -> str:
        """`compose` or `swarm`: the orchestrator part of every ServiceId it makes."""
        ...

    async def discover(self) -> Sequence[Service]:
        """Return every service that is looked after, as it stands now."""
        ...

    @property
    def surroundings(self) -> Surroundings:
        """What the latest `discover` saw beside the services that it returned."""
        ...

    async def replicas(
        self, service: ServiceId, how: SwarmChoice = SwarmChoice.ORDER
    ) -> Sequence[Replica]:
        """Return the replicas that count, in the order in which idle ones would be stopped.

        `how` says which may be stopped by name where that takes more than a stop.
        """
        ...

    async def grow(self, action: ScalingAction) -> None:
        """Add replicas until there are `action.desired`; return when they have been started.

        Where somebody else has changed the number since, it may be left for the next tick.
        """
        ...

    async def stop(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Stop the chosen replicas; return when they no longer count, and which have gone.

        Where some have ended since the choice, at least `action.desired` stay.

        What drains afterwards drains in the background and is never cut short. An orchestrator
        may stop fewer than were chosen: the next tick goes on from there.
        """
        ...

    async def remove_unstarted(self, service: ServiceId) -> None:
        """Remove the replicas that somebody began to make a while ago and never started."""
        ...

    @property
    def drains(self) -> Sequence[Drain]:
        """The replicas, as of the latest `discover`, whose end is decided here.

        An orchestrator that ends replicas by itself has none.
        """
        ...

    def take_up(self, drain: Drain) -> None:
        """Bring a replica to its end that was told to stop before this process began.

        Nothing happens where this process has told it, or where it looks as if somebody else were
        stopping the whole service.
        """
        ...

    def take_back(self, drain: Drain, *, ignores: bool) -> None:
        """Count a replica again that was told to stop; nothing in the engine is changed.

        `ignores` says that it does not heed its stop signal: then `discover` names it, and `stop`
        stops no replica of its service, until that container has gone.
        """
        ...

    def kill(self, drain: Drain) -> None:
        """Begin to end a replica that drains at once; `drains` has it until it has ended."""
        ...

    async def restore(self, service: ServiceId) -> None:
        """Give a `frozen` service its placement again, which a change that was cut off has left.

        Its number of replicas stays. Raises OrchestratorError.
        """
        ...

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` for what drains; the rest goes on draining in the engine."""
        ...


class Host(Protocol):
    """Knows the memory of the host that Compose services run on."""

    @property
    def warnings(self) -> Sequence[str]:
        """What is not known of it, each with what to do."""
        ...

    async def memory(
        self, services: Collection[ServiceId], growing: Collection[ServiceId]
    ) -> HostMemory | None:
        """Return how much there is, and what replicas of Compose services take.

        `growing` are those of the `services` that want to grow; without any, only what costs no
        call is told. None: it cannot be known here. Raises OrchestratorError where it could not be
        read for now.
        """
        ...


class Outlook(Protocol):
    """Knows what is wrong around the services that are looked after."""

    async def warnings(self, projects: frozenset[str] | None, *, acts: bool) -> Sequence[str]:
        """Return what people should know, each with what to do.

        `projects` are all that there are, None where that is not known. `acts` says whether this
        process scales services itself.
        """
        ...


class Watcher(Protocol):
    """Knows when something has changed, so that nobody has to poll for it."""

    async def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every change; go on until cancelled, whatever happens."""
        ...


class WishSource(Protocol):
    """Knows what somebody wants of services: labels, services files, overrides.

    A source that is a subclass has to say what is given; the rest is that of a source that never
    changes, and for which no service is looked after.
    """

    async def renew(self) -> bool:
        """Take in what has changed; return whether anything has.

        This is called when a tick begins. Until the next call all other answers go by the same
        state, so that one tick never mixes two.
        """
        return False

    @property
    def warnings(self) -> Sequence[str]:
        """What is wrong with the source apart from any service, each with what to do."""
        return ()

    def given(self, service: Service) -> Mapping[str, Given]:
        """Return what is wanted of a service, by the full names of labels.

        A later source has the last word on a label. Raises LabelError where it is not known what
        is wanted: the service then keeps its last good values.
        """
        ...

    def looks_after(self, service: ServiceId, labels: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Return whether this source alone makes a service one that is looked after.

        `labels` are all that the service carries.
        """
        return False

    def astray(
        self,
        there: Collection[ServiceId],  # noqa: ARG002
        followed: Collection[ServiceId],  # noqa: ARG002
    ) -> Sequence[str]:
        """Return what it wants that nobody follows, each with what to do.

        `there` are all services that there are, `followed` those that are looked after.
        """
        return ()


class BacklogSource(Protocol):
    """Reads from Temporal what waits, and what is in flight."""

    async def read(
        self, queues: Collection[TaskQueue], waking: Collection[TaskQueue] = ()
    ) -> Mapping[TaskQueue, QueueStats | BacklogUnavailable]:
        """Read each task queue and type once. What cannot be read comes back as the error.

        A service at zero waits for those that are `waking`: a single task there is worth
        more calls.

        A task queue whose first turn is still to come, where there are too many at once, is
        missing.
        """
        ...

    def warnings(self, integration: str) -> Sequence[str]:
        """Return what the users of an integration should know, each with what to do."""
        ...

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        """Return the workers asked for, each with its latest heartbeat, as they are right now.

        Empty where none reports. Raises InFlightUnavailable or IntegrationError.
        """
        ...

    def integrations(self) -> Sequence[IntegrationReport]:
        """Return how each Temporal connection fared in the latest read."""
        ...


class IntegrationStore(Protocol):
    """Knows the named Temporal connections."""

    def get(self, name: str) -> Integration:
        """Return an integration; case and `-` or `_` do not matter. Raises IntegrationError."""
        ...

    def names(self) -> Sequence[str]:
        """Return the canonical names of all that were set up. Raises IntegrationError."""
        ...

    def origin(self, name: str) -> str:
        """Return where an integration that `get` returns comes from. Raises IntegrationError."""
        ...


class Window(Protocol):
    """Lets people and tools look in while the daemon runs."""

    async def serve(self) -> None:
        """Answer until cancelled, whatever happens."""
        ...


class Observer(Protocol):
    """Is shown every tick: logs, metrics, status page."""

    def observe(self, report: TickReport) -> None:
        """Take in what one tick saw and did."""
        ...
