"""Packages of Debian and Ubuntu."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from provision.tools import INSTALL, SetupError, query, run, step

DEBIAN_RELEASE = "trixie"
"""The release that stand-ins for official images are made of."""
NEXT_DEBIAN_RELEASE = "forky"


def can_install() -> bool:
    """Return whether this process may install packages: root, on Debian or Ubuntu."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@functools.cache
def update() -> None:
    """Download the lists of packages, once in the life of this process."""
    with step("updating apt's lists of packages"):
        run(["apt-get", "update"], INSTALL)


def install(*packages: str) -> None:
    """Install packages and what they depend on, but not what they only recommend."""
    update()
    # A machine that has just booted may be installing its own updates: wait for apt's lock.
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "--yes"]
    command += ["--no-install-recommends", *packages]
    with step(f"installing {', '.join(packages)} from the system's packages"):
        run(command, INSTALL, {"DEBIAN_FRONTEND": "noninteractive"})


def knows(package: str) -> bool:
    """Return whether the lists that are on this machine have a package."""
    return bool(query("apt-cache", "show", package))


def finds(package: str) -> bool:
    """Return whether apt has a package. Lists without it are updated first where that is allowed.

    Downloading a package needs no root, unlike updating the lists and installing.
    """
    if can_install() and not knows(package):
        update()
    return knows(package)


def debian_mirror() -> str | None:
    """Return the URL of the Debian mirror that apt uses here; None on Ubuntu and others."""
    mirrors = query(
        "apt-get",
        "indextargets",
        "--format=$(REPO_URI)",
        "Created-By: Packages",
        "Label: Debian",
        "Component: main",
    )
    return mirrors.splitlines()[0] if mirrors else None


def require_debian_mirror(wanted: str) -> str:
    """Return the URL of the Debian mirror; it has the other releases as well.

    Raises SetupError where there is none; the message names what was `wanted` from it.
    """
    mirror = debian_mirror()
    if mirror is None:
        raise SetupError(
            f"{wanted} needs a mirror of Debian, and apt has none here.\n"
            "Run this on Debian, or make `docker pull` work."
        )
    return mirror


def apt_get_of(release: str, mirror: str, folder: Path) -> list[str]:
    """Return an apt-get command that sees one Debian release and keeps its state in `folder`."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    sources = folder / "debian.sources"
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources.write_text(
        f"Types: deb\nURIs: {mirror}\nSuites: {release}\nComponents: main\nSigned-By: {keyring}\n"
    )
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "APT::Sandbox::User": "root",
        # The Release file of a mirror that is no longer updated has expired.
        "Acquire::Check-Valid-Until": "false",
    }
    apt_get = [
        "apt-get",
        *(part for key, value in settings.items() for part in ("-o", f"{key}={value}")),
    ]
    run([*apt_get, "update"], INSTALL)
    return apt_get
