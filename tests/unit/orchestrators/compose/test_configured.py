"""An address that Swarm has assigned to a container is no fixed one."""

from __future__ import annotations

from typing import Any

import pytest
from docker.errors import NotFound

from autoscaler.orchestrators.compose.configured import inspect_as_configured

OVERLAY, BRIDGE = "overlay-net", "bridge-net"
LINK_LOCAL = {"LinkLocalIPs": ["169.254.1.1"]}


class Host:
    """An engine with one container in one network."""

    def __init__(self, network: str, ipam: dict[str, Any] | None, *, running: bool = True) -> None:
        self.inspect = {
            "State": {"Running": running},
            "HostConfig": {},
            "NetworkSettings": {"Networks": {network: {"IPAMConfig": ipam, "IPAddress": "x"}}},
        }
        self.asked: list[str] = []

    def inspect_container(self, _container: str) -> dict[str, Any]:
        return self.inspect

    def inspect_network(self, network: str) -> dict[str, Any]:
        self.asked.append(network)
        if network not in (OVERLAY, BRIDGE):
            raise NotFound(network)
        return {"Scope": "swarm" if network == OVERLAY else "local"}


def configured(host: Host) -> dict[str, Any] | None:
    """Return the IPAMConfig that is left."""
    found = inspect_as_configured(host, "id")  # type: ignore[arg-type]
    ((_, endpoint),) = found["NetworkSettings"]["Networks"].items()
    ipam: dict[str, Any] | None = endpoint["IPAMConfig"]
    return ipam


@pytest.mark.parametrize("key", ["IPv4Address", "IPv6Address"])
def test_an_address_in_a_network_of_swarm_is_left_out(key: str) -> None:
    assert configured(Host(OVERLAY, {key: "10.0.1.5"})) is None
    assert configured(Host(OVERLAY, {key: "10.0.1.5", **LINK_LOCAL})) == LINK_LOCAL


@pytest.mark.parametrize("network", [BRIDGE, "gone"])
def test_in_any_other_network_it_is_fixed(network: str) -> None:
    fixed = {"IPv4Address": "10.0.1.5"}
    assert configured(Host(network, fixed)) == fixed


def test_swarm_assigns_none_to_a_container_that_does_not_run() -> None:
    fixed = {"IPv4Address": "10.0.1.5"}
    assert configured(Host(OVERLAY, fixed, running=False)) == fixed


@pytest.mark.parametrize("ipam", [None, {}, LINK_LOCAL])
def test_without_an_address_nothing_more_is_asked(ipam: dict[str, Any] | None) -> None:
    host = Host(OVERLAY, ipam)
    assert configured(host) == ipam
    assert host.asked == []
