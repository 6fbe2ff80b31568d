"""scale-flags: what runs, as options for docker compose up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autoscaler.cli import commands
from autoscaler.core.model import ServiceId
from autoscaler.core.report import ServiceReport
from tests.fakes.reports import compose, service, tick
from tests.real.site import ServedSite
from tests.real.waiting import free_port

Env = pytest.MonkeyPatch


@pytest.fixture
def site(monkeypatch: Env, tmp_path: Path) -> Iterator[ServedSite]:
    """A daemon where the settings say that it listens."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with ServedSite() as served:
        monkeypatch.setenv("AUTOSCALER_LISTEN", f"127.0.0.1:{served.port}")
        yield served


def flags(*words: str) -> Result:
    return CliRunner().invoke(commands, ["scale-flags", *words])


def test_every_service_with_what_runs(site: ServedSite) -> None:
    site.observe(tick(service(replicas=6), service("shop/mail", replicas=2)))
    assert flags().stdout == "--scale mail=2 --scale worker=6\n"


def test_what_drains_is_counted_because_compose_counts_it(site: ServedSite) -> None:
    site.observe(tick(service(replicas=6, draining=2)))
    assert flags().stdout == "--scale worker=8\n"


def test_at_zero_it_asks_for_one_so_that_the_service_can_wake_again(site: ServedSite) -> None:
    site.observe(tick(service(replicas=0)))
    assert flags().stdout == "--scale worker=1\n"


def test_services_of_a_swarm_have_no_flags(site: ServedSite) -> None:
    swarm = ServiceReport(ServiceId("swarm", "shop_worker"), 3, 3)
    site.observe(tick(service(replicas=6), swarm))
    assert flags().stdout == "--scale worker=6\n"


class TestProjects:
    @pytest.fixture(autouse=True)
    def two(self, site: ServedSite) -> None:
        site.observe(tick(service(replicas=6), service("bank/worker", replicas=2)))

    def test_of_several_one_has_to_be_named(self) -> None:
        result = flags()
        assert (result.exit_code, result.stdout) == (1, "")
        assert "there are several projects: bank, shop; name one" in result.stderr

    def test_the_one_that_is_named_counts(self) -> None:
        assert flags("bank").stdout == "--scale worker=2\n"

    def test_one_that_is_not_there_is_an_error(self) -> None:
        result = flags("bnk")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "project bnk is looked after here (known: bank, shop)" in result.stderr


def test_what_the_daemon_does_not_see_is_not_left_out(site: ServedSite) -> None:
    site.observe(tick(errors=("no Docker Engine answers",), unseen=compose("shop/worker")))
    result = flags()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no Docker Engine answers" in result.stderr


def test_without_a_service_it_says_so(site: ServedSite) -> None:
    site.observe(tick())
    result = flags()
    assert (result.exit_code, result.stdout.strip()) == (0, "")
    assert "no flags" in result.stderr


def test_without_daemon_and_engine_it_is_one_line(monkeypatch: Env, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("AUTOSCALER_LISTEN", f"127.0.0.1:{free_port()}")
    result = flags()
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
