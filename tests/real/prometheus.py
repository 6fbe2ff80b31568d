"""A real Prometheus, and its promtool."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from urllib.request import urlopen

import yaml

from tests.real.waiting import free_port, until

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "compose/monitoring/prometheus"
"""The configuration and the alert rules that we give to users."""
FOLDER = ROOT / ".cache/prometheus"
PROMETHEUS_TOOLS = (str(FOLDER / "prometheus"), str(FOLDER / "promtool"))


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool with `text` as its input."""
    return subprocess.run(
        [PROMETHEUS_TOOLS[1], *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class PrometheusServer:
    """Prometheus on a free port of the loopback address, with its data in a folder."""

    def __init__(self, configuration: Path, folder: Path) -> None:
        self._port = free_port()
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    PROMETHEUS_TOOLS[0],
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._ready, "an answer of Prometheus")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the current value of each series of an expression."""
        found = self._get(f"query?query={quote(expression)}")["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def targets(self) -> list[dict[str, Any]]:
        """Return the targets that it scrapes, each with its health."""
        found: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return found

    def rules(self) -> dict[str, str]:
        """Return the health of every alert rule."""
        groups = self._get("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    def firing(self) -> set[tuple[str, str]]:
        """Return the alerts that fire now, each with the service or integration that it names.

        The second is empty where an alert names neither.
        """
        return {
            (found["labels"]["alertname"], _about(found["labels"]))
            for found in self._get("alerts")["alerts"]
            if found["state"] == "firing"
        }

    def _get(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}", timeout=30) as answer:
            return json.load(answer)["data"]

    def _ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=5):
                return True
        except OSError:
            return False


def watch(folder: Path, url: str) -> PrometheusServer:
    """Start a Prometheus that scrapes a daemon with the example's configuration and rules.

    The rules have shorter times. What they ask for stays as it is.
    """
    target = url.removeprefix("http://").rstrip("/")
    text = (EXAMPLE / "prometheus.yaml").read_text("utf-8").replace("autoscaler:8080", target)
    configuration = folder / "prometheus.yaml"
    configuration.write_text(text.replace("_interval: 10s", "_interval: 1s"))
    rules = re.sub(r"for: \d+m", "for: 1s", (EXAMPLE / "alerts.yaml").read_text("utf-8"))
    rules = rules.replace("[10m:30s]", "[10m:1s]").replace("_seconds > 600", "_seconds > 1")
    (folder / "alerts.yaml").write_text(rules)
    return PrometheusServer(configuration, folder)


def severities() -> dict[str, str]:
    """Return the severity of every alert rule."""
    rules = yaml.safe_load((EXAMPLE / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
    return {rule["alert"]: rule["labels"]["severity"] for rule in rules}


def _about(labels: dict[str, str]) -> str:
    return labels.get("service") or labels.get("integration") or ""
