"""A folder of files, read again when it changes. A file that is being written is left for later.

A file counts once two reads, a moment apart, have found the same. So neither the empty file of an
editor that has just begun to save, nor the gap between its two renames, is ever taken for content.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LARGEST = 256 * 1024
"""Bytes of the largest file that is read: thousands of services fit in."""
MOST_FILES = 100
SETTLED_AFTER = 0.05
"""Seconds between the two reads: longer than the clock of any file system stands still."""
_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file, or the whole folder, that could not be read."""

    why: str
    """What is wrong and what to do."""


Content = bytes | Unreadable
_Stamp = tuple[int, ...] | str
"""What tells that a file has changed, or why it has none."""


class Folder:
    """The YAML files of one folder. All methods block, and each may run in any thread."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self._path = path
        self._stamps: Mapping[str, _Stamp] | str | None = None
        """Those of the latest read; None where that read has met a file under way, or none was."""
        self._files: Mapping[str, Content] | Unreadable = {}

    def differs(self) -> bool:
        """Whether the folder looks otherwise than when it was read."""
        return self._stamps is None or self._look() != self._stamps

    def read(self) -> Mapping[str, Content] | Unreadable:
        """Return the files by their names, in order; those under way as they were before."""
        stamps = self._look()
        first = self._read(stamps)
        time.sleep(SETTLED_AFTER)
        second = self._read(self._look())
        settled = first == second
        self._stamps = stamps if settled else None
        if settled or isinstance(first, Unreadable) or isinstance(second, Unreadable):
            self._files = second if settled else self._files
            return self._files
        before = {} if isinstance(self._files, Unreadable) else self._files
        files = {
            name: second.get(name) if first.get(name) == second.get(name) else before.get(name)
            for name in sorted({*first, *second})
        }
        self._files = {name: content for name, content in files.items() if content is not None}
        return self._files

    def _look(self) -> Mapping[str, _Stamp] | str:
        """Return the stamp of each file that counts, or why the folder cannot be listed."""
        try:
            names = sorted(path.name for path in self._path.iterdir() if _counts(path.name))
        except OSError as error:
            return _words(error)
        return {name: self._stamp(name) for name in names}

    def _stamp(self, name: str) -> _Stamp:
        try:
            # A name may be a link, as in a folder of Docker or Kubernetes configs.
            found = (self._path / name).stat()
        except OSError as error:
            return _words(error)
        return (found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns,
                found.st_ctime_ns)  # fmt: skip

    def _read(self, stamps: Mapping[str, _Stamp] | str) -> Mapping[str, Content] | Unreadable:
        if isinstance(stamps, str):
            return Unreadable(f"the folder cannot be read ({stamps}); create or mount it")
        return {
            name: read_file(self._path / name)
            if number < MOST_FILES
            else Unreadable(f"is one file too many: of {len(stamps)}, the first {MOST_FILES} count")
            for number, name in enumerate(stamps)
        }


def read_file(path: Path) -> Content:
    """Return what stands in one file, or why it cannot be read."""
    try:
        # Opening a pipe would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return Unreadable("is no regular file; remove or rename it")
            content = file.read(LARGEST + 1)
    except OSError as error:
        return Unreadable(f"cannot be read ({_words(error)}); correct its rights, or remove it")
    if len(content) > LARGEST:
        return Unreadable(f"is larger than {LARGEST // 1024} KiB; split it")
    return content


def _counts(name: str) -> bool:
    """Whether a name is that of a services file, and not of an editor's or a hidden one."""
    return name.lower().endswith(_ENDINGS) and not name.startswith((".", "#"))


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
