"""Labels become a ScalingSpec, or one error that names everything wrong with them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.errors import LabelError
from autoscaler.core.label_values import (
    Busy,
    Fallback,
    KeepUp,
    Mode,
    QueueType,
    StepLimit,
    SwarmChoice,
)
from autoscaler.core.labels import label_docs, read_labels
from autoscaler.core.schedule import Schedule, Window
from autoscaler.core.spec import ScalingSpec

WORKFLOW, ACTIVITY, NEXUS = QueueType.WORKFLOW, QueueType.ACTIVITY, QueueType.NEXUS
LABELS = {
    "queue": "queues",
    "target": "target",
    "min": "min",
    "max": "max",
    "schedule": "schedule",
    "timezone": "timezone",
    "integration": "integration",
    "namespace": "namespace",
    "queue-types": "queue_types",
    "mode": "mode",
    "activation": "activation",
    "cooldown": "cooldown",
    "scale-out.window": "scale_out_window",
    "scale-in.window": "scale_in_window",
    "scale-out.limit": "scale_out_limit",
    "scale-in.limit": "scale_in_limit",
    "tolerance": "tolerance",
    "max-wait": "max_wait",
    "slots-target": "slots_target",
    "keep-up": "keep_up",
    "busy": "busy",
    "drain": "drain",
    "swarm-choice": "swarm_choice",
    "fallback": "fallback",
    "fallback.after": "fallback_after",
    "priority": "priority",
    "weight": "weight",
    "group": "groups",
    "deployment": "deployment",
    "build-id": "build_id",
}
"""Every label and the field that it sets."""
LIMIT = "replicas or a share of them in a period, such as 4/15s, 100%/15s or 4/15s,100%/15s"
FALLBACK = "hold, a number of replicas, or at-least and a number of replicas"


def read(**labels: str) -> ScalingSpec:
    """Read the labels of a service on queue `orders`; `_` stands for `-` and `__` for `.`."""
    given_labels = {
        f"temporal.{name.replace('__', '.').replace('_', '-')}": value
        for name, value in labels.items()
    }
    return read_labels({"temporal.queue": "orders"} | given_labels)


def problems(labels: dict[str, str], prefix: str = "temporal") -> tuple[str, ...]:
    """Return what is wrong with labels."""
    with pytest.raises(LabelError) as caught:
        read_labels(labels, prefix)
    return caught.value.problems


@pytest.mark.parametrize(
    ("field", "default"),
    [
        pytest.param("queues", ("orders",), id="queue"),
        pytest.param("target", 10, id="target"),
        pytest.param("min", 1, id="min"),
        pytest.param("max", 10, id="max"),
        pytest.param("schedule", Schedule(), id="schedule"),
        pytest.param("timezone", ZoneInfo("UTC"), id="timezone"),
        pytest.param("integration", "default", id="integration"),
        pytest.param("namespace", None, id="namespace"),
        pytest.param("queue_types", (WORKFLOW, ACTIVITY), id="queue-types"),
        pytest.param("mode", Mode.ON, id="mode"),
        pytest.param("scale_out_window", timedelta(), id="scale-out.window"),
        pytest.param("scale_in_window", timedelta(seconds=15), id="scale-in.window"),
        pytest.param("activation", 0, id="activation"),
        pytest.param("cooldown", timedelta(minutes=5), id="cooldown"),
        pytest.param("scale_out_limit", (), id="scale-out.limit"),
        pytest.param("scale_in_limit", (), id="scale-in.limit"),
        pytest.param("tolerance", 0.0, id="tolerance"),
        pytest.param("max_wait", None, id="max-wait"),
        pytest.param("slots_target", None, id="slots-target"),
        pytest.param("keep_up", KeepUp(), id="keep-up"),
        pytest.param("busy", Busy.PROTECT, id="busy"),
        pytest.param("swarm_choice", SwarmChoice.ORDER, id="swarm-choice"),
        pytest.param("fallback", Fallback(), id="fallback"),
        pytest.param("fallback_after", timedelta(minutes=3), id="fallback.after"),
        pytest.param("priority", 0, id="priority"),
        pytest.param("weight", 1.0, id="weight"),
        pytest.param("groups", (), id="group"),
        pytest.param("deployment", None, id="deployment"),
        pytest.param("build_id", None, id="build-id"),
    ],
)
def test_only_the_queue_is_required_and_the_rest_has_defaults(field: str, default: object) -> None:
    assert getattr(read(), field) == default


@pytest.mark.parametrize(
    ("label", "value", "field", "read_as"),
    [
        pytest.param("queue", "mails", "queues", ("mails",), id="one-queue"),
        pytest.param("queue", " a , b ", "queues", ("a", "b"), id="several-queues"),
        pytest.param("queue", "a,b,a", "queues", ("a", "b"), id="a-queue-twice-counts-once"),
        pytest.param("queue", "Größe/1 x", "queues", ("Größe/1 x",), id="any-name-of-a-queue"),
        pytest.param("target", "1", "target", 1, id="smallest-target"),
        pytest.param("min", "0", "min", 0, id="scale-to-zero"),
        pytest.param("min", "10", "min", 10, id="min-equal-to-max"),
        pytest.param("max", "1", "max", 1, id="smallest-max"),
        pytest.param("max", "10000", "max", 10_000, id="largest-max"),
        pytest.param("schedule", " NONE ", "schedule", Schedule(), id="no-schedule"),
        pytest.param(
            "schedule",
            "mon 07:30-24:00 min=5",
            "schedule",
            Schedule((Window(frozenset({0}), 450, 1440, 5, None, "mon 07:30-24:00"),)),
            id="schedule",
        ),
        pytest.param(
            "timezone", " Asia/Kolkata ", "timezone", ZoneInfo("Asia/Kolkata"), id="timezone"
        ),
        pytest.param("integration", " prod ", "integration", "prod", id="integration"),
        pytest.param("namespace", "shop.a1b2c", "namespace", "shop.a1b2c", id="namespace"),
        pytest.param("queue-types", "nexus", "queue_types", (NEXUS,), id="one-type"),
        pytest.param(
            "queue-types", "activity, nexus", "queue_types", (ACTIVITY, NEXUS), id="several-types"
        ),
        pytest.param("mode", "dry-run", "mode", Mode.DRY_RUN, id="dry-run"),
        pytest.param("mode", "pause-in", "mode", Mode.PAUSE_IN, id="pause-in"),
        pytest.param("mode", "pause-out", "mode", Mode.PAUSE_OUT, id="pause-out"),
        pytest.param("scale-out.window", "0s", "scale_out_window", timedelta(), id="no-window"),
        pytest.param(
            "scale-in.window", "1h", "scale_in_window", timedelta(hours=1), id="longest-window"
        ),
        pytest.param("activation", "0", "activation", 0, id="smallest-activation"),
        pytest.param("activation", "1000000000", "activation", 10**9, id="largest-activation"),
        pytest.param("cooldown", "0s", "cooldown", timedelta(), id="no-cooldown"),
        pytest.param("cooldown", "24h", "cooldown", timedelta(days=1), id="longest-cooldown"),
        pytest.param(
            "scale-out.limit",
            "4/15s",
            "scale_out_limit",
            (StepLimit(4, percent=False, period=timedelta(seconds=15)),),
            id="a-count",
        ),
        pytest.param(
            "scale-in.limit",
            "100%/1m",
            "scale_in_limit",
            (StepLimit(100, percent=True, period=timedelta(minutes=1)),),
            id="a-share",
        ),
        pytest.param(
            "scale-out.limit",
            " 1 / 0.5s , 10000% / 1h ",
            "scale_out_limit",
            (
                StepLimit(1, percent=False, period=timedelta(seconds=0.5)),
                StepLimit(10_000, percent=True, period=timedelta(hours=1)),
            ),
            id="several-limits-and-their-edges",
        ),
        pytest.param("scale-out.limit", "none", "scale_out_limit", (), id="no-growth-limit"),
        pytest.param("scale-in.limit", " None ", "scale_in_limit", (), id="no-limit-in-capitals"),
        pytest.param("tolerance", "10%", "tolerance", 0.1, id="tolerance"),
        pytest.param("tolerance", "12.5 %", "tolerance", 0.125, id="part-of-a-percent"),
        pytest.param("tolerance", "0%", "tolerance", 0.0, id="no-tolerance"),
        pytest.param("tolerance", "0", "tolerance", 0.0, id="a-bare-0-needs-no-sign"),
        pytest.param("tolerance", "100%", "tolerance", 1.0, id="largest-tolerance"),
        pytest.param("max-wait", "30s", "max_wait", timedelta(seconds=30), id="max-wait"),
        pytest.param("max-wait", "24h", "max_wait", timedelta(days=1), id="longest-max-wait"),
        pytest.param("max-wait", "none", "max_wait", None, id="no-max-wait"),
        pytest.param("max-wait", " NONE ", "max_wait", None, id="no-max-wait-in-capitals"),
        pytest.param("slots-target", "80%", "slots_target", 0.8, id="slots-target"),
        pytest.param("slots-target", "100%", "slots_target", 1.0, id="largest-slots-target"),
        pytest.param("slots-target", "0.5%", "slots_target", 0.005, id="smallest-slots-target"),
        pytest.param("slots-target", " None ", "slots_target", None, id="no-slots-target"),
        pytest.param("priority", "-3", "priority", -3, id="priority-below-zero"),
        pytest.param("priority", "1000000", "priority", 10**6, id="highest-priority"),
        pytest.param("weight", "2", "weight", 2.0, id="whole-weight"),
        pytest.param("weight", " 0.25 ", "weight", 0.25, id="part-of-a-weight"),
        pytest.param("group", "gpu", "groups", ("gpu",), id="group"),
        pytest.param("group", "GPU, my-db,gpu", "groups", ("gpu", "my_db"), id="groups"),
        pytest.param("group", "None", "groups", (), id="no-group"),
        pytest.param("busy", "protect", "busy", Busy.PROTECT, id="protect"),
        pytest.param("busy", "strict", "busy", Busy.STRICT, id="strict"),
        pytest.param("busy", " Ignore ", "busy", Busy.IGNORE, id="ignore-in-capitals"),
        pytest.param("swarm-choice", "order", "swarm_choice", SwarmChoice.ORDER, id="in-order"),
        pytest.param("swarm-choice", "Any", "swarm_choice", SwarmChoice.ANY, id="any-task"),
        pytest.param("keep-up", "auto", "keep_up", KeepUp(), id="learnt"),
        pytest.param("keep-up", " AUTO ", "keep_up", KeepUp(), id="auto-in-capitals"),
        pytest.param("keep-up", "off", "keep_up", KeepUp(on=False), id="keep-up-off"),
        pytest.param("keep-up", "false", "keep_up", KeepUp(on=False), id="off-as-yaml-has-it"),
        pytest.param("keep-up", "true", "keep_up", KeepUp(), id="on-as-yaml-has-it"),
        pytest.param("keep-up", "1.1", "keep_up", KeepUp(throughput=1.1), id="throughput"),
        pytest.param("keep-up", "40", "keep_up", KeepUp(throughput=40), id="whole-throughput"),
        pytest.param("fallback", "hold", "fallback", Fallback(), id="hold"),
        pytest.param("fallback", " Hold ", "fallback", Fallback(), id="hold-in-capitals"),
        pytest.param("fallback", "0", "fallback", Fallback(0), id="fallback-of-0"),
        pytest.param("fallback", "10000", "fallback", Fallback(10_000), id="largest-fallback"),
        pytest.param(
            "fallback", "at-least  3", "fallback", Fallback(3, at_least=True), id="at-least"
        ),
        pytest.param("fallback.after", "0s", "fallback_after", timedelta(), id="fallback-at-once"),
        pytest.param(
            "fallback.after", "24h", "fallback_after", timedelta(days=1), id="latest-fallback"
        ),
    ],
)
def test_a_label_sets_its_field(label: str, value: str, field: str, read_as: object) -> None:
    spec = read_labels({"temporal.queue": "orders", f"temporal.{label}": value})
    assert getattr(spec, field) == read_as


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        pytest.param("on", Mode.ON, id="quoted-on"),
        pytest.param("off", Mode.OFF, id="quoted-off"),
        pytest.param("true", Mode.ON, id="unquoted-on-in-yaml-1.1"),
        pytest.param("false", Mode.OFF, id="unquoted-off-in-yaml-1.1"),
    ],
)
def test_on_and_off_are_understood_where_yaml_made_booleans_of_them(
    written: str, mode: Mode
) -> None:
    assert read(mode=written).mode is mode


@pytest.mark.parametrize(
    ("label", "value", "allowed"),
    [
        pytest.param("queue", "", "the name of a task queue", id="empty-queue"),
        pytest.param("queue", "a,,b", "several separated by commas", id="an-empty-part"),
        pytest.param("target", "0", "from 1 to", id="target-of-nothing"),
        pytest.param("target", "-1", "from 1 to", id="negative-target"),
        pytest.param("target", "ten", "a whole number", id="target-in-words"),
        pytest.param("target", "1.5", "a whole number", id="broken-target"),
        pytest.param("target", "", "a whole number", id="empty-target"),
        pytest.param("min", "-1", "from 0 to 10000", id="negative-min"),
        pytest.param("max", "0", "from 1 to 10000", id="max-of-nothing"),
        pytest.param("max", "10001", "from 1 to 10000", id="max-beyond-reason"),
        pytest.param("integration", " ", "the name of an integration", id="blank-integration"),
        pytest.param("namespace", "", "the name of a namespace", id="empty-namespace"),
        pytest.param("queue-types", "workflows", "workflow, activity, nexus", id="unknown-type"),
        pytest.param("queue-types", "", "workflow, activity, nexus", id="no-type"),
        pytest.param("mode", "paused", "on, dry-run, off, pause-in, pause-out", id="unknown-mode"),
        pytest.param("mode", "1", "on, dry-run, off, pause-in, pause-out", id="mode-as-number"),
        pytest.param("scale-out.window", "30", "such as 30s or 5m", id="window-without-unit"),
        pytest.param("scale-in.window", "61m", "from 0s to 1h", id="window-too-long"),
        pytest.param("scale-in.window", "-5s", "from 0s to 1h", id="window-negative"),
        pytest.param("activation", "-1", "from 0 to 1000000000", id="negative-activation"),
        pytest.param("activation", "1000000001", "from 0 to", id="activation-beyond-reason"),
        pytest.param("activation", "none", "a whole number", id="activation-of-none"),
        pytest.param("cooldown", "300", "from 0s to 24h", id="cooldown-without-unit"),
        pytest.param("cooldown", "24h0.1s", "from 0s to 24h", id="cooldown-too-long"),
        pytest.param("cooldown", "none", "from 0s to 24h", id="cooldown-of-none"),
        pytest.param("scale-out.limit", "", LIMIT, id="empty-limit"),
        pytest.param("scale-out.limit", "4", LIMIT, id="limit-without-period"),
        pytest.param("scale-out.limit", "4/", LIMIT, id="limit-with-empty-period"),
        pytest.param("scale-out.limit", "/15s", LIMIT, id="limit-without-amount"),
        pytest.param("scale-out.limit", "0/15s", LIMIT, id="limit-of-nothing"),
        pytest.param("scale-out.limit", "0%/15s", LIMIT, id="share-of-nothing"),
        pytest.param("scale-out.limit", "10001/15s", LIMIT, id="limit-beyond-reason"),
        pytest.param("scale-out.limit", "-4/15s", LIMIT, id="negative-limit"),
        pytest.param("scale-out.limit", "1.5/15s", LIMIT, id="broken-limit"),
        pytest.param("scale-out.limit", "%4/15s", LIMIT, id="sign-in-front"),
        pytest.param("scale-out.limit", "4%%/15s", LIMIT, id="two-signs"),
        pytest.param("scale-out.limit", "\u0664/15s", LIMIT, id="digits-of-another-script"),
        pytest.param("scale-in.limit", "4/0s", LIMIT, id="no-period"),
        pytest.param("scale-in.limit", "4/1h0.1s", LIMIT, id="period-too-long"),
        pytest.param("scale-in.limit", "4/15", LIMIT, id="period-without-unit"),
        pytest.param("scale-in.limit", "4/15s/2", LIMIT, id="two-periods"),
        pytest.param("scale-in.limit", "4/15s,", LIMIT, id="limit-with-an-empty-part"),
        pytest.param("scale-in.limit", "none,4/15s", LIMIT, id="none-among-limits"),
        pytest.param("scale-in.limit", "4/15s 100%/15s", LIMIT, id="limits-without-comma"),
        pytest.param("tolerance", "10", "from 0% to 100%", id="tolerance-without-sign"),
        pytest.param("tolerance", "0.1", "from 0% to 100%", id="tolerance-as-a-fraction"),
        pytest.param("tolerance", "100.1%", "from 0% to 100%", id="tolerance-beyond-reason"),
        pytest.param("tolerance", "-1%", "from 0% to 100%", id="negative-tolerance"),
        pytest.param("tolerance", "%", "from 0% to 100%", id="a-sign-alone"),
        pytest.param("tolerance", "nan%", "from 0% to 100%", id="tolerance-of-nan"),
        pytest.param("tolerance", "inf%", "from 0% to 100%", id="tolerance-without-end"),
        pytest.param("tolerance", "", "from 0% to 100%", id="empty-tolerance"),
        pytest.param("max-wait", "0s", "above 0s and up to 24h", id="no-wait-at-all"),
        pytest.param("max-wait", "30", "above 0s and up to 24h", id="wait-without-unit"),
        pytest.param("max-wait", "24h1s", "above 0s and up to 24h", id="wait-too-long"),
        pytest.param("max-wait", "", "above 0s and up to 24h", id="empty-wait"),
        pytest.param("slots-target", "0%", "above 0% and up to 100%", id="no-slot-in-use"),
        pytest.param("slots-target", "101%", "above 0% and up to 100%", id="more-than-all-slots"),
        pytest.param("slots-target", "80", "above 0% and up to 100%", id="slots-without-sign"),
        pytest.param("slots-target", "0.8", "above 0% and up to 100%", id="slots-as-a-fraction"),
        pytest.param("slots-target", "", "above 0% and up to 100%", id="empty-slots-target"),
        pytest.param("busy", "protected", "protect, strict, ignore", id="unknown-protection"),
        pytest.param("busy", "true", "protect, strict, ignore", id="protection-as-a-boolean"),
        pytest.param("busy", "none", "protect, strict, ignore", id="protection-of-none"),
        pytest.param("busy", "", "protect, strict, ignore", id="empty-protection"),
        pytest.param("swarm-choice", "all", "order, any", id="unknown-choice"),
        pytest.param("priority", "1.5", "a whole number from -1000000", id="part-of-a-priority"),
        pytest.param("priority", "high", "a whole number from -1000000", id="priority-in-words"),
        pytest.param("priority", "1000001", "to 1000000", id="priority-beyond-reason"),
        pytest.param("weight", "0", "a number from 0.01 to 1000", id="no-weight"),
        pytest.param("weight", "-1", "a number from 0.01 to 1000", id="negative-weight"),
        pytest.param("weight", "nan", "a number from 0.01 to 1000", id="weight-of-nan"),
        pytest.param("weight", "1e2", "such as 2 or 0.5", id="weight-with-an-exponent"),
        pytest.param("weight", "50%", "such as 2 or 0.5", id="weight-as-a-share"),
        pytest.param("weight", "1001", "a number from 0.01 to 1000", id="weight-beyond-reason"),
        pytest.param("group", "", "the name of a group", id="empty-group"),
        pytest.param("group", "gpu,,db", "the name of a group", id="empty-part-of-groups"),
        pytest.param("keep-up", "", "auto, off, or a number of tasks", id="empty-keep-up"),
        pytest.param("keep-up", "none", "auto, off, or a number of tasks", id="keep-up-of-none"),
        pytest.param("keep-up", "0", "tasks a second above 0", id="no-throughput"),
        pytest.param("keep-up", "0.0", "tasks a second above 0", id="no-throughput-in-decimals"),
        pytest.param("keep-up", "-1", "tasks a second above 0", id="negative-throughput"),
        pytest.param("keep-up", "nan", "tasks a second above 0", id="throughput-of-nan"),
        pytest.param("keep-up", "inf", "tasks a second above 0", id="throughput-without-end"),
        pytest.param("keep-up", "1000001", "up to 1000000", id="throughput-beyond-reason"),
        pytest.param("keep-up", "1,5", "such as 0.5", id="throughput-with-a-comma"),
        pytest.param("keep-up", "2/s", "such as 0.5", id="throughput-with-a-unit"),
        pytest.param("fallback", "", FALLBACK, id="empty-fallback"),
        pytest.param("fallback", "none", FALLBACK, id="fallback-of-none"),
        pytest.param("fallback", "-1", FALLBACK, id="negative-fallback"),
        pytest.param("fallback", "1.5", FALLBACK, id="broken-fallback"),
        pytest.param("fallback", "10001", FALLBACK, id="fallback-beyond-reason"),
        pytest.param("fallback", "at-least", FALLBACK, id="at-least-of-nothing"),
        pytest.param("fallback", "at-least -1", FALLBACK, id="at-least-a-negative"),
        pytest.param("fallback", "at-least 1 2", FALLBACK, id="at-least-two-numbers"),
        pytest.param("fallback", "at-most 3", FALLBACK, id="unknown-word"),
        pytest.param("fallback", "hold 3", FALLBACK, id="hold-with-a-number"),
        pytest.param("fallback", "3 4", FALLBACK, id="two-numbers"),
        pytest.param("fallback.after", "3", "from 0s to 24h", id="after-without-unit"),
        pytest.param("fallback.after", "25h", "from 0s to 24h", id="after-too-long"),
    ],
)
def test_a_wrong_value_is_named_with_the_value_and_what_is_allowed(
    label: str, value: str, allowed: str
) -> None:
    (problem,) = problems({"temporal.queue": "orders", f"temporal.{label}": value})
    assert problem.startswith(f"temporal.{label}={value!r} must be ")
    assert allowed in problem


def test_the_queue_is_required() -> None:
    (problem,) = problems({"temporal.max": "3"})
    assert problem == (
        "temporal.queue is missing: it must be the name of a task queue,"
        " or several separated by commas"
    )


@pytest.mark.parametrize(
    ("labels", "blamed", "lowest"),
    [
        pytest.param(
            {"temporal.min": "5", "temporal.max": "4"}, "temporal.max='4' must be", 5, id="both"
        ),
        pytest.param(
            {"temporal.min": "11"}, "temporal.max (default 10) must be", 11, id="max-by-default"
        ),
    ],
)
def test_max_must_not_be_below_min(labels: dict[str, str], blamed: str, lowest: int) -> None:
    (problem,) = problems({"temporal.queue": "orders"} | labels)
    assert problem.startswith(blamed)
    assert problem.endswith(f"not below min; min is {lowest}")


def test_a_build_needs_its_deployment() -> None:
    spec = read(deployment="shop", build_id=" v1.2 ")
    assert (spec.deployment, spec.build_id) == ("shop", "v1.2")


@pytest.mark.parametrize(
    ("labels", "blamed"),
    [
        pytest.param(
            {"temporal.build-id": "v1"}, "temporal.build-id='v1' must be", id="a-build-alone"
        ),
        pytest.param(
            {"temporal.build-id": "v1", "temporal.deployment": "none"},
            "temporal.build-id='v1' must be",
            id="a-build-of-none",
        ),
        pytest.param(
            {"temporal.deployment": "shop"},
            "temporal.build-id (default none) must be",
            id="a-deployment-alone",
        ),
        pytest.param(
            {"temporal.deployment": "shop", "temporal.build-id": "none"},
            "temporal.build-id='none' must be",
            id="a-deployment-without-a-build",
        ),
    ],
)
def test_one_of_deployment_and_build_alone_is_wrong(labels: dict[str, str], blamed: str) -> None:
    (problem,) = problems({"temporal.queue": "orders"} | labels)
    assert problem == (f"{blamed} a build id, and deployment the Worker Deployment it belongs to")


@pytest.mark.parametrize(
    ("labels", "blamed"),
    [
        pytest.param({"deployment": "", "build-id": "v1"}, "temporal.deployment=''", id="of-blank"),
        pytest.param({"deployment": "shop", "build-id": " "}, "temporal.build-id=' '", id="blank"),
    ],
)
def test_an_empty_deployment_or_build_is_named_itself(labels: dict[str, str], blamed: str) -> None:
    given_labels = {f"temporal.{name}": value for name, value in labels.items()}
    (problem,) = problems({"temporal.queue": "orders"} | given_labels)
    assert problem.startswith(blamed)


def test_every_problem_is_named_at_once() -> None:
    named = problems(
        {
            "temporal.taget": "5",
            "temporal.min": "few",
            "temporal.max": "many",
            "temporal.mode": "auto",
            "temporal.activation": "some",
            "temporal.cooldown": "cool",
            "temporal.scale-in.window": "long",
            "temporal.scale-out.limit": "slow",
            "temporal.scale-in.limit": "slow",
            "temporal.tolerance": "much",
            "temporal.max-wait": "long",
            "temporal.slots-target": "most",
            "temporal.busy": "spare",
            "temporal.fallback": "run",
            "temporal.fallback.after": "soon",
            "temporal.deployment": "",
            "temporal.build-id": "",
        }
    )
    assert [problem.split("=")[0].split(" ")[0] for problem in named] == [
        "temporal.taget",
        "temporal.queue",
        "temporal.min",
        "temporal.max",
        "temporal.mode",
        "temporal.activation",
        "temporal.cooldown",
        "temporal.scale-in.window",
        "temporal.scale-out.limit",
        "temporal.scale-in.limit",
        "temporal.tolerance",
        "temporal.max-wait",
        "temporal.slots-target",
        "temporal.busy",
        "temporal.fallback",
        "temporal.fallback.after",
        "temporal.deployment",
        "temporal.build-id",
    ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        pytest.param("temporal.quue", "temporal.queue", id="a-letter-missing"),
        pytest.param("temporal.Target", "temporal.target", id="a-capital"),
        pytest.param("temporal.scale_in.window", "temporal.scale-in.window", id="an-underscore"),
        pytest.param("temporal.queue-type", "temporal.queue-types", id="singular"),
        pytest.param("temporal.name-space", "temporal.namespace", id="a-dash-too-many"),
        pytest.param("temporal.cool-down", "temporal.cooldown", id="in-two-words"),
        pytest.param("temporal.maxwait", "temporal.max-wait", id="a-dash-missing"),
        pytest.param("temporal.scale-in-limit", "temporal.scale-in.limit", id="a-dash-for-a-dot"),
        pytest.param(
            "temporal.fallback-after", "temporal.fallback.after", id="a-dash-for-a-dot-in-fallback"
        ),
        pytest.param("temporal.slot-target", "temporal.slots-target", id="a-plural-missing"),
        pytest.param("temporal.build_id", "temporal.build-id", id="another-underscore"),
    ],
)
def test_an_unknown_label_comes_with_its_value_and_the_nearest_known_name(
    typed: str, meant: str
) -> None:
    (problem,) = problems({"temporal.queue": "orders", typed: "5"})
    assert problem == f"{typed}='5' is not a label, the nearest is {meant}"


SCHEDULE = (
    "times of the week with min, max or both, such as mon-fri 07:30-19:00 min=5 max=40, several"
    " separated by semicolons, and no min above the max that then holds"
)


class TestSchedules:
    def test_the_wrong_part_is_named_with_the_form(self) -> None:
        wrong = {"temporal.queue": "orders", "temporal.schedule": "mon 07:30-25:00 min=5"}
        (problem,) = problems(wrong)
        assert problem == (
            f"temporal.schedule='mon 07:30-25:00 min=5' must be {SCHEDULE}; '07:30-25:00' must"
            " begin from 00:00 to 23:59 and end at 24:00 at the latest"
        )

    @pytest.mark.parametrize("bounds", [{}, {"temporal.min": "9", "temporal.max": "10"}])
    def test_a_min_above_the_max_that_then_holds_is_named(self, bounds: dict[str, str]) -> None:
        wrong = {"temporal.queue": "orders", "temporal.schedule": "mon 07:30-19:00 min=20"}
        (problem,) = problems(wrong | bounds)
        assert problem.endswith("; from mon 07:30 min would be 20 and max 10")

    def test_the_services_own_min_may_contradict_a_window(self) -> None:
        wrong = {
            "temporal.queue": "o",
            "temporal.min": "3",
            "temporal.schedule": "sun 1:00-2:00 max=2",
        }
        (problem,) = problems(wrong)
        assert problem.endswith("; from sun 01:00 min would be 3 and max 2")

    def test_a_wrong_max_is_not_blamed_on_the_schedule(self) -> None:
        wrong = {
            "temporal.queue": "o",
            "temporal.max": "x",
            "temporal.schedule": "sun 1:00-2:00 min=99",
        }
        (problem,) = problems(wrong)
        assert problem.startswith("temporal.max='x'")

    def test_an_unknown_zone_comes_with_the_nearest(self) -> None:
        wrong = {"temporal.queue": "orders", "temporal.timezone": "Europe/Berln"}
        (problem,) = problems(wrong)
        assert problem == (
            "temporal.timezone='Europe/Berln' must be an IANA time zone such as Europe/Berlin;"
            " the nearest is Europe/Berlin"
        )

    def test_the_daemons_zone_counts_where_the_label_names_no_other(self) -> None:
        tokyo, labels = ZoneInfo("Asia/Tokyo"), {"temporal.queue": "orders"}
        other = labels | {"temporal.timezone": "Asia/Kolkata"}
        assert read_labels(labels, timezone=tokyo).timezone == tokyo
        assert read_labels(other, timezone=tokyo).timezone == ZoneInfo("Asia/Kolkata")


def test_labels_of_others_are_ignored() -> None:
    others = {"com.docker.compose.project": "shop", "temporal": "x", "temporality.queue": "y"}
    assert read_labels({"temporal.queue": "orders"} | others) == read()


def test_another_prefix_reads_its_own_labels_only() -> None:
    labels = {"acme.scaling.queue": "orders", "acme.scaling.max": "3", "temporal.max": "wrong"}
    assert read_labels(labels, "acme.scaling") == read(max="3")


def test_problems_are_named_with_the_prefix_in_use() -> None:
    named = problems({"acme.maxi": "3"}, "acme")
    assert named[0] == "acme.maxi='3' is not a label, the nearest is acme.max"
    assert named[1].startswith("acme.queue is missing")


def test_the_reference_lists_every_field_with_its_default_and_meaning() -> None:
    reference = {doc.name: doc for doc in label_docs()}
    assert list(reference) == [f"temporal.{name}" for name in LABELS]
    assert set(LABELS.values()) == set(ScalingSpec.model_fields)
    assert all(doc.allowed and doc.meaning for doc in reference.values())
    assert {name.removeprefix("temporal."): doc.default for name, doc in reference.items()} == {
        "queue": "required",
        "target": "10",
        "min": "1",
        "max": "10",
        "schedule": "none",
        "timezone": "the daemon's",
        "integration": "default",
        "namespace": "the integration's",
        "queue-types": "workflow,activity",
        "mode": "on",
        "activation": "0",
        "cooldown": "5m",
        "scale-out.window": "0s",
        "scale-in.window": "15s",
        "scale-out.limit": "none",
        "scale-in.limit": "none",
        "tolerance": "0%",
        "max-wait": "none",
        "slots-target": "none",
        "keep-up": "auto",
        "busy": "protect",
        "swarm-choice": "order",
        "priority": "0",
        "weight": "1",
        "group": "none",
        "deployment": "none",
        "build-id": "none",
        "drain": "1h",
        "fallback": "hold",
        "fallback.after": "3m",
    }


@pytest.mark.parametrize(
    "label",
    [doc.name for doc in label_docs() if doc.default == "none"],
)
def test_none_may_be_written_where_the_reference_says_none(label: str) -> None:
    assert read_labels({"temporal.queue": "orders", label: "none"}) == read()


def test_the_reference_follows_the_prefix() -> None:
    assert next(label_docs("acme")).name == "acme.queue"


def test_a_written_default_means_the_same_as_no_label() -> None:
    defaults = {
        doc.name: doc.default
        for doc in label_docs()
        if doc.default not in ("required", "the integration's", "the daemon's")
    }
    assert read_labels({"temporal.queue": "orders"} | defaults) == read()


KEYS = st.sampled_from([f"temporal.{name}" for name in LABELS]) | st.text(max_size=8).map(
    lambda name: f"temporal.{name}"
)
WORDS = [
    *("on", "true", "workflow", "5m", "1h", "0", "9" * 5000, "a,b", "\ud800"),
    *(
        "none",
        "strict",
        "shop",
        "4/15s",
        "100%/15s,",
        "9/9h",
        "10%",
        "nan%",
        "1e999%",
        "hold",
        "at-least 3",
    ),
]
VALUES: st.SearchStrategy[Any] = (
    st.text(max_size=12) | st.integers().map(str) | st.floats().map(str) | st.sampled_from(WORDS)
)


@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_any_labels_give_a_spec_or_a_label_error(labels: dict[str, str]) -> None:
    named: tuple[str, ...] = ()
    try:
        spec = read_labels(labels)
    except LabelError as error:
        named = error.problems
    if named:
        assert all(problem.startswith("temporal.") for problem in named)
    else:
        assert spec.queues
        assert spec.min <= spec.max
        assert (spec.deployment is None) == (spec.build_id is None)
        assert spec.slots_target is None or 0 < spec.slots_target <= 1
