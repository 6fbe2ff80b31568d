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
# that it leaves behind, so it is not the first process. A build may not raise its limits here.
_PODMAN = r"""
mount -o remount,rw /proc/sys
[ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified
rm -rf /run/* && mkdir -p /run/lock
export PODMAN_IGNORE_CGROUPSV1_WARNING=1 BUILDAH_ISOLATION=chroot
mkdir -p /etc/containers/containers.conf.d
printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n' \
  >/etc/containers/containers.conf.d/limits.conf
podman start --all --filter restart-policy=always
/usr/libexec/podman/catatonit -- podman system service --time=0 "unix://$SOCKET"
"""
# The engine belongs to user 1000, who needs to write into the folder of its socket. Containers of a
# user may mount /proc only where nothing of it is hidden, so `options` show all of it.
_ROOTLESS = """
mount -o remount,rw /proc/sys
chmod 666 /dev/net/tun /dev/fuse
rm -rf /run/user/1000 && mkdir -p /run/user/1000
chown 1000:1000 /run/user/1000 /home/engine "${SOCKET%/*}"
chmod 755 "${SOCKET%/*}"
exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all env \\
  HOME=/home/engine XDG_RUNTIME_DIR=/run/user/1000 PATH=/usr/sbin:/usr/bin \\
  sh /usr/share/docker.io/contrib/dockerd-rootless.sh --host "unix://$SOCKET"
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """An engine's image and what it needs to run in a container."""

    image: str
    storage: str = "/var/lib/docker"
    """The folder of its images and containers. It needs a volume."""
    start: str = _DOCKER
    """A shell script that starts it at the socket $SOCKET."""
    options: tuple[str, ...] = ()
    """Further options of `docker run`."""


PODMAN = Kind("autoscaler-test/podman:5.4", "/var/lib/containers", _PODMAN)
ROOTLESS = Kind(
    "autoscaler-test/rootless:28.5",
    "/home/engine",
    _ROOTLESS,
    ("--security-opt=systempaths=unconfined", "--device=/dev/net/tun", "--device=/dev/fuse"),
)
OTHERS = {"podman": PODMAN, "rootless": ROOTLESS}
"""Engines that have a name in the matrix, in the place of a version of Docker."""


def kind_of(version: str) -> Kind:
    """Return the kind of engine that has this name or version in the matrix."""
    return OTHERS.get(version) or Kind(f"autoscaler-test/dind:{version}")
