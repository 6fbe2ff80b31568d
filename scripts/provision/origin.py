"""What an image says of its origin: version, commit and time, as build arguments."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime

from provision.tools import ROOT, query


def version() -> str:
    """Return the version of the project: pyproject.toml is the only place that has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def changes() -> str | None:
    """Return what differs from the commit, a line for each file; None where there is no Git."""
    return query("git", "-C", str(ROOT), "status", "--porcelain")


def revision() -> str:
    """Return the commit, with `-dirty` where files differ from it; empty where there is no Git."""
    commit = query("git", "-C", str(ROOT), "rev-parse", "HEAD")
    if commit is None:
        return ""
    return f"{commit}-dirty" if changes() else commit


def committed_at() -> int | None:
    """Return when the commit was made, in seconds since 1970; None where there is no Git."""
    found = query("git", "-C", str(ROOT), "show", "--no-patch", "--format=%ct", "HEAD")
    return int(found) if found else None


def build_arguments() -> list[str]:
    """Return the options of `docker build` that fill the labels of the image.

    The time is the commit's, so that the same commit always makes the same labels.
    """
    at = committed_at()
    found = {
        "VERSION": version(),
        "REVISION": revision(),
        "CREATED": "" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    return [f"--build-arg={name}={value}" for name, value in found.items()]
