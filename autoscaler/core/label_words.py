"""How the words of labels are read, and how an editor is told what it may accept.

These are the types of the fields in spec.py; the values themselves are in label_values.py.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from autoscaler.core.durations import Duration
from autoscaler.core.integration import canonical
from autoscaler.core.label_values import (
    LEAST_WEIGHT,
    LONGEST_WAIT,
    LONGEST_WINDOW,
    MOST_REPLICAS,
    MOST_THROUGHPUT,
    MOST_WEIGHT,
    NUMBER,
    Busy,
    Fallback,
    KeepUp,
    Mode,
    QueueType,
    StepLimit,
    SwarmChoice,
)
from autoscaler.core.schedule import WEEK, Schedule
from autoscaler.core.zones import read_zone

_LEAST_THROUGHPUT = 0.0001
"""The least for an editor: programs write smaller numbers with an exponent, which is refused."""


# ------------------------------------------------------------------ reading


def _split(value: object) -> object:
    """Read parts separated by commas, each counted once."""
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(part.strip() for part in value.split(",")))


def _without_empty_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(parts):
        raise ValueError("empty part")
    return parts


def _strip(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _word(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _mode(value: object) -> object:
    text = _word(value)
    # `docker stack deploy` reads YAML 1.1, where an unquoted on or off is a boolean.
    return {"true": "on", "false": "off"}.get(text, text) if isinstance(text, str) else text


def _or_none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _step_limits(value: object) -> object:
    if not isinstance(value, str):
        return value
    if _or_none(value) is None:
        return ()
    return tuple(StepLimit.parse(part) for part in value.split(","))


def _fallback(value: object) -> object:
    return Fallback.parse(value) if isinstance(value, str) else value


def _keep_up(value: object) -> object:
    return KeepUp.parse(value) if isinstance(value, str) else value


def _number(value: object) -> object:
    """Read `2` or `0.5`: no exponent, no sign, no underscores."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return float(text)


def _groups(value: object) -> object:
    """Read names separated by commas, each counted once, in their canonical spelling."""
    if not isinstance(value, str):
        return value
    if _or_none(value) is None:
        return ()
    return tuple(dict.fromkeys(canonical(part) for part in value.split(",")))


def _schedule(value: object) -> object:
    return Schedule.parse(value, MOST_REPLICAS) if isinstance(value, str) else value


def _zone(value: object) -> object:
    return read_zone(value) if isinstance(value, str) else value


def _share(value: object) -> object:
    """Read `10%` as 0.1; a 0 needs no percent sign."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text != "0" and not text.endswith("%"):
        raise ValueError("not a share")
    return float(text.removesuffix("%")) / 100


def _share_or_none(value: object) -> object:
    return _share(_or_none(value))


# ------------------------------------------------------------------ types of fields
# Each says in its JSON schema which values an editor may accept: none that the reader refuses, as
# far as a schema can tell.

_DURATION = r"(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+([.][0-9]+)?s)?"
_PERCENT = "(100|[0-9]{1,2}([.][0-9]+)?)%"
_STEP = f"[1-9][0-9]{{0,3}}%?/{_DURATION}"
_DAY = f"({'|'.join(WEEK)})"
_DAYS = f"(daily|[*]|{_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)*)"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
_WEEKLY = f" *{_DAYS} {_TIME}-({_TIME}|24:00)( min=[0-9]{{1,4}}| max=[1-9][0-9]{{0,3}}){{1,2}} *"
_ZONE = "[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"
_PART = r"\s*[^,\s][^,]*"


def _form(*forms: str | float | bool | dict[str, Any]) -> WithJsonSchema:
    """Return the schema of values that match a pattern, equal a value or follow a schema."""
    return WithJsonSchema({"anyOf": [_schema(form) for form in forms]})


def _schema(form: str | float | dict[str, Any]) -> dict[str, Any]:
    if isinstance(form, dict):
        return form
    return {"pattern": f"^{form}$", "type": "string"} if isinstance(form, str) else {"const": form}


def _several(part: str, *others: dict[str, Any]) -> WithJsonSchema:
    """Return the schema of parts that match a pattern: separated by commas, or as a list.

    A value that follows one of the `others` is right as well.
    """
    pattern = f"{part}(,{part})*"
    return _form(pattern, {"type": "array", "items": _schema(pattern), "minItems": 1}, *others)


def _words(words: type[StrEnum], *, switch: bool = False) -> WithJsonSchema:
    """Return the schema of some words; with `switch`, of booleans as well."""
    return WithJsonSchema({"enum": [*words, *((True, False) if switch else ())]})


_TEXT = _form(r"\s*\S[\s\S]*", {"type": "integer"})

Text = Annotated[str, BeforeValidator(_strip), Field(min_length=1), _TEXT]
TextOrNone = Annotated[Text | None, BeforeValidator(_or_none), _TEXT]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_split),
    AfterValidator(_without_empty_parts),
    _several(_PART, {"type": "integer"}),
]
GroupNames = Annotated[
    tuple[str, ...],
    BeforeValidator(_groups),
    AfterValidator(_without_empty_parts),
    _several(_PART, {"type": "integer"}),
]
Weight = Annotated[
    float,
    BeforeValidator(_number),
    Field(ge=LEAST_WEIGHT, le=MOST_WEIGHT),
    _form({"type": "number", "minimum": LEAST_WEIGHT, "maximum": MOST_WEIGHT}),
]
QueueTypes = Annotated[
    tuple[QueueType, ...], BeforeValidator(_split), _several(f"({'|'.join(QueueType)})")
]
# An editor that reads YAML 1.1 takes an unquoted on or off for a boolean.
ModeWord = Annotated[Mode, BeforeValidator(_mode), _words(Mode, switch=True)]
BusyWord = Annotated[Busy, BeforeValidator(_word), _words(Busy)]
SwarmChoiceWord = Annotated[SwarmChoice, BeforeValidator(_word), _words(SwarmChoice)]
WindowLength = Annotated[Duration, Field(le=LONGEST_WINDOW), _form(_DURATION)]
Wait = Annotated[Duration, Field(le=LONGEST_WAIT), _form(_DURATION)]
WaitOrNone = Annotated[
    Annotated[Wait, Field(gt=timedelta())] | None,
    BeforeValidator(_or_none),
    _form("none", _DURATION),
]
StepLimits = Annotated[
    tuple[StepLimit, ...],
    BeforeValidator(_step_limits),
    _form(
        "none",
        f"{_STEP}(,{_STEP})*",
        {"type": "array", "items": _schema(_STEP), "minItems": 1},
    ),
]
FallbackWords = Annotated[
    Fallback,
    BeforeValidator(_fallback),
    _form(
        "hold",
        "(at-least )?[0-9]{1,4}",
        {"type": "integer", "minimum": 0, "maximum": MOST_REPLICAS},
    ),
]
KeepUpWords = Annotated[
    KeepUp,
    BeforeValidator(_keep_up),
    _form(
        "auto",
        "off",
        True,  # noqa: FBT003 - a value, as above
        False,  # noqa: FBT003
        {"type": "number", "minimum": _LEAST_THROUGHPUT, "maximum": MOST_THROUGHPUT},
    ),
]
ScheduleWords = Annotated[
    Schedule,
    BeforeValidator(_schedule),
    _form("none", f"{_WEEKLY}(;{_WEEKLY})*"),
]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone), _form(_ZONE)]
Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1), _form(_PERCENT, 0)]
ShareOrNone = Annotated[
    Annotated[float, Field(gt=0, le=1)] | None,
    BeforeValidator(_share_or_none),
    _form("none", f"(?=.*[1-9]){_PERCENT}"),
]
