"""Overrides: values of labels that somebody set live, and that end by themselves. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autoscaler.core.durations import format_duration, parse_duration, seconds_begun
from autoscaler.core.errors import LabelError, OverrideError
from autoscaler.core.label_values import MOST_REPLICAS, Mode
from autoscaler.core.labels import read_labels
from autoscaler.core.model import ServiceId

USUAL_TIME = timedelta(hours=1)
"""How long an override holds where nobody says otherwise."""
LONGEST_TIME = timedelta(days=366)
"""A longer time is a typing error, or `ever` is meant."""
EVER = "ever"
"""In place of a duration: the override stays until somebody removes it."""
LONGEST_REASON = 200
LONGEST_NAME = 64
"""Letters that the name of whoever sets an override may have."""
MODE = "mode"
PAUSES = (Mode.OFF, Mode.PAUSE_IN, Mode.PAUSE_OUT)
"""The modes that `pause` sets: neither direction moves, or one of them."""
_PAUSED = {Mode.OFF: "paused", Mode.PAUSE_IN: "scale-in paused", Mode.PAUSE_OUT: "scale-out paused"}

_COMPOSE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*/[A-Za-z0-9._-]+", re.ASCII)
_SWARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Override:
    """One value of one service, set live."""

    service: ServiceId
    name: str
    """The name of the label without its prefix: `scale-in.window`."""
    value: str
    """As a label has it."""
    since: datetime
    """When it was set."""
    until: datetime | None
    """When it ends; None: when somebody removes it."""
    by: str
    """Who set it: the name of a user, or `page`."""
    reason: str = ""

    def holds(self, now: datetime) -> bool:
        """Whether it has not ended at `now`."""
        return self.until is None or now < self.until

    @property
    def lasts(self) -> timedelta | None:
        """How long it was set for; None: until somebody removes it."""
        return None if self.until is None else self.until - self.since

    @property
    def end(self) -> str:
        """When it ends, in words: `until 15:00 UTC`, with the date where that is another day."""
        if self.until is None:
            return "until it is removed"
        same_day = self.until.date() == self.since.date()
        return f"until {self.until:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC"

    @property
    def what(self) -> str:
        """What it does, in words: `max=6`, `paused`, `scale-in paused`."""
        return _PAUSED[Mode(self.value)] if self.pauses else f"{self.name}={self.value}"

    @property
    def pauses(self) -> bool:
        """Whether it is a pause."""
        return self.name == MODE and self.value in PAUSES

    @property
    def origin(self) -> str:
        """Where its value comes from, in words: `override by anna until 15:00 UTC: deploy`."""
        return f"override by {self.by} {self.end}{self._because}"

    def __str__(self) -> str:
        return f"{self.what} {self.end} by {self.by}{self._because}"

    @property
    def _because(self) -> str:
        return f": {self.reason}" if self.reason else ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for with `set` or `pause`."""

    service: ServiceId
    values: Mapping[str, str]
    """By the names of labels without their prefix."""
    by: str
    reason: str = ""
    lasting: timedelta | None = USUAL_TIME
    """How long it shall hold; None: until somebody removes it."""

    def overrides(self, now: datetime) -> tuple[Override, ...]:
        """Return the overrides that are asked for, set at `now`."""
        since = now.astimezone(UTC)
        until = None if self.lasting is None else since + self.lasting
        return tuple(
            Override(self.service, name, value, since, until, self.by, self.reason)
            for name, value in sorted(self.values.items())
        )


def merged(
    present: Iterable[Override], new: Collection[Override], now: datetime
) -> tuple[Override, ...]:
    """Return the overrides that hold at `now`, with new ones in the place of earlier ones.

    Each value has an end of its own: a new override of `max` leaves one of `min` as it is.
    """
    replaced = {(each.service, each.name) for each in new}
    kept = (each for each in holding(present, now) if (each.service, each.name) not in replaced)
    return tuple(sorted((*kept, *new), key=_order))


def holding(overrides: Iterable[Override], now: datetime) -> tuple[Override, ...]:
    """Return the overrides that hold at `now`, by service and name."""
    return tuple(sorted((each for each in overrides if each.holds(now)), key=_order))


def soon(override: Override, now: datetime) -> bool:
    """Whether an override is about to end: within 5 minutes, or the last tenth of a short time."""
    if override.until is None or override.lasts is None:
        return False
    return override.until - now <= min(timedelta(minutes=5), override.lasts / 10)


def time_left(until: datetime, now: datetime) -> str:
    """Return how long it is until a moment, in words: `42m left`."""
    left = max(timedelta(), seconds_begun(until - now))
    whole = timedelta(minutes=left // timedelta(minutes=1)) if left >= timedelta(hours=1) else left
    return f"{format_duration(whole)} left"


def of_service(overrides: Iterable[Override], service: ServiceId) -> tuple[Override, ...]:
    """Return the overrides of one service."""
    return tuple(each for each in overrides if each.service == service)


def by_service(overrides: Iterable[Override]) -> Mapping[ServiceId, Sequence[Override]]:
    """Return overrides by their services."""
    found: dict[ServiceId, list[Override]] = defaultdict(list)
    for each in overrides:
        found[each.service].append(each)
    # A service without any has no entry, and asking for it makes none.
    return dict(found)


def _order(override: Override) -> tuple[ServiceId, str]:
    return override.service, override.name


# ------------------------------------------------------------------ what people write


def parse_service(text: str) -> ServiceId:
    """Read `shop/worker`, `compose/shop/worker`, `shop_worker` or `swarm/shop_worker`.

    Raises OverrideError. Names of Compose services have two parts, those of Swarm one. So
    `compose/worker` is the service `worker` of a project that is named `compose`.
    """
    given = text.strip()
    orchestrator, _, rest = given.partition("/")
    if orchestrator == "compose" and _COMPOSE_NAME.fullmatch(rest):
        return ServiceId("compose", rest)
    if orchestrator == "swarm" and _SWARM_NAME.fullmatch(rest):
        return ServiceId("swarm", rest)
    if _COMPOSE_NAME.fullmatch(given):
        return ServiceId("compose", given)
    if _SWARM_NAME.fullmatch(given):
        return ServiceId("swarm", given)
    problem = (
        f"{text!r} is no service: PROJECT/SERVICE is needed on Compose, such as shop/worker,"
        " and the service's name on Swarm, such as shop_worker"
    )
    raise OverrideError([problem])


def parse_time(text: str) -> timedelta | None:
    """Read how long an override shall hold: a duration, or `ever`, which is None.

    Raises OverrideError.
    """
    if text.strip().lower() == EVER:
        return None
    try:
        time = parse_duration(text)
    except ValueError:
        time = timedelta()
    if not timedelta() < time <= LONGEST_TIME:
        raise OverrideError(
            [f"{text!r} is no time: a duration such as 30m or 2h up to 8784h is needed, or {EVER}"]
        )
    return time


def parse_words(text: str, what: str, longest: int) -> str:
    """Read a reason or a name: one line of at most so many letters. Raises OverrideError."""
    words = " ".join(text.split())
    if len(words) > longest or not words.isprintable():
        raise OverrideError(
            [f"the {what} must be one line of at most {longest} letters, and has {len(words)}"]
        )
    return words


def read_wanted(
    service: ServiceId, values: Mapping[str, str], time: str, reason: str, by: str
) -> Wanted:
    """Return what somebody asks for in words. Raises OverrideError that names all that is wrong.

    The values are checked later, beside those that are set already.
    """
    problems: list[str] = []
    words: dict[str, str] = {}
    lasting = None
    for what, text, longest in (("reason", reason, LONGEST_REASON), ("name", by, LONGEST_NAME)):
        with _collected(problems):
            words[what] = parse_words(text, what, longest)
    with _collected(problems):
        lasting = parse_time(time)
    if problems:
        raise OverrideError(problems)
    return Wanted(service, values, words["name"], words["reason"], lasting)


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except OverrideError as error:
        problems.extend(error.problems)


def without_prefix(name: str, prefix: str) -> str:
    """Return the name of a label without its prefix, whether or not it was written with it."""
    return name.strip().removeprefix(f"{prefix}.")


def check_values(values: Mapping[str, str], prefix: str, known: Mapping[str, str]) -> None:
    """Check values as labels are checked. Raises OverrideError that names every wrong one at once.

    `known` are all values of the service that are no defaults, by the full names of labels; empty
    where nobody knows them. What is not known contradicts nothing, and neither does what is wrong.
    """
    full = {f"{prefix}.{name}": value for name, value in values.items()}
    others = known if known and _are_right(known, prefix) else _stand_ins(full, prefix)
    try:
        read_labels({**others, **full}, prefix)
    except LabelError as error:
        raise OverrideError(error.problems) from error


def _are_right(labels: Mapping[str, str], prefix: str) -> bool:
    try:
        read_labels(labels, prefix)
    except LabelError:
        return False
    return True


def _stand_ins(full: Mapping[str, str], prefix: str) -> Mapping[str, str]:
    """Return values for labels that others need beside them, where nobody knows the true ones."""
    parts = {f"{prefix}.deployment", f"{prefix}.build-id"}
    needed = {f"{prefix}.queue": "-", f"{prefix}.min": "0", f"{prefix}.max": f"{MOST_REPLICAS}"}
    return needed | (dict.fromkeys(parts, "-") if parts & full.keys() else {})
