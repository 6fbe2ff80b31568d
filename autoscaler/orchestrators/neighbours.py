"""Other autoscalers on the same engine: two that look after one service would both scale it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from docker import APIClient

from autoscaler.core.labels import DEFAULT_PREFIX
from autoscaler.core.territory import OWN, Territory, misnamed
from autoscaler.orchestrators.engine import Engine, EngineError, Json
from autoscaler.orchestrators.place import Place
from autoscaler.orchestrators.projects import COMPOSE_PROJECT, Projects, project_of

IMAGE = "org.opencontainers.image.title=temporal-docker-autoscaler"
"""Label of the autoscaler's image, and so of each container of it."""
AGAIN = timedelta(minutes=1)
"""How long the engine is not asked again for other autoscalers."""
_COMPOSE_SERVICE = "com.docker.compose.service"
_GONE = 404


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A container in which an autoscaler runs as a daemon."""

    id: str
    name: str
    territory: Territory
    """What its environment says; a `.env` file or a secret inside it cannot be seen."""
    prefix: str
    dry_run: bool
    command: str
    """How to run a command of the autoscaler in that container."""
    folders: tuple[Path, ...]
    """Folders of the host that it has mounted."""

    @classmethod
    def of(cls, inspect: Json) -> Neighbour | None:
        """Read the engine's inspect of a container; None where no daemon runs in it."""
        if "run" not in (inspect.get("Path"), *(inspect.get("Args") or ())):
            return None
        config: Json = inspect["Config"]
        labels: Mapping[str, str] = config.get("Labels") or {}
        pairs = (each.partition("=") for each in config.get("Env") or ())
        settings = {name.upper(): value.strip() for name, _, value in pairs}
        names = [each.strip() for each in settings.get("AUTOSCALER_PROJECTS", "").split(",")]
        wanted = [each for each in names if each] or [OWN]
        name = inspect["Name"].removeprefix("/")
        return cls(
            inspect["Id"],
            name,
            Territory.of(wanted, project_of(labels), "it belongs to no project"),
            settings.get("AUTOSCALER_LABEL_PREFIX") or DEFAULT_PREFIX,
            settings.get("AUTOSCALER_DRY_RUN", "").lower() in {"1", "true", "yes", "on", "t", "y"},
            _command(name, labels),
            tuple(Path(each["Source"]) for each in inspect.get("Mounts") or () if "Source" in each),
        )

    def sees(self, folder: Path) -> bool:
        """Whether a folder of the host is mounted in it."""
        return any(folder.resolve().is_relative_to(each) for each in self.folders)


def _command(name: str, labels: Mapping[str, str]) -> str:
    if COMPOSE_PROJECT in labels and _COMPOSE_SERVICE in labels:
        project, service = labels[COMPOSE_PROJECT], labels[_COMPOSE_SERVICE]
        return shlex.join(["docker", "compose", "-p", project, "exec", service, "autoscaler"])
    return shlex.join(["docker", "exec", "-it", name, "autoscaler"])


async def daemons(engine: Engine) -> Sequence[Neighbour]:
    """Return the autoscalers that run as daemons in this engine's containers. Raises EngineError.

    One that runs without a container, or on another node of a Swarm, cannot be seen.
    """
    rows: list[Json] = await engine.call(
        "looking for other autoscalers",
        lambda client: client.containers(filters={"label": IMAGE, "status": "running"}),
    )
    found = []
    for row in rows:
        try:
            inspect: Json = await engine.call(
                f"inspecting container {row['Id'][:12]}", partial(_inspect, row["Id"])
            )
        except EngineError as error:
            if error.status != _GONE:
                raise
            continue
        neighbour = Neighbour.of(inspect)
        if neighbour is not None:
            found.append(neighbour)
    return sorted(found, key=lambda each: each.name)


def _inspect(id_: str, client: APIClient) -> Json:
    found: Json = client.inspect_container(id_)
    return found


class Outlook:
    """Warns of what is wrong around the services that are looked after."""

    def __init__(
        self,
        engine: Engine,
        projects: Projects,
        place: Place,
        *,
        clock: Callable[[], datetime],
        prefix: str = DEFAULT_PREFIX,
    ) -> None:
        """Judge from this `place`; `prefix` is the first part of the labels that are followed."""
        self._engine = engine
        self._projects = projects
        self._place = place
        self._clock = clock
        self._prefix = prefix
        self._found: Sequence[Neighbour] = ()
        self._asked: datetime | None = None

    async def territory(self) -> Territory:
        """Return what is looked after. Raises EngineError."""
        return await self._projects.territory()

    async def warnings(self, projects: frozenset[str] | None, *, acts: bool) -> Sequence[str]:
        """Return what people should know, each with what to do. Raises EngineError.

        `projects` are all that there are, None where that is not known. `acts` says whether this
        process scales services itself.
        """
        territory = await self._projects.territory()
        wrong = [] if projects is None else list(misnamed(territory, projects))
        return (*wrong, *self._rivals(territory, await self._neighbours(), acts=acts))

    async def _neighbours(self) -> Sequence[Neighbour]:
        now = self._clock()
        if self._asked is None or not timedelta() <= now - self._asked < AGAIN:
            self._found = await daemons(self._engine)
            self._asked = now
        return self._found

    def _rivals(
        self, territory: Territory, found: Sequence[Neighbour], *, acts: bool
    ) -> Sequence[str]:
        """Name the daemons that scale the same services: beside this one, or beside each other."""
        rivals = [
            each
            for each in found
            if each.prefix == self._prefix and not each.dry_run and territory.shared(each.territory)
        ]
        others = [each for each in rivals if each.id not in self._place.containers]
        if acts and others:
            return [_warning(each.name, territory.shared(each.territory)) for each in others]
        if not acts and len(rivals) > 1:
            names = " and ".join(each.name for each in rivals)
            return [_warning(names, territory)]
        return []


def _warning(names: str, both: Territory | None) -> str:
    several = " and " in names
    return (
        f"{'containers' if several else 'container'} {names}"
        f" {'are autoscalers that both look' if several else 'is another autoscaler and looks'}"
        f" after {both}{'' if several else ' as well'}: two would scale the same services; keep"
        " one of them, or give each projects of its own in AUTOSCALER_PROJECTS"
    )
