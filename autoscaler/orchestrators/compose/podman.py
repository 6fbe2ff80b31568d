"""What Podman tells of a container, put as Docker would tell it. Pure.

Podman answers the Engine API, but its inspect has what it runs with, not what was asked for. A
container that is created from such an inspect is refused, or gets what belongs to the first one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from autoscaler.orchestrators.engine import Json

_MARK = "io.container.manager"
_NAME = "libpod"
"""The annotation, and its value, that Podman gives each of its containers."""
_DEFAULT_GRACE = 10
"""Seconds of grace that Podman fills in where nobody has asked for any."""
_SHORT_ID = 12
_STATES = {"stopping": "running", "stopped": "exited", "initialized": "created"}
"""Podman's own states: a container that was told to stop and still runs, one that has ended and is
not cleaned up yet, and one that is being started."""
_LIMIT = re.compile("RLIMIT_([A-Z]+)")
_BRIDGE, _DEFAULT_NETWORK = "bridge", "podman"
"""How Podman calls every network of its own kind, and the one of containers that name none."""
_CPU_QUOTA = ("CpuPeriod", "CpuQuota")
_ALL_RIGHTS = "rwm"
"""What Compose asks for where the file says no rights of a device."""
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_EXTRA_ENVIRONMENT = "HOSTNAME="


def state_of(state: str) -> str:
    """Return Docker's name of a state of a container."""
    return _STATES.get(state, state)


def runs(state: Mapping[str, Any]) -> bool:
    """Whether the process of a container runs, by the State of its inspect."""
    return bool(state["Running"] or state_of(state.get("Status") or "") == "running")


def as_asked_for(inspect: Json) -> Json:
    """Return an inspect as its container was asked for. One of Docker is returned as it is."""
    host: Json = inspect["HostConfig"]
    if (host.get("Annotations") or {}).get(_MARK) != _NAME:
        return inspect
    config: Json = dict(inspect["Config"])
    # Podman names the container in its environment. A copy would bear the name of the first one.
    made_up = f"{_EXTRA_ENVIRONMENT}{inspect['Id'][:_SHORT_ID]}"
    config["Env"] = [each for each in config.get("Env") or () if each != made_up]
    if config.get("StopTimeout") == _DEFAULT_GRACE:
        del config["StopTimeout"]
    limits = [
        {**each, "Name": _LIMIT.sub(lambda found: found[1].lower(), each["Name"])}
        for each in host.get("Ulimits") or ()
    ]
    # Podman does not show the rights of a device, and refuses a device without any.
    devices = [
        {**each, "CgroupPermissions": each.get("CgroupPermissions") or _ALL_RIGHTS}
        for each in host.get("Devices") or ()
    ]
    # It also shows an anonymous volume by the name that it has made up for it.
    anonymous: Json = {
        each["Destination"]: {}
        for each in inspect["Mounts"]
        if each["Type"] == "volume" and _ANONYMOUS.fullmatch(each.get("Name") or "")
    }
    config["Volumes"] = {**(config.get("Volumes") or {}), **anonymous}
    host = {
        **host,
        "Ulimits": limits,
        "Devices": devices,
        "NetworkMode": _network_mode(inspect),
    }
    if host.get("NanoCpus"):
        # It shows one limit in both forms, and takes only one.
        host = {key: value for key, value in host.items() if key not in _CPU_QUOTA}
    if host.get("IpcMode") == "host" or (host.get("IpcMode") or "").startswith("container:"):
        host.pop("ShmSize", None)
    settings = {**inspect["NetworkSettings"], "Networks": _networks(inspect)}
    return {**inspect, "Config": config, "HostConfig": host, "NetworkSettings": settings}


def _networks(inspect: Json) -> Json:
    """Return the networks without the alias that Podman makes of the host name."""
    own = inspect["Config"].get("Hostname")
    return {
        name: {**each, "Aliases": [alias for alias in each.get("Aliases") or () if alias != own]}
        for name, each in (inspect["NetworkSettings"].get("Networks") or {}).items()
    }


def _network_mode(inspect: Json) -> str:
    """Return the network that a container joined first: Podman calls each of them `bridge`."""
    mode: str = inspect["HostConfig"]["NetworkMode"]
    networks = inspect["NetworkSettings"].get("Networks") or {}
    if mode != _BRIDGE or _DEFAULT_NETWORK in networks:
        return mode
    return min(networks, default=mode)
