"""Other autoscalers on the engine: which look after the same services, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest

from autoscaler.orchestrators.engine import EngineError, Lane
from autoscaler.orchestrators.neighbours import AGAIN, Outlook, daemons
from autoscaler.orchestrators.place import Place
from autoscaler.orchestrators.projects import Projects
from tests.fakes.clock import Clock

T = TypeVar("T")


class Host:
    """An engine that runs autoscalers."""

    def __init__(self) -> None:
        self.inspects: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self.lists = 0

    async def call(self, _what: str, work: Callable[[Any], T], _lane: Lane = Lane.LOOK) -> T:
        return work(self)

    def containers(self, **options: Any) -> list[dict[str, Any]]:
        assert options["filters"] == {
            "label": "org.opencontainers.image.title=temporal-docker-autoscaler",
            "status": "running",
        }
        self.lists += 1
        return [{"Id": id_} for id_ in self.inspects]

    def inspect_container(self, id_: str) -> dict[str, Any]:
        if id_ in self.gone:
            raise EngineError("no such container", 404)
        return self.inspects[id_]

    def run(self, name: str, *env: str, project: str | None = None, verb: str = "run") -> None:
        compose = {"com.docker.compose.project": project, "com.docker.compose.service": "scaler"}
        self.inspects[name] = {
            "Id": name,
            "Name": f"/{name}",
            "Path": "entrypoint.sh",
            "Args": [verb],
            "Config": {"Env": ["PATH=/bin", *env], "Labels": compose if project else None},
        }


@pytest.fixture
def host() -> Host:
    return Host()


def outlook(host: Host, *wanted: str, own: str = "", clock: Clock | None = None) -> Outlook:
    place = Place(containers=(own,)) if own else Place()
    projects = Projects(host, wanted or ["shop"], place)  # type: ignore[arg-type]
    return Outlook(host, projects, place, clock=clock or Clock())  # type: ignore[arg-type]


async def rivals(host: Host, *, acts: bool = True, own: str = "") -> Sequence[str]:
    return await outlook(host, own=own).warnings(None, acts=acts)


@pytest.mark.parametrize(
    ("env", "project", "is_rival"),
    [
        pytest.param([], "shop", True, id="of-the-same-project"),
        pytest.param([], "mail", False, id="of-another-project"),
        pytest.param([], None, True, id="of-none-looks-after-all"),
        pytest.param(["AUTOSCALER_PROJECTS="], "mail", False, id="empty-is-its-own"),
        pytest.param(["AUTOSCALER_PROJECTS=*"], "mail", True, id="all"),
        pytest.param(["AUTOSCALER_PROJECTS=eu, shop"], "mail", True, id="named"),
        pytest.param(["autoscaler_projects=mail"], None, False, id="lower-case"),
        pytest.param(["AUTOSCALER_DRY_RUN=True"], "shop", False, id="dry-run"),
        pytest.param(["AUTOSCALER_LABEL_PREFIX=acme"], "shop", False, id="other-labels"),
    ],
)
async def test_who_scales_the_same_services(
    host: Host,
    env: list[str],
    project: str | None,
    is_rival: bool,  # noqa: FBT001 - a column of the table
) -> None:
    host.run("other", *env, project=project)
    assert bool(await rivals(host)) is is_rival


async def test_it_is_named_with_what_both_look_after_and_what_to_do(host: Host) -> None:
    host.run("other", project="shop")
    (warning,) = await rivals(host)
    assert warning.startswith("container other is another autoscaler and looks after project shop")
    assert "AUTOSCALER_PROJECTS" in warning


async def test_its_own_container_is_no_rival(host: Host) -> None:
    host.run("me", project="shop")
    assert await rivals(host, own="me") == ()


async def test_a_command_that_only_looks_minds_two_daemons_and_not_one(host: Host) -> None:
    host.run("one", project="shop")
    assert await rivals(host, acts=False) == ()
    host.run("two", project="shop")
    (warning,) = await rivals(host, acts=False, own="one")
    assert warning.startswith("containers one and two are autoscalers that both look after")


async def test_a_container_with_another_command_is_no_daemon(host: Host) -> None:
    host.run("other", project="shop", verb="plan")
    assert await daemons(host) == []  # type: ignore[arg-type]


async def test_one_that_goes_meanwhile_is_none(host: Host) -> None:
    host.run("other", project="shop")
    host.gone.add("other")
    assert await rivals(host) == ()


async def test_the_engine_is_asked_once_a_minute(host: Host) -> None:
    clock = Clock()
    made = outlook(host, clock=clock)
    assert await made.warnings(None, acts=True) == ()
    host.run("other", project="shop")
    assert await made.warnings(None, acts=True) == ()
    clock.advance(AGAIN.total_seconds())
    assert len(await made.warnings(None, acts=True)) == 1
    assert host.lists == 2


async def test_a_name_that_matches_nothing_is_a_warning_where_all_projects_are_known(
    host: Host,
) -> None:
    made = outlook(host, "shpo")
    assert await made.warnings(None, acts=True) == ()
    (warning,) = await made.warnings(frozenset({"shop"}), acts=True)
    assert "names 'shpo'" in warning


@pytest.mark.parametrize(
    ("project", "command"),
    [
        ("shop", "docker compose -p shop exec scaler autoscaler"),
        (None, "docker exec -it other autoscaler"),
    ],
)
async def test_it_says_how_to_run_a_command_in_it(
    host: Host, project: str | None, command: str
) -> None:
    host.run("other", project=project)
    (found,) = await daemons(host)  # type: ignore[arg-type]
    assert found.command == command
