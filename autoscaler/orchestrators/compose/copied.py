"""Files that Compose copies into a container before its start.

No inspect shows secrets from the environment and configs with inline content: Compose puts them
into the container's file system, or into its volumes, between create and start. A new replica needs
the same files, and none of those that the service itself has written (decision 005).
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import PurePosixPath
from typing import Any, Self

from docker import APIClient
from docker.utils import decode_json_header

from autoscaler.core.errors import OrchestratorError
from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.engine import Json, api_url

LARGEST = 16 * 1024 * 1024
"""Bytes. Compose's secrets and configs are small; they pass through the daemon's memory."""
LARGEST_VOLUME = 256 * 1024 * 1024
"""Bytes of an anonymous volume that are read, to look for files that Compose copied there."""

_FEW = 16
"""So many files of one folder are asked for one by one; of more, the folder is read first."""
_BYTES_A_FILE = 64 * 1024
"""While a folder is read, so many bytes take as long as asking for one of its files."""
_CHUNK = 64 * 1024
_REMOVED = 2
_ADDED = 1
_NOT_FOUND = 404
_NEVER = "0001-"
_HALF = timedelta(seconds=0.5)
_GO_FILE_TYPES = 0x8F280000  # os.ModeType: any of these bits means no regular file.
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class CannotTellError(OrchestratorError):
    """It is unknown which files of a container Compose copied, so it cannot be copied itself."""


class Origin(Enum):
    """Who made a file."""

    COMPOSE = auto()
    SERVICE = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Life:
    """When a container could not write files itself."""

    created: datetime
    started: datetime
    """Its latest start."""
    ended: datetime | None
    """Its latest end; None where it has never ended."""

    @classmethod
    def of(cls, template: Json) -> Self:
        """Read an inspect."""
        ended: str = template["State"]["FinishedAt"]
        return cls(
            datetime.fromisoformat(template["Created"]),
            datetime.fromisoformat(template["State"]["StartedAt"]),
            None if ended.startswith(_NEVER) else datetime.fromisoformat(ended),
        )

    def may_be_copied(self, second: float) -> bool:
        """Whether Compose may have made a file whose time of change begins with this second."""
        # Compose rounds to the nearest second: a copied file may be dated after the start.
        earliest = (self.created - timedelta(seconds=1)).timestamp()
        return earliest <= second <= (self.started + _HALF).timestamp()

    def origin(self, found: Mapping[str, Any]) -> Origin:
        """Tell who made a file. `found` is its stat.

        Compose copies before a start, and the archive that it sends has whole seconds, rounded to
        the nearest. Nothing in a container writes before its first start, nor between an end and
        the next start. The time of the first start is lost once a container has been started
        again. Then a file without write permission is Compose's, which makes them so by default.
        """
        if found["mode"] & _GO_FILE_TYPES or "." in found["mtime"]:
            return Origin.SERVICE
        changed = datetime.fromisoformat(found["mtime"])
        if not self.created - _HALF <= changed <= self.started + _HALF:
            return Origin.SERVICE
        before_a_start = self.ended is None or changed >= self.ended - _HALF
        if before_a_start or not found["mode"] & _WRITABLE:
            return Origin.COMPOSE
        return Origin.UNKNOWN


def copied_files(client: APIClient, template: Json) -> tuple[str, ...]:
    """Return the paths of the files that Compose copied into this container (an inspect).

    Raises CannotTellError.
    """
    if template["HostConfig"].get("ReadonlyRootfs"):
        return ()  # Compose refuses to copy into such a container.
    container, life = template["Id"], Life.of(template)
    volumes = recipe.anonymous_volumes(template)
    mounted = {mount["Destination"] for mount in template["Mounts"]}
    likely = [
        *_likely_in_file_system(client, container, life, mounted),
        *(path for volume in volumes for path in _likely_in_volume(client, template, life, volume)),
    ]
    copied = []
    for path in dict.fromkeys(likely):
        found = _stat(client, container, path)
        if found is None:
            continue
        match life.origin(found):
            case Origin.UNKNOWN:
                raise CannotTellError(_unknown_maker(template, path))
            case Origin.COMPOSE if found["size"] > LARGEST:
                raise CannotTellError(_too_large(template, path))
            case Origin.COMPOSE:
                copied.append(path)
    return tuple(copied)


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file that Compose copied, with its path, owner and rights."""

    entry: tarfile.TarInfo
    content: bytes


def read_copied(client: APIClient, container: str, paths: Iterable[str]) -> tuple[CopiedFile, ...]:
    """Return these files of a container, to be written into others."""
    files = []
    for path in paths:
        chunks, _ = client.get_archive(container, path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as source:
            entry = source.getmembers()[0]
            content = source.extractfile(entry)
            entry.name = path.lstrip("/")
            files.append(CopiedFile(entry, b"" if content is None else content.read()))
    return tuple(files)


def write_copied(client: APIClient, container: str, files: Iterable[CopiedFile]) -> None:
    """Write files into a container that has been created and not started.

    They are dated at the second nearest to its creation, by the engine's clock. So the container
    shows them as copied when it becomes a template itself, however long after the reading it was
    created, and whatever the clock of this machine says.
    """
    created = datetime.fromisoformat(client.inspect_container(container)["Created"])
    second = int((created + _HALF).timestamp())
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for each in files:
            entry = copy(each.entry)  # Several containers get the same files at once.
            entry.mtime = second
            archive.addfile(entry, io.BytesIO(each.content))
    client.put_archive(container, "/", out.getvalue())


def changed_files(
    changes: Iterable[Mapping[str, Any]], mounted: Collection[str] = ()
) -> Mapping[str, Collection[str]]:
    """Group the files among the engine's `changes` by a folder that holds them.

    These are the added and the changed paths that have no such path below them: files, and empty
    folders. What lies in a mount is left out. The folder of a group is the topmost one that was
    added: nothing of the image is in it. Where none was, it is the file's own folder.
    """
    kinds = {each["Path"]: each["Kind"] for each in changes if each["Kind"] != _REMOVED}
    folders = {_parent(path) for path in kinds}
    groups: dict[str, list[str]] = defaultdict(list)
    for path in kinds:
        if path in folders or any(_lies_in(path, mount) for mount in mounted):
            continue
        folder = _parent(path)
        while kinds.get(_parent(folder)) == _ADDED:
            folder = _parent(folder)
        groups[folder].append(path)
    return groups


def _likely_in_file_system(
    client: APIClient, container: str, life: Life, mounted: Collection[str]
) -> Iterator[str]:
    """Yield the changed files that Compose may have copied, to be looked at one by one."""
    groups = changed_files(client.diff(container) or (), mounted)
    for folder, paths in sorted(groups.items(), key=lambda group: len(group[1])):
        if len(paths) <= _FEW or folder == "/":
            yield from paths
        else:
            yield from _likely_in_folder(client, container, life, (folder, paths))


def _likely_in_folder(
    client: APIClient, container: str, life: Life, group: tuple[str, Collection[str]]
) -> Iterator[str]:
    """Yield the files of a large group that Compose may have copied.

    Asking for one file takes 1 ms. For 20,000 files that the service wrote, this would take 20 s;
    reading their folder takes 1 s (measured 2026-11). Its archive has only the seconds of the
    times of change, so it tells which files to ask for.
    """
    folder, paths = group
    unseen = set(paths)
    try:
        for path, second in _read(client, container, folder, len(paths) * _BYTES_A_FILE):
            if path in unseen:
                unseen.remove(path)
                if life.may_be_copied(second):
                    yield path
    except _TooLargeError:
        yield from unseen


def _likely_in_volume(client: APIClient, template: Json, life: Life, volume: str) -> Iterator[str]:
    """Yield the files of an anonymous volume that Compose may have copied. No change shows them."""
    try:
        for path, second in _read(client, template["Id"], volume, LARGEST_VOLUME):
            if life.may_be_copied(second):
                yield path
    except _TooLargeError:
        raise CannotTellError(
            f"the anonymous volume {volume} of {recipe.name_of(template)} is too large to look for"
            " secrets and configs in it; give the volume a name in the Compose file"
        ) from None


class _TooLargeError(Exception):
    """A folder has more bytes than are read."""


class _Limited:
    """A stream of an answer's chunks, until a limit."""

    def __init__(self, chunks: Iterator[bytes], limit: int) -> None:
        self._chunks = chunks
        self._left = limit

    def read(self, _size: int) -> bytes:
        """Return the next chunk; it is empty at the end. Raises _TooLargeError."""
        if self._left <= 0:
            raise _TooLargeError
        chunk = next(self._chunks, b"")
        self._left -= len(chunk)
        return chunk


def _read(
    client: APIClient, container: str, folder: str, limit: int
) -> Iterator[tuple[str, float]]:
    """Yield each regular file below a folder, with the second of its time of change.

    Raises _TooLargeError after `limit` bytes.
    """
    above = PurePosixPath(folder).parent
    with client.get(
        api_url(client, f"/containers/{container}/archive"),
        params={"path": folder},
        stream=True,
        timeout=client.timeout,
    ) as answer:
        if answer.status_code == _NOT_FOUND:
            return  # The service has removed it meanwhile.
        answer.raise_for_status()
        source: Any = _Limited(answer.iter_content(_CHUNK), limit)
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                if member.isreg() or member.islnk():
                    yield str(above / member.name), member.mtime


def _stat(client: APIClient, container: str, path: str) -> Json | None:
    """Return the stat of a file; None where the service has removed it meanwhile."""
    answer = client.head(
        api_url(client, f"/containers/{container}/archive"),
        params={"path": path},
        timeout=client.timeout,
    )
    if answer.status_code == _NOT_FOUND:
        return None
    answer.raise_for_status()
    found: Json = decode_json_header(answer.headers["x-docker-container-path-stat"])
    return found


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _unknown_maker(template: Json, path: str) -> str:
    return (
        f"{recipe.name_of(template)} has been restarted, so nobody can tell whether docker compose"
        f" or the service made {path}; recreate it with `docker compose up --force-recreate"
        f" {template['Config']['Labels'][recipe.SERVICE]}`"
    )


def _too_large(template: Json, path: str) -> str:
    return (
        f"{path} in {recipe.name_of(template)} is too large to copy;"
        " let the secret or config come from a `file` instead"
    )
