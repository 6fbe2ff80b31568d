"""How the values of settings are read: the types of the fields in settings.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from autoscaler.core.agent_messages import SHORTEST_SECRET
from autoscaler.core.durations import Duration, format_duration
from autoscaler.core.integration import LAST_PORT, canonical
from autoscaler.core.sizes import Reserve
from autoscaler.core.territory import EVERY, OWN
from autoscaler.core.zones import UTC_ZONE, read_zone

STATE = Path("/var/lib/autoscaler")

SHORTEST_POLL = timedelta(seconds=1)
LONGEST_POLL = timedelta(minutes=10)
SHORTEST_TOKEN = 16

_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_ADDRESS_FORM = "host and port are needed, such as 127.0.0.1:8080 or 0.0.0.0:8080"
_TOKEN = re.compile(rf"[!-~]{{{SHORTEST_TOKEN},}}", re.ASCII)

MOST_OF_ALL = 1_000_000
"""Replicas of several services together; a larger number is a typing error."""


class OrchestratorChoice(StrEnum):
    """Which orchestrators the daemon scales services of."""

    AUTO = "auto"
    COMPOSE = "compose"
    SWARM = "swarm"


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level of log lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _projects(value: object) -> object:
    # Compose passes a variable that is not set on as an empty one.
    return _split(value) or (OWN,)


def _alone(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) > 1 and {OWN, EVERY}.intersection(value):
        raise ValueError(f"{OWN} or {EVERY} alone is needed, or names separated by commas")
    return value


def _split_lower(value: object) -> object:
    return _split(value.lower()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _none_if_empty(value: object) -> object:
    # Compose passes a variable that is not set on as an empty one.
    return None if value == "" else value


def _state(value: object) -> object:
    # Compose passes a variable that is not set on as an empty one.
    return value or STATE


def _reserve(value: object) -> object:
    # Compose passes a variable that is not set on as an empty one.
    return Reserve.parse(value or "10%") if isinstance(value, str) else value


def _groups(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    if not all(name.strip() for name in value):
        raise ValueError("a group needs a name: AUTOSCALER_GROUPS__<NAME>")
    # Compose passes a variable that is not set on as an empty one.
    return {canonical(name): most for name, most in value.items() if most != ""}


def _poll_interval(value: timedelta) -> timedelta:
    if not SHORTEST_POLL <= value <= LONGEST_POLL:
        raise ValueError(
            f"must be from {format_duration(SHORTEST_POLL)} to {format_duration(LONGEST_POLL)}"
        )
    return value


def _zone(value: object) -> object:
    if not isinstance(value, str):
        return value
    # Compose passes a variable that is not set on as an empty one.
    if not value:
        return UTC_ZONE
    try:
        return read_zone(value)
    except ValueError as error:
        raise ValueError(f"must be an IANA time zone such as Europe/Berlin; {error}") from error


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    host, _, port = value.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not _HOST.fullmatch(host) or not port.isascii() or not port.isdecimal():
        raise ValueError(_ADDRESS_FORM)
    if int(port) > LAST_PORT:
        raise ValueError(_ADDRESS_FORM)
    return host, int(port)


def _token(value: SecretStr | None) -> SecretStr | None:
    # Compose passes a variable that is not set on as an empty one.
    if value is None or not value.get_secret_value().strip():
        return None
    if not _TOKEN.fullmatch(value.get_secret_value()):
        raise ValueError(
            f"at least {SHORTEST_TOKEN} letters, digits or signs without spaces are needed;"
            " `openssl rand -hex 32` makes such a token"
        )
    return value


def read_agent_secret(value: SecretStr | None) -> SecretStr | None:
    """Return the secret of the agents; None where it is empty. Raises ValueError."""
    # Compose passes a variable that is not set on as an empty one.
    if value is None or not value.get_secret_value().strip():
        return None
    if len(value.get_secret_value().strip()) < SHORTEST_SECRET:
        raise ValueError(
            f"at least {SHORTEST_SECRET} characters are needed; `openssl rand -hex 32` makes such"
            " a secret"
        )
    return SecretStr(value.get_secret_value().strip())


# ---------------------------------------------------------------------- types of fields

PollInterval = Annotated[Duration, AfterValidator(_poll_interval)]
Orchestrators = Annotated[
    tuple[OrchestratorChoice, ...], NoDecode, BeforeValidator(_split_lower), Field(min_length=1)
]
Projects = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_projects), AfterValidator(_alone)]
PathOrNone = Annotated[Path | None, BeforeValidator(_none_if_empty)]
LogFormatWord = Annotated[LogFormat, BeforeValidator(_lower)]
LogLevelWord = Annotated[LogLevel, BeforeValidator(_lower)]
Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]
Address = Annotated[tuple[str, int], NoDecode, BeforeValidator(_address)]
Token = Annotated[SecretStr | None, AfterValidator(_token)]
State = Annotated[Path, BeforeValidator(_state)]
MostReplicas = Annotated[
    Annotated[int, Field(ge=1, le=MOST_OF_ALL)] | None, BeforeValidator(_none_if_empty)
]
GroupSize = Annotated[int, Field(ge=0, le=MOST_OF_ALL)]
GroupSizes = Annotated[Mapping[str, GroupSize], BeforeValidator(_groups)]
HostReserve = Annotated[Reserve, NoDecode, BeforeValidator(_reserve)]
SecretOrNone = Annotated[SecretStr | None, BeforeValidator(_none_if_empty)]
AgentSecret = Annotated[SecretStr | None, AfterValidator(read_agent_secret)]
