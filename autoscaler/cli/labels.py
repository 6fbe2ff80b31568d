"""autoscaler labels"""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table

from autoscaler.core.spec import ScalingSpec


def labels(*, markdown: bool = False) -> None:
    """Print the reference of the labels on a service."""
    if markdown:
        print(reference_markdown(), end="")  # noqa: T201
        return
    table = Table(Column("label", no_wrap=True), "default", "must be", "meaning")
    for doc in ScalingSpec.reference():
        table.add_row(doc.name, doc.default, doc.allowed, doc.meaning)
    Console().print(table)


def reference_markdown() -> str:
    """Return the reference as the text of docs/labels.md."""
    rows = "\n".join(
        f"| `{doc.name}` | {doc.default} | {doc.allowed} | {doc.meaning} |"
        for doc in ScalingSpec.reference()
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
"""
