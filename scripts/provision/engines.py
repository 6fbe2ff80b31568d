"""Images of other engines, which tests run in containers, and of an SSH server before an engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provision import apt
from provision.apt import DEBIAN_RELEASE, NEXT_DEBIAN_RELEASE
from provision.images import has, pull
from provision.stand_ins import make_of_packages
from provision.tools import QUERY, run

_BASE = ("mount", "dash", "coreutils", "base-files")
_NETWORK = ("iptables", "nftables")
_ROOTLESS = ("rootlesskit", "slirp4netns", "uidmap", "iproute2", "util-linux", "procps", "grep")
SSH_IMAGE = "autoscaler-test/sshd:1"
_USERS = """root:x:0:0:root:/root:/bin/sh
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
engine:x:1000:1000::/home/engine:/bin/sh
"""
_GROUPS = "root:x:0:\nengine:x:1000:\nnogroup:x:65534:\n"
_SUBORDINATES = "engine:100000:65536\n"
"""The ids that the user `engine` may give to users and groups in a rootless engine's containers."""


@dataclass(frozen=True)
class _Engine:
    """An engine of a Debian release."""

    release: str
    packages: tuple[str, ...]
    storage: str
    """The folder of its images and containers."""
    official: str | None = None
    """An official image of the same version, for machines without a mirror of Debian."""


ENGINES = {
    "autoscaler-test/dind:26.1": _Engine(
        DEBIAN_RELEASE, ("docker.io", "iptables"), "/var/lib/docker", "docker:26.1-dind"
    ),
    "autoscaler-test/dind:28.5": _Engine(
        NEXT_DEBIAN_RELEASE, ("docker.io", "iptables"), "/var/lib/docker", "docker:28.5-dind"
    ),
    "autoscaler-test/podman:5.4": _Engine(
        DEBIAN_RELEASE,
        ("podman", "crun", "netavark", "aardvark-dns", "catatonit", "procps", *_NETWORK),
        "/var/lib/containers",
    ),
    "autoscaler-test/rootless:28.5": _Engine(
        NEXT_DEBIAN_RELEASE, ("docker.io", *_ROOTLESS, *_NETWORK), "/home/engine"
    ),
}
"""The engines of the test matrix, beside the one of this machine."""


def engines() -> None:
    """Provide the images of other engines, which the test matrix runs in containers."""
    for image, engine in ENGINES.items():
        if has(image):
            print(f"engines: {image} is there")
        elif apt.debian_mirror():
            title = f'LABEL org.opencontainers.image.title="{image.partition(":")[0]}"'
            changes = [f"VOLUME {engine.storage}", title]
            packages = (*engine.packages, *_BASE)
            make_of_packages(image, engine.release, packages, changes, _finish)
        elif engine.official and pull(engine.official):
            run(["docker", "tag", engine.official, image], QUERY)
        else:
            apt.require_debian_mirror(f"{image} could not be pulled: it")


def ssh_image() -> None:
    """Provide the image of an SSH server, for the tests of ssh:// engines."""
    if has(SSH_IMAGE):
        print(f"ssh image: {SSH_IMAGE} is there")
    else:
        title = 'LABEL org.opencontainers.image.title="autoscaler-test/sshd"'
        packages = ("openssh-server", "docker-cli", *_BASE)
        make_of_packages(SSH_IMAGE, DEBIAN_RELEASE, packages, [title], _finish)


def _finish(root: Path) -> None:
    """Do what the packages' installation scripts would have done."""
    for name in ("iptables", "ip6tables"):
        if (root / f"usr/sbin/{name}-nft").exists():
            (root / "usr/sbin" / name).symlink_to(f"{name}-nft")
    (root / "etc/passwd").write_text(_USERS)
    (root / "etc/group").write_text(_GROUPS)
    for name in ("subuid", "subgid"):
        (root / "etc" / name).write_text(_SUBORDINATES)
