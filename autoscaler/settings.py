"""AUTOSCALER_*: the settings of the process.

Labels configure services, and integrations hold credentials.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from autoscaler.core.durations import Duration, format_duration
from autoscaler.core.errors import ConfigurationError
from autoscaler.core.integration import LAST_PORT, Integration, canonical
from autoscaler.core.spec import DEFAULT_PREFIX

PREFIX = "AUTOSCALER_"
SECRETS_DIR = Path("/run/secrets")
"""Where Docker mounts secrets. A file with the name of a variable sets that variable."""
DOTENV = Path(".env")
STORE = Path("/var/lib/autoscaler/integrations")

SHORTEST_POLL = timedelta(seconds=1)
LONGEST_POLL = timedelta(minutes=10)
SHORTEST_TOKEN = 16

_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", re.ASCII)
_ADDRESS_FORM = "host and port are needed, such as 127.0.0.1:8080 or 0.0.0.0:8080"
_TOKEN = re.compile(rf"[!-~]{{{SHORTEST_TOKEN},}}", re.ASCII)


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


def _split_lower(value: object) -> object:
    return _split(value.lower()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _none_if_empty(value: object) -> object:
    # Compose passes a variable that is not set on as an empty one.
    return None if value == "" else value


def _poll_interval(value: timedelta) -> timedelta:
    if not SHORTEST_POLL <= value <= LONGEST_POLL:
        raise ValueError(
            f"must be from {format_duration(SHORTEST_POLL)} to {format_duration(LONGEST_POLL)}"
        )
    return value


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


class Settings(BaseSettings):
    """The settings of the process. The docstring of a field is its documentation."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file_encoding="utf-8",
        extra="ignore",  # load() finds unknown variables of ours; those of others are ignored
        frozen=True,
        hide_input_in_errors=True,  # a traceback must not show what may be a secret
    )

    poll_interval: Annotated[Duration, AfterValidator(_poll_interval)] = timedelta(seconds=5)
    """Time between two ticks, such as 5s. Temporal updates its backlog figures every 5 s."""

    rpc_budget: Annotated[float, Field(ge=1, le=10_000)] = 40
    """Calls a second to each integration. Where there are more task queues than calls, each is read
    less often, busy ones more often than quiet ones. 40 allows 100 services with two types of tasks
    each at a poll interval of 5 s."""

    orchestrators: Annotated[
        tuple[OrchestratorChoice, ...], NoDecode, BeforeValidator(_split_lower), Field(min_length=1)
    ] = (OrchestratorChoice.AUTO,)
    """auto, compose, swarm, or several separated by commas. auto: Compose always, Swarm where
    the engine is a manager."""

    projects: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """Compose projects and Swarm stacks to scale, separated by commas; empty: all."""

    dry_run: bool = False
    """true: decide and report for every service, but change nothing."""

    log_format: Annotated[LogFormat, BeforeValidator(_lower)] = LogFormat.AUTO
    """console, json, or auto: console on a terminal, else json."""

    log_level: Annotated[LogLevel, BeforeValidator(_lower)] = LogLevel.INFO
    """debug, info, warning or error."""

    label_prefix: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")] = (
        DEFAULT_PREFIX
    )
    """First part of every label, without the dot."""

    listen: Annotated[tuple[str, int], NoDecode, BeforeValidator(_address)] = ("127.0.0.1", 8080)
    """Host and port of the status page, /metrics, /healthz and /readyz. In a container use
    0.0.0.0:8080 and publish the port to 127.0.0.1. Port 0 takes any free port; the log names it."""

    access_token: Annotated[SecretStr | None, AfterValidator(_token)] = None
    """Bearer token that the page and /metrics require; empty: none. /healthz and /readyz require
    no token."""

    integrations: Mapping[str, Integration] = Field(default_factory=dict)
    """Named Temporal connections: AUTOSCALER_INTEGRATIONS__<NAME>__ENDPOINT, __NAMESPACE,
    __API_KEY or __API_KEY_FILE, __TLS, __TLS_CA_FILE, __TLS_CERT_FILE, __TLS_KEY_FILE,
    __TLS_SERVER_NAME."""

    store: Path = STORE
    """File of the encrypted store, which `autoscaler integrations add` creates."""

    encryption_key: Annotated[SecretStr | None, BeforeValidator(_none_if_empty)] = None
    """Key of the encrypted store: 32 bytes in base64. Of several keys, separated by commas, the
    first encrypts and all decrypt. Without a key, one is created in a file beside the store."""

    encryption_key_file: Annotated[Path | None, BeforeValidator(_none_if_empty)] = None
    """File that holds the key of the encrypted store, a Docker secret for example."""

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where the settings of each integration come from, by its canonical name."""
        return self._origins

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.encryption_key is not None and self.encryption_key_file is not None:
            raise ValueError(
                "AUTOSCALER_ENCRYPTION_KEY and AUTOSCALER_ENCRYPTION_KEY_FILE are both set:"
                " keep one of them"
            )
        return self

    @field_validator("integrations")
    @classmethod
    def _canonical_names(cls, value: Mapping[str, Integration]) -> Mapping[str, Integration]:
        if not all(name.strip() for name in value):
            raise ValueError("an integration needs a name: AUTOSCALER_INTEGRATIONS__<NAME>__...")
        return {canonical(name): integration for name, integration in value.items()}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over `.env`, and `.env` over the secrets directory."""
        secrets = _OurSecrets(
            file_secret_settings, secrets_dir_missing="ok", secrets_nested_delimiter="__"
        )
        return init_settings, env_settings, dotenv_settings, secrets

    @classmethod
    def load(cls, dotenv: Path = DOTENV, secrets: Path = SECRETS_DIR) -> Self:
        """Read the environment, then `dotenv`, then the files in `secrets`.

        Raises ConfigurationError naming every unknown variable and every wrong value at once.
        """
        try:
            problems = list(_unknown(_given(dotenv)))
        except UnicodeDecodeError as error:
            raise ConfigurationError([f"{dotenv} is not UTF-8 text ({error})"]) from error
        try:
            settings = cls(_env_file=dotenv, _secrets_dir=secrets)
        except ValidationError as error:
            raise ConfigurationError([*problems, *_wrong(error)]) from error
        except (SettingsError, UnicodeError, OSError) as error:
            raise ConfigurationError([*problems, str(error)]) from error
        if problems:
            raise ConfigurationError(problems)
        settings._origins = _origins(settings.integrations, dotenv, secrets)
        return settings


class _OurSecrets(NestedSecretsSettingsSource):
    """Reads our files in the secrets directory only: files of others need not be text."""

    @classmethod
    def load_secrets(cls, path: Path) -> dict[str, str]:
        """Return the content of each file that has the name of a variable, by that name."""
        files = path.iterdir() if path.is_dir() else ()
        return {
            file.name: file.read_text(encoding="utf-8").strip()
            for file in files
            if file.name.upper().startswith(PREFIX) and file.is_file()
        }


def _given(dotenv: Path) -> set[str]:
    """Return the names of our variables in the environment and `.env`, in upper case.

    Files in the secrets directory are left out. They may have any name, since a *_FILE setting can
    point to any file.
    """
    names = [*os.environ, *dotenv_values(dotenv)]
    return {name.upper() for name in names if name.upper().startswith(PREFIX)}


def _origins(names: Iterable[str], dotenv: Path, secrets: Path) -> Mapping[str, str]:
    """Return for each integration the places of its settings; the first place wins."""
    places = {
        "environment": [*os.environ],
        ".env": [*dotenv_values(dotenv)],
        "secrets directory": [*_OurSecrets.load_secrets(secrets)],
    }
    found = {
        place: {_integration_in(variable) for variable in variables}
        for place, variables in places.items()
    }
    return {
        # A variable can also hold all integrations at once, as JSON. Its name then names none.
        name: ", ".join(place for place, integrations in found.items() if integrations & {name, ""})
        for name in names
    }


def _integration_in(variable: str) -> str | None:
    """Return the integration that a variable belongs to; empty for all, None for none."""
    name = variable.upper()
    if name == _WITH_PARTS:
        return ""
    if not name.startswith(f"{_WITH_PARTS}__"):
        return None
    return canonical(name.split("__")[1])


def _unknown(names: Iterable[str]) -> Iterator[str]:
    known = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields]
    for name in sorted(names):
        setting, parts, _ = name.partition("__")
        if parts and setting in known and setting != _WITH_PARTS:
            yield f"{name} is not a setting (only {_WITH_PARTS} has parts)"
        elif setting not in known:
            ends = [field.removeprefix(PREFIX) for field in known]
            near = difflib.get_close_matches(setting.removeprefix(PREFIX), ends, n=1)
            hint = f"the nearest is {PREFIX}{near[0]}" if near else f"known: {', '.join(known)}"
            yield f"{name} is not a setting ({hint})"


_WITH_PARTS = f"{PREFIX}INTEGRATIONS"
_NO_SECRET = {"endpoint", "namespace", "tls", "tls_server_name"}
"""Parts of an integration whose values messages may show."""

_SECRET = {"access_token", "encryption_key"}
"""Settings whose values messages must not show."""


def _may_be_shown(path: list[str]) -> bool:
    if path[0] == "integrations":
        return len(path) > 1 and path[-1] in _NO_SECRET
    return path[0] not in _SECRET


def _wrong(error: ValidationError) -> Iterator[str]:
    """Return pydantic's findings as messages, which never show the value of a secret."""
    for entry in error.errors(include_url=False):
        path = [str(part) for part in entry["loc"] if isinstance(part, str)]
        if not path:
            yield entry["msg"].removeprefix("Value error, ")
            continue
        name = PREFIX + "__".join(path).upper()
        message = entry["msg"].removeprefix("Value error, ")
        value = entry["input"]
        if entry["type"] == "extra_forbidden":
            known = ", ".join(field.upper() for field in Integration.model_fields)
            yield f"{name} is not a setting (known: {known})"
        elif isinstance(value, str) and _may_be_shown(path):
            yield f"{name}={value!r}: {message}"
        else:
            yield f"{name}: {message}"
