"""The services that are scaled, their replicas, and the changes of their number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from autoscaler.core.reason import Reason
from autoscaler.core.stopping import IgnoredSignal


class ServiceId(NamedTuple):
    """A service as its orchestrator names it."""

    orchestrator: str
    """`compose` or `swarm`."""
    name: str
    """`project/service` on Compose, the service's own name on Swarm."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A number of replicas that the service cannot grow beyond, whatever its labels say."""

    replicas: int
    because: str
    """Why, and what the user can do about it; one sentence without a full stop."""


class EndedBy(StrEnum):
    """Who ended replicas that the daemon has not stopped."""

    HAND = "hand"
    """Somebody else stopped them."""
    ITSELF = "itself"
    """They crashed, or keep restarting."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How replicas have ended that the daemon has not stopped."""

    by: EndedBy
    """`HAND` only where no replica runs any more, and the latest one was stopped by hand."""
    seen: bool
    """Whether the daemon saw it happen. Otherwise exit codes tell, of what had ended before."""
    story: str = ""
    """What crashed, how, and what to do; one sentence without a full stop."""
    retry_at: datetime | None = None
    """When more replicas may be started after a crash; None: once those that restart run again."""


@dataclass(frozen=True, slots=True)
class Service:
    """A labelled service as it stands now."""

    id: ServiceId
    labels: Mapping[str, str]
    """All labels of the service, including those that are not the autoscaler's."""
    replicas: int
    """Replicas that count: running or starting, without those that drain."""
    ceiling: Ceiling | None = None
    refusal: str | None = None
    """Why the service cannot be scaled at all at present; one sentence without a full stop."""
    warnings: tuple[str, ...] = ()
    """What the user should know, each with what to do."""
    draining: int = 0
    """Replicas that were told to stop and have not ended. `replicas` does not count them."""
    finishing: int = 0
    """Those of them that would get their stop signal once more with the next scale-in."""
    least_growth: int = 0
    """The fewest replicas that growth may add without repeating the stop signal of finishing ones;
    0 where any number may be added."""
    grace: timedelta | None = None
    """Time between stop signal and kill; None where Docker's default of 10 s applies."""
    ignored_signal: IgnoredSignal | None = None
    """The stop signal that its replicas are certain to ignore; None where none is known to be."""
    left_behind: int = 0
    """Replicas that somebody began to make and never started; the next change removes them."""
    version: str = ""
    """What its replicas run: another image or configuration has another word."""
    in_use: tuple[str, ...] = ()
    """Replicas that stay because a running container of another service uses their network,
    processes, memory or volumes: `shop-worker-1 by shop-proxy-1`. Each replica is named once."""
    ending: Ending | None = None
    """How replicas have ended without the daemon, as long as it matters; None where none has."""
    crashed: int = 0
    """Replicas that were seen to crash since the look before."""
    ignoring: tuple[str, ...] = ()
    """Names of replicas that were told to stop and went on taking tasks. They count as replicas."""
    order_only: str | None = None
    """Why the scheduler alone decides who goes, on all nodes or on some; one sentence without a
    full stop. None where the daemon can choose any replica, as far as it knows."""
    frozen: bool = False
    """Whether its placement was frozen for a change, and is to be put right where that change is
    not under way any more."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of a service, with what matters for the choice of who stops."""

    id: str
    """The container's id on Compose, the task's id on Swarm."""
    host: str | None
    """Host name that its workers report; None where nobody can tell."""
    turn: int = 0
    """The scheduler stops replicas of a lower turn first, and those of one turn in any order."""
    choosable: bool = True
    """Whether the daemon can stop this replica by name, out of turn."""
    started: bool = True
    """Whether it has started; a replica that has not cannot have work in flight."""
    in_use: bool = False
    """Whether another running container uses something of it, so that it is not stopped."""
    vacates: bool = False
    """Whether its scheduler fills its place again where it is stopped by name. Then only one goes
    at a time, and its replacement has to be given up."""
    placed: bool = True
    """Whether its scheduler has given it a node. Until then its turn may still change."""


@dataclass(frozen=True, slots=True)
class ScalingAction:
    """A change of replicas that an orchestrator is asked to make."""

    service: ServiceId
    current: int
    """Replicas that the decision was made on."""
    desired: int
    """Replicas that there should be."""
    reasons: tuple[Reason, ...] = ()
