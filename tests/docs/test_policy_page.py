"""docs/policy.md agrees with the code: tables, traces, and where KEDA is better."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from autoscaler.simulation.trace import parse_trace
from autoscaler.simulation.trace_files import read_trace, shipped_traces
from bench import policy_table, traces

PAGE = policy_table.PAGE.read_text("utf-8")
SHIPPED = shipped_traces()
LONG = {"day", "web"}
"""Traces of 24 hours: to replay them takes a minute. The benchmark does."""


def part(table: policy_table.Table) -> str:
    """Return what stands on the page between the marks of a table."""
    begin = f"<!-- table: {table.name} -->\n"
    return PAGE.partition(begin)[2].partition("\n<!-- end of table -->")[0]


@pytest.mark.parametrize(
    ("table", "name"),
    [
        pytest.param(table, name, id=f"{table.name}-{name}")
        for table in policy_table.TABLES
        for name in table.traces
        if name not in LONG
    ],
)
def test_the_tables_are_generated_from_the_code(table: policy_table.Table, name: str) -> None:
    made = policy_table.lines(table, name, SHIPPED[name], policy_table.Ours())
    assert "\n".join(made) in part(table), "run: python bench/policy_table.py"


@pytest.mark.parametrize("table", policy_table.TABLES, ids=lambda table: table.name)
def test_a_table_has_the_lines_of_its_traces_and_nothing_else(table: policy_table.Table) -> None:
    head, body = part(table).splitlines()[:2], part(table).splitlines()[2:]
    assert head == policy_table.head(table)
    figures = [*policy_table.COMPARED]
    figures.insert(figures.index("replica-seconds") + 1, policy_table.RATIO)
    assert [tuple(line.split(" | ")[:2]) for line in body] == [
        (f"| {name}", figure) for name in table.traces for figure in figures
    ]


def test_the_page_names_the_command_that_replaces_its_tables_and_nothing_else() -> None:
    assert "python bench/policy_table.py" in PAGE
    found = {table.name: part(table) for table in policy_table.TABLES}
    stale = policy_table.renewed(PAGE, dict.fromkeys(found, "stale"))
    assert stale != PAGE
    assert policy_table.renewed(stale, found) == PAGE


def test_a_page_without_a_place_for_a_table_is_not_written() -> None:
    with pytest.raises(SystemExit, match=r"policy\.md needs one <!-- table: defaults -->"):
        policy_table.renewed("nothing", {"defaults": "| a |"})


def test_exactly_the_figures_in_which_ours_is_worse_are_explained() -> None:
    rows = [row for table in policy_table.TABLES for row in part(table).splitlines()]
    worse = {row.split(" | ")[1] for row in rows if policy_table.WORSE in row}
    section = PAGE.partition("### Where KEDA's figures are better")[2].partition("\n### ")[0]
    assert set(re.findall(r"(?m)^- \*\*(.+?)\*\*", section)) == worse


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_trace_is_what_the_program_makes(name: str) -> None:
    assert SHIPPED[name] == traces.shipped()[name]
    assert f"- **{name}**: " in PAGE


def test_no_other_trace_is_shipped() -> None:
    assert set(SHIPPED) == {*traces.FORMULAS, *traces.SEEDED}


def test_another_seed_makes_other_traces_of_the_same_kind() -> None:
    held_out = traces.made(traces.SEED + 1)
    for name, text in held_out.items():
        made, shipped = parse_trace(name, text.splitlines()), read_trace(name)
        assert made.rows != shipped.rows
        assert made.workers == shipped.workers
        assert made.tasks == pytest.approx(shipped.tasks, rel=0.35)
    assert traces.made(traces.SEED + 1) == held_out


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
