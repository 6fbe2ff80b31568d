"""The recipe: what to send to the engine so that Compose takes the replica for its own."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.orchestrators.compose import recipe as recipes

ID = "0123456789ab" + "c" * 52
ANONYMOUS = "f" * 64
OLD_API, NEW_API = (1, 41), (1, 44)


def inspect(
    *,
    name: str = "shop-worker-1",
    config: dict[str, Any] | None = None,
    host: dict[str, Any] | None = None,
    networks: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Return what the engine says of replica 1 of a plain service, with changes."""
    return {
        "Id": ID,
        "Name": f"/{name}",
        "Image": "sha256:abc",
        "Config": {
            "Image": "shop/worker:latest",
            "Hostname": ID[:12],
            "Entrypoint": [],
            "Labels": {
                recipes.PROJECT: "shop",
                recipes.SERVICE: "worker",
                recipes.NUMBER: "1",
                recipes.CONFIG_HASH: "h1",
                "temporal.queue": "orders",
            }
            | (labels or {}),
        }
        | (config or {}),
        "HostConfig": {"NetworkMode": "shop_default"} | (host or {}),
        "NetworkSettings": {
            "Networks": {
                "shop_default": {"Aliases": [name, ID[:12], "worker"], "IPAddress": "172.18.0.2"}
            }
            if networks is None
            else networks
        },
    }


def make(
    template: dict[str, Any],
    number: int = 4,
    *,
    api: tuple[int, int] = NEW_API,
    image_is_current: bool = True,
) -> recipes.Recipe:
    """Describe another replica of a template."""
    return recipes.write_recipe(template, number, api=api, image_is_current=image_is_current)


class TestNameAndLabels:
    @pytest.mark.parametrize(
        ("template_name", "made"),
        [
            pytest.param("shop-worker-1", "shop-worker-4", id="as-compose-names-them"),
            pytest.param("shop_worker_1", "shop_worker_4", id="as-in-compatibility-mode"),
        ],
    )
    def test_name_and_number_agree(self, template_name: str, made: str) -> None:
        recipe = make(inspect(name=template_name))
        assert recipe.name == made
        assert recipe.body["Labels"][recipes.NUMBER] == "4"

    def test_all_other_labels_are_kept_but_for_the_mark_of_a_recreate(self) -> None:
        template = inspect(labels={recipes.REPLACE: "shop-worker-1", "own": "label"})
        labels = make(template).body["Labels"]
        assert labels == {
            recipes.PROJECT: "shop",
            recipes.SERVICE: "worker",
            recipes.NUMBER: "4",
            recipes.CONFIG_HASH: "h1",
            "temporal.queue": "orders",
            "own": "label",
        }


class TestConfig:
    def test_the_image_is_named_while_the_name_still_leads_to_it(self) -> None:
        assert make(inspect()).body["Image"] == "shop/worker:latest"

    def test_otherwise_the_image_is_the_one_the_template_runs(self) -> None:
        assert make(inspect(), image_is_current=False).body["Image"] == "sha256:abc"

    def test_what_is_set_is_passed_on_as_it_is(self) -> None:
        settings = {
            "Env": ["A=1"],
            "Cmd": ["run"],
            "Entrypoint": [],
            "StopSignal": "SIGQUIT",
            "StopTimeout": 90,
            "Healthcheck": {"Test": ["CMD", "true"]},
            "Volumes": {"/data": {}},
        }
        body = make(inspect(config=settings)).body
        assert {key: body[key] for key in settings} == settings

    def test_a_host_name_of_ones_own_is_kept(self) -> None:
        assert make(inspect(config={"Hostname": "worker"})).body["Hostname"] == "worker"

    @pytest.mark.parametrize(
        ("config", "host"),
        [
            pytest.param({}, {}, id="made-up-by-the-engine"),
            pytest.param({"Hostname": "x"}, {"NetworkMode": "container:abc"}, id="other-container"),
            pytest.param({"Hostname": "x"}, {"UTSMode": "host"}, id="the-hosts-own"),
        ],
    )
    def test_a_host_name_that_cannot_be_set_again_is_left_out(
        self, config: dict[str, Any], host: dict[str, Any]
    ) -> None:
        assert "Hostname" not in make(inspect(config=config, host=host)).body

    def test_a_hardware_address_is_never_given_twice(self) -> None:
        endpoint = {"Aliases": [], "MacAddress": "02:42:ac:12:00:02"}
        template = inspect(
            config={"MacAddress": "02:42:ac:12:00:02"}, networks={"shop_default": endpoint}
        )
        assert "02:42" not in str(make(template).body)

    def test_the_template_is_left_as_it_was(self) -> None:
        template = inspect(
            labels={recipes.REPLACE: "x"},
            host={
                "Binds": [f"{ANONYMOUS}:/data"],
                "Mounts": [{"Type": "volume", "Source": ANONYMOUS, "Target": "/x"}],
            },
        )
        before = copy.deepcopy(template)
        make(template, image_is_current=False)
        assert template == before


class TestVolumes:
    def test_an_anonymous_volume_is_made_anew(self) -> None:
        host = {
            "Mounts": [{"Type": "volume", "Source": ANONYMOUS, "Target": "/data"}],
            "Binds": [f"{ANONYMOUS}:/cache:rw"],
        }
        made = make(inspect(host=host)).body["HostConfig"]
        assert made["Mounts"] == [{"Type": "volume", "Target": "/data"}]
        assert made["Binds"] == []

    def test_named_volumes_and_folders_are_shared(self) -> None:
        host = {
            "Mounts": [
                {"Type": "volume", "Source": "shop_data", "Target": "/data"},
                {"Type": "bind", "Source": f"/{ANONYMOUS}", "Target": "/cfg"},
                {"Type": "tmpfs", "Target": "/tmp"},
            ],
            "Binds": ["shop_data:/data", "/etc/app:/cfg:ro"],
        }
        made = make(inspect(host=host)).body["HostConfig"]
        assert made["Mounts"] == host["Mounts"]
        assert made["Binds"] == host["Binds"]


class TestNetworks:
    def test_it_answers_to_its_own_name_and_the_services_not_to_the_templates(self) -> None:
        made = make(inspect())
        assert made.body["NetworkingConfig"]["EndpointsConfig"] == {
            "shop_default": {"Aliases": ["shop-worker-4", "worker"]}
        }
        assert made.connect == {}

    def test_only_what_was_configured_is_passed_on(self) -> None:
        endpoint = {
            "Aliases": None,
            "Links": ["db:db"],
            "DriverOpts": {"a": "b"},
            "GwPriority": 1,
            "IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]},
            "NetworkID": "n",
            "EndpointID": "e",
            "IPAddress": "172.18.0.2",
        }
        made = make(inspect(networks={"shop_default": endpoint}))
        assert made.body["NetworkingConfig"]["EndpointsConfig"]["shop_default"] == {
            "Aliases": ["shop-worker-4"],
            "Links": ["db:db"],
            "DriverOpts": {"a": "b"},
            "GwPriority": 1,
            "IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]},
        }

    @pytest.mark.parametrize(
        ("api", "at_create"),
        [
            pytest.param((1, 43), ["shop_default"], id="only-the-first-before-1.44"),
            pytest.param((1, 44), ["other", "shop_default"], id="all-from-1.44-on"),
            pytest.param((2, 0), ["other", "shop_default"], id="all-on-any-later-one"),
        ],
    )
    def test_every_network_is_joined_before_the_start(
        self, api: tuple[int, int], at_create: list[str]
    ) -> None:
        networks: dict[str, Any] = {"other": {}, "shop_default": {}}
        made = make(inspect(networks=networks), api=api)
        created = made.body["NetworkingConfig"]["EndpointsConfig"]
        assert sorted(created) == at_create
        assert sorted([*created, *made.connect]) == ["other", "shop_default"]

    @pytest.mark.parametrize("mode", ["bridge", "default", "host", "none", "container:abc"])
    def test_where_there_are_no_aliases_none_are_set(self, mode: str) -> None:
        networks = {mode: {"Aliases": None}}
        made = make(inspect(host={"NetworkMode": mode}, networks=networks), api=OLD_API)
        assert made.body["NetworkingConfig"]["EndpointsConfig"] == {}
        assert made.connect == {}

    def test_a_network_of_network_mode_gives_no_alias_as_with_compose(self) -> None:
        networks = {"own": {"Aliases": [ID[:12]], "IPAMConfig": None, "Links": None}}
        made = make(inspect(host={"NetworkMode": "own"}, networks=networks), api=OLD_API)
        assert made.body["NetworkingConfig"]["EndpointsConfig"] == {"own": {}}

    def test_links_get_the_new_number_whatever_the_linked_containers_are_called(self) -> None:
        links = [
            "special:db", "special:db-1", "special:shop-db-1",
            "shop-db2-1:x-1", "shop-db2-1:db2-1", "shop-db2-1:shop-db2-1",
        ]  # fmt: skip
        networks = {"shop_default": {"Aliases": ["shop-worker-1", "worker"], "Links": links}}
        made = make(inspect(networks=networks))
        assert made.body["NetworkingConfig"]["EndpointsConfig"]["shop_default"]["Links"] == [
            "special:db", "special:db-4", "special:shop-db-4",
            "shop-db2-1:x-1", "shop-db2-1:db2-4", "shop-db2-1:shop-db2-4",
        ]  # fmt: skip

    def test_a_template_that_was_renamed_keeps_its_first_name_for_itself(self) -> None:
        networks = {"shop_default": {"Aliases": ["shop-worker-1", "worker"]}}
        made = make(inspect(name="my-own", networks=networks))
        endpoint = made.body["NetworkingConfig"]["EndpointsConfig"]["shop_default"]
        assert endpoint["Aliases"] == ["shop-worker-4", "worker"]


class TestCeiling:
    def test_a_plain_service_has_none(self) -> None:
        assert recipes.ceiling(inspect()) is None

    @pytest.mark.parametrize(
        ("template", "because"),
        [
            pytest.param(inspect(name="worker"), "container_name is set to worker", id="name"),
            pytest.param(
                inspect(host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}),
                "host port 8080 is published for 80/tcp",
                id="port",
            ),
            pytest.param(
                inspect(networks={"shop_default": {"IPAMConfig": {"IPv4Address": "10.0.0.5"}}}),
                "fixed address 10.0.0.5 in network shop_default",
                id="ipv4",
            ),
            pytest.param(
                inspect(networks={"shop_default": {"IPAMConfig": {"IPv6Address": "fd00::5"}}}),
                "fixed address fd00::5",
                id="ipv6",
            ),
        ],
    )
    def test_what_exists_only_once_allows_one_replica(
        self, template: dict[str, Any], because: str
    ) -> None:
        ceiling = recipes.ceiling(template)
        assert ceiling is not None
        assert ceiling.replicas == 1
        assert because in ceiling.because

    @pytest.mark.parametrize(
        "bindings",
        [
            pytest.param(None, id="no-ports"),
            pytest.param({"80/tcp": None}, id="exposed-only"),
            pytest.param({"80/tcp": [{"HostPort": ""}]}, id="any-free-port"),
            pytest.param({"80/tcp": [{"HostPort": "0"}]}, id="any-free-port-as-zero"),
            pytest.param({"80/tcp": [{"HostIp": "127.0.0.1"}]}, id="any-free-port-unsaid"),
            pytest.param({"80/tcp": [{"HostPort": "8000-8010"}]}, id="a-range"),
        ],
    )
    def test_ports_that_are_not_fixed_set_no_ceiling(self, bindings: object) -> None:
        assert recipes.ceiling(inspect(host={"PortBindings": bindings})) is None

    def test_a_range_of_ports_is_taken_from_one_replica_at_a_time(self) -> None:
        ranged = inspect(host={"PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}]}})
        free = inspect(host={"PortBindings": {"80/tcp": [{"HostPort": ""}], "81/tcp": None}})
        assert recipes.starts_one_by_one(ranged)
        assert not recipes.starts_one_by_one(free)
        assert not recipes.starts_one_by_one(inspect())


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        pytest.param({}, 10, id="dockers-own"),
        pytest.param({"StopTimeout": None}, 10, id="nothing-set"),
        pytest.param({"StopTimeout": 300}, 300, id="its-own"),
        pytest.param({"StopTimeout": 0}, 0, id="none-at-all"),
        pytest.param({"StopTimeout": -1}, -1, id="as-long-as-it-takes"),
    ],
)
def test_the_grace_is_the_containers_own(config: dict[str, Any], seconds: int) -> None:
    assert recipes.grace(inspect(config=config)) == seconds


@pytest.mark.parametrize(
    ("name", "recreated"),
    [
        ("0123456789ab_shop-worker-1", True),
        ("shop-worker-1", False),
        ("0123456789a_shop-worker-1", False),
        ("my_0123456789ab_worker", False),
        ("0123456789ab_of-its-own", False),
    ],
)
def test_a_container_that_is_being_recreated_shows_by_its_name(
    name: str, *, recreated: bool
) -> None:
    labels = {recipes.PROJECT: "shop", recipes.SERVICE: "worker", recipes.NUMBER: "1"}
    assert recipes.being_recreated(name, labels) is recreated


def test_a_project_whose_name_looks_like_an_id_is_not_being_recreated() -> None:
    labels = {recipes.PROJECT: "deadbeef1234", recipes.SERVICE: "web", recipes.NUMBER: "1"}
    assert not recipes.being_recreated("deadbeef1234_web_1", labels)


@pytest.mark.parametrize(
    ("config", "chosen"),
    [
        pytest.param({}, None, id="left-to-docker"),
        pytest.param({"StopTimeout": None}, None, id="said-to-be-left-to-docker"),
        pytest.param({"StopTimeout": 90}, timedelta(seconds=90), id="chosen"),
        pytest.param({"StopTimeout": 10}, timedelta(seconds=10), id="chosen-as-docker-would"),
        pytest.param({"StopTimeout": 0}, timedelta(), id="killed-at-once"),
        pytest.param({"StopTimeout": -1}, timedelta.max, id="never-killed"),
    ],
)
def test_a_grace_that_somebody_chose_is_told_from_dockers(
    config: dict[str, Any], chosen: timedelta | None
) -> None:
    assert recipes.chosen_grace(inspect(config=config)) == chosen


OTHER = "fedcba987654" + "c" * 52


@pytest.mark.parametrize(
    ("config", "host"),
    [
        pytest.param({}, OTHER[:12], id="docker-made-it-up"),
        pytest.param({"Hostname": ""}, OTHER[:12], id="the-engine-says-none"),
        pytest.param({"Hostname": None}, OTHER[:12], id="the-engine-says-nothing"),
        pytest.param({"Hostname": "box"}, "box", id="set-by-hand"),
        pytest.param({"Hostname": OTHER[:12]}, OTHER[:12], id="set-by-hand-to-look-made-up"),
    ],
)
def test_the_host_name_is_the_short_id_unless_another_was_chosen(
    config: dict[str, Any], host: str
) -> None:
    assert recipes.Traits.of(inspect(config=config)).host_name(OTHER) == host


def test_the_host_name_of_the_template_is_its_own() -> None:
    assert recipes.Traits.of(inspect()).host_name(ID) == ID[:12]
