"""Files that are replaced as a whole, by one writer at a time."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from autoscaler.durable import locked, write


def test_a_file_is_replaced_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, b"old")
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*tmp_path.iterdir()] == [path]


def test_what_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write(path, b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_link_that_lies_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    path = tmp_path / "file"
    path.with_name("file.new").symlink_to(victim)
    write(path, b"new")
    assert (victim.read_bytes(), path.read_bytes()) == (b"mine", b"new")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.chown(folder, 10001, 10001)
    write(folder / "file", b"new")
    status = (folder / "file").stat()
    assert (status.st_uid, status.st_gid) == (10001, 10001)


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path, fcntl.LOCK_EX):
            order.append("second")

    with locked(tmp_path, fcntl.LOCK_EX):
        other = threading.Thread(target=second)
        other.start()
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
