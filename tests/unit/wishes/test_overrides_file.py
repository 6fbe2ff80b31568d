"""The file of overrides: whole or not there, one writer at a time, and nothing of it is lost."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoscaler.core.errors import OverrideError, StateError
from autoscaler.core.findings import Outcome
from autoscaler.core.model import ServiceId
from autoscaler.core.override import Override, Wanted
from autoscaler.wishes.overrides_file import FILE, OverridesFile

NOW = datetime(2026, 11, 28, 14, 0, tzinfo=UTC)
WORKER = ServiceId("compose", "shop/worker")
NO_TIME_ZONE = {
    "orchestrator": "compose",
    "service": "a/b",
    "name": "max",
    "value": "6",
    "since": "2026-11-28T14:00:00",
    "until": None,
    "by": "",
    "reason": "",
}
DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b'{"version": 2, "overrides": []}',
    b'{"version": 1, "overrides": [{"service": "shop/worker"}]}',
    json.dumps({"version": 1, "overrides": [NO_TIME_ZONE]}).encode(),
]


@pytest.fixture
def file(tmp_path: Path) -> OverridesFile:
    return OverridesFile(tmp_path / "state")


def put(file: OverridesFile, **values: str) -> tuple[Override, ...]:
    """Set values of the worker for an hour."""
    return file.put(Wanted(WORKER, values, "anna", "deploy"), "temporal", {}, NOW)


def values(file: OverridesFile) -> dict[str, str]:
    return {each.name: each.value for each in file.read()}


class TestKeeping:
    def test_what_was_set_is_read_by_another_process(self, file: OverridesFile) -> None:
        put(file, max="6")
        (found,) = OverridesFile(file.folder).read()
        assert found == Override(
            WORKER, "max", "6", NOW, NOW + timedelta(hours=1), "anna", "deploy"
        )

    def test_without_a_file_nothing_is_set(self, file: OverridesFile) -> None:
        assert file.read() == ()
        assert file.signature() is None

    def test_it_has_a_version_and_is_for_its_owner_only(self, file: OverridesFile) -> None:
        put(file, max="6")
        assert json.loads(file.path.read_text())["version"] == 1
        assert file.path.stat().st_mode & 0o777 == 0o600

    def test_every_write_changes_its_signature(self, file: OverridesFile) -> None:
        put(file, max="6")
        before = file.signature()
        put(file, max="7")
        assert file.signature() != before

    def test_a_new_value_replaces_the_earlier_one(self, file: OverridesFile) -> None:
        put(file, max="6", min="2")
        (replaced,) = put(file, max="8")
        assert (replaced.name, replaced.value) == ("max", "6")
        assert values(file) == {"max": "8", "min": "2"}

    def test_some_are_removed_and_returned(self, file: OverridesFile) -> None:
        put(file, max="6", min="2")
        (removed,) = file.remove(WORKER, lambda each: each.name == "min", NOW)
        assert removed.value == "2"
        assert values(file) == {"max": "6"}

    def test_to_remove_what_nobody_set_writes_nothing(self, file: OverridesFile) -> None:
        assert file.remove(WORKER, lambda _: True, NOW) == ()
        assert not file.folder.exists()


class TestWrong:
    def test_a_wrong_value_leaves_the_file_as_it_is(self, file: OverridesFile) -> None:
        put(file, max="6")
        before = file.path.read_bytes()
        with pytest.raises(OverrideError, match=r"temporal\.max='many'"):
            put(file, max="many", min="3")
        assert file.path.read_bytes() == before

    def test_it_may_not_contradict_what_is_set_already(self, file: OverridesFile) -> None:
        put(file, max="6")
        with pytest.raises(OverrideError, match="not below min; min is 8"):
            put(file, min="8")

    def test_what_has_ended_contradicts_nothing(self, file: OverridesFile) -> None:
        put(file, max="6")
        later = NOW + timedelta(hours=2)
        file.put(Wanted(WORKER, {"min": "8"}, "anna"), "temporal", {}, later)
        assert values(file) == {"min": "8"}


class TestDamage:
    @pytest.mark.parametrize("content", DAMAGED)
    def test_it_is_said_and_set_aside_and_counts_no_more(
        self, file: OverridesFile, content: bytes
    ) -> None:
        file.folder.mkdir()
        file.path.write_bytes(content)
        assert file.read() == ()
        (aside,) = file.folder.iterdir()
        assert aside.read_bytes() == content
        assert file.damage is not None
        assert aside.name in file.damage
        assert "\n" not in file.damage

    def test_what_is_set_afterwards_counts(self, file: OverridesFile) -> None:
        file.folder.mkdir()
        file.path.write_bytes(b"{")
        put(file, max="6")
        assert values(file) == {"max": "6"}
        assert len([*file.folder.glob(f"{FILE}.damaged-*")]) == 1

    def test_what_a_killed_writer_left_behind_is_in_nobodys_way(self, file: OverridesFile) -> None:
        put(file, max="6")
        file.path.with_name(f"{FILE}.new").write_bytes(b'{"vers')
        assert values(file) == {"max": "6"}
        put(file, max="7")
        assert values(file) == {"max": "7"}


class TestFolder:
    def test_one_that_cannot_be_written_is_one_line_with_the_remedy(self, tmp_path: Path) -> None:
        (tmp_path / "state").write_text("a file")
        with pytest.raises(StateError, match="AUTOSCALER_STATE names a folder") as caught:
            put(OverridesFile(tmp_path / "state"), max="6")
        assert "\n" not in str(caught.value)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_one_without_the_right_to_write_too(self, file: OverridesFile) -> None:
        file.folder.mkdir(mode=0o500)
        with pytest.raises(StateError, match="Permission denied"):
            put(file, max="6")


class TestExamination:
    """What `doctor` says of the place where overrides are kept."""

    def test_a_folder_that_can_be_made_is_right(self, file: OverridesFile) -> None:
        found = file.examine(lasting=True)
        assert (found.outcome, found.text) == (Outcome.OK, f"they are kept in {file.folder}")
        assert not file.folder.exists()

    def test_it_says_where_they_go_with_the_container(self, file: OverridesFile) -> None:
        found = file.examine(lasting=False)
        assert found.outcome is Outcome.OK
        assert found.text.endswith("which is no volume: they go with this container")

    def test_a_file_in_the_place_of_the_folder_is_a_warning(self, tmp_path: Path) -> None:
        (tmp_path / "state").touch()
        for folder in (tmp_path / "state", tmp_path / "state" / "below"):
            found = OverridesFile(folder).examine(lasting=True)
            assert found.outcome is Outcome.WARNING
            assert "AUTOSCALER_STATE names a folder" in found.text

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_the_right_to_write_is_a_warning(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        found = OverridesFile(tmp_path).examine(lasting=True)
        assert found.outcome is Outcome.WARNING
        assert f"this user cannot write to {tmp_path}" in found.text


def test_writers_at_the_same_time_come_one_after_the_other(file: OverridesFile) -> None:
    def write(number: int) -> None:
        service = ServiceId("compose", f"shop/worker-{number}")
        wanted = Wanted(service, {"max": "6"}, "anna")
        OverridesFile(file.folder).put(wanted, "temporal", {}, NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert len(file.read()) == 40
