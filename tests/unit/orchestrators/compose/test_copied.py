"""Files that Compose copies in before the first start, told from those the service wrote."""

from __future__ import annotations

from typing import Any

import pytest

from autoscaler.orchestrators.compose.copied import LARGEST, added_leaves, is_copied

RUNNING = {
    "Created": "2026-01-01T00:00:05.123456789Z",
    "State": {
        "StartedAt": "2026-01-01T00:00:07.987654321Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
}
RESTARTED = RUNNING | {
    "State": {
        "StartedAt": "2026-01-01T09:00:00Z",
        "FinishedAt": "2026-01-01T08:00:00Z",
    }
}
FOLDER, LINK = 1 << 31, 1 << 27


def found(
    mtime: str = "2026-01-01T00:00:06Z", *, mode: int = 0o444, size: int = 10
) -> dict[str, Any]:
    """Return the stat of a file."""
    return {"name": "secret", "size": size, "mode": mode, "mtime": mtime}


class TestAddedLeaves:
    def test_only_what_was_added_counts(self) -> None:
        changes = [
            {"Path": "/etc", "Kind": 0},
            {"Path": "/etc/secret", "Kind": 1},
            {"Path": "/etc/hosts", "Kind": 0},
            {"Path": "/tmp/old", "Kind": 2},
        ]
        assert added_leaves(changes) == ["/etc/secret"]

    def test_a_folder_that_something_was_added_to_is_no_leaf(self) -> None:
        changes = [{"Path": path, "Kind": 1} for path in ("/run", "/run/secrets", "/run/secrets/a")]
        assert added_leaves(changes) == ["/run/secrets/a"]

    def test_a_name_that_begins_alike_is_no_folder_of_it(self) -> None:
        changes = [{"Path": path, "Kind": 1} for path in ("/run/a", "/run/ab")]
        assert added_leaves(changes) == ["/run/a", "/run/ab"]


class TestIsCopied:
    @pytest.mark.parametrize(
        ("mtime", "copied"),
        [
            pytest.param("2026-01-01T00:00:04Z", False, id="part-of-the-image"),
            pytest.param("2026-01-01T00:00:05Z", True, id="in-the-second-of-the-creation"),
            pytest.param("2026-01-01T00:00:07Z", True, id="just-before-the-start"),
            pytest.param("2026-01-01T00:00:06.5Z", False, id="written-between-whole-seconds"),
            pytest.param("2026-01-01T00:00:09Z", False, id="written-after-the-start"),
        ],
    )
    def test_it_was_made_between_creation_and_start(self, mtime: str, *, copied: bool) -> None:
        assert is_copied(found(mtime), RUNNING) is copied

    @pytest.mark.parametrize("mode", [FOLDER | 0o755, LINK | 0o777])
    def test_only_regular_files_are(self, mode: int) -> None:
        assert not is_copied(found(mode=mode), RUNNING)

    def test_what_is_large_was_written_by_the_service(self) -> None:
        assert is_copied(found(size=LARGEST), RUNNING)
        assert not is_copied(found(size=LARGEST + 1), RUNNING)

    @pytest.mark.parametrize(("mode", "copied"), [(0o444, True), (0o644, False), (0o464, False)])
    def test_after_a_restart_only_what_nobody_may_write_is(
        self, mode: int, *, copied: bool
    ) -> None:
        assert is_copied(found("2026-01-01T00:00:06Z", mode=mode), RESTARTED) is copied

    def test_before_a_restart_it_may_be_writable(self) -> None:
        assert is_copied(found(mode=0o644), RUNNING)
