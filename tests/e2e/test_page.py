"""The page, `status`, metrics and health of a daemon while it scales."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.e2e.conftest import RunDaemon, labels
from tests.real.browser import Browser
from tests.real.daemon import autoscaler
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer
from tests.real.waiting import free_port, until, until_async

pytestmark = pytest.mark.engine

TOKEN = "correct-horse-battery-staple"


def get(url: str, **headers: str) -> tuple[int, str]:
    """Request a URL; return the status code and the text."""
    try:
        with urlopen(Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def status(folder: Path, url: str) -> str:
    """Run `autoscaler status` beside a daemon, and return what it prints."""
    settings = {"AUTOSCALER_LISTEN": url.removeprefix("http://").rstrip("/"), "COLUMNS": "200"}
    done = autoscaler(folder, "status", **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.browser
async def test_the_page_follows_a_service_that_scales_without_a_reload(  # noqa: PLR0913, PLR0917
    compose_stage: ComposeStage,
    temporal: TemporalServer,
    run_daemon: RunDaemon,
    queue: str,
    browser: Browser,
    tmp_path: Path,
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue, max="4")})
    daemon = run_daemon(compose_stage)
    name = compose_stage.name("worker")
    card = f".service[data-key='compose:{name}']"
    browser.open(daemon.url)
    browser.shows("1 replica", card)
    browser.run("window.mark = 1")

    tasks = await temporal.enqueue(queue, 45)
    browser.shows("45 waiting", card)
    browser.shows("4 replicas", card)
    # It takes two steps where a tick reads the backlog while the tasks are being added.
    browser.shows("→ 4", "#recent-list")
    assert "at most 4 (max)" in browser.text(card)
    assert browser.violations() == []
    assert "45 " in status(tmp_path, daemon.url)
    _, metrics = get(f"{daemon.url}metrics")
    assert f'autoscaler_scaling_actions_total{{direction="out",service="{name}"}}' in metrics
    assert "autoscaler_temporal_request_seconds_count 0.0" not in metrics

    await temporal.drain(queue, tasks)
    browser.shows("0 waiting", card)
    browser.shows("1 replica", card)
    assert browser.run("return window.mark") == 1
    assert browser.errors() == []

    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.text
    browser.shows("The daemon does not answer", "#banners")


@pytest.mark.browser
def test_a_broken_connection_is_shown_beside_one_that_works(
    compose_stage: ComposeStage, run_daemon: RunDaemon, queue: str, browser: Browser
) -> None:
    services = {"worker": labels(queue), "blind": labels(queue, integration="down")}
    compose_stage.up({"worker": 1, "blind": 1}, services)
    nobody = f"127.0.0.1:{free_port()}"
    daemon = run_daemon(compose_stage, AUTOSCALER_INTEGRATIONS__DOWN__ENDPOINT=nobody)
    blind, worker = (
        f".service[data-key='compose:{compose_stage.name(name)}']" for name in ("blind", "worker")
    )

    browser.open(daemon.url)
    browser.shows("Connection refused", blind)
    browser.shows("Steady", worker)
    shown = {one.text.split("\n")[0]: one.text for one in browser.find_all(".connection")}
    assert "Up" in shown["default"]
    assert "Down" in shown["down"]
    assert nobody in shown["down"]
    assert "unknown" in browser.text(blind)
    assert browser.violations() == []
    assert browser.errors() == []
    _, metrics = get(f"{daemon.url}metrics")
    assert 'autoscaler_integration_up{integration="default"} 1.0' in metrics
    assert 'autoscaler_integration_up{integration="down"} 0.0' in metrics


async def test_a_port_in_use_is_one_log_line_and_scaling_continues(
    compose_stage: ComposeStage, temporal: TemporalServer, run_daemon: RunDaemon, queue: str
) -> None:
    await temporal.enqueue(queue, 25)
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon = run_daemon(compose_stage, AUTOSCALER_LISTEN=address)
        line = daemon.wait_for("status page unavailable")
        assert address in line["error"]
        daemon.wait_for("scaling out", desired=3)
        await until_async(lambda: len(compose_stage.running("worker")) == 3, "3 replicas")
        assert daemon.terminate() == 0
    assert "Traceback" not in daemon.text


def test_a_token_is_required_except_for_health(
    compose_stage: ComposeStage, run_daemon: RunDaemon, queue: str
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    daemon = run_daemon(compose_stage, AUTOSCALER_ACCESS_TOKEN=TOKEN)
    until(lambda: get(f"{daemon.url}readyz")[0] == 200, "a daemon that is ready")

    assert get(f"{daemon.url}healthz")[0] == 200
    for path in ("", "api/services", "api/stream", "metrics"):
        code, text = get(f"{daemon.url}{path}")
        assert (code, compose_stage.project in text) == (401, False)
    assert get(f"{daemon.url}api/services", Authorization="Bearer wrong")[0] == 401
    code, text = get(f"{daemon.url}api/services", Authorization=f"Bearer {TOKEN}")
    assert code == 200
    assert json.loads(text)["services"][0]["service"] == compose_stage.name("worker")
    assert TOKEN not in daemon.text
