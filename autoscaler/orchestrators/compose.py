"""Docker Compose: services are sets of containers; replicas are made as Compose makes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from docker import APIClient
from docker.errors import DockerException, ImageNotFound
from requests.exceptions import RequestException

from autoscaler.core.errors import OrchestratorError
from autoscaler.core.model import Replica, ScalingAction, Service, ServiceId
from autoscaler.core.protect import choose_idle
from autoscaler.core.spec import DEFAULT_PREFIX, scaling_labels
from autoscaler.orchestrators import replica
from autoscaler.orchestrators.changes import Changes, Listed
from autoscaler.orchestrators.containers import NAME, Container, Replicas, service_id
from autoscaler.orchestrators.copied import archive_of, copied_files
from autoscaler.orchestrators.engine import Engine, EngineError, Lane, api_url, api_version
from autoscaler.orchestrators.exits import Exits
from autoscaler.orchestrators.others import QUIET, OtherHands
from autoscaler.ports import LastLook

_OTHERS = "somebody else is changing its containers; it is scaled again afterwards"
Groups = Mapping[ServiceId, list[Container]]
"""The containers of each service."""
_GONE = (404, 409)
"""No such container, or its removal is under way already."""


@dataclass(frozen=True, slots=True)
class _Model:
    """What new replicas are made from."""

    template: replica.Json
    image_is_current: bool
    copied: bytes | None
    """The files that Compose would copy in before the start, as a tar."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there was at the latest look."""

    groups: Groups
    labelled: Sequence[Replicas]
    """The services with a label of the autoscaler."""
    at_rest: dict[ServiceId, Service]
    """As they stood when nothing about them but this look counted."""


class ComposeOrchestrator:
    """Scales Compose services over the Engine API, without the docker compose command."""

    name = NAME

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime],
        changes: Changes | None = None,
        prefix: str = DEFAULT_PREFIX,
        projects: Collection[str] = (),
    ) -> None:
        """Look after `projects` only, or all where none is named.

        With `changes`, containers are listed anew only where something has happened.
        """
        self._engine = engine
        self._clock = clock
        self._prefix = prefix
        self._projects = frozenset(projects)
        self._changes = changes or Changes()
        self._listed = Listed[_Seen](self._changes, clock)
        self._traits: dict[tuple[str, str], replica.Traits] = {}
        self._graces: dict[ServiceId, timedelta] = {}
        self._draining: dict[str, asyncio.Task[None]] = {}
        self._trouble: dict[ServiceId, str] = {}
        self._others = OtherHands()
        self._exits = Exits()
        self._ours: Counter[str] = Counter()
        """Names of the containers that are being created, started or removed from here."""

    def notice(self, event: replica.Json) -> timedelta | None:
        """Take note of an engine event, so that nobody is interfered with.

        Returns how long it takes until the service may be looked at again where somebody else
        caused the event, and None where it changes nothing.
        """
        actor = event["Actor"]
        service = service_id(actor["Attributes"])
        if event["Type"] != "container" or service not in self._graces:
            return None
        if self._ours[actor["Attributes"].get("name")] or actor["ID"] in self._draining:
            return None
        if event["Action"] == "kill":
            self._exits.let_go(service, actor["ID"])
        self._others.notice(service, event, self._clock(), self._graces[service])
        return QUIET

    async def discover(self) -> Sequence[Service]:
        """Return the Compose services with a label of the autoscaler. Raises EngineError."""
        seen = self._listed.content
        if seen is None:
            seen = await self._look()
        elif self._listed.doubtful:
            await self._engine.call("asking whether the engine answers", lambda it: it.ping())
            self._listed.answered()
        found = dict(seen.at_rest)
        others = [
            each
            for each in seen.labelled
            if each.service not in found or not self._is_at_rest(each)
        ]
        # Side by side, but only where there is something to wait for: a task for each of
        # thousands of services would cost more than all else about them.
        await asyncio.gather(
            *(self._traits_of(replicas.template) for replicas in self._new(others)),
            return_exceptions=True,
        )
        for each in others:
            service = await self._service(seen.groups[each.service], each)
            if service is None:
                found.pop(each.service, None)
                continue
            found[each.service] = service
            if self._is_at_rest(each):
                seen.at_rest[each.service] = service
        return list(found.values())

    def _is_at_rest(self, replicas: Replicas) -> bool:
        """Whether nothing counts but what was seen at the latest look: neither time nor hands."""
        service = replicas.service
        return not (
            replicas.stopped
            or self._draining
            or service in self._trouble
            or self._exits.watches(service)
            or self._others.at_work(service, self._clock())
        )

    def _new(self, labelled: Collection[Replicas]) -> Iterator[Replicas]:
        for replicas in labelled:
            if (replicas.template.id, replicas.template.name) not in self._traits:
                yield replicas

    async def members(self, service: ServiceId) -> Sequence[Replica]:
        """Return the replicas that count, as Compose would stop them. Raises OrchestratorError."""
        return await self._members(await self._present(service))

    async def apply(
        self, action: ScalingAction, last_look: LastLook | None = None
    ) -> Sequence[str]:
        """Scale to exactly `action.desired` replicas, or as near as `last_look` lets it.

        What was made long ago and never started is removed, whatever the number desired.
        On the way out, returns when the new replicas have been started. On the way in, returns
        when those to go have been chosen, with their ids: they stop side by side in the
        background, each with its own signal and grace, and are removed when they have ended.
        Raises OrchestratorError, and what `last_look` raises.
        """
        replicas = await self._present(action.service)
        refusal = self._refusal(replicas)
        if refusal is not None:
            raise OrchestratorError(f"{action.service}: {refusal}")
        try:
            for container in replicas.left_behind(self._clock()):
                await self._remove(container)
            if action.desired > len(replicas.running):
                await self._scale_out(replicas, action.desired)
            elif action.desired < len(replicas.running):
                return await self._scale_in(replicas, action.desired, last_look)
            return ()
        finally:
            # The next look may come before the events of what was done here.
            self._changes.noticed()

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` for replicas that drain; the engine stops the others alone."""
        if self._draining:
            await asyncio.wait(self._draining.values(), timeout=patience.total_seconds())

    async def _present(self, service: ServiceId) -> Replicas:
        containers = (await self._containers()).get(service)
        if containers is None:
            raise OrchestratorError(f"{service} has no containers any more")
        return self._sort(containers)

    async def _members(self, replicas: Replicas) -> Sequence[Replica]:
        """Name the hosts of the replicas: all are set up alike, but for outdated ones."""
        looks = {each.config_hash: each for each in (*replicas.running, replicas.template)}
        traits = dict(
            zip(looks, await asyncio.gather(*map(self._traits_of, looks.values())), strict=True)
        )
        return [
            Replica(each.id, traits[each.config_hash].host_name(each.id), turn)
            for turn, each in enumerate(replicas.in_turn())
        ]

    def _forget_all_but(self, labelled: Collection[Replicas]) -> None:
        services = {replicas.service for replicas in labelled}
        templates = {(replicas.template.id, replicas.template.name) for replicas in labelled}
        self._traits = {key: seen for key, seen in self._traits.items() if key in templates}
        self._graces = {id_: grace for id_, grace in self._graces.items() if id_ in services}
        self._others.forget_all_but(services)
        self._exits.forget_all_but(services)

    async def _look(self) -> _Seen:
        """List the containers and sort them."""
        mark = self._changes.mark
        groups = await self._containers()
        labelled = [
            replicas
            for replicas in map(self._sort, groups.values())
            if scaling_labels(replicas.template.labels, self._prefix)
        ]
        self._forget_all_but(labelled)
        seen = _Seen(groups, labelled, {})
        self._listed.keep(seen, mark)
        return seen

    async def _containers(self) -> Groups:
        rows = await self._engine.call(
            "listing containers",
            lambda client: client.containers(
                all=True, filters={"label": [replica.CONFIG_HASH, f"{replica.ONEOFF}=False"]}
            ),
        )
        groups: dict[ServiceId, list[Container]] = defaultdict(list)
        for row in rows:
            container = Container.from_row(row)
            if container is not None and self._is_ours(container):
                groups[container.service].append(container)
        return groups

    def _is_ours(self, container: Container) -> bool:
        return not self._projects or container.labels[replica.PROJECT] in self._projects

    def _sort(self, containers: Sequence[Container]) -> Replicas:
        return Replicas.of(containers, self._draining)

    async def _service(self, containers: Sequence[Container], replicas: Replicas) -> Service | None:
        try:
            traits = await self._traits_of(replicas.template)
        except EngineError as error:
            if error.status not in _GONE:
                raise
            # It went since the list was made: the next newest tells as much.
            rest = [each for each in containers if each is not replicas.template]
            return await self._service(rest, self._sort(rest)) if rest else None
        self._graces[replicas.service] = timedelta(seconds=max(0, traits.grace))
        trouble = self._trouble.get(replicas.service)
        refusal = self._refusal(replicas)
        left = replicas.left_behind(self._clock()) if refusal is None else ()
        present = (*replicas.running, *replicas.stopped)
        ceilings = (
            traits.ceiling,
            self._exits.ceiling(replicas.service, present, self._clock()),
        )
        return Service(
            id=replicas.service,
            labels=replicas.template.labels,
            replicas=len(replicas.running),
            ceiling=min(
                (each for each in ceilings if each is not None),
                key=lambda each: each.replicas,
                default=None,
            ),
            refusal=refusal,
            warnings=(
                *(() if trouble is None else (trouble,)),
                *(f"{each.name} was made and never started; it is removed" for each in left),
            ),
            left_behind=len(left),
            draining=sum(container.id in self._draining for container in containers)
            if self._draining
            else 0,
            grace=traits.chosen_grace,
        )

    def _refusal(self, replicas: Replicas) -> str | None:
        if replicas.refusal is None and self._others.at_work(replicas.service, self._clock()):
            return _OTHERS
        return replicas.refusal

    async def _traits_of(self, container: Container) -> replica.Traits:
        """Look at a container once for each name it has: nothing else read here changes.

        Compose gives a container its final name only when its forerunner is gone.
        """
        key = container.id, container.name
        if key not in self._traits:
            self._traits[key] = await self._engine.call(
                f"inspecting {container.name}",
                lambda client: replica.Traits.of(client.inspect_container(container.id)),
            )
        return self._traits[key]

    async def _scale_out(self, replicas: Replicas, desired: int) -> None:
        template = await self._engine.call(
            f"inspecting {replicas.template.name}",
            lambda client: client.inspect_container(replicas.template.id),
        )
        stopped = replicas.to_start(desired)
        missing = desired - len(replicas.running) - len(stopped)
        model = _Model(
            template, await self._image_is_current(template), await self._copied(template)
        )
        works = [self._start(replicas.service, container) for container in stopped]
        works += [
            self._create(replicas.service, model, replicas.highest + offset)
            for offset in range(1, missing + 1)
        ]
        if replica.starts_one_by_one(template):
            outcomes = [await _outcome(work) for work in works]
        else:
            outcomes = await asyncio.gather(*(_outcome(work) for work in works))
        failures = [error for error in outcomes if error is not None]
        if failures:
            raise OrchestratorError(
                f"{replicas.service}: {len(failures)} of {len(works)} replicas could not be"
                f" started: {failures[0]}"
            )

    async def _image_is_current(self, template: replica.Json) -> bool:
        """Whether the name the template was made from still leads to the image it runs."""

        def work(client: APIClient) -> bool:
            try:
                image: dict[str, Any] = client.inspect_image(template["Config"]["Image"])
            except ImageNotFound:
                return False
            return bool(image["Id"] == template["Image"])

        return await self._engine.call(f"looking up {template['Config']['Image']}", work)

    async def _copied(self, template: replica.Json) -> bytes | None:
        """Return the files that Compose copied into the template, as a tar; None without any."""

        def work(client: APIClient) -> bytes | None:
            paths = copied_files(client, template)
            return archive_of(client, template["Id"], paths) if paths else None

        return await self._engine.call("reading the secrets and configs of a replica", work)

    async def _create(self, service: ServiceId, model: _Model, number: int) -> None:
        """Create and start one replica; what cannot be started is not left behind."""

        def create(client: APIClient) -> str:
            if self._others.at_work(service, self._clock()):
                # `docker compose down` would not know of a container made from now on.
                raise OrchestratorError(f"not created: {_OTHERS}")
            made = replica.recipe(
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
                if model.copied is not None:
                    client.put_archive(container, "/", model.copied)
                client.start(container)
            except (DockerException, RequestException):
                client.remove_container(container, v=True, force=True)
                raise
            return container

        name = replica.replica_name(model.template, number)
        with self._at_work_on(name):
            container = await self._engine.call(f"creating {name}", create, Lane.CHANGE)
        self._exits.started(service, container, self._clock())

    async def _start(self, service: ServiceId, container: Container) -> None:
        with self._at_work_on(container.name):
            await self._engine.call(
                f"starting {container.name}",
                lambda client: client.start(container.id),
                Lane.CHANGE,
            )
        self._exits.started(service, container.id, self._clock())

    @contextlib.contextmanager
    def _at_work_on(self, name: str) -> Iterator[None]:
        """Tell our own events from those of others for a while: they arrive a little later."""
        self._ours[name] += 1

        def leave() -> None:
            self._ours[name] -= 1
            self._ours += Counter()  # Drops what is down to zero.

        try:
            yield
        finally:
            asyncio.get_running_loop().call_later(QUIET.total_seconds(), leave)

    async def _scale_in(
        self, replicas: Replicas, desired: int, last_look: LastLook | None
    ) -> Sequence[str]:
        wanted = len(replicas.running) - desired
        going = [container.id for container in replicas.in_turn()[:wanted]]
        if last_look is not None:
            members = await self._members(replicas)
            known = await last_look(members)
            if known is not None:
                going = [each.id for each in choose_idle(members, known, wanted).replicas]
        kept = None if len(going) < len(replicas.running) else replicas.keeper()
        self._trouble.pop(replicas.service, None)
        for container in replicas.running:
            if container.id in going:
                self._exits.let_go(replicas.service, container.id)
                self._draining[container.id] = asyncio.create_task(
                    self._drain(container, remove=container is not kept),
                    name=f"drain {container.name}",
                )
        self._changes.noticed()  # What drains is no replica any more.
        # As with `up --scale`: on the way in, replicas that do not even run go as well.
        for container in replicas.stopped:
            if container is not kept:
                await self._remove(container)
        return going

    async def _drain(self, container: Container, *, remove: bool) -> None:
        """Stop one replica behind its own grace, then remove it."""
        try:
            traits = await self._traits_of(container)
            with self._at_work_on(container.name):
                await self._engine.stop(container.id, traits.grace)
            if remove:
                await self._remove(container)
        except EngineError as error:
            self._trouble[container.service] = f"{container.name} could not be removed: {error}"
        finally:
            self._changes.noticed()
            self._traits.pop((container.id, container.name), None)
            del self._draining[container.id]

    async def _remove(self, container: Container) -> None:
        try:
            with self._at_work_on(container.name):
                await self._engine.call(
                    f"removing {container.name}",
                    lambda client: client.remove_container(container.id, v=True),
                    Lane.CHANGE,
                )
        except EngineError as error:
            if error.status not in _GONE:
                raise


def _connect(client: APIClient, network: str, container: str, endpoint: replica.Json) -> None:
    # docker-py's own method does not pass on every endpoint setting.
    client.post(
        api_url(client, f"/networks/{quote(network, safe='')}/connect"),
        json={"Container": container, "EndpointConfig": endpoint},
        timeout=client.timeout,
    ).raise_for_status()


async def _outcome(work: Awaitable[None]) -> OrchestratorError | None:
    """Wait for one replica; the failure of one does not hold up the others."""
    try:
        await work
    except OrchestratorError as error:
        return error
    return None
