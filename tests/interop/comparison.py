"""Compares a replica of ours with one that Compose made, except for what is unique to each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from autoscaler.orchestrators.compose.uses import DEPENDS_ON
from autoscaler.orchestrators.engine import Json

SHORT_ID = 12
SINGULAR = {
    "Created": "the time it was made",
    "State/Pid": "its process",
    "State/StartedAt": "the time of its start",
    "State/Health/Log": "times and outputs of its own health checks",
    "State/Health/Status": "the first check may be over or not",
    "GraphDriver/Data/*": "the folders of its own writable layer",
    "NetworkSettings/SandboxID": "the id of its network namespace",
    "NetworkSettings/SandboxKey": "the path of its network namespace",
    "NetworkSettings/EndpointID": "the id of its end of the bridge",
    "NetworkSettings/IPAddress": "its address",
    "NetworkSettings/MacAddress": "its hardware address",
    "NetworkSettings/Networks/*/EndpointID": "the id of its end of the network",
    "NetworkSettings/Networks/*/IPAddress": "its address",
    "NetworkSettings/Networks/*/GlobalIPv6Address": "its address",
    "NetworkSettings/Networks/*/MacAddress": "its hardware address",
    "NetworkSettings/Ports/*/HostPort": "the host port that was free when it started",
}
"""What is unique to each container: its path in the inspect, and what it is."""
UNORDERED = {
    "Config/Env": "Compose has it in a map, whose order is random",
    "HostConfig/Binds": "Compose has it in a map, whose order is random",
    "HostConfig/ExtraHosts": "Compose has it in a map, whose order is random",
    "HostConfig/Ulimits": "Compose has it in a map, whose order is random",
    "HostConfig/Mounts": "Compose has it in a map, whose order is random",
    "Mounts": "the engine has it in a map, whose order is random",
    "NetworkSettings/Networks/*/Aliases": "engines before 26 add the short id at any place",
    "NetworkSettings/Networks/*/DNSNames": "the engine adds the short id and the host name",
}
"""Lists whose order does not matter, and why it differs."""
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
"""The name of an anonymous volume. Each replica has its own."""


def differences(left: Json, right: Json) -> list[str]:
    """Return how two inspects differ, except for what is unique to each container."""
    return list(_compare("", _anonymised(left), _anonymised(right)))


def _anonymised(inspect: Json) -> Json:
    """Replace the id in every place: id, short id, host name, alias and paths."""
    text = json.dumps(inspect).replace(inspect["Id"], "<id>")
    named: Json = json.loads(text.replace(inspect["Id"][:SHORT_ID], "<short id>"))
    labels = named["Config"]["Labels"]
    if DEPENDS_ON in labels:
        # Compose has it in a map, whose order is random.
        labels[DEPENDS_ON] = ",".join(sorted(labels[DEPENDS_ON].split(",")))
    # Podman shows them here too, by the names that it has made up.
    binds = named["HostConfig"]["Binds"] or ()
    named["HostConfig"]["Binds"] = [_ANONYMOUS.sub("<anonymous>", each) for each in binds]
    for mount in named["Mounts"]:
        for key in ("Name", "Source"):
            if key in mount:
                mount[key] = _ANONYMOUS.sub("<anonymous>", mount[key])
    return named


def _compare(path: str, left: object, right: object) -> Iterator[str]:
    if any(fnmatchcase(path, pattern) for pattern in SINGULAR):
        return
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            below = f"{path}/{key}" if path else key
            yield from _compare(below, left.get(key, "<nothing>"), right.get(key, "<nothing>"))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        if any(fnmatchcase(path, pattern) for pattern in UNORDERED):
            left, right = (sorted(side, key=_text) for side in (left, right))
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _compare(f"{path}/{index}", one, other)
    elif left != right:
        yield f"{path}: {left!r} by Compose, {right!r} by us"


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
