"""Draw the picture of docs/simulate-shares.md: `python -m scripts.shares_picture`.

The services, their traces and the limit are those of the page: its first YAML block is what
`autoscaler simulate --with` would read.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from zoneinfo import ZoneInfo

from autoscaler.cli.simulation_file import read_simulation_file
from autoscaler.simulation.together import MemberRun, SharedRun, replay_together

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "simulate-shares.md"
DRAWING = DOCS / "images/shares.svg"
STYLE = Path(__file__).with_name("pictures.css").read_text("utf-8")
POLL = 5.0
"""Seconds between two decisions, as in the command of the page."""

WIDTH, PANEL, GAP = 860, 96, 34
LEFT, RIGHT, TOP, BOTTOM = 40, 20, 88, 40
LEGEND = '<tspan class="b">wished</tspan> and <tspan class="r">replicas</tspan>'


def written(page: str) -> str:
    """Return the file that the page shows."""
    found = re.search(r"(?ms)^```yaml\n(.*?)^```", page)
    if found is None:
        raise SystemExit(f"{PAGE.name} needs a YAML block")
    return found[1]


def simulated(text: str) -> SharedRun:
    """Simulate the services of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shares.yaml"
        path.write_text(text, encoding="utf-8")
        file = read_simulation_file(path, {}, ZoneInfo("UTC"))
    return replay_together(file.members, file.groups, POLL)


def drawing(shared: SharedRun) -> str:
    """Draw wishes and replicas of each service over time, one below the other, as SVG."""
    (limit,) = shared.limits
    title = f"{limit.name} has room for {limit.most} replicas"
    floor = TOP + len(shared.members) * (PANEL + GAP) - GAP
    height = floor + BOTTOM
    end = shared.members[0].run.steps[-1].at
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{title}</title><style>{STYLE}</style>",
        f'<rect class="frame" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="14"/>',
        f'<text class="title" x="20" y="32">{title}</text>',
        f'<text x="{WIDTH - 20}" y="32" text-anchor="end">{LEGEND}</text>',
    ]
    for number, each in enumerate(shared.members):
        parts += _panel(each, TOP + number * (PANEL + GAP) + PANEL, end)
    parts += [
        f'<text x="{_x(at, end):.1f}" y="{floor + 22}" text-anchor="middle">{at // 60} min</text>'
        for at in range(0, int(end) + 1, 600)
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(each: MemberRun, floor: int, end: float) -> Iterable[str]:
    """Draw one service above its floor."""
    spec, steps = each.member.spec, each.run.steps
    most = max(*each.wishes, *(step.replicas for step in steps))
    words = f"{each.member.name}: priority {spec.priority}, weight {spec.weight:g}"
    wishes = [(step.at, wished) for step, wished in zip(steps, each.wishes, strict=True)]
    replicas = [(step.at, step.replicas) for step in steps]
    yield f'<text x="{LEFT}" y="{floor - PANEL - 8}">{words}</text>'
    for level in (0, most):
        y = floor - PANEL * level / most
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 8}" y="{y:.1f}" dy="4" text-anchor="end">{level}</text>'
    wish = _steps(wishes, floor, end, most)
    yield f'<path class="area" d="{wish}V{floor}H{LEFT}Z"/><path class="backlog" d="{wish}"/>'
    yield f'<path class="replicas" d="{_steps(replicas, floor, end, most)}"/>'


def _steps(line: Iterable[tuple[float, int]], floor: int, end: float, most: int) -> str:
    """Draw a number that changes in steps; only its changes are written."""
    before, path = None, ""
    for at, number in line:
        if number != before:
            x, y = f"{_x(at, end):.1f}", f"{floor - PANEL * number / most:.1f}"
            path += f"M{x} {y}" if before is None else f"H{x}V{y}"
            before = number
    return f"{path}H{WIDTH - RIGHT}"


def _x(at: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * at / end


def main() -> int:
    """Draw it anew."""
    text = written(PAGE.read_text("utf-8"))
    DRAWING.write_text(drawing(simulated(text)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
