"""autoscaler status: what the running daemon last saw and did, read over HTTP."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from autoscaler.cli import commands
from autoscaler.cli.status import picture
from autoscaler.core.host_memory import HostMemory
from autoscaler.core.model import ServiceId
from autoscaler.core.override import Override
from autoscaler.core.report import LimitReport, ServiceReport
from autoscaler.web.board import Board
from tests.fakes.clock import START
from tests.fakes.reports import broken, compose, integration, scaled, service, tick
from tests.real.site import ABOUT, ServedSite
from tests.real.waiting import free_port

TOKEN = "correct-horse-battery-staple"
Env = pytest.MonkeyPatch


@pytest.fixture
def site(monkeypatch: Env) -> Iterator[ServedSite]:
    """A daemon where the settings say that it listens."""
    with ServedSite() as served:
        monkeypatch.setenv("AUTOSCALER_LISTEN", f"127.0.0.1:{served.port}")
        yield served


def status(*options: str) -> Result:
    """Run `autoscaler status` on a wide terminal."""
    return CliRunner().invoke(commands, ["status", *options], env={"COLUMNS": "300"})


def cells(result: Result, name: str) -> list[str]:
    """Return the cells of the row that begins with a name."""
    rows = [line for line in result.stdout.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in rows[0].strip("│").split("│")]


def now() -> datetime:
    return datetime.now(UTC)


class TestTable:
    def test_each_service_is_a_row(self, site: ServedSite) -> None:
        busy = scaled(service(waiting=1040, replicas=2, busy=2, draining=3), 20)
        site.observe(tick(busy, service("shop/scans"), at=now()))
        result = status()
        assert result.exit_code == 0
        assert cells(result, "shop/worker") == [
            "shop/worker",
            "orders",
            "1,040",
            "2 -> 20",
            "1,040 waiting tasks at target 10 → 104",
        ]
        assert "oldest 22s" in result.stdout
        assert "1-20, 2 busy, 3 draining" in result.stdout
        assert "looked 0s ago" in result.stdout
        assert "0s ago: 2 -> 20" in result.stdout
        assert cells(result, "shop/scans")[2:4] == ["0", "1"]

    def test_for_programs_it_is_what_the_daemon_answers(self, site: ServedSite) -> None:
        site.observe(tick(broken(), service(waiting=7), at=now()))
        result = status("--json")
        assert result.exit_code == 1
        answer = json.loads(result.stdout)
        assert [row["service"] for row in answer["services"]] == ["shop/mailer", "shop/worker"]
        assert answer["services"][1]["backlog"] == 7

    def test_an_object_is_not_shown_again_and_again(self) -> None:
        result = status("--json", "--watch")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--watch and --json are both given: keep one of them" in result.stderr

    def test_trouble_is_a_bad_exit_with_its_words(self, site: ServedSite) -> None:
        site.observe(tick(broken(), service(warnings=("take care",)), at=now()))
        result = status()
        assert result.exit_code == 1
        assert cells(result, "shop/mailer")[2] == "unknown"
        assert "error: temporal.quue is not a label" in result.stdout
        assert "warning: take care" in result.stdout

    def test_a_service_that_only_would_be_scaled_says_so(self, site: ServedSite) -> None:
        site.observe(tick(service(waiting=40, desired=4, dry_run=True), at=now()))
        assert "dry run: nothing is changed" in status().stdout

    def test_what_is_set_live_is_shown_with_the_time_left(self, site: ServedSite) -> None:
        worker, at = ServiceId("compose", "shop/worker"), now()
        pause = Override(worker, "mode", "off", at, at + timedelta(minutes=30), "anna", "deploy")
        site.observe(tick(service(), at=at, overrides=(pause,)))
        text = status().stdout
        assert "paused until " in text
        assert "left) by anna: deploy" in text

    def test_what_services_share_is_shown_with_what_they_wish(self, site: ServedSite) -> None:
        limits = (LimitReport("group gpu", 4, 4, 1200), LimitReport("all services", 20, 1, 1))
        site.observe(tick(service(), at=now(), limits=limits))
        text = status().stdout
        assert "group gpu: 4 of 4 replicas, 1,200 wished" in text
        assert "all services: 1 of 20 replicas\n" in text

    def test_connections_show_state_error_and_expiry(self, site: ServedSite) -> None:
        soon = now() + timedelta(days=9)
        found = (
            integration(expires_at=soon),
            integration("cloud", up=False, error="check the API key"),
            integration("spare", up=None),
        )
        site.observe(tick(service(), at=now(), integrations=found))
        result = status()
        assert cells(result, "default")[1:] == ["temporal:7233", "default", "up"]
        assert f"expires {soon:%Y-%m-%d}" in result.stdout
        assert cells(result, "cloud")[3] == "down"
        assert "check the API key" in result.stdout
        assert cells(result, "spare")[3] == "not used"

    def test_the_memory_of_the_host_is_one_line(self, site: ServedSite) -> None:
        site.observe(tick(service(), at=now()))
        assert "memory" not in status().stdout
        known = HostMemory(total=16 * 2**30, free=6 * 2**30, reserve=1600 * 2**20)
        site.observe(tick(service(), at=now(), memory=known))
        line = "memory of the host: 6 GiB of 16 GiB free, growth leaves 1.6 GiB"
        assert line in status().stdout

    def test_without_an_engine_what_was_seen_before_is_marked(self, site: ServedSite) -> None:
        site.observe(tick(service(), at=now()))
        site.observe(tick(at=now(), errors=("no Docker Engine",), unseen=compose("shop/worker")))
        result = status()
        assert result.exit_code == 1
        assert "error: no Docker Engine" in result.stdout
        assert "not seen at the latest look" in result.stdout

    @pytest.mark.parametrize(
        ("services", "words"),
        [
            pytest.param(None, "has not looked yet", id="before-the-first-tick"),
            pytest.param((), "No service carries a label", id="no-service"),
        ],
    )
    def test_where_there_is_nothing_it_says_so(
        self, site: ServedSite, services: tuple[ServiceReport, ...] | None, words: str
    ) -> None:
        if services is not None:
            site.observe(tick(*services, at=now()))
        result = status()
        assert result.exit_code == 0
        assert words in result.stdout

    def test_square_brackets_are_nothing_but_square_brackets(self, site: ServedSite) -> None:
        site.observe(tick(service("shop/[red]", errors=("[/many]",)), at=now()))
        result = status()
        assert "shop/[red]" in result.stdout
        assert "error: [/many]" in result.stdout


class TestNoAnswer:
    def fails_with(self, *words: str) -> None:
        result = status()
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("autoscaler: ")
        assert all(word in line for word in words), line

    def test_no_daemon_is_one_line_that_says_what_to_do(self, monkeypatch: Env) -> None:
        address = f"127.0.0.1:{free_port()}"
        monkeypatch.setenv("AUTOSCALER_LISTEN", address)
        self.fails_with(address, "Connection refused", "`autoscaler run`")

    def test_a_daemon_that_listens_everywhere_is_asked_nearby(self, monkeypatch: Env) -> None:
        port = free_port()
        monkeypatch.setenv("AUTOSCALER_LISTEN", f"0.0.0.0:{port}")
        self.fails_with(f"127.0.0.1:{port}")

    @pytest.mark.parametrize("given", ["", "some-other-token-here"])
    def test_the_token_must_be_the_daemons(self, monkeypatch: Env, given: str) -> None:
        with ServedSite(TOKEN) as locked:
            monkeypatch.setenv("AUTOSCALER_LISTEN", f"127.0.0.1:{locked.port}")
            monkeypatch.setenv("AUTOSCALER_ACCESS_TOKEN", given)
            self.fails_with("AUTOSCALER_ACCESS_TOKEN")

    def test_with_the_token_it_is_answered(self, monkeypatch: Env) -> None:
        with ServedSite(TOKEN) as locked:
            locked.observe(tick(service(), at=now()))
            monkeypatch.setenv("AUTOSCALER_LISTEN", f"127.0.0.1:{locked.port}")
            monkeypatch.setenv("AUTOSCALER_ACCESS_TOKEN", TOKEN)
            assert "shop/worker" in status().stdout

    def test_something_else_on_the_port_is_said(self, site: ServedSite, monkeypatch: Env) -> None:
        monkeypatch.setattr("autoscaler.web.board.Board.services", lambda _: 1 / 0)
        assert site.port
        self.fails_with("is no autoscaler (status 500)")


def test_watch_goes_on_while_the_daemon_is_lost_until_it_is_interrupted(
    site: ServedSite, monkeypatch: Env
) -> None:
    site.observe(tick(service(), at=now()))
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            site.stop()
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    result = status("--watch")
    assert result.exit_code == 0
    assert looks == [2.0, 2.0, 2.0]
    assert "lost: no daemon answers" in result.stdout
    assert "shop/worker" in result.stdout, "what was seen last stays to be seen"


def test_the_example_in_the_documentation_is_what_it_prints() -> None:
    page = Path(__file__).parents[3] / "docs/status-page.md"
    if not page.exists():
        pytest.skip("the documentation is not in the image")
    board = Board(ABOUT, lambda: 0.0)
    busy = service(waiting=142, replicas=14, busy=14)
    idle = service("shop/scans", queue="scans", replicas=0, desired=0, min=0, max=5)
    board.observe(tick(scaled(busy, 15), idle, integrations=(integration(),)))
    written = io.StringIO()
    console = Console(file=written, width=98)
    console.print(picture(board.services(), START + timedelta(seconds=2)))
    assert written.getvalue() in page.read_text("utf-8")
