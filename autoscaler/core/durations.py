"""Durations as people write them: `30s`, `5m`, `1h30m`."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?", re.ASCII)

_FORM = "a duration such as 30s, 5m or 1h30m is needed"


def parse_duration(text: str) -> timedelta:
    """Read `1h30m`, `5m`, `0.5s` or `0s`; raise ValueError for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(_FORM)
    try:
        return timedelta(
            seconds=sum(float(match[unit] or 0) * size for unit, size in _UNITS.items())
        )
    except OverflowError as error:
        raise ValueError(_FORM) from error


def format_duration(duration: timedelta) -> str:
    """Return a duration the way a label has it: `1h30m`, `1m`, `0.5s`, `0s`."""
    seconds = round(duration.total_seconds(), 3)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    text = "".join(
        f"{round(value, 3):g}{unit}"
        for value, unit in ((hours, "h"), (minutes, "m"), (seconds, "s"))
        if value
    )
    return text or "0s"


def seconds_passed(duration: timedelta) -> timedelta:
    """Return the whole seconds of a duration, for people: 4m59.9s of 5m are not 5m yet."""
    return timedelta(seconds=math.floor(duration.total_seconds()))


def seconds_begun(duration: timedelta) -> timedelta:
    """Return a duration rounded up to seconds, for people: 1m0.1s are longer than 1m."""
    return timedelta(seconds=math.ceil(duration.total_seconds()))


def _from_text(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_from_text)]
"""A pydantic field that takes a duration as text. Text without a unit is refused."""
