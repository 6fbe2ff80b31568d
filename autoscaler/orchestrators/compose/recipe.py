"""The recipe: from the inspect of one replica to the create body of the next. Pure.

A Compose service has no object on the server: it is the set of containers with the same project
and service labels. A container made by this recipe looks like one that
`docker compose up --scale` has made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from autoscaler.core.model import Ceiling
from autoscaler.core.stopping import DEFAULT_GRACE
from autoscaler.orchestrators.engine import Json

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
CONFIG_HASH = "com.docker.compose.config-hash"
ONEOFF = "com.docker.compose.oneoff"
REPLACE = "com.docker.compose.replace"

ALL_NETWORKS_IN_CREATE = (1, 44)
"""From this API version on, create takes more than one network."""

DEFAULT_STOP_SIGNAL = "SIGTERM"
"""What Docker sends where neither the container nor its image names a signal."""

_SHORT_ID = 12
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_RECREATED = re.compile(r"[0-9a-f]{12}_")
_SEPARATORS = ("-", "_")  # `docker compose --compatibility` uses the second in names.


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to send to the engine, in this order: create, connect, start."""

    name: str
    body: Json
    """For POST /containers/create."""
    connect: Mapping[str, Json]
    """Networks to connect before the start, each with its endpoint configuration."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a tick needs to know of a replica's inspect."""

    grace: int
    """Seconds between the stop signal and the kill; -1 means no kill."""
    chosen_grace: timedelta | None
    """Time between stop signal and kill; None where Docker's default of 10 s applies."""
    ceiling: Ceiling | None
    """Why there can only be one container like this; None where there can be more."""
    host: str | None
    """The host name of all replicas; None where each has its short id."""
    stop_signal: str
    """What tells it to stop, as Docker writes signals: SIGTERM, TERM or 15."""
    memory_reservation: int | None = None
    """Bytes that the Compose file reserves for it; None without a reservation."""
    memory_limit: int | None = None
    """Bytes that it may use at most; None without a limit."""

    @classmethod
    def of(cls, inspect: Json) -> Self:
        """Read an inspect."""
        named: str = inspect["Config"].get("Hostname") or ""
        made_up = not named or named == inspect["Id"][:_SHORT_ID]
        return cls(
            grace(inspect),
            chosen_grace(inspect),
            ceiling(inspect),
            None if made_up else named,
            inspect["Config"].get("StopSignal") or DEFAULT_STOP_SIGNAL,
            inspect["HostConfig"].get("MemoryReservation") or None,
            inspect["HostConfig"].get("Memory") or None,
        )

    def host_name(self, container: str) -> str:
        """Return the host name inside a replica like this one, given the id of its container.

        Where the Compose file sets none, that is the short id of the container; on the host's
        network, the host's own name.
        """
        return container[:_SHORT_ID] if self.host is None else self.host


def write_recipe(
    template: Json, number: int, *, api: tuple[int, int], image_is_current: bool
) -> Recipe:
    """Describe replica `number` of the service that `template` (an inspect) belongs to.

    `api` is the version of the API that both the inspect and the create use.
    `image_is_current` says whether the image's name still leads to the image that the template
    runs. Where it does not, the new replica names the image by its id.
    """
    config: Json = dict(template["Config"])
    host: Json = dict(template["HostConfig"])
    name = replica_name(template, number)
    config["Labels"] = _labels(config["Labels"], number)
    if not image_is_current:
        config["Image"] = template["Image"]
    if config.get("Entrypoint") is None:
        # The file may have taken the image's entrypoint away. Where a create has no entrypoint,
        # the engine takes the image's; with this one, the container has none.
        config["Entrypoint"] = [""]
    if _hostname_is_made_up(template):
        config.pop("Hostname", None)
    # On API 1.45 a verbatim copy gave two containers the same address.
    config.pop("MacAddress", None)
    _detach_anonymous_volumes(host)
    endpoints = dict(_endpoints(template, name))
    at_create = (
        endpoints
        if api >= ALL_NETWORKS_IN_CREATE
        else {net: end for net, end in endpoints.items() if net == host["NetworkMode"]}
    )
    return Recipe(
        name,
        {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": at_create}},
        {net: end for net, end in endpoints.items() if net not in at_create},
    )


def replica_name(template: Json, number: int) -> str:
    """Return the name Compose would give to replica `number`."""
    labels = template["Config"]["Labels"]
    separator = _separator(name_of(template), labels) or _SEPARATORS[0]
    return separator.join((labels[PROJECT], labels[SERVICE], str(number)))


def ceiling(template: Json) -> Ceiling | None:
    """Return why there can only be one container like this; None where there can be more."""
    labels = template["Config"]["Labels"]
    name = name_of(template)
    if _separator(name, labels) is None:
        return Ceiling(
            1,
            f"container_name is set to {name}, and names are unique;"
            " remove container_name to let the service scale",
        )
    for port, bindings in (template["HostConfig"].get("PortBindings") or {}).items():
        for binding in bindings or ():
            fixed = binding.get("HostPort") or ""
            if fixed.isdigit() and int(fixed) > 0:
                return Ceiling(
                    1,
                    f"host port {fixed} is published for {port}, and only one container can"
                    " have it; publish a range of ports or none",
                )
    for network, endpoint in (template["NetworkSettings"].get("Networks") or {}).items():
        ipam = endpoint.get("IPAMConfig") or {}
        address = ipam.get("IPv4Address") or ipam.get("IPv6Address")
        if address:
            return Ceiling(
                1,
                f"it has the fixed address {address} in network {network};"
                " remove it to let the service scale",
            )
    return None


def anonymous_volumes(template: Json) -> tuple[str, ...]:
    """Return where a container has mounted volumes that nobody has named."""
    return tuple(
        mount["Destination"]
        for mount in template["Mounts"]
        if mount["Type"] == "volume" and _ANONYMOUS.fullmatch(mount.get("Name") or "")
    )


def starts_one_by_one(template: Json) -> bool:
    """Whether replicas must start one after the other: they pick host ports from one range."""
    return any(
        "-" in (binding.get("HostPort") or "")
        for bindings in (template["HostConfig"].get("PortBindings") or {}).values()
        for binding in bindings or ()
    )


def grace(template: Json) -> int:
    """Return the seconds between the stop signal and the kill; -1 means no kill."""
    seconds = template["Config"].get("StopTimeout")
    return int(DEFAULT_GRACE.total_seconds() if seconds is None else seconds)


def chosen_grace(template: Json) -> timedelta | None:
    """Return the time between stop signal and kill; None where Docker's default applies."""
    seconds = template["Config"].get("StopTimeout")
    if seconds is None:
        return None
    return timedelta(seconds=seconds) if seconds >= 0 else timedelta.max


def being_recreated(name: str, labels: Mapping[str, str]) -> bool:
    """Whether Compose is about to replace another container with this one.

    Meanwhile its name is the short id of the other one, an underscore, and its final name.
    """
    if _separator(name, labels) is not None or _RECREATED.match(name) is None:
        return False
    return _separator(name[_SHORT_ID + 1 :], labels) is not None


def has_composes_name(name: str, labels: Mapping[str, str]) -> bool:
    """Whether a container has the name that Compose gives: no container_name, not renamed."""
    return _separator(name, labels) is not None


def name_of(template: Json) -> str:
    """Return the name of a container, given its inspect."""
    return str(template["Name"]).removeprefix("/")


def _separator(name: str, labels: Mapping[str, str]) -> str | None:
    """Return what separates project, service and number in a name; None for any other name."""
    parts = (labels[PROJECT], labels[SERVICE], labels[NUMBER])
    return next((mark for mark in _SEPARATORS if mark.join(parts) == name), None)


def _labels(labels: Mapping[str, str], number: int) -> Json:
    kept = {key: value for key, value in labels.items() if key != REPLACE}
    return {**kept, NUMBER: str(number)}


def _hostname_is_made_up(template: Json) -> bool:
    """Whether the engine chose the host name, or refuses to have it set."""
    host: Json = template["HostConfig"]
    made_up: bool = template["Config"].get("Hostname") == template["Id"][:_SHORT_ID]
    network: str = host["NetworkMode"]
    return made_up or network.startswith("container:") or host.get("UTSMode") == "host"


def _detach_anonymous_volumes(host: Json) -> None:
    """Have the engine make new anonymous volumes: with the old names, replicas would share data."""
    if host.get("Mounts"):
        host["Mounts"] = [
            {key: value for key, value in mount.items() if key != "Source"}
            if mount.get("Type") == "volume" and _ANONYMOUS.fullmatch(mount.get("Source") or "")
            else mount
            for mount in host["Mounts"]
        ]
    if host.get("Binds"):
        host["Binds"] = [
            bind for bind in host["Binds"] if not _ANONYMOUS.fullmatch(bind.partition(":")[0])
        ]


def _endpoints(template: Json, name: str) -> Iterator[tuple[str, Json]]:
    """Yield each network with what the user configured, without what the engine filled in."""
    mode = template["HostConfig"]["NetworkMode"]
    if mode in ("bridge", "default", "host", "none") or mode.startswith("container:"):
        return
    number = int(template["Config"]["Labels"][NUMBER])
    # Where somebody has renamed the template, it still answers to the name that Compose gave it.
    own = (name_of(template), replica_name(template, number), template["Id"][:_SHORT_ID], name)
    for network, endpoint in (template["NetworkSettings"].get("Networks") or {}).items():
        configured = {
            key: endpoint[key]
            for key in ("IPAMConfig", "DriverOpts", "GwPriority")
            if endpoint.get(key) or endpoint.get(key) == {}
        }
        if endpoint.get("Links"):
            configured["Links"] = _renumbered(endpoint["Links"], template, name)
        aliases = set(endpoint.get("Aliases") or ()) - {template["Id"][:_SHORT_ID]}
        if configured or aliases:
            others = [each for each in endpoint.get("Aliases") or () if each not in own]
            configured["Aliases"] = [name, *others]
        # Otherwise the network comes from `network_mode`, for which Compose sets no alias.
        yield network, configured


def _renumbered(links: Sequence[str], template: Json, name: str) -> list[str]:
    """Give links the number of the new replica, as Compose does.

    Compose adds two aliases with the number to each link: `base-1:db-1` and `base-1:shop-db-1`. The
    name of the linked container may be anything (`container_name`), so the two show by each other.
    """
    labels = template["Config"]["Labels"]
    mark = _separator(name_of(template), labels) or _SEPARATORS[0]
    project, ending = labels[PROJECT] + mark, mark + labels[NUMBER]
    new = mark + name.rpartition(mark)[2]

    def renumbered(link: str) -> str:
        linked, _, alias = link.partition(":")
        short = alias.removeprefix(project)
        numbered = alias.endswith(ending) and {
            f"{linked}:{short}",
            f"{linked}:{project}{short}",
        } <= set(links)
        return link.removesuffix(ending) + new if numbered else link

    return [renumbered(link) for link in links]
