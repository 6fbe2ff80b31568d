"""autoscaler labels"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from autoscaler.core.labels import label_docs
from autoscaler.core.schema import services_schema


def labels(
    *,
    markdown: Annotated[bool, typer.Option(help="As the text of docs/labels.md.")] = False,
    schema: Annotated[
        bool, typer.Option(help="The JSON schema of services files, for editors.")
    ] = False,
) -> None:
    """Print the reference of the labels on a service."""
    if schema:
        print(schema_json(), end="")  # noqa: T201
        return
    if markdown:
        print(reference_markdown(), end="")  # noqa: T201
        return
    table = Table(Column("label", no_wrap=True), "default", "must be", "meaning")
    for doc in label_docs():
        table.add_row(doc.name, doc.default, doc.allowed, doc.meaning)
    Console().print(table)


def schema_json() -> str:
    """Return the schema of services files as the text of docs/services.schema.json."""
    return json.dumps(services_schema(), indent=2) + "\n"


def reference_markdown() -> str:
    """Return the reference as the text of docs/labels.md."""
    rows = "\n".join(
        f"| `{doc.name}` | {doc.default} | {doc.allowed} | {doc.meaning} |" for doc in label_docs()
    )
    return f"""# Labels

On Compose they stand under `labels:` of the service, on Swarm under `deploy.labels:`. The
prefix `temporal` can be changed by `AUTOSCALER_LABEL_PREFIX`. This page is made by
`autoscaler labels --markdown`.

| label | default | must be | meaning |
|---|---|---|---|
{rows}

A label that is unknown or wrong names itself, its value, what is allowed and the nearest known
name; all wrong labels of a service are named at once. The service keeps its replicas, and
follows its last good labels if it had any; the other services go on.

[Services files](services-files.md) say the same without a change of the service.
"""
