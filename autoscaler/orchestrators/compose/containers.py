"""The containers of a Compose service, and which of them are started and stopped. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.podman import state_of

NAME = "compose"
"""The orchestrator part of every ServiceId made here."""
LEFT_BEHIND = timedelta(minutes=5)
"""A container that was made this long ago and never started has been forgotten. Compose itself may
wait between create and start until a dependency is healthy."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a Compose service, as the engine lists it."""

    id: str
    name: str
    service: ServiceId
    number: int
    config_hash: str
    created: float
    state: str
    """created, running, paused, restarting, removing, exited or dead."""
    status: str
    """The engine's words for it: `Exited (1) 3 seconds ago`."""
    labels: Mapping[str, str]
    image: str = ""
    """The id of its image."""

    @property
    def version(self) -> str:
        """What it runs: containers of another configuration or image have another version."""
        return f"{self.config_hash} {self.image}"

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self | None:
        """Read a row of the engine's list; return None where it is no replica made by Compose."""
        labels: dict[str, str] = row.get("Labels") or {}
        service = service_id(labels)
        number = labels.get(recipe.NUMBER, "")
        one_off = labels.get(recipe.ONEOFF) == "True"  # Made by `docker compose run`.
        hashed = labels.get(recipe.CONFIG_HASH)
        if service is None or one_off or not hashed or not number.isdecimal():
            return None
        return cls(
            id=row["Id"],
            name=(row.get("Names") or ["/"])[0].removeprefix("/"),
            service=service,
            number=int(number),
            config_hash=hashed,
            created=row["Created"],
            state=state_of(row["State"]),
            status=row.get("Status") or row["State"],
            labels=labels,
            image=row.get("ImageID") or "",
        )

    @property
    def running(self) -> bool:
        """Whether it counts as a replica."""
        return self.state in ("running", "restarting", "paused")

    @property
    def can_start(self) -> bool:
        """Whether it is stopped and not on its way out."""
        return self.state in ("created", "exited")

    @property
    def has_run(self) -> bool:
        """Whether it was ever started. Before that, its networks and secrets may be missing."""
        return self.state != "created"


@dataclass(frozen=True, slots=True)
class Replicas:
    """The containers of one service, sorted by what can be done with them."""

    service: ServiceId
    containers: tuple[Container, ...]
    """All of them, including those that drain."""
    template: Container
    """The container that new replicas are copied from: one of the newest configuration that has run
    and still has the name that Compose gave it, where there is one."""
    running: tuple[Container, ...]
    stopped: tuple[Container, ...]
    highest: int
    """The highest number in use, including replicas that drain."""
    refusal: str | None
    """Why the service must not be changed now; one sentence without a full stop."""

    @classmethod
    def of(cls, containers: Sequence[Container], draining: Collection[str] = ()) -> Self:
        """Sort the containers of one service. Those whose ids are in `draining` do not count."""
        recreated = next(
            (c.name for c in containers if recipe.being_recreated(c.name, c.labels)), None
        )
        staying = [c for c in containers if c.id not in draining]
        current = max(staying or containers, key=_age).config_hash
        alike = [c for c in staying or containers if c.config_hash == current]
        return cls(
            service=containers[0].service,
            containers=tuple(containers),
            # A container that somebody renamed looks as if the file had set container_name.
            template=max(
                alike,
                key=lambda c: (c.has_run, recipe.has_composes_name(c.name, c.labels), *_age(c)),
            ),
            running=tuple(c for c in staying if c.running),
            stopped=tuple(c for c in staying if not c.running),
            highest=max(c.number for c in containers),
            refusal=None
            if recreated is None
            else f"docker compose is recreating {recreated}; it is scaled again afterwards",
        )

    @property
    def never_started(self) -> str | None:
        """Why nothing is made of the service: no container of the newest configuration has run.

        Compose (since 2.37.3) copies secrets and configs right before the first start. So such a
        container lacks them: it can neither be started here nor copied (decision 012).
        """
        if self.template.has_run:
            return None
        return (
            f"{self.template.name} was created and never started, so its secrets may be missing;"
            f" run `docker compose up --detach {self.template.labels[recipe.SERVICE]}`"
        )

    def without(self, draining: Collection[str]) -> Replicas:
        """Leave aside the containers whose ids are in `draining`: they do not count."""
        if not any(container.id in draining for container in self.containers):
            return self
        return Replicas.of(self.containers, draining)

    def outdated(self, container: Container) -> bool:
        """Whether a container was made from an older version of the Compose file."""
        return container.config_hash != self.template.config_hash

    def to_start(self, wanted: int) -> tuple[Container, ...]:
        """Choose stopped replicas to run again before new ones are made, lowest number first.

        A replica that has never run is left out: whoever made it may not have finished.
        """
        fit = sorted(
            (c for c in self.stopped if c.can_start and not self.outdated(c) and c.has_run),
            key=lambda c: c.number,
        )
        return tuple(fit[: max(0, wanted - len(self.running))])

    def being_started(self, now: datetime) -> tuple[Container, ...]:
        """Choose the young containers that were created and not started: Compose is still at work.

        It may wait for what a service depends on to become healthy, or recreate other services
        before it starts this one.
        """
        after = (now - LEFT_BEHIND).timestamp()
        return tuple(c for c in self.stopped if not c.has_run and c.created >= after)

    def left_behind(self, now: datetime) -> tuple[Container, ...]:
        """Choose the containers that were made a while ago and never started.

        A daemon or a Compose that was killed between create and start leaves such containers. They
        stay while there is no complete container to copy.
        """
        if self.refusal is not None or not self.template.has_run:
            return ()
        before = (now - LEFT_BEHIND).timestamp()
        return tuple(c for c in self.stopped if not c.has_run and c.created < before)

    def eldest(self, like: Container) -> Container | None:
        """Return the oldest running replica of the configuration that a container has."""
        alike = (c for c in self.running if c.config_hash == like.config_hash)
        return min(alike, key=_age, default=None)

    def in_turn(self, used: Collection[str] = ()) -> tuple[Container, ...]:
        """Return the replicas as Compose would stop them: outdated first, then highest number.

        Those whose ids are in `used` come last: other containers use something of them.
        """
        return tuple(
            sorted(self.running, key=lambda c: (c.id in used, not self.outdated(c), -c.number))
        )

    def keeper(self) -> Container:
        """Choose the replica that stays, stopped, at zero: the one to copy and start later."""
        able = [*self.running, *(c for c in self.stopped if c.can_start)]
        # Where all replicas drain already, the template is the only one left to copy.
        return min(
            able or [self.template], key=lambda c: (self.outdated(c), not c.has_run, c.number)
        )


def _age(container: Container) -> tuple[float, int]:
    """Sort the newest last; of containers made in one second, the highest number last."""
    return container.created, container.number


def service_id(labels: Mapping[str, str]) -> ServiceId | None:
    """Return the Compose service that a container's labels name; None where they name none."""
    project, service = labels.get(recipe.PROJECT), labels.get(recipe.SERVICE)
    return ServiceId(NAME, f"{project}/{service}") if project and service else None
