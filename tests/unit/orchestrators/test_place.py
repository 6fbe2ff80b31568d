"""In which container a process runs, and on which volumes, read from /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.orchestrators.place import Place

OWN, OUTER, OTHER = "a1" * 32, "b2" * 32, "c3" * 32
VOLUMES = "/var/lib/docker/volumes/state/_data"


def mount(source: str, target: str, kind: str = "ext4") -> str:
    return f"192 175 254:0 {source} {target} rw,relatime - {kind} /dev/vda rw"


def place(folder: Path, cgroup: str = "0::/", *mounts: str) -> Place:
    (folder / "cgroup").write_text(f"{cgroup}\n")
    (folder / "mountinfo").write_text("\n".join((mount("/", "/", "overlay"), *mounts)))
    return Place.here(folder)


@pytest.mark.parametrize(
    ("cgroup", "ids"),
    [
        pytest.param(f"9:name=systemd:/docker/{OWN}", (OWN,), id="version-1"),
        pytest.param(f"0::/system.slice/docker-{OWN}.scope", (OWN,), id="systemd"),
        pytest.param(f"0::/docker/{OUTER}/docker/{OWN}", (OWN,), id="within-another"),
        pytest.param(f"8:pids:/docker/{OWN}\n7:cpu:/docker/{OWN}", (OWN,), id="once"),
        pytest.param("0::/user.slice/user-0.slice/session-1.scope", (), id="on-the-host"),
        pytest.param("0::/", (), id="hidden"),
    ],
)
def test_the_id_stands_in_the_cgroup(tmp_path: Path, cgroup: str, ids: tuple[str, ...]) -> None:
    assert place(tmp_path, cgroup).containers == ids


@pytest.mark.parametrize("name", ["hostname", "hosts", "resolv.conf"])
def test_with_hidden_cgroups_it_stands_in_the_files_that_the_engine_mounts(
    tmp_path: Path, name: str
) -> None:
    mounted = mount(f"/var/lib/docker/containers/{OWN}/{name}", f"/etc/{name}")
    assert place(tmp_path, "0::/", mounted).containers == (OWN,)


def test_the_cgroup_comes_first_where_the_network_is_that_of_another_container(
    tmp_path: Path,
) -> None:
    mounted = mount(f"/var/lib/docker/containers/{OTHER}/hosts", "/etc/hosts")
    assert place(tmp_path, f"1:cpu:/docker/{OWN}", mounted).containers == (OWN, OTHER)


def test_a_host_that_runs_containers_is_none(tmp_path: Path) -> None:
    of_a_container = mount("/", f"/var/lib/docker/containers/{OTHER}/mounts/shm", "tmpfs")
    assert not place(tmp_path, "0::/", of_a_container).in_container


def test_where_nothing_can_be_read_nothing_is_known(tmp_path: Path) -> None:
    assert Place.here(tmp_path / "nowhere") == Place()


@pytest.mark.parametrize(
    ("mounts", "outlives"),
    [
        pytest.param([], False, id="nothing-mounted"),
        pytest.param([mount(VOLUMES, "/var/lib/autoscaler")], True, id="a-volume"),
        pytest.param([mount("/srv", "/var/lib")], True, id="a-folder-above"),
        pytest.param([mount("/srv", "/var/lib/auto")], False, id="a-folder-of-a-similar-name"),
        pytest.param([mount("/", "/var/lib/autoscaler", "tmpfs")], False, id="in-memory"),
    ],
)
def test_what_outlives_the_container(tmp_path: Path, mounts: list[str], outlives: bool) -> None:  # noqa: FBT001 - a column of the table
    found = place(tmp_path, f"1:cpu:/docker/{OWN}", *mounts)
    assert found.outlives(Path("/var/lib/autoscaler")) is outlives


def test_a_blank_in_the_name_of_a_folder_is_read(tmp_path: Path) -> None:
    found = place(tmp_path, f"1:cpu:/docker/{OWN}", mount(VOLUMES, r"/my\040state"))
    assert found.outlives(Path("/my state/store"))


def test_outside_a_container_every_folder_lasts(tmp_path: Path) -> None:
    assert place(tmp_path).outlives(Path("/var/lib/autoscaler"))
