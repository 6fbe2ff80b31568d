"""The kinds of engine that run in a container for the tests, and how each is started there."""

from __future__ import annotations

from dataclasses import dataclass

_DOCKER = """
mount -o remount,rw /proc/sys
iptables -nL >/dev/null 2>&1 || for name in iptables ip6tables; do
  ln -sf "$name-legacy" "/usr/sbin/$name"
done
rm -rf /run/docker* /var/run/docker*
exec dockerd --host "unix://$SOCKET" --host unix:///var/run/docker.sock
"""
# crun refuses a host with both versions of cgroups, so it gets to see the first alone. What Podman
# keeps in /run holds only until the machine is shut down. Podman does not wait for the processes
# that it leaves behind, so it is not the first process.
_PODMAN = """
mount -o remount,rw /proc/sys
[ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified
rm -rf /run/* && mkdir -p /run/lock
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
podman start --all --filter restart-policy=always
/usr/libexec/podman/catatonit -- podman system service --time=0 "unix://$SOCKET"
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """An engine's image and what it needs to run in a container."""

    image: str
    storage: str = "/var/lib/docker"
    """The folder of its images and containers. It needs a volume."""
    start: str = _DOCKER
    """A shell script that starts it at the socket $SOCKET."""


PODMAN = Kind("autoscaler-test/podman:5.4", "/var/lib/containers", _PODMAN)


def kind_of(version: str) -> Kind:
    """Return the kind of engine that has a name in the matrix: a version of Docker, or another."""
    return PODMAN if version == "podman" else Kind(f"autoscaler-test/dind:{version}")
