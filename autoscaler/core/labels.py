"""Reads the labels of a service by the table in spec.py, and says what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from autoscaler.core.errors import LabelError
from autoscaler.core.label_values import format_value
from autoscaler.core.origin import LABEL
from autoscaler.core.spec import Label, ScalingSpec
from autoscaler.core.zones import UTC_ZONE

DEFAULT_PREFIX = "temporal"
_EXPLAINED = frozenset({"max", "schedule", "timezone"})
"""Fields whose own errors say more than what is allowed: the part that is wrong, what it
contradicts, or the nearest known name."""
_LONGEST_SHOWN = 60
"""Letters of a value that a message shows of a single value."""


@dataclass(frozen=True, slots=True)
class LabelDoc:
    """One row of the reference."""

    name: str
    default: str
    allowed: str
    meaning: str


def read_labels(
    labels: Mapping[str, str],
    prefix: str = DEFAULT_PREFIX,
    origins: Mapping[str, str] | None = None,
    timezone: ZoneInfo = UTC_ZONE,
) -> ScalingSpec:
    """Read the labels that begin with `prefix` and a dot; others are ignored.

    `origins` say where values come from that are no labels, by the full names of labels. `timezone`
    is the daemon's: it counts where no label names another one. Raises LabelError that names every
    unknown label and every wrong value at once, with its origin.
    """
    fields = {f"{prefix}.{label.name}": name for name, label, _ in _fields()}
    given = scaling_labels(labels, prefix)
    written = {key: f"{key}={value!r}{_from(key, origins)}" for key, value in given.items()}
    problems = [
        f"{words} is not a label{nearest(key, fields, f'{prefix}.')}"
        for key, words in written.items()
        if key not in fields
    ]
    try:
        spec = ScalingSpec.model_validate(
            {
                "timezone": timezone,
                **{fields[key]: value for key, value in given.items() if key in fields},
            }
        )
    except ValidationError as error:
        wrong = {str(entry["loc"][0]): entry for entry in error.errors()[::-1]}
        problems += [
            # What a value contradicts is named with it.
            _problem(name, written, prefix)
            + _explanation(name, entry, _from(f"{prefix}.min", origins))
            for name, entry in reversed(wrong.items())
        ]
        raise LabelError(problems) from error
    if problems:
        raise LabelError(problems)
    return spec


def what_is_wrong(name: str, value: str, others: Collection[str] = ()) -> str | None:
    """Return what is wrong with one value, whatever the other labels say; None where nothing is.

    `name` is that of a label without the prefix. `others` are names that may stand beside labels.
    """
    fields = {label.name: (field, label) for field, label, _ in _fields()}
    if name not in fields:
        # It may be a name with a prefix, as it stands on a service.
        bare = next((each for each in fields if name.endswith(f".{each}")), name)
        known = [*fields, *others]
        return f"{_short(name)}={_short(value)!r} is not a label{nearest(bare, known)}"
    field, label = fields[name]
    try:
        _adapter(field).validate_python(value)
    except ValidationError:
        return f"{name}={_short(value)!r} must be {label.allowed}"
    return None


def label_docs(prefix: str = DEFAULT_PREFIX) -> Iterator[LabelDoc]:
    """Yield the documentation of every label, in the order of the table."""
    for _, label, info in _fields():
        yield LabelDoc(
            f"{prefix}.{label.name}",
            "required" if info.is_required() else _written(label, info.default),
            label.allowed,
            label.meaning,
        )


def label_schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the JSON schema of each label's value, by the name without the prefix."""
    for field, label, info in _fields():
        schema = _adapter(field).json_schema()
        forms = [each for each in schema.pop("anyOf", ()) if each != {"type": "null"}]
        default = "none" if info.is_required() else _written(label, info.default)
        yield (
            label.name,
            {
                "description": f"{label.meaning} Must be {label.allowed}. Default: {default}.",
                **schema,
                **({"anyOf": forms} if len(forms) > 1 else dict(*forms)),
            },
        )


def scaling_labels(labels: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the labels of the autoscaler: those that begin with `prefix` and a dot."""
    start = f"{prefix}."
    return {key: value for key, value in labels.items() if key.startswith(start)}


def _fields() -> Iterator[tuple[str, Label, FieldInfo]]:
    for name, info in ScalingSpec.model_fields.items():
        label = next(item for item in info.metadata if isinstance(item, Label))
        yield name, label, info


def _from(key: str, origins: Mapping[str, str] | None) -> str:
    """Return where a value comes from, in brackets; empty for a label."""
    origin = (origins or {}).get(key, LABEL)
    return "" if origin == LABEL else f" ({origin})"


def _problem(field: str, written: Mapping[str, str], prefix: str) -> str:
    """Say what is wrong with a field; `written` are the values that were given, in words."""
    label = next(label for name, label, _ in _fields() if name == field)
    key = f"{prefix}.{label.name}"
    info = ScalingSpec.model_fields[field]
    if key in written:
        return f"{written[key]} must be {label.allowed}"
    if info.is_required():
        return f"{key} is missing: it must be {label.allowed}"
    return f"{key} (default {_written(label, info.default)}) must be {label.allowed}"


def nearest(name: str, known: Collection[str], start: str = "") -> str:
    """Return the end of a message on an unknown name: the nearest that is known, or all of them.

    What all known names begin with, the `start`, makes none of them nearer.
    """
    ends = [each.removeprefix(start) for each in known]
    near = difflib.get_close_matches(name.removeprefix(start).lower(), ends, n=1)
    return f", the nearest is {start}{near[0]}" if near else f" (known: {', '.join(known)})"


@cache
def _adapter(field: str) -> TypeAdapter[object]:
    """Return what reads the value of one field alone."""
    info = ScalingSpec.model_fields[field]
    kind: Any = Annotated[(info.annotation, *info.metadata)]
    return TypeAdapter(kind)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _explanation(field: str, entry: ErrorDetails, min_from: str) -> str:
    """Return what the error of a field says more; `min_from` is where a min that it names is."""
    if field not in _EXPLAINED or entry["type"] != "value_error":
        return ""
    return f"; {entry['ctx']['error']}{min_from if field == 'max' else ''}"


def _written(label: Label, default: object) -> str:
    """Return a default the way the label has it."""
    return label.unset or ("none" if default in (None, ()) else format_value(default))
