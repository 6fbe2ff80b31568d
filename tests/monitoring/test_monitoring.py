"""compose/monitoring: Prometheus reads our metrics, and knows every one that is asked of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from autoscaler.core.host_memory import HostMemory
from autoscaler.core.override import Override
from autoscaler.core.report import LimitReport
from autoscaler.telemetry.metrics import Metrics
from tests.fakes.reports import broken, integration, scaled, service, tick
from tests.real.prometheus import PrometheusServer, promtool
from tests.real.site import ServedSite
from tests.real.waiting import until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "compose/monitoring"
CONFIGURATION = FOLDER / "prometheus/prometheus.yaml"
RULES = FOLDER / "prometheus/alerts.yaml"
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/autoscaler.json").read_text("utf-8"))
PAGE = ROOT / "docs/metrics.md"


def busy(metrics: Metrics | ServedSite) -> None:
    """Let every metric have a series."""
    now = datetime.now(UTC)
    worker = scaled(service(waiting=40, busy=1, draining=1, throughput=1.1, chooses_any=True), 4)
    paused = Override(worker.service, "mode", "off", now, now + timedelta(hours=1), "anna")
    metrics.observe(
        tick(
            worker,
            broken(),
            at=now,
            overrides=(paused,),
            integrations=(integration(expires_at=now + timedelta(days=9)),),
            limits=(LimitReport("group gpu", 4, 3, 9),),
            memory=HostMemory(total=16, free=6, reserve=1),
        )
    )


def exposition() -> str:
    metrics = Metrics()
    busy(metrics)
    return metrics.exposition("")[0].decode()


def known() -> dict[str, set[str]]:
    """Return each series that the code makes, with the names of its labels."""
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"(?m)^(autoscaler_\w+)(?:\{(.*)\})? ", exposition()):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def expressions() -> list[str]:
    rules = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
    targets = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
    variables = [variable["definition"] for variable in DASHBOARD["templating"]["list"]]
    return [*(rule["expr"] for rule in rules), *(one["expr"] for one in targets), *variables]


def test_every_metric_of_dashboard_and_rules_is_one_that_the_code_makes() -> None:
    asked = {name for text in expressions() for name in re.findall(r"autoscaler_\w+", text)}
    assert asked
    assert asked <= set(known())


def test_every_label_of_dashboard_and_rules_is_one_that_the_metric_has() -> None:
    made = known()
    for text in expressions():
        for name, labels in re.findall(r"(autoscaler_\w+)\{(.*?)\}", text):
            assert set(re.findall(r"(\w+)(?:=~|!=|=)", labels)) <= made[name], text


def test_every_metric_is_on_the_dashboard_and_in_the_documentation() -> None:
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known()}
    shown = " ".join(expressions())
    documented = set(re.findall(r"(?m)^\| `(autoscaler_\w+)", PAGE.read_text("utf-8")))

    assert [name for name in sorted(families) if name not in shown] == []
    assert documented == families


def test_every_alert_is_in_the_documentation() -> None:
    rules = yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in PAGE.read_text()] == []


def test_panels_do_not_overlap() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not mine & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= mine


def test_grafana_finds_its_source_and_its_dashboard_where_compose_mounts_them() -> None:
    services: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    inside = {target: FOLDER / source for source, target in mounts.items() if source[0] == "."}
    (provider,) = yaml.safe_load(
        (inside["/etc/grafana/provisioning"] / "dashboards/autoscaler.yaml").read_text()
    )["providers"]
    (source,) = yaml.safe_load(
        (inside["/etc/grafana/provisioning"] / "datasources/prometheus.yaml").read_text()
    )["datasources"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder = inside[provider["options"]["path"]]

    assert (folder / Path(home).name).exists()
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.prometheus
class TestPrometheus:
    def test_promtool_finds_nothing_wrong_with_the_metrics(self) -> None:
        done = promtool("check", "metrics", text=exposition())
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_promtool_finds_nothing_wrong_with_the_rules(self) -> None:
        done = promtool("check", "rules", str(RULES))
        assert done.returncode == 0, done.stderr
        assert "14 rules found" in done.stdout

    def test_promtool_finds_nothing_wrong_with_the_configuration(self) -> None:
        done = promtool("check", "config", str(CONFIGURATION))
        assert done.returncode == 0, done.stderr

    def test_every_alert_fires_when_it_should_and_only_then(self) -> None:
        done = promtool("test", "rules", str(Path(__file__).with_name("alerts.yaml")))
        assert done.returncode == 0, done.stdout + done.stderr

    def test_every_panel_asks_what_prometheus_understands(self, tmp_path: Path) -> None:
        targets = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
        rules = [
            {
                "record": f"panel:{number}",
                "expr": target["expr"].replace("$__rate_interval", "5m").replace("$service", ".*"),
            }
            for number, target in enumerate(targets)
        ]
        file = tmp_path / "panels.yaml"
        file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
        done = promtool("check", "rules", str(file))
        assert done.returncode == 0, done.stdout + done.stderr


TOKEN = "correct-horse-battery-staple"


@pytest.fixture(params=[None, TOKEN], ids=["open", "with-a-token"])
def scraped(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[ServedSite, PrometheusServer]]:
    """A daemon, and a Prometheus with the example's configuration that scrapes it."""
    token: str | None = request.param
    with ServedSite(token) as site:
        busy(site)
        text = CONFIGURATION.read_text("utf-8").replace("autoscaler:8080", f"127.0.0.1:{site.port}")
        if token is not None:
            text = re.sub(r"# (authorization:\n.*)# (  credentials_file)", r"\1\2", text)
            (tmp_path / "token").write_text(token)
        configuration = tmp_path / CONFIGURATION.name
        configuration.write_text(text.replace("_interval: 10s", "_interval: 1s"))
        (tmp_path / RULES.name).write_text(RULES.read_text("utf-8"))
        with PrometheusServer(configuration, tmp_path) as server:
            yield site, server


@pytest.mark.prometheus
def test_prometheus_scrapes_every_metric(scraped: tuple[ServedSite, PrometheusServer]) -> None:
    _, server = scraped
    until(lambda: server.query('up{job="autoscaler"} == 1'), "a scrape that went well")
    (target,) = server.targets()
    names = {labels["__name__"] for labels, _ in server.query('{__name__=~"autoscaler_.+"}')}

    assert target["lastError"] == ""
    assert names == set(known())
    ((labels, waiting),) = server.query("sum by (service) (autoscaler_backlog_tasks)")
    assert (labels["service"], waiting) == ("shop/worker", 40)
    until(lambda: set(server.rules().values()) == {"ok"}, "rules that could all be evaluated")


def test_a_scrape_of_a_thousand_services_is_quick_and_small() -> None:
    """Bounded: the size depends on services, queues and reasons, not on time."""
    with ServedSite() as site:
        many = [service(f"shop/worker-{number}", number) for number in range(1000)]
        for _ in range(3):
            site.observe(tick(*many))
        with urlopen(f"{site.url}metrics", timeout=30) as answer:
            first = answer.read()
        site.observe(tick(*many))
        with urlopen(f"{site.url}metrics", timeout=30) as answer:
            second = answer.read()
    assert first.count(b"\n") == second.count(b"\n")
    assert len(first) < 1_500_000
