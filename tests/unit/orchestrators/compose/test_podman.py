"""What Podman tells of a container becomes what was asked for."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from autoscaler.orchestrators.compose.podman import as_asked_for, runs, state_of

ID = "61037fe259e8" + "0" * 52
BY_PODMAN: dict[str, Any] = {
    "Id": ID,
    "Config": {
        "Hostname": ID[:12],
        "Env": ["container=podman", f"HOSTNAME={ID[:12]}", "PLAIN=1"],
        "StopSignal": "15",
        "StopTimeout": 10,
    },
    "HostConfig": {
        "Annotations": {"io.container.manager": "libpod"},
        "NetworkMode": "bridge",
        "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": ""}],
        "Ulimits": [
            {"Name": "RLIMIT_NOFILE", "Soft": 512, "Hard": 1024},
            {"Name": "RLIMIT_NPROC", "Soft": 96365, "Hard": 96365},
        ],
    },
    "Mounts": [
        {"Type": "volume", "Name": "ab" * 32, "Destination": "/data"},
        {"Type": "volume", "Name": "shop_named", "Destination": "/named"},
        {"Type": "bind", "Source": "/srv", "Destination": "/bound"},
    ],
    "NetworkSettings": {"Networks": {"shop_front": {}, "shop_default": {}}},
}
"""Parts of what Podman 5.4.2 has answered."""


def test_limits_get_the_names_that_create_takes() -> None:
    limits = as_asked_for(BY_PODMAN)["HostConfig"]["Ulimits"]
    assert limits == [
        {"Name": "nofile", "Soft": 512, "Hard": 1024},
        {"Name": "nproc", "Soft": 96365, "Hard": 96365},
    ]


def test_a_device_gets_the_rights_that_compose_asks_for() -> None:
    (device,) = as_asked_for(BY_PODMAN)["HostConfig"]["Devices"]
    assert device == {
        "PathOnHost": "/dev/a",
        "PathInContainer": "/dev/b",
        "CgroupPermissions": "rwm",
    }


def test_a_copy_does_not_bear_the_first_ones_name_in_its_environment() -> None:
    assert as_asked_for(BY_PODMAN)["Config"]["Env"] == ["container=podman", "PLAIN=1"]


def test_a_host_name_that_the_user_has_put_there_stays() -> None:
    chosen = copy.deepcopy(BY_PODMAN)
    chosen["Config"]["Env"] = ["HOSTNAME=shop"]
    assert as_asked_for(chosen)["Config"]["Env"] == ["HOSTNAME=shop"]


@pytest.mark.parametrize(("seconds", "asked_for"), [(10, None), (30, 30)])
def test_the_default_grace_was_not_asked_for(seconds: int, asked_for: int | None) -> None:
    inspect = copy.deepcopy(BY_PODMAN)
    inspect["Config"]["StopTimeout"] = seconds
    assert as_asked_for(inspect)["Config"].get("StopTimeout") == asked_for


def test_an_anonymous_volume_is_asked_for_by_its_place_alone() -> None:
    assert as_asked_for(BY_PODMAN)["Config"]["Volumes"] == {"/data": {}}


@pytest.mark.parametrize(
    ("mode", "networks", "asked_for"),
    [
        ("bridge", ["shop_front", "shop_default"], "shop_default"),
        ("bridge", ["podman"], "bridge"),
        ("host", [], "host"),
        ("none", [], "none"),
        ("container:abc", [], "container:abc"),
    ],
)
def test_a_network_is_called_by_its_name(mode: str, networks: list[str], asked_for: str) -> None:
    inspect = copy.deepcopy(BY_PODMAN)
    inspect["HostConfig"]["NetworkMode"] = mode
    inspect["NetworkSettings"]["Networks"] = {each: {} for each in networks}
    assert as_asked_for(inspect)["HostConfig"]["NetworkMode"] == asked_for


def test_a_limit_of_processors_is_given_in_one_form() -> None:
    inspect = copy.deepcopy(BY_PODMAN)
    inspect["HostConfig"] |= {"NanoCpus": 500_000_000, "CpuPeriod": 100_000, "CpuQuota": 50_000}
    host = as_asked_for(inspect)["HostConfig"]
    assert host["NanoCpus"] == 500_000_000
    assert not {"CpuPeriod", "CpuQuota"} & host.keys()


@pytest.mark.parametrize(
    ("mode", "kept"), [("host", False), ("container:abc", False), ("shareable", True)]
)
def test_shared_memory_of_another_has_no_size_of_its_own(
    mode: str,
    kept: bool,  # noqa: FBT001 - a column of the table
) -> None:
    inspect = copy.deepcopy(BY_PODMAN)
    inspect["HostConfig"] |= {"IpcMode": mode, "ShmSize": 65536}
    assert ("ShmSize" in as_asked_for(inspect)["HostConfig"]) is kept


def test_the_alias_that_podman_makes_of_the_host_name_is_left_to_it() -> None:
    inspect = copy.deepcopy(BY_PODMAN)
    inspect["Config"]["Hostname"] = "fixed"
    inspect["NetworkSettings"]["Networks"] = {"front": {"Aliases": ["web", "fixed"]}}
    networks = as_asked_for(inspect)["NetworkSettings"]["Networks"]
    assert networks["front"]["Aliases"] == ["web"]


def test_what_was_given_is_not_changed() -> None:
    before = copy.deepcopy(BY_PODMAN)
    as_asked_for(BY_PODMAN)
    assert before == BY_PODMAN


@pytest.mark.parametrize("annotations", [None, {}, {"io.container.manager": "other"}])
def test_an_inspect_of_docker_is_returned_as_it_is(annotations: dict[str, str] | None) -> None:
    by_docker = copy.deepcopy(BY_PODMAN)
    by_docker["HostConfig"]["Annotations"] = annotations
    assert as_asked_for(by_docker) is by_docker


@pytest.mark.parametrize(
    ("by_podman", "by_docker"),
    [
        ("stopping", "running"),
        ("stopped", "exited"),
        ("initialized", "created"),
        ("running", "running"),
        ("exited", "exited"),
    ],
)
def test_states_have_dockers_names(by_podman: str, by_docker: str) -> None:
    assert state_of(by_podman) == by_docker


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"Running": True, "Status": "running"}, True),
        ({"Running": False, "Status": "stopping"}, True),
        ({"Running": False, "Status": "exited"}, False),
        ({"Running": True}, True),
    ],
)
def test_a_container_that_is_about_to_stop_still_runs(
    state: dict[str, Any],
    expected: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert runs(state) is expected
