"""New replicas: made as `docker compose up --scale` would make them, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from docker import APIClient
from docker.errors import DockerException, ImageNotFound
from requests.exceptions import RequestException

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import Ceiling, ServiceId
from autoscaler.core.words import counted, figure
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.configured import inspect_as_configured
from autoscaler.orchestrators.compose.containers import Container, Replicas
from autoscaler.orchestrators.compose.copied import (
    CannotTellError,
    CopiedFile,
    copied_files,
    read_copied,
    write_copied,
)
from autoscaler.orchestrators.compose.exits import Exits
from autoscaler.orchestrators.compose.hands import OtherHands, OwnHands
from autoscaler.orchestrators.engine import Engine, Json, Lane, api_url, api_version

OTHERS_AT_WORK = "somebody else is changing its containers; it is scaled again afterwards"


@dataclass(frozen=True, slots=True)
class _Model:
    """What new replicas are made from."""

    template: Json
    """Inspect of the container that is copied."""
    image_is_current: bool
    """Whether the image's name still leads to the image that the template runs."""
    copied: tuple[CopiedFile, ...]
    """The files that Compose would copy in before the start."""


class Maker:
    """Starts stopped replicas, and makes new ones."""

    def __init__(
        self,
        engine: Engine,
        own: OwnHands,
        others: OtherHands,
        exits: Exits,
        clock: Callable[[], datetime],
    ) -> None:
        """Mark containers as `own` work while `others` change nothing; `exits` watches them."""
        self._engine = engine
        self._own = own
        self._others = others
        self._exits = exits
        self._clock = clock
        self._uncopyable: dict[ServiceId, tuple[str, str]] = {}
        """Services whose template cannot be copied, each with the template's id and the reason."""

    async def grow(self, replicas: Replicas, desired: int) -> None:
        """Bring a service from the present replicas to `desired`.

        Raises OrchestratorError; what cannot be started is not left behind.
        """
        template = await self._engine.call(
            f"inspecting {replicas.template.name}",
            lambda client: inspect_as_configured(client, replicas.template.id),
        )
        stopped = replicas.to_start(desired)
        missing = desired - len(replicas.running) - len(stopped)
        model = await self._model(replicas, template) if missing > 0 else None
        works = [self._start(replicas.service, container) for container in stopped]
        if model is not None:
            works += [
                self._create(replicas.service, model, replicas.highest + offset)
                for offset in range(1, missing + 1)
            ]
        if recipe.starts_one_by_one(template):
            outcomes = [await _outcome(work) for work in works]
        else:
            outcomes = await asyncio.gather(*(_outcome(work) for work in works))
        failures = [error for error in outcomes if error is not None]
        if failures:
            raise OrchestratorError(
                f"{replicas.service}: {figure(len(failures))} of {counted(len(works), 'replica')}"
                f" could not be started: {failures[0]}"
            )

    def ceiling(self, replicas: Replicas) -> Ceiling | None:
        """Return why no replica can be made of the present template; None where one may be."""
        container, because = self._uncopyable.get(replicas.service, ("", ""))
        if container != replicas.template.id:
            return None
        # What has stopped can still be started: its own files are there.
        stopped = replicas.to_start(len(replicas.containers))
        return Ceiling(len(replicas.running) + len(stopped), because)

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._uncopyable = {who: what for who, what in self._uncopyable.items() if who in services}

    async def _model(self, replicas: Replicas, template: Json) -> _Model:
        """Return what new replicas are made from. Raises OrchestratorError."""
        try:
            copied = await self._copied(template)
        except CannotTellError as error:
            self._uncopyable[replicas.service] = template["Id"], str(error)
            raise
        return _Model(template, await self._image_is_current(template), copied)

    async def _image_is_current(self, template: Json) -> bool:
        """Whether the image's name still leads to the image that the template runs."""

        def work(client: APIClient) -> bool:
            try:
                image: dict[str, Any] = client.inspect_image(template["Config"]["Image"])
            except ImageNotFound:
                return False
            return bool(image["Id"] == template["Image"])

        return await self._engine.call(f"looking up {template['Config']['Image']}", work)

    async def _copied(self, template: Json) -> tuple[CopiedFile, ...]:
        """Return the files that Compose copied into the template."""

        def work(client: APIClient) -> tuple[CopiedFile, ...]:
            return read_copied(client, template["Id"], copied_files(client, template))

        return await self._engine.call("reading the secrets and configs of a replica", work)

    async def _create(self, service: ServiceId, model: _Model, number: int) -> None:
        """Create and start one replica, or remove what was made of it."""

        def create(client: APIClient) -> str:
            if self._others.at_work(service, self._clock()):
                # `docker compose down` would not know of a container made from now on.
                raise OrchestratorError(f"not created: {OTHERS_AT_WORK}")
            made = recipe.write_recipe(
                model.template,
                number,
                api=api_version(client),
                image_is_current=model.image_is_current,
            )
            created = client.create_container_from_config(made.body, name=made.name)
            container: str = created["Id"]
            try:
                for network, endpoint in made.connect.items():
                    _connect(client, network, container, endpoint)
                if model.copied:
                    write_copied(client, container, model.copied)
                client.start(container)
            except (DockerException, RequestException):
                client.remove_container(container, v=True, force=True)
                raise
            return container

        name = recipe.replica_name(model.template, number)
        with self._own.on(name):
            container = await self._engine.call(f"creating {name}", create, Lane.CHANGE)
        self._exits.started(service, container, self._clock())

    async def _start(self, service: ServiceId, container: Container) -> None:
        with self._own.on(container.name):
            await self._engine.call(
                f"starting {container.name}",
                lambda client: client.start(container.id),
                Lane.CHANGE,
            )
        self._exits.started(service, container.id, self._clock())


def _connect(client: APIClient, network: str, container: str, endpoint: Json) -> None:
    # docker-py's own method does not pass every endpoint setting on.
    client.post(
        api_url(client, f"/networks/{quote(network, safe='')}/connect"),
        json={"Container": container, "EndpointConfig": endpoint},
        timeout=client.timeout,
    ).raise_for_status()


async def _outcome(work: Awaitable[None]) -> OrchestratorError | None:
    """Wait for one replica; return its failure, so that the others go on."""
    try:
        await work
    except OrchestratorError as error:
        return error
    return None
