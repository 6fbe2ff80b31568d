"""Files that outlive the process: replaced as a whole, by one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path, kind: int) -> Iterator[None]:
    """Hold a lock on a folder: `fcntl.LOCK_SH` to read, `fcntl.LOCK_EX` to write. Raises OSError.

    A lock file would need an owner, and would stay behind.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def write(path: Path, content: bytes) -> None:
    """Replace a whole file: after a crash it has either the old content or the new one.

    The caller holds the lock of its folder. Only its owner may read the file. Where root writes, as
    with `docker exec`, the owner of the folder becomes the owner of the file: the daemon, which is
    not root, has to read it. Raises OSError.
    """
    new = path.with_name(path.name + ".new")
    # A writer that was killed leaves one behind, which may belong to another user.
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that new names in a folder outlive a crash. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
