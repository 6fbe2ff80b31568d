"""Files that Compose copies in before a start, told from those the service wrote."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import requests

from autoscaler.orchestrators.compose import recipe
from autoscaler.orchestrators.compose.copied import (
    LARGEST,
    LARGEST_VOLUME,
    CannotTellError,
    Life,
    Origin,
    changed_files,
    copied_files,
)

CREATED, STARTED = "2026-01-01T00:00:05.123456789Z", "2026-01-01T00:00:07.987654321Z"
NEVER = "0001-01-01T00:00:00Z"
COPIED, WRITTEN = "2026-01-01T00:00:06Z", "2026-01-01T00:00:08.123456789Z"
FOLDER, LINK = 1 << 31, 1 << 27
VOLUME = {"Type": "volume", "Name": "a" * 64, "Destination": "/data"}


def template(*mounts: dict[str, str], **state: str) -> dict[str, Any]:
    """Return the inspect of a container that has run since its first start, with changes."""
    return {
        "Id": "id",
        "Name": "/shop-web-1",
        "Created": CREATED,
        "State": {"StartedAt": STARTED, "FinishedAt": NEVER, **state},
        "Config": {"Labels": {recipe.SERVICE: "web"}},
        "HostConfig": {},
        "Mounts": list(mounts),
    }


RUNNING = Life.of(template())
RESTARTED = Life.of(
    template(StartedAt="2026-01-01T09:00:00.7Z", FinishedAt="2026-01-01T08:00:00.2Z")
)


def found(mtime: str = COPIED, *, mode: int = 0o444, size: int = 10) -> dict[str, Any]:
    """Return the stat of a file."""
    return {"name": "secret", "size": size, "mode": mode, "mtime": mtime}


def changes(*paths: str, kind: int = 1) -> list[dict[str, Any]]:
    return [{"Path": path, "Kind": kind} for path in paths]


class TestChangedFiles:
    def test_what_was_added_or_changed_counts(self) -> None:
        found = changed_files(
            [
                *changes("/etc", "/etc/hosts", kind=0),
                *changes("/etc/secret"),
                *changes("/tmp/old", kind=2),
            ]
        )
        assert found == {"/etc": ["/etc/hosts", "/etc/secret"]}

    def test_a_folder_that_something_was_added_to_is_no_file(self) -> None:
        assert changed_files(changes("/run", "/run/secrets", "/run/secrets/a")) == {
            "/run": ["/run/secrets/a"]
        }

    def test_a_name_that_begins_alike_is_no_folder_of_it(self) -> None:
        assert changed_files(changes("/a", "/ab")) == {"/": ["/a", "/ab"]}

    def test_files_of_a_new_folder_are_together_and_those_of_an_old_one_are_by_themselves(
        self,
    ) -> None:
        found = changed_files(
            [
                *changes("/var", "/var/lib", "/var/lib/x", kind=0),
                *changes("/var/new", "/var/new/a", "/var/new/a/1", "/var/new/b"),
            ]
        )
        assert found == {"/var/lib": ["/var/lib/x"], "/var/new": ["/var/new/a/1", "/var/new/b"]}

    def test_what_lies_in_a_mount_is_left_out(self) -> None:
        assert changed_files(changes("/data", "/data/a", "/database"), {"/data"}) == {
            "/": ["/database"]
        }


class TestOrigin:
    @pytest.mark.parametrize(
        ("mtime", "copied"),
        [
            pytest.param("2026-01-01T00:00:04Z", False, id="part-of-the-image"),
            pytest.param("2026-01-01T00:00:05Z", True, id="in-the-second-of-the-creation"),
            pytest.param("2026-01-01T00:00:07Z", True, id="just-before-the-start"),
            pytest.param("2026-01-01T00:00:06.5Z", False, id="written-between-whole-seconds"),
            pytest.param("2026-01-01T00:00:06.000000001Z", False, id="almost-at-a-whole-second"),
            pytest.param("2026-01-01T00:00:09Z", False, id="written-after-the-start"),
        ],
    )
    def test_it_is_composes_where_it_was_made_between_creation_and_start(
        self, mtime: str, *, copied: bool
    ) -> None:
        assert RUNNING.origin(found(mtime)) is (Origin.COMPOSE if copied else Origin.SERVICE)

    @pytest.mark.parametrize("mode", [FOLDER | 0o755, LINK | 0o777])
    def test_only_regular_files_are(self, mode: int) -> None:
        assert RUNNING.origin(found(mode=mode)) is Origin.SERVICE

    def test_before_a_restart_it_may_be_writable(self) -> None:
        assert RUNNING.origin(found(mode=0o644)) is Origin.COMPOSE

    @pytest.mark.parametrize(
        ("mode", "origin"),
        [(0o444, Origin.COMPOSE), (0o644, Origin.UNKNOWN), (0o464, Origin.UNKNOWN)],
    )
    def test_after_a_restart_nobody_can_tell_of_one_that_may_be_written(
        self, mode: int, origin: Origin
    ) -> None:
        assert RESTARTED.origin(found(mode=mode)) is origin

    def test_what_was_made_between_an_end_and_the_next_start_is_composes(self) -> None:
        assert RESTARTED.origin(found("2026-01-01T08:00:00Z", mode=0o644)) is Origin.COMPOSE
        assert RESTARTED.origin(found("2026-01-01T09:00:01Z", mode=0o644)) is Origin.COMPOSE


class Host:
    """An engine with one container. It writes down what it is asked."""

    base_url, api_version, timeout = "http+docker://localhost", "1.41", 60

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        """The time of change of each file."""
        self.volumes: set[str] = set()
        """Folders whose files no change shows."""
        self.size = 10
        self.mode = 0o444
        self.gone: set[str] = set()
        """Files that are removed after the changes were asked for."""
        self.stats: list[str] = []
        self.folders: list[str] = []

    def write(self, *paths: str, at: str = WRITTEN) -> None:
        self.files |= dict.fromkeys(paths, at)

    def diff(self, _container: str) -> list[dict[str, Any]]:
        shown = [path for path in self.files if not path.startswith(tuple(self.volumes))]
        above = {"/" + "/".join(path.split("/")[1:n]) for path in shown for n in range(2, 9)}
        return [*changes(*shown), *changes(*(above - {"/", *shown}))]

    def head(self, _url: str, *, params: dict[str, str], timeout: int) -> requests.Response:
        assert timeout == self.timeout
        path = params["path"]
        self.stats.append(path)
        answer = requests.Response()
        answer.status_code = 404 if path in self.gone else 200
        stat = found(self.files[path], mode=self.mode, size=self.size)
        encoded = base64.b64encode(json.dumps(stat).encode()).decode()
        answer.headers["x-docker-container-path-stat"] = encoded
        return answer

    def get(
        self, _url: str, *, params: dict[str, str], stream: bool, timeout: int
    ) -> requests.Response:
        assert stream
        assert timeout == self.timeout
        folder = params["path"]
        self.folders.append(folder)
        answer = requests.Response()
        answer.status_code = 200
        answer.raw = io.BytesIO(b"".join(self._archive(folder)))
        return answer

    def _archive(self, folder: str) -> Iterator[bytes]:
        """Yield a tar as the engine makes it: times of change without their fractions."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path, mtime in sorted(self.files.items()):
                if path.startswith(f"{folder}/") and path not in self.gone:
                    member = tarfile.TarInfo(folder.rpartition("/")[2] + path[len(folder) :])
                    member.mtime = int(datetime.fromisoformat(mtime).timestamp())
                    member.size = self.size
                    tar.addfile(member, io.BytesIO(bytes(self.size)))
        yield out.getvalue()


@pytest.fixture
def host() -> Host:
    return Host()


def copied(host: Host, inspect: dict[str, Any] | None = None) -> list[str]:
    return sorted(copied_files(host, inspect or template()))  # type: ignore[arg-type]


MANY = [f"/cache/of/{number}" for number in range(500)]
LATER = "2026-01-01T00:05:00.5Z"


class TestCopiedFiles:
    def test_a_few_files_are_asked_for_one_by_one(self, host: Host) -> None:
        host.write("/run/secrets/token", at=COPIED)
        host.write("/tmp/own")
        assert copied(host) == ["/run/secrets/token"]
        assert host.folders == []

    def test_of_many_files_the_folder_is_read_and_only_likely_ones_are_asked_for(
        self, host: Host
    ) -> None:
        host.write(*MANY, at=LATER)
        host.write("/cache/of/token", at=COPIED)
        host.write("/cache/of/first", at=WRITTEN)
        assert copied(host) == ["/cache/of/token"]
        assert host.folders == ["/cache"]
        assert sorted(host.stats) == ["/cache/of/first", "/cache/of/token"]

    def test_where_the_folder_is_large_the_rest_is_asked_for_one_by_one(self, host: Host) -> None:
        host.size = 256 * 1024
        host.write(*MANY[:50], at=LATER)
        host.write("/cache/of/token", at=COPIED)
        assert copied(host) == ["/cache/of/token"]
        assert 30 < len(host.stats) < 50

    def test_a_file_that_is_removed_meanwhile_is_none(self, host: Host) -> None:
        host.write("/tmp/passing", *MANY)
        host.gone = {"/tmp/passing", *MANY[:50]}
        assert copied(host) == []

    def test_an_anonymous_volume_is_read(self, host: Host) -> None:
        host.volumes = {"/data"}
        host.write("/data/deep/token", at=COPIED)
        host.write("/data/own")
        assert copied(host, template(VOLUME)) == ["/data/deep/token"]

    @pytest.mark.parametrize("change", [{"Name": "shop_data"}, {"Type": "bind"}])
    def test_what_is_shared_is_not(self, host: Host, change: dict[str, str]) -> None:
        host.volumes = {"/data"}
        host.write("/data/token", at=COPIED)
        assert copied(host, template(VOLUME | change)) == []
        assert host.folders == []

    def test_a_volume_that_is_too_large_to_read_is_refused_in_words(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("autoscaler.orchestrators.compose.copied.LARGEST_VOLUME", 1000)
        assert LARGEST_VOLUME > LARGEST
        host.size = 1024 * 1024
        host.volumes = {"/data"}
        host.write("/data/one", "/data/two")
        with pytest.raises(CannotTellError, match="volume /data of shop-web-1 is too large"):
            copied(host, template(VOLUME))

    def test_a_copied_file_that_is_too_large_is_refused_in_words(self, host: Host) -> None:
        host.size = LARGEST + 1
        host.write("/run/secrets/token", at=COPIED)
        with pytest.raises(CannotTellError, match="/run/secrets/token in shop-web-1 is too large"):
            copied(host)

    def test_a_file_of_which_nobody_can_tell_is_refused_in_words(self, host: Host) -> None:
        host.mode = 0o644
        host.write("/etc/settings", at=COPIED)
        restarted = template(FinishedAt="2026-01-01T00:00:07Z")
        with pytest.raises(CannotTellError, match="made /etc/settings; recreate it with"):
            copied(host, restarted)

    def test_a_container_that_cannot_be_written_has_none(self, host: Host) -> None:
        host.write("/run/secrets/token", at=COPIED)
        read_only = template() | {"HostConfig": {"ReadonlyRootfs": True}}
        assert copied(host, read_only) == []
