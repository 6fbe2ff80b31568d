"""The labels of a service: one table for parsing, validation and the reference (labels.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from autoscaler.core.durations import format_duration
from autoscaler.core.label_values import (
    LEAST_WEIGHT,
    LONGEST_WAIT,
    LONGEST_WINDOW,
    MOST_PRIORITY,
    MOST_REPLICAS,
    MOST_TASKS,
    MOST_THROUGHPUT,
    MOST_WEIGHT,
    Busy,
    Fallback,
    KeepUp,
    Mode,
    QueueType,
    SwarmChoice,
)
from autoscaler.core.label_words import (
    BusyWord,
    FallbackWords,
    GroupNames,
    KeepUpWords,
    ModeWord,
    Names,
    QueueTypes,
    ScheduleWords,
    Share,
    ShareOrNone,
    StepLimits,
    SwarmChoiceWord,
    Text,
    TextOrNone,
    Wait,
    WaitOrNone,
    Weight,
    WindowLength,
    Zone,
)
from autoscaler.core.schedule import Bounds, NextBounds, Schedule
from autoscaler.core.zones import UTC_ZONE

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
    unset: str = ""
    """The default in the reference, where it is not what the field has."""


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

    schedule: Annotated[
        ScheduleWords,
        Label(
            "schedule",
            "times of the week with min, max or both, such as mon-fri 07:30-19:00 min=5 max=40, "
            "several separated by semicolons, and no min above the max that then holds",
            "Times of the week with bounds of their own. Of several that hold at once, the "
            "largest min and the largest max count.",
        ),
    ] = Schedule()

    timezone: Annotated[
        Zone,
        Label(
            "timezone",
            "an IANA time zone such as Europe/Berlin",
            "Time zone of the schedule.",
            unset="the daemon's",
        ),
    ] = UTC_ZONE

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
    ] = timedelta(seconds=15)

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

    keep_up: Annotated[
        KeepUpWords,
        Label(
            "keep-up",
            f"auto, off, or a number of tasks a second above 0 and up to {MOST_THROUGHPUT} such"
            " as 0.5",
            "Enough replicas for the tasks that arrive, also while none waits. auto: what a busy "
            "replica gets done is learnt; a number: the tasks a second that one replica does; "
            "off: only tasks that wait ask for replicas.",
        ),
    ] = KeepUp()

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

    drain: Annotated[
        Wait,
        Label(
            "drain",
            _WAIT_FORM,
            "How long a replica that was told to stop and is still at work is left to finish, "
            "beyond its stop grace; 0s: the grace ends it, as with Docker. On Compose only.",
        ),
    ] = timedelta(hours=1)

    swarm_choice: Annotated[
        SwarmChoiceWord,
        Label(
            "swarm-choice",
            "one of order, any",
            "On a Swarm of several nodes. order: Swarm's own order decides which tasks go, as far "
            "as it hits idle ones. any: idle tasks on every node with an agent are chosen, and "
            "new ones get no node meanwhile; it takes a Swarm with one manager.",
        ),
    ] = SwarmChoice.ORDER

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

    priority: Annotated[
        int,
        Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY),
        Label(
            "priority",
            f"a whole number from -{MOST_PRIORITY} to {MOST_PRIORITY}",
            "Where something is scarce, services of a higher number get their wish first.",
        ),
    ] = 0

    weight: Annotated[
        Weight,
        Label(
            "weight",
            f"a number from {LEAST_WEIGHT} to {MOST_WEIGHT} such as 2 or 0.5",
            "Share among the services of one priority, and of a task queue that several services "
            "poll.",
            unset="1",
        ),
    ] = 1.0

    groups: Annotated[
        GroupNames,
        Label(
            "group",
            "the name of a group, or several separated by commas",
            "Group whose services share a limit, AUTOSCALER_GROUPS__<NAME>: a GPU, a licence, the "
            "connections of a database.",
        ),
    ] = ()

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
            raise ValueError(f"min is {info.data['min']}")
        return value

    @field_validator("schedule")
    @classmethod
    def _max_never_below_min(cls, value: Schedule, info: ValidationInfo) -> Schedule:
        if not {"min", "max"} <= info.data.keys():
            return value
        contradiction = value.contradiction(Bounds(info.data["min"], info.data["max"]))
        if contradiction is not None:
            raise ValueError(contradiction)
        return value

    @field_validator("build_id")
    @classmethod
    def _build_of_a_deployment(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "deployment" in info.data and (value is None) != (info.data["deployment"] is None):
            raise ValueError("one is missing")
        return value

    def at(self, now: datetime) -> Self:
        """Return the spec with the bounds that its schedule sets at a moment as min and max."""
        if not self.schedule:
            return self
        schedule = self.schedule.at(now.astimezone(self.timezone))
        bounds = schedule.bounds(Bounds(self.min, self.max))
        return self.model_copy(update={"min": bounds.min, "max": bounds.max, "schedule": schedule})

    def next_bounds(self, now: datetime) -> NextBounds | None:
        """Return the next change of min or max by the schedule; None where there is none.

        Not for a spec that `at` has returned: that one has forgotten its own bounds.
        """
        own = Bounds(self.min, self.max)
        return self.schedule.next_bounds(now, self.timezone, own) if self.schedule else None
