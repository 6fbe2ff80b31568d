"""Rewrite the tables of docs/policy.md: python bench/policy_table.py

Replays the traces that the package ships through our controller and through KEDA, as
autoscaler/simulation/keda.py models it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from autoscaler.cli.simulate import rows
from autoscaler.core.spec import ScalingSpec
from autoscaler.simulation.controllers import Autoscaler, Controller
from autoscaler.simulation.keda import Keda
from autoscaler.simulation.replay import Figures, replay
from autoscaler.simulation.trace_files import read_trace, shipped_traces
from autoscaler.simulation.workers import Workers

PAGE = Path(__file__).parents[1] / "docs" / "policy.md"
COMPARED = ("time to drain", "longest wait", "replica-seconds", "changes of direction")
"""Figures by their names in `autoscaler simulate`. Less is better for each of them."""
WORSE = " (+)"
"""Put after a figure of ours that is larger than KEDA's."""

Labels = dict[str, str]


def table(common: Labels, sets: Mapping[str, Labels], names: tuple[str, ...]) -> str:
    """Return a table of shipped traces, replayed with each set of labels and through KEDA."""
    lines = [
        f"| trace | figure | {' | '.join(sets)} | KEDA |",
        f"|---|---|{'---:|' * (len(sets) + 1)}",
    ]
    for name in names:
        *ours, keda = _figures(name, common, list(sets.values()))
        for figure in COMPARED:
            cells = [f"{rows(one)[figure]}{_mark(figure, one, keda)}" for one in ours]
            lines.append(f"| {name} | {figure} | {' | '.join(cells)} | {rows(keda)[figure]} |")
    return "\n".join(lines)


def _figures(name: str, common: Labels, sets: list[Labels]) -> list[Figures]:
    specs = [ScalingSpec.from_labels({"temporal.queue": name} | common | labels) for labels in sets]
    controllers: list[Controller] = [Autoscaler(spec) for spec in specs]
    first = specs[0]
    controllers.append(Keda(first.target, first.min, first.max, first.activation))
    return [run.figures for run in replay(read_trace(name), controllers, Workers())]


def _mark(figure: str, ours: Figures, keda: Figures) -> str:
    mine, theirs = (
        getattr(one, figure.replace(" ", "_").replace("-", "_")) for one in (ours, keda)
    )
    return WORSE if mine > theirs else ""


def tables() -> dict[str, str]:
    """Return each table of the page, by its name on the page."""
    return {
        "defaults": table(
            {},
            {
                "default labels": {},
                "`scale-in.window=5m`": {"temporal.scale-in.window": "5m"},
            },
            tuple(shipped_traces()),
        ),
        "max-50": table({"temporal.max": "50"}, {"`max=50`": {}}, ("burst", "fan-out")),
    }


def renewed(page: str, made: Mapping[str, str]) -> str:
    """Return the page with new tables; raise SystemExit where a table has no place on it."""
    for name, text in made.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
        between = re.compile(f"(?<={re.escape(begin)}\n).*?(?=\n{re.escape(end)})", re.DOTALL)
        page, found = between.subn(text.replace("\\", r"\\"), page)
        if found != 1:
            raise SystemExit(f"{PAGE.name} needs one {begin} ... {end}")
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8"), tables()), "utf-8")
