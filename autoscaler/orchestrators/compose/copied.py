"""Files that Compose copies into a container before its first start.

No inspect shows secrets from the environment and configs with inline content: Compose puts them
into the container's file system between create and start. A new replica needs the same files.
"""

from __future__ import annotations

import io
import stat
import tarfile
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from docker import APIClient
from docker.utils import decode_json_header

from autoscaler.orchestrators.engine import Json, api_url

LARGEST = 1024 * 1024
"""Bytes. Compose's secrets and configs are small; a larger file was written by the service."""

_ADDED = 1
_NEVER = "0001-"
_GO_FILE_TYPES = 0x8F280000  # os.ModeType: any of these bits means no regular file.
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def copied_files(client: APIClient, template: Json) -> tuple[str, ...]:
    """Return the paths of the files that Compose copied into this container (an inspect)."""
    container = template["Id"]
    mounted = {mount["Destination"] for mount in template["Mounts"]}
    return tuple(
        path
        for path in added_leaves(client.diff(container) or ())
        if path not in mounted and is_copied(_stat(client, container, path), template)
    )


def archive_of(client: APIClient, container: str, paths: Iterable[str]) -> bytes:
    """Return a tar of these files of a container, for the root of another one.

    Their times of change become now, so that the new replica shows them as copied before its start.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as target:
        for path in paths:
            chunks, _ = client.get_archive(container, path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as source:
                member = source.getmembers()[0]
                content = source.extractfile(member)
                member.name = path.lstrip("/")
                member.mtime = round(time.time())
                target.addfile(member, content)
    return out.getvalue()


def added_leaves(changes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the added paths that have no added path below them: files, and empty folders."""
    added = [change["Path"] for change in changes if change["Kind"] == _ADDED]
    folders = {str(PurePosixPath(path).parent) for path in added}
    return [path for path in added if path not in folders]


def is_copied(found: Mapping[str, Any], template: Json) -> bool:
    """Whether Compose copied a file, rather than the service wrote it. `found` is its stat.

    Nothing in a container writes before its first start. Once a container has been stopped, the
    time of its first start is lost. Then only files without write permission count: Compose makes
    them so by default.
    """
    if found["mode"] & _GO_FILE_TYPES or found["size"] > LARGEST:
        return False
    if not template["State"]["FinishedAt"].startswith(_NEVER) and found["mode"] & _WRITABLE:
        return False
    # The archive that Compose sends has whole seconds, rounded to the nearest.
    copied = datetime.fromisoformat(found["mtime"])
    created = datetime.fromisoformat(template["Created"])
    started = datetime.fromisoformat(template["State"]["StartedAt"])
    half = timedelta(seconds=0.5)
    return not copied.microsecond and created - half <= copied <= started + half


def _stat(client: APIClient, container: str, path: str) -> Json:
    answer = client.head(
        api_url(client, f"/containers/{container}/archive"),
        params={"path": path},
        timeout=client.timeout,
    )
    answer.raise_for_status()
    found: Json = decode_json_header(answer.headers["x-docker-container-path-stat"])
    return found
