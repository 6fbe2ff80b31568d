"""autoscaler labels: the reference, for a terminal and for the documentation."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from autoscaler.cli import commands
from autoscaler.cli.labels import reference_markdown, schema_json
from autoscaler.core.labels import label_docs
from autoscaler.core.schema import services_schema


def test_every_label_is_a_row_on_the_terminal() -> None:
    result = CliRunner().invoke(commands, ["labels"], env={"COLUMNS": "600"})
    assert result.exit_code == 0
    for doc in label_docs():
        (row,) = [line for line in result.stdout.splitlines() if f" {doc.name} " in line]
        assert doc.default in row
        assert doc.allowed in row
        assert doc.meaning in row


def test_no_name_is_broken_on_a_narrow_terminal() -> None:
    result = CliRunner().invoke(commands, ["labels"], env={"COLUMNS": "60"})
    assert all(f" {doc.name} " in result.stdout for doc in label_docs())


def test_every_label_is_a_row_in_the_documentation() -> None:
    rows = [line for line in reference_markdown().splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{doc.name}` | {doc.default} | {doc.allowed} | {doc.meaning} |" for doc in label_docs()
    ]


def test_no_cell_of_the_documentation_breaks_the_table() -> None:
    for doc in label_docs():
        assert "|" not in doc.default + doc.allowed + doc.meaning
        assert "\n" not in doc.default + doc.allowed + doc.meaning


def test_the_documentation_is_printed_as_it_is() -> None:
    result = CliRunner().invoke(commands, ["labels", "--markdown"])
    assert result.exit_code == 0
    assert result.stdout == reference_markdown()


def test_the_schema_of_services_files_is_printed_as_json() -> None:
    result = CliRunner().invoke(commands, ["labels", "--schema"])
    assert result.exit_code == 0
    assert result.stdout == schema_json()
    assert json.loads(result.stdout) == services_schema()
