"""Rewrite the tables of docs/policy.md: python bench/policy_table.py

The traces that the package ships, ours against KEDA as autoscaler/core/keda.py models it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from autoscaler.cli.simulate import read_trace, rows, shipped_traces
from autoscaler.core.spec import ScalingSpec
from autoscaler.simulation.keda import Keda
from autoscaler.simulation.simulation import Autoscaler, Controller, Figures, Workers, replay

PAGE = Path(__file__).parents[1] / "docs" / "policy.md"
COMPARED = ("time to drain", "longest wait", "replica-seconds", "changes of direction")
"""As `autoscaler simulate` names them. Of each, less is better."""
WORSE = " (+)"
"""Stands behind a figure of ours that is larger than KEDA's."""

Labels = dict[str, str]


def table(common: Labels, sets: Mapping[str, Labels], names: tuple[str, ...]) -> str:
    """Replay some shipped traces with some sets of labels, and through KEDA."""
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
    """Return each table of the page by its name there."""
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
    """Return the page with its tables replaced by those just made."""
    for name, text in made.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end of table -->"
        between = re.compile(f"(?<={re.escape(begin)}\n).*?(?=\n{re.escape(end)})", re.DOTALL)
        page, found = between.subn(text.replace("\\", r"\\"), page)
        if found != 1:
            raise SystemExit(f"{PAGE.name} needs one {begin} ... {end}")
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text("utf-8"), tables()), "utf-8")
