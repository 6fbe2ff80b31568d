"""Where this process runs: in which container, and on which volumes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

PROC = Path("/proc/self")

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_FROM_THE_ENGINE = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
"""Files that an engine mounts into each container, from a folder named after the container."""
_FLEETING = ("tmpfs", "ramfs")
"""Kinds of mount whose files go with the container."""
_OCTAL = re.compile(r"\\([0-7]{3})")


class _Mount(NamedTuple):
    source: str
    """Path within the file system that is mounted."""
    target: Path
    kind: str


@dataclass(frozen=True, slots=True)
class Place:
    """What this process can tell of the container that it runs in."""

    containers: tuple[str, ...] = ()
    """Ids that may be the container's own, the most certain first; empty outside a container."""
    lasting: tuple[Path, ...] = ()
    """Folders whose files outlive the container: volumes and folders of the host."""

    @classmethod
    def here(cls, proc: Path = PROC) -> Self:
        """Read it from the folder of this process in /proc; what cannot be read tells nothing."""
        mounts = list(_mounts(_lines(proc / "mountinfo")))
        # With version 2 of cgroups the path is hidden. With the network of another container, the
        # files from the engine are those of the other one.
        ids = [*_ids(_lines(proc / "cgroup"))]
        ids += _ids(each.source for each in mounts if str(each.target) in _FROM_THE_ENGINE)
        root = Path("/")
        return cls(
            tuple(dict.fromkeys(ids)),
            tuple(
                each.target for each in mounts if each.target != root and each.kind not in _FLEETING
            ),
        )

    @property
    def in_container(self) -> bool:
        """Whether this process runs in a container."""
        return bool(self.containers)

    def outlives(self, folder: Path) -> bool:
        """Whether files in a folder outlive the container; outside a container they always do."""
        real = folder.resolve()
        return not self.in_container or any(real.is_relative_to(each) for each in self.lasting)


def _lines(file: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def _ids(texts: Iterator[str] | list[str]) -> Iterator[str]:
    """Yield the last container id in each text: a container may run inside another."""
    for text in texts:
        yield from _ID.findall(text)[-1:]


def _mounts(lines: list[str]) -> Iterator[_Mount]:
    """Read /proc/self/mountinfo; proc_pid_mountinfo(5) has its form."""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = [_OCTAL.sub(lambda code: chr(int(code[1], 8)), each) for each in before.split()]
        if len(fields) > 4 and after:  # noqa: PLR2004 - source and target are the fourth and fifth
            yield _Mount(fields[3], Path(fields[4]), after.split()[0])
