"""Official images, and stand-ins made of Debian's packages where no registry can be reached."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from provision import apt
from provision.apt import DEBIAN_RELEASE
from provision.images import has, import_folder, pull
from provision.python import VENV
from provision.tools import INSTALL, QUERY, SetupError, query, run, step, temporary_folder

BASE_IMAGE = "python:3.13-slim"

PROXY_IMAGE = "haproxy:3.0"
"""The proxy of compose/hardened."""
PROXY_PACKAGES = ("haproxy", "base-files")

DOCUMENTATION = ("usr/share/doc/*", "usr/share/locale/*", "usr/share/man/*")


def base_image() -> None:
    """Provide python:3.13-slim: pull it, or make a stand-in of Debian's packages."""
    if has(BASE_IMAGE):
        print(f"base image: {BASE_IMAGE} is there")
    elif not pull(BASE_IMAGE):
        _make_python(BASE_IMAGE)


def proxy_image() -> None:
    """Provide haproxy:3.0: pull it, or make a stand-in of Debian's packages."""
    if has(PROXY_IMAGE):
        print(f"proxy image: {PROXY_IMAGE} is there")
    elif not pull(PROXY_IMAGE):
        make_of_packages(PROXY_IMAGE, DEBIAN_RELEASE, PROXY_PACKAGES, [_stand_in_for(PROXY_IMAGE)])


def _stand_in_for(image: str) -> str:
    """Return the label that marks a stand-in; `make clean` finds it by that."""
    return f'LABEL org.opencontainers.image.title="Stand-in for {image}"'


# ---------------------------------------------------------------- a whole system with Python


def _make_python(image: str) -> None:
    """Make a system of Debian with Python that builds can use in place of the official image."""
    if not apt.can_install():
        raise SetupError(
            f"{image} could not be pulled, and only root on Debian or Ubuntu can make a "
            f"stand-in.\nMake `docker pull {image}` work, or run this as root."
        )
    if not shutil.which("debootstrap"):
        apt.install("debootstrap", "debian-archive-keyring")
    with (
        temporary_folder() as folder,
        step(f"no registry has it: making a stand-in of Debian {DEBIAN_RELEASE}'s packages"),
    ):
        root = folder / "root"
        mirror = apt.debian_mirror()
        # A mount namespace of its own: nothing stays mounted when debootstrap is interrupted.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase"]
        command += ["--include=python3-venv,ca-certificates", DEBIAN_RELEASE, str(root)]
        run([*command, *([mirror] if mirror else [])], INSTALL)
        # The official image, too, has python and pip in /usr/local, apart from Debian's packages.
        run(["chroot", str(root), "python3", "-m", "venv", "/usr/local"], INSTALL)
        _configure_pip(root)
        import_folder(
            root,
            image,
            changes=[
                "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                "ENV LANG=C.UTF-8",
                "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
                "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
                'CMD ["python3"]',
                _stand_in_for(image),
            ],
            exclude=[
                "dev/*",
                "proc/*",
                "sys/*",
                *DOCUMENTATION,
                "var/cache/apt/*",
                "var/lib/apt/lists/*",
                "var/log/*",
            ],
        )


def _configure_pip(root: Path) -> None:
    """Copy this host's certificate authorities and pip settings into a system in a folder."""
    authorities = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    bundle = Path(authorities or "/etc/ssl/certs/ca-certificates.crt")
    if bundle.is_file():
        shutil.copyfile(bundle, root / "etc/ssl/certs/ca-certificates.crt")
    settings = "".join(f"{name} = {value}\n" for name, value in _pip_settings().items())
    (root / "etc/pip.conf").write_text(f"[global]\n{settings}")


def _pip_settings() -> dict[str, str]:
    """Return where this host's pip looks for packages, without folders on this host's disk."""
    wanted = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout")
    python = VENV / "bin/python"
    pip = (str(python if python.exists() else sys.executable), "-m", "pip")
    settings: dict[str, str] = {}
    # A line is like "global.timeout='60'", or ":env:.timeout='60'" for what the environment sets.
    # The environment wins, so its lines come last.
    listed = (query(*pip, "config", "list") or "").splitlines()
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        words = str(ast.literal_eval(value)).split()
        found = [word for word in words if not word.startswith(("/", "file:"))]
        name = key.rpartition(".")[2]
        if name in wanted and found:
            settings[name] = " ".join(found)
    return settings


# ---------------------------------------------------------------- one program and its libraries


def make_of_packages(
    image: str,
    release: str,
    packages: Sequence[str],
    changes: Sequence[str],
    finish: Callable[[Path], None] = lambda _root: None,
) -> None:
    """Make an image of packages of a Debian release and of what they depend on.

    The packages are unpacked and not installed: none of them needs its installation scripts.
    `finish` may change the files before they become an image.
    """
    with temporary_folder() as folder, step(f"making {image} of Debian {release}'s packages"):
        apt_get = apt.apt_get_of(release, apt.require_debian_mirror(image), folder)
        options = ["--yes", "--no-install-recommends", "--download-only"]
        run([*apt_get, "install", *options, *packages], INSTALL)
        root = folder / "root"
        archives = sorted(
            folder.glob("cache/archives/*.deb"),
            # First base-files: it has the symbolic links from /bin, /sbin and /lib into /usr.
            key=lambda archive: not archive.name.startswith("base-files_"),
        )
        for archive in archives:
            run(["dpkg", "--extract", str(archive), str(root)], QUERY)
        finish(root)
        import_folder(
            root,
            image,
            changes=["ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin", *changes],
            exclude=DOCUMENTATION,
        )
