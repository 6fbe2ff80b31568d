"""The recipe, row by row, on what real engines say of containers that Compose made.

tests/interop/record.py has recorded them, from engines of API 1.41, 1.45 and 1.51.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.orchestrators.compose import recipe as recipes
from autoscaler.orchestrators.engine import Json

Version = tuple[int, int]

RECORDED: dict[Version, dict[str, Json]] = {
    version: json.loads(
        (Path(__file__).parents[3] / f"data/inspects/api-1.{version[1]}.json").read_text()
    )
    for version in ((1, 41), (1, 45), (1, 51))
}
ANONYMOUS = re.compile(r"[0-9a-f]{64}")
MAC = re.compile(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b")
NUMBER = 7


@pytest.fixture(params=RECORDED, ids=lambda version: f"api-1.{version[1]}")
def api(request: pytest.FixtureRequest) -> Version:
    version: Version = request.param
    return version


@pytest.fixture(params=RECORDED[1, 41])
def template(request: pytest.FixtureRequest, api: Version) -> Json:
    """Every recorded container in turn."""
    return recorded(api, request.param)


def recorded(api: Version, name: str) -> Json:
    return copy.deepcopy(RECORDED[api][name])


def make(template: Json, api: Version, *, image_is_current: bool = True) -> recipes.Recipe:
    return recipes.write_recipe(template, NUMBER, api=api, image_is_current=image_is_current)


def endpoints(recipe: recipes.Recipe) -> Json:
    """Return the endpoint configurations of all networks."""
    return {**recipe.body["NetworkingConfig"]["EndpointsConfig"], **recipe.connect}


class TestEveryContainer:
    def test_name_and_number_agree(self, template: Json, api: Version) -> None:
        recipe = make(template, api)
        service = template["Config"]["Labels"][recipes.SERVICE]
        assert recipe.name == f"shop-{service}-{NUMBER}"
        assert recipe.body["Labels"][recipes.NUMBER] == str(NUMBER)

    def test_labels_differ_in_the_number_alone(self, template: Json, api: Version) -> None:
        labels = {**template["Config"]["Labels"], recipes.NUMBER: str(NUMBER)}
        labels.pop(recipes.REPLACE, None)
        assert make(template, api).body["Labels"] == labels

    def test_what_is_merged_with_the_image_is_verbatim(self, template: Json, api: Version) -> None:
        made, before = make(template, api).body, template["Config"]
        fields = before.keys() - {"Hostname", "Labels", "MacAddress", "Image"}
        assert {"Env", "Cmd", "Entrypoint", "StopTimeout", "Volumes"} <= fields
        # Where there is none, a copy asks for an empty one: the next test.
        before = {**before, "Entrypoint": before["Entrypoint"] or made["Entrypoint"]}
        assert {field: made[field] for field in fields} == {
            field: before[field] for field in fields
        }

    def test_the_host_config_is_verbatim_but_for_the_mounts(
        self, template: Json, api: Version
    ) -> None:
        made = {**make(template, api).body["HostConfig"], "Mounts": None}
        assert made == {**template["HostConfig"], "Mounts": None}

    @pytest.mark.parametrize("current", [True, False])
    def test_the_image_goes_by_its_name_while_that_leads_to_it(
        self, template: Json, api: Version, *, current: bool
    ) -> None:
        image = make(template, api, image_is_current=current).body["Image"]
        assert image == (template["Config"]["Image"] if current else template["Image"])

    def test_of_an_endpoint_only_what_was_asked_for_is_sent(
        self, template: Json, api: Version
    ) -> None:
        for endpoint in endpoints(make(template, api)).values():
            assert endpoint.keys() <= {"Aliases", "Links", "DriverOpts", "GwPriority", "IPAMConfig"}


def test_where_there_is_no_entrypoint_the_one_of_the_image_is_not_taken(api: Version) -> None:
    template = recorded(api, "web-1")
    assert template["Config"]["Entrypoint"] is None
    assert make(template, api).body["Entrypoint"] == [""]


def test_an_empty_entrypoint_stays_an_empty_list(api: Version) -> None:
    assert make(recorded(api, "bare-1"), api).body["Entrypoint"] == []


class TestHostName:
    def test_one_that_the_engine_made_up_is_left_out(self, api: Version) -> None:
        template = recorded(api, "web-1")
        assert template["Config"]["Hostname"] == template["Id"][:12]
        assert "Hostname" not in make(template, api).body

    def test_one_of_its_own_is_kept(self, api: Version) -> None:
        body = make(recorded(api, "named-host-1"), api).body
        assert (body["Hostname"], body["Domainname"]) == ("fixed", "example.test")

    @pytest.mark.parametrize("name", ["beside-1", "host-network-1"])
    def test_where_it_belongs_to_another_it_is_left_out(self, api: Version, name: str) -> None:
        assert "Hostname" not in make(recorded(api, name), api).body


class TestVolumes:
    def test_after_a_recreate_an_anonymous_volume_stands_under_its_name(self, api: Version) -> None:
        template = recorded(api, "web-1 recreated")
        assert set(anonymous_sources(template["HostConfig"])) == {"/anonymous", "/anonymous-long"}
        assert recipes.REPLACE in template["Config"]["Labels"]

    def test_it_is_made_anew(self, api: Version) -> None:
        template = recorded(api, "web-1 recreated")
        made = make(template, api).body["HostConfig"]
        assert list(anonymous_sources(made)) == []
        assert {mount["Target"] for mount in made["Mounts"]} == {
            mount["Target"] for mount in template["HostConfig"]["Mounts"]
        }

    def test_every_other_mount_is_verbatim(self, api: Version) -> None:
        template = recorded(api, "web-1 recreated")
        before, after = (
            {mount["Target"]: mount for mount in host["Mounts"]}
            for host in (template["HostConfig"], make(template, api).body["HostConfig"])
        )
        for target in ("/anonymous", "/anonymous-long"):
            before[target] = {key: v for key, v in before[target].items() if key != "Source"}
        assert after == before


class TestNetworks:
    def test_it_answers_to_its_own_name_the_service_and_the_aliases(self, api: Version) -> None:
        found = {
            network: set(endpoint["Aliases"])
            for network, endpoint in endpoints(make(recorded(api, "web-1"), api)).items()
        }
        own = {f"shop-web-{NUMBER}", "web"}
        assert found == {
            "shop_front": own | {"shop", "web-front"},
            "shop_back": own | {"web-back"},
            "shop_default": own,
        }

    def test_before_api_1_44_networks_beyond_the_first_are_connected_afterwards(
        self, api: Version
    ) -> None:
        recipe = make(recorded(api, "web-1"), api)
        at_create = set(recipe.body["NetworkingConfig"]["EndpointsConfig"])
        every = {"shop_back", "shop_default", "shop_front"}
        # Of the highest priority in the Compose file, though not the first by name.
        first = {recipe.body["HostConfig"]["NetworkMode"]}
        assert first == {"shop_back"}
        assert at_create == (first if api < (1, 44) else every)
        assert set(recipe.connect) == every - at_create

    @pytest.mark.parametrize("name", ["bridge-1", "host-network-1", "no-network-1", "beside-1"])
    def test_where_there_are_no_aliases_none_are_set(self, api: Version, name: str) -> None:
        assert endpoints(make(recorded(api, name), api)) == {}


def test_a_hardware_address_is_not_copied(api: Version) -> None:
    assert not MAC.search(json.dumps(sent(make(recorded(api, "hardware-address-1"), api))))


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("of-its-own", "container_name is set to shop-of-its-own"),
        ("fixed-port-1", "host port 23190 is published for 80/tcp"),
        ("fixed-address-1", "the fixed address 10.231.77.7 in network shop_numbered"),
    ],
)
def test_what_exists_only_once_allows_one_replica(api: Version, name: str, because: str) -> None:
    ceiling = recipes.ceiling(recorded(api, name))
    assert ceiling is not None
    assert ceiling.replicas == 1
    assert because in ceiling.because


@pytest.mark.parametrize("name", ["web-1", "web-1 recreated", "ports-1", "host-network-1"])
def test_all_else_sets_no_ceiling(api: Version, name: str) -> None:
    assert recipes.ceiling(recorded(api, name)) is None


@pytest.mark.parametrize(("name", "alone"), [("ports-1", True), ("web-1", False)])
def test_a_range_of_ports_is_taken_from_one_at_a_time(
    api: Version, name: str, *, alone: bool
) -> None:
    assert recipes.starts_one_by_one(recorded(api, name)) is alone


def test_the_grace_is_the_containers_own(api: Version) -> None:
    assert recipes.grace(recorded(api, "web-1")) == 3


# ------------------------------------------------------- what holds for any container at all

HEX = "0123456789abcdef"
alias = st.from_regex(r"[a-z]{3,9}", fullmatch=True)


@st.composite
def any_template(draw: st.DrawFn) -> tuple[Json, Version]:
    """A recorded container with another id, number, aliases, addresses and anonymous volumes."""
    api = draw(st.sampled_from(list(RECORDED)))
    scalable = [name for name in RECORDED[api] if name != "of-its-own"]
    template = recorded(api, draw(st.sampled_from(scalable)))
    old, new = template["Id"], draw(st.text(HEX, min_size=64, max_size=64))
    text = json.dumps(template).replace(old, new).replace(old[:12], new[:12])
    changed: Json = json.loads(text)
    labels = changed["Config"]["Labels"]
    number = str(draw(st.integers(1, 6)))
    name = f"shop-{labels[recipes.SERVICE]}-{number}"
    labels |= draw(st.dictionaries(alias, alias, max_size=2)) | {recipes.NUMBER: number}
    for endpoint in changed["NetworkSettings"]["Networks"].values():
        if endpoint.get("Aliases"):
            others = [each for each in endpoint["Aliases"] if not each.startswith("shop-")]
            endpoint["Aliases"] = draw(
                st.permutations([name, *others, *draw(st.lists(alias, max_size=2, unique=True))])
            )
    volumes = draw(st.lists(st.text(HEX, min_size=64, max_size=64), max_size=2))
    changed["HostConfig"]["Mounts"] = [
        *(changed["HostConfig"].get("Mounts") or ()),
        *(
            {"Type": "volume", "Source": source, "Target": f"/anonymous-{index}"}
            for index, source in enumerate(volumes)
        ),
    ]
    changed["Name"] = f"/{name}"
    return changed, api


@given(chosen=any_template(), number=st.integers(8, 999), current=st.booleans())
def test_nothing_of_the_template_alone_is_sent(
    chosen: tuple[Json, Version], number: int, *, current: bool
) -> None:
    template, api = chosen
    recipe = recipes.write_recipe(template, number, api=api, image_is_current=current)
    text = json.dumps(sent(recipe))
    assert list(anonymous_sources(recipe.body["HostConfig"])) == []
    assert template["Id"][:12] not in text
    assert not MAC.search(text)
    assert json.dumps(template["Name"].removeprefix("/")) not in text


@given(any_template(), st.integers(8, 999))
def test_labels_differ_in_the_number_and_nothing_else(
    chosen: tuple[Json, Version], number: int
) -> None:
    template, api = chosen
    before = {**template["Config"]["Labels"], recipes.REPLACE: "x", recipes.NUMBER: str(number)}
    after = recipes.write_recipe(template, number, api=api, image_is_current=True).body["Labels"]
    assert {**after, recipes.REPLACE: "x"} == before


@given(any_template(), st.integers(8, 99), st.integers(100, 999), st.text(HEX, min_size=64))
def test_a_replica_of_a_replica_is_the_replica_of_the_template(
    chosen: tuple[Json, Version], first: int, second: int, noise: str
) -> None:
    template, api = chosen
    made = recipes.write_recipe(template, first, api=api, image_is_current=True)
    again = as_inspected(made, template, noise[:64])
    assert normal(recipes.write_recipe(again, second, api=api, image_is_current=True)) == normal(
        recipes.write_recipe(template, second, api=api, image_is_current=True)
    )


def as_inspected(recipe: recipes.Recipe, template: Json, id_: str) -> Json:
    """Return what an engine says of a container made by a recipe."""
    config = {
        key: value
        for key, value in recipe.body.items()
        if key not in ("HostConfig", "NetworkingConfig")
    }
    shared = template["Config"].get("Hostname", "") if "Hostname" not in config else ""
    made_up = template["Config"].get("Hostname") == template["Id"][:12]
    networks = {
        network: {
            **endpoint,
            "Aliases": [*endpoint["Aliases"], id_[:12]],
            "MacAddress": "02:42:ac:12:00:09",
            "IPAddress": "172.18.0.9",
        }
        for network, endpoint in endpoints(recipe).items()
    }
    return {
        "Id": id_,
        "Name": f"/{recipe.name}",
        "Image": template["Image"],
        "Config": {"Hostname": id_[:12] if made_up else shared, **config},
        "HostConfig": recipe.body["HostConfig"],
        "NetworkSettings": {"Networks": networks},
    }


def normal(recipe: recipes.Recipe) -> Json:
    """Return all that is sent, with aliases in any order."""
    every = sent(recipe)
    for endpoint in (
        *every["body"]["NetworkingConfig"]["EndpointsConfig"].values(),
        *every["connect"].values(),
    ):
        endpoint["Aliases"] = sorted(endpoint["Aliases"])
    return every


def sent(recipe: recipes.Recipe) -> Json:
    """Return everything of a recipe that goes to the engine."""
    every: Json = copy.deepcopy(
        {"name": recipe.name, "body": recipe.body, "connect": dict(recipe.connect)}
    )
    return every


def anonymous_sources(host: Json) -> Iterator[str]:
    """Yield the targets of volumes that are named as the engine names anonymous ones."""
    for mount in host.get("Mounts") or ():
        if mount["Type"] == "volume" and ANONYMOUS.fullmatch(mount.get("Source") or ""):
            yield mount["Target"]
    for bind in host.get("Binds") or ():
        source, target, *_ = bind.split(":")
        if ANONYMOUS.fullmatch(source):
            yield target
