"""AUTOSCALER_*: the settings of the process.

Labels configure services, and integrations hold credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.core.labels import DEFAULT_PREFIX
from autoscaler.core.sizes import Reserve
from autoscaler.core.territory import OWN
from autoscaler.core.zones import UTC_ZONE
from autoscaler.setting_places import OurSecrets, given, origins
from autoscaler.setting_values import (
    STATE,
    Address,
    AgentSecret,
    GroupSizes,
    HostReserve,
    LogFormat,
    LogFormatWord,
    LogLevel,
    LogLevelWord,
    MostReplicas,
    OrchestratorChoice,
    Orchestrators,
    PathOrNone,
    PollInterval,
    Projects,
    SecretOrNone,
    State,
    Token,
    Zone,
    read_agent_secret,
)
from autoscaler.wrong_settings import PREFIX, unknown, unreadable, wrong

SECRETS_DIR = Path("/run/secrets")
"""Where Docker mounts secrets. A file with the name of a variable sets that variable."""
DOTENV = Path(".env")
SERVICES = Path("/etc/autoscaler/services")
"""The folder of services files, where it is there and no other is named."""


def _store(given: dict[str, Any]) -> Path:
    state: Path = given["state"]
    return state / "integrations"


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

    poll_interval: PollInterval = timedelta(seconds=1)
    """Time between two looks at the backlogs, such as 1s. Where there are more task queues than
    AUTOSCALER_RPC_BUDGET allows to read at each look, they take turns."""

    rpc_budget: Annotated[float, Field(ge=1, le=10_000)] = 40
    """Calls a second to each integration. Where there are more task queues than calls, each is read
    less often, busy ones more often than quiet ones. 40 reads 20 services with two types of tasks
    each every second, and 100 of them every 5 s."""

    orchestrators: Orchestrators = (OrchestratorChoice.AUTO,)
    """auto, compose, swarm, or several separated by commas. auto: Compose always, Swarm where
    the engine is a manager."""

    projects: Projects = (OWN,)
    """Compose projects and Swarm stacks to look after, separated by commas. auto: the one that the
    daemon itself is part of, all where it is part of none. *: all."""

    services: PathOrNone = None
    """Folder of services files, such as ./services; without it, /etc/autoscaler/services where that
    is there. While a folder that is named here is missing, no service is changed."""

    dry_run: bool = False
    """true: decide and report for every service, but change nothing."""

    log_format: LogFormatWord = LogFormat.AUTO
    """console, json, or auto: console on a terminal, else json."""

    log_level: LogLevelWord = LogLevel.INFO
    """debug, info, warning or error."""

    label_prefix: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")] = (
        DEFAULT_PREFIX
    )
    """First part of every label, without the dot."""

    timezone: Zone = UTC_ZONE
    """IANA time zone of schedules, and of `plan --at`, where the label temporal.timezone names no
    other one."""

    listen: Address = ("127.0.0.1", 8080)
    """Host and port of the status page, /metrics, /healthz and /readyz. In a container use
    0.0.0.0:8080 and publish the port to 127.0.0.1. Port 0 takes any free port; the log names it."""

    access_token: Token = None
    """Bearer token that the page and /metrics require; empty: none. /healthz and /readyz require
    no token."""

    integrations: Mapping[str, Integration] = Field(default_factory=dict)
    """Named Temporal connections: AUTOSCALER_INTEGRATIONS__<NAME>__ENDPOINT, __NAMESPACE,
    __API_KEY or __API_KEY_FILE, __TLS, __TLS_CA_FILE, __TLS_CERT_FILE, __TLS_KEY_FILE,
    __TLS_SERVER_NAME."""

    state: State = STATE
    """Folder of what outlives the process: overrides, and the encrypted store. In a container,
    mount a volume there."""

    store: Path = Field(default_factory=_store)
    """File of the encrypted store, which `autoscaler integrations add` creates. Where it is not
    set, the file `integrations` in the folder AUTOSCALER_STATE."""

    max_replicas: MostReplicas = None
    """Most replicas of all services together, on Compose and Swarm; without it, as many as each may
    have."""

    groups: GroupSizes = Field(default_factory=dict)
    """Most replicas of the services that have the label temporal.group: AUTOSCALER_GROUPS__<NAME>,
    such as AUTOSCALER_GROUPS__GPU=4."""

    host_reserve: HostReserve = Reserve(share=0.1)
    """Memory of the host that growth on Compose leaves free: a share of it such as 10%, or a size
    such as 2GiB. 0: none is left free, and nobody asks."""

    encryption_key: SecretOrNone = None
    """Key of the encrypted store: 32 bytes in base64. Of several keys, separated by commas, the
    first encrypts and all decrypt. Without a key, one is created in a file beside the store."""

    encryption_key_file: PathOrNone = None
    """File that holds the key of the encrypted store, a Docker secret for example."""

    agent_secret: AgentSecret = None
    """Secret that the daemon and the agents on the nodes of a Swarm share, at least 32 characters.
    Without it, the daemon asks no agents."""

    agent_secret_file: PathOrNone = None
    """File that holds the secret of the agents, a Docker secret for example."""

    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where the settings of each integration come from, by its canonical name."""
        return self._origins

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name in ("encryption_key", "agent_secret"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                variable = f"{PREFIX}{name.upper()}"
                raise ValueError(f"{variable} and {variable}_FILE are both set: keep one of them")
        return self

    def shared_with_agents(self) -> SecretStr | None:
        """Return the secret that the daemon and the agents share; None where none is set.

        Reads the file where one is named. Raises ConfigurationError.
        """
        if self.agent_secret_file is None:
            return self.agent_secret
        name = f"{PREFIX}AGENT_SECRET_FILE"
        try:
            secret = read_agent_secret(
                SecretStr(self.agent_secret_file.read_text(encoding="utf-8"))
            )
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([f"{name} cannot be read: {error}"]) from error
        except ValueError as error:
            raise ConfigurationError([f"{name}: {error}"]) from error
        if secret is None:
            raise ConfigurationError([f"{name}: {self.agent_secret_file} is empty"])
        return secret

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
        secrets = OurSecrets(
            file_secret_settings, secrets_dir_missing="ok", secrets_nested_delimiter="__"
        )
        return init_settings, env_settings, dotenv_settings, secrets

    @classmethod
    def load(cls, dotenv: Path = DOTENV, secrets: Path = SECRETS_DIR) -> Self:
        """Read the environment, then `dotenv`, then the files in `secrets`.

        Raises ConfigurationError naming every unknown variable and every wrong value at once.
        """
        try:
            problems = list(unknown(given(dotenv), cls.model_fields))
        except UnicodeDecodeError as error:
            raise ConfigurationError([f"{dotenv} is not UTF-8 text ({error})"]) from error
        try:
            settings = cls(_env_file=dotenv, _secrets_dir=secrets)
        except ValidationError as error:
            raise ConfigurationError([*problems, *wrong(error)]) from error
        except SettingsError as error:
            raise ConfigurationError([*problems, unreadable(error)]) from error
        except (UnicodeError, OSError) as error:
            raise ConfigurationError([*problems, str(error)]) from error
        if problems:
            raise ConfigurationError(problems)
        settings._origins = origins(settings.integrations, dotenv, secrets)
        return settings
