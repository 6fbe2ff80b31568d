"""docs/policy.md agrees with the code: tables, traces, and where KEDA is better."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from autoscaler.simulation.trace_files import shipped_traces
from bench import policy_table, traces

PAGE = policy_table.PAGE.read_text("utf-8")
MADE = policy_table.tables()


def test_the_tables_are_generated_from_the_code() -> None:
    for table in MADE.values():
        assert table in PAGE, "run: python bench/policy_table.py"


def test_the_page_names_the_command_that_replaces_its_tables_and_nothing_else() -> None:
    assert "python bench/policy_table.py" in PAGE
    stale = re.sub(r"(?m)^\| (burst|day|ramp|fan-out) \|.*$", "| stale |", PAGE)
    assert stale != PAGE
    assert policy_table.renewed(stale, MADE) == PAGE


def test_a_page_without_a_place_for_a_table_is_not_written() -> None:
    with pytest.raises(SystemExit, match=r"policy\.md needs one <!-- table: defaults -->"):
        policy_table.renewed("nothing", MADE)


def test_exactly_the_figures_in_which_ours_is_worse_are_explained() -> None:
    rows = [row for table in MADE.values() for row in table.splitlines()]
    worse = {row.split(" | ")[1] for row in rows if policy_table.WORSE in row}
    section = PAGE.partition("### Where KEDA's figures are better")[2].partition("\n### ")[0]
    assert set(re.findall(r"(?m)^- \*\*(.+?)\*\*", section)) == worse


@pytest.mark.parametrize("name", traces.TRACES)
def test_a_shipped_trace_is_what_its_formula_gives(name: str) -> None:
    assert shipped_traces()[name] == traces.text(traces.TRACES[name]())
    assert f"- **{name}**: " in PAGE


def test_no_other_trace_is_shipped() -> None:
    assert set(shipped_traces()) == set(traces.TRACES)


def test_the_benchmark_of_decisions_makes_one_for_each_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench")
    decide = importlib.import_module("decide")
    taken: list[object] = []
    real = decide.decide
    monkeypatch.setattr(decide, "decide", lambda known: taken.append(real(known)))
    rows = decide.measure(2, 5)
    assert len(taken) == 5 * 2 * len(rows)
    assert all(len(row.figures) == 2 and min(row.figures) > 0 for row in rows)


def test_every_benchmark_that_the_page_names_exists() -> None:
    named = set(re.findall(r"python (bench/\w+\.py)", PAGE))
    root = Path(__file__).parents[2]
    assert named
    assert all((root / file).exists() for file in named)
