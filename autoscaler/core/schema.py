"""The JSON schema of services files, with which editors complete and check them."""

from __future__ import annotations

from typing import Any

from autoscaler.core.labels import label_schemas


def services_schema() -> dict[str, Any]:
    """Return the schema, made from the table of labels.

    What it accepts is right, but for what no schema can tell: how long a duration may be, whether
    a whole number is written as 5.0, and values that contradict each other.
    """
    values = {
        "type": "object",
        "properties": dict(label_schemas()),
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Services files of temporal-docker-autoscaler",
        "type": "object",
        "required": ["services"],
        "additionalProperties": False,
        "properties": {
            "services": {
                "description": (
                    "Values by the name of a service: project/service on Compose, the service's"
                    " name on Swarm. A name with *, ? or [ is a pattern; an exact name has the last"
                    " word."
                ),
                "type": "object",
                "propertyNames": {"minLength": 1},
                "additionalProperties": {"$ref": "#/$defs/values"},
            }
        },
        "$defs": {"values": values},
    }
