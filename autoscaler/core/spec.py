"""The labels of a service: one table for parsing, validation and the reference."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from autoscaler.core.durations import format_duration
from autoscaler.core.errors import LabelError
from autoscaler.core.label_values import (
    LONGEST_WAIT,
    LONGEST_WINDOW,
    MOST_REPLICAS,
    MOST_TASKS,
    Busy,
    BusyWord,
    Fallback,
    FallbackWords,
    Mode,
    ModeWord,
    Names,
    QueueType,
    QueueTypes,
    Share,
    ShareOrNone,
    StepLimits,
    Text,
    TextOrNone,
    Wait,
    WaitOrNone,
    WindowLength,
    format_value,
)

DEFAULT_PREFIX = "temporal"
DEFAULT_INTEGRATION = "default"


@dataclass(frozen=True, slots=True)
class Label:
    """How a field of ScalingSpec is written on a service."""

    name: str
    """Without the prefix: `scale-in.window`."""
    allowed: str
    """What a value may be, in words that follow "must be"."""
    meaning: str
    """What it does, for the reference."""
    unset: str = "none"
    """The default in the reference, where the default is that the label is absent."""


@dataclass(frozen=True, slots=True)
class LabelDoc:
    """One row of the reference."""

    name: str
    default: str
    allowed: str
    meaning: str


_WAIT_FORM = f"a duration from 0s to {format_duration(LONGEST_WAIT)} such as 30s or 5m"
_WINDOW_FORM = f"a duration from 0s to {format_duration(LONGEST_WINDOW)} such as 30s or 5m"
_LIMIT_FORM = "replicas or a share of them in a period, such as 4/15s, 100%/15s or 4/15s,100%/15s"


class ScalingSpec(BaseModel):
    """What the labels of one service say. The Label of a field is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    queues: Annotated[
        Names,
        Label(
            "queue",
            "the name of a task queue, or several separated by commas",
            "Task queue the workers poll; several, separated by commas: their backlogs add up.",
        ),
    ]

    target: Annotated[
        int,
        Field(ge=1, le=MOST_TASKS),
        Label(
            "target",
            f"a whole number from 1 to {MOST_TASKS}",
            "Waiting tasks for each replica (target queue size).",
        ),
    ] = 10

    min: Annotated[
        int,
        Field(ge=0, le=MOST_REPLICAS),
        Label(
            "min",
            f"a whole number from 0 to {MOST_REPLICAS}",
            "Fewest replicas; 0 allows scale to zero.",
        ),
    ] = 1

    max: Annotated[
        int,
        Field(ge=1, le=MOST_REPLICAS),
        Label(
            "max",
            f"a whole number from 1 to {MOST_REPLICAS}, not below min",
            "Most replicas.",
        ),
    ] = 10

    integration: Annotated[
        Text,
        Label(
            "integration",
            "the name of an integration",
            "Which Temporal connection to use.",
        ),
    ] = DEFAULT_INTEGRATION

    namespace: Annotated[
        Text | None,
        Label(
            "namespace",
            "the name of a namespace",
            "Another namespace of the same connection; without it, the integration's own.",
            unset="the integration's",
        ),
    ] = None

    queue_types: Annotated[
        QueueTypes,
        Label(
            "queue-types",
            "one or more of workflow, activity, nexus, separated by commas",
            "Kinds of task whose backlogs count.",
        ),
    ] = (QueueType.WORKFLOW, QueueType.ACTIVITY)

    mode: Annotated[
        ModeWord,
        Label(
            "mode",
            "one of on, dry-run, off, pause-in, pause-out",
            "on; dry-run: decide and report, change nothing; off: leave the service "
            "alone; pause-in: no scale-in but down to max; pause-out: no scale-out but up "
            "to min.",
        ),
    ] = Mode.ON

    activation: Annotated[
        int,
        Field(ge=0, le=MOST_TASKS),
        Label(
            "activation",
            f"a whole number from 0 to {MOST_TASKS}",
            "Waiting tasks above which a service at zero wakes.",
        ),
    ] = 0

    cooldown: Annotated[
        Wait,
        Label(
            "cooldown",
            _WAIT_FORM,
            "How long everything must be quiet before the last replica goes: no backlog, "
            "nothing added, nothing dispatched. Below 1m, work that Temporal shows late "
            "can be missed.",
        ),
    ] = timedelta(minutes=5)

    scale_out_window: Annotated[
        WindowLength,
        Label(
            "scale-out.window",
            _WINDOW_FORM,
            "Stabilization window on the way out: the smallest recommendation in it counts.",
        ),
    ] = timedelta()

    scale_in_window: Annotated[
        WindowLength,
        Label(
            "scale-in.window",
            _WINDOW_FORM,
            "Stabilization window on the way in: the largest recommendation in it counts.",
        ),
    ] = timedelta(minutes=1)

    scale_out_limit: Annotated[
        StepLimits,
        Label(
            "scale-out.limit",
            _LIMIT_FORM,
            "Most growth in a period; of several, the one that allows more counts.",
        ),
    ] = ()

    scale_in_limit: Annotated[
        StepLimits,
        Label(
            "scale-in.limit",
            _LIMIT_FORM,
            "Most shrinking in a period; of several, the one that allows more counts.",
        ),
    ] = ()

    tolerance: Annotated[
        Share,
        Label(
            "tolerance",
            "a share from 0% to 100% such as 10%",
            "Ignore a change within this share of the target.",
        ),
    ] = 0.0

    max_wait: Annotated[
        WaitOrNone,
        Label(
            "max-wait",
            f"a duration above 0s and up to {format_duration(LONGEST_WAIT)} such as 30s or 5m",
            "The oldest waiting task should be younger than this: grow while it is not.",
        ),
    ] = None

    slots_target: Annotated[
        ShareOrNone,
        Label(
            "slots-target",
            "a share above 0% and up to 100% such as 80%",
            "Share of the workers' slots in use to aim at: grow before a backlog forms. "
            "Counts slots for activities, local activities and nexus tasks.",
        ),
    ] = None

    busy: Annotated[
        BusyWord,
        Label(
            "busy",
            "one of protect, strict, ignore",
            "protect: no replica is stopped whose latest heartbeat shows running tasks, "
            "nor one that does not report while others do; where no worker reports at "
            "all, the stop grace protects and a warning says so. strict: only replicas "
            "known to be idle are stopped. ignore: heartbeats are not read.",
        ),
    ] = Busy.PROTECT

    fallback: Annotated[
        FallbackWords,
        Label(
            "fallback",
            "hold, a number of replicas, or at-least and a number of replicas",
            "When the backlog could not be read for temporal.fallback.after: hold, or a "
            "number of replicas, or at-least N.",
        ),
    ] = Fallback()

    fallback_after: Annotated[
        Wait,
        Label(
            "fallback.after",
            _WAIT_FORM,
            "How long the backlog must have been unknown before the fallback counts.",
        ),
    ] = timedelta(minutes=3)

    deployment: Annotated[
        TextOrNone,
        Label(
            "deployment",
            "a Worker Deployment's name",
            "Worker Deployment that the workers of this service belong to: with "
            "temporal.build-id, the service is scaled by the backlog of its own build.",
        ),
    ] = None

    build_id: Annotated[
        TextOrNone,
        Label(
            "build-id",
            "a build id, and deployment the Worker Deployment it belongs to",
            "Build of that Worker Deployment. While it drains, and before it has ever "
            "polled, it keeps one replica; drained it may go to zero.",
        ),
    ] = None

    @field_validator("max")
    @classmethod
    def _max_not_below_min(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min", 0):
            raise ValueError("below min")
        return value

    @field_validator("build_id")
    @classmethod
    def _build_of_a_deployment(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "deployment" in info.data and (value is None) != (info.data["deployment"] is None):
            raise ValueError("one is missing")
        return value

    @classmethod
    def from_labels(cls, labels: Mapping[str, str], prefix: str = DEFAULT_PREFIX) -> Self:
        """Read the labels that begin with `prefix` and a dot; others are ignored.

        Raises LabelError that names every unknown label and every wrong value at once.
        """
        fields = {f"{prefix}.{label.name}": name for name, label, _ in _fields()}
        given = scaling_labels(labels, prefix)
        problems = [
            f"{key}={value!r} is not a label{_nearest(key, fields, prefix)}"
            for key, value in given.items()
            if key not in fields
        ]
        try:
            spec = cls.model_validate(
                {fields[key]: value for key, value in given.items() if key in fields}
            )
        except ValidationError as error:
            wrong = dict.fromkeys(str(entry["loc"][0]) for entry in error.errors())
            problems += [_problem(name, given, prefix) for name in wrong]
            raise LabelError(problems) from error
        if problems:
            raise LabelError(problems)
        return spec

    @classmethod
    def reference(cls, prefix: str = DEFAULT_PREFIX) -> Iterator[LabelDoc]:
        """Yield the documentation of every label, in the order of the table."""
        for _, label, info in _fields():
            yield LabelDoc(
                f"{prefix}.{label.name}",
                "required" if info.is_required() else _written(label, info.default),
                label.allowed,
                label.meaning,
            )


def scaling_labels(labels: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the labels of the autoscaler: those that begin with `prefix` and a dot."""
    return {key: value for key, value in labels.items() if key.startswith(f"{prefix}.")}


def _fields() -> Iterator[tuple[str, Label, FieldInfo]]:
    for name, info in ScalingSpec.model_fields.items():
        label = next(item for item in info.metadata if isinstance(item, Label))
        yield name, label, info


def _problem(field: str, given: Mapping[str, str], prefix: str) -> str:
    label = next(label for name, label, _ in _fields() if name == field)
    key = f"{prefix}.{label.name}"
    info = ScalingSpec.model_fields[field]
    if key in given:
        return f"{key}={given[key]!r} must be {label.allowed}"
    if info.is_required():
        return f"{key} is missing: it must be {label.allowed}"
    return f"{key} (default {_written(label, info.default)}) must be {label.allowed}"


def _nearest(key: str, known: Mapping[str, str], prefix: str) -> str:
    ends = [name.removeprefix(f"{prefix}.") for name in known]
    near = difflib.get_close_matches(key.removeprefix(f"{prefix}.").lower(), ends, n=1)
    return f", the nearest is {prefix}.{near[0]}" if near else f" (known: {', '.join(known)})"


def _written(label: Label, default: object) -> str:
    """Return a default the way the label has it."""
    return label.unset if default in (None, ()) else format_value(default)
