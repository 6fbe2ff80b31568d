"""Replicas on their way out: each stops in the background, behind its own stop grace."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose.containers import Container
from autoscaler.orchestrators.compose.hands import OwnHands
from autoscaler.orchestrators.compose.inventory import Inventory
from autoscaler.orchestrators.engine import GONE, Engine, EngineError, Lane


class Drainer:
    """Stops and removes replicas."""

    def __init__(self, engine: Engine, own: OwnHands, inventory: Inventory) -> None:
        """Mark containers as `own` work, and tell the `inventory` of every change."""
        self._engine = engine
        self._own = own
        self._inventory = inventory
        self._draining: dict[str, asyncio.Task[None]] = {}
        self._trouble: dict[ServiceId, str] = {}

    @property
    def draining(self) -> Collection[str]:
        """Ids of the containers that are being stopped."""
        return self._draining.keys()

    def trouble(self, service: ServiceId) -> str | None:
        """Return what went wrong with the latest replicas that were to go; None where nothing."""
        return self._trouble.get(service)

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._trouble = {who: what for who, what in self._trouble.items() if who in services}

    def start(self, service: ServiceId, containers: Collection[Container], *, keep: str) -> None:
        """Stop these containers of a service, and remove them but for the one with the id `keep`.

        They drain from now on; nothing waits for their end, and nothing cuts it short.
        """
        self._trouble.pop(service, None)
        for container in containers:
            self._draining[container.id] = asyncio.create_task(
                self._drain(container, remove=container.id != keep),
                name=f"drain {container.name}",
            )
        self._inventory.changed()  # What drains is no replica any more.

    async def remove(self, container: Container) -> None:
        """Remove a container that does not run. Raises EngineError; one that is gone is fine."""
        try:
            with self._own.on(container.name):
                await self._engine.call(
                    f"removing {container.name}",
                    lambda client: client.remove_container(container.id, v=True),
                    Lane.CHANGE,
                )
        except EngineError as error:
            if error.status not in GONE:
                raise

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` for what drains; the engine stops the others without us."""
        if self._draining:
            await asyncio.wait(self._draining.values(), timeout=patience.total_seconds())

    async def _drain(self, container: Container, *, remove: bool) -> None:
        """Stop one replica behind its own grace, then remove it."""
        try:
            traits = await self._inventory.traits(container)
            with self._own.on(container.name):
                await self._engine.stop(container.id, traits.grace)
            if remove:
                await self.remove(container)
        except EngineError as error:
            self._trouble[container.service] = f"{container.name} could not be removed: {error}"
        finally:
            self._inventory.changed()
            del self._draining[container.id]
