"""Inspects of containers, as they were configured.

On an attachable overlay network, Swarm writes the address that it assigned to a container into the
place of a fixed one (`IPAMConfig`). It goes when the container stops. Podman writes what a
container has got into the place of what was asked for.
"""

from __future__ import annotations

from docker import APIClient
from docker.errors import NotFound

from autoscaler.orchestrators.compose.podman import as_asked_for, runs
from autoscaler.orchestrators.engine import Json

_ADDRESSES = ("IPv4Address", "IPv6Address")


def inspect_as_configured(client: APIClient, container: str) -> Json:
    """Inspect a container, and leave out the addresses that Swarm may have assigned to it.

    While a container runs, nothing tells whether its address in a network of Swarm is fixed. Left
    out, a fixed address does no harm: it stays with this container, and a new one gets another.
    """
    found = as_asked_for(client.inspect_container(container))
    for network, endpoint in (found["NetworkSettings"].get("Networks") or {}).items():
        ipam = endpoint.get("IPAMConfig") or {}
        addressed = any(ipam.get(each) for each in _ADDRESSES)
        if addressed and runs(found["State"]) and _is_of_swarm(client, network):
            kept = {key: value for key, value in ipam.items() if key not in _ADDRESSES}
            endpoint["IPAMConfig"] = kept or None
    return found


def _is_of_swarm(client: APIClient, network: str) -> bool:
    try:
        return bool(client.inspect_network(network)["Scope"] == "swarm")
    except NotFound:
        return False
