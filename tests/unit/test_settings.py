"""AUTOSCALER_*: read from three places; all wrong ones are named, and secrets never shown."""

from __future__ import annotations

import ast
import inspect
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.integration import TlsMode
from autoscaler.core.sizes import Reserve
from autoscaler.setting_values import LogFormat, LogLevel, OrchestratorChoice
from autoscaler.settings import Settings

Env = pytest.MonkeyPatch


@pytest.fixture
def dotenv(tmp_path: Path) -> Path:
    return tmp_path / "settings.env"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    return folder


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Env:
    return monkeypatch


def load(tmp_path: Path) -> Settings:
    """Load from the places of the fixtures above."""
    return Settings.load(tmp_path / "settings.env", tmp_path / "secrets")


def problems(tmp_path: Path) -> tuple[str, ...]:
    """Return what is wrong with the settings."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    return caught.value.problems


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("poll_interval", timedelta(seconds=1)),
        ("orchestrators", (OrchestratorChoice.AUTO,)),
        ("projects", ("auto",)),
        ("dry_run", False),
        ("log_format", LogFormat.AUTO),
        ("log_level", LogLevel.INFO),
        ("label_prefix", "temporal"),
        ("timezone", ZoneInfo("UTC")),
        ("listen", ("127.0.0.1", 8080)),
        ("access_token", None),
        ("integrations", {}),
        ("groups", {}),
        ("max_replicas", None),
        ("host_reserve", Reserve(share=0.1)),
    ],
)
def test_everything_has_a_default(tmp_path: Path, field: str, default: object) -> None:
    assert getattr(load(tmp_path), field) == default


def test_every_setting_is_documented() -> None:
    (settings,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(settings, ast.ClassDef)
    documented = {
        ast.unparse(field.target)
        for field, text in pairwise(settings.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
    assert documented == set(Settings.model_fields)


@pytest.mark.parametrize(
    ("variable", "value", "field", "read_as"),
    [
        pytest.param("POLL_INTERVAL", "1s", "poll_interval", timedelta(seconds=1), id="shortest"),
        pytest.param("POLL_INTERVAL", "10m", "poll_interval", timedelta(minutes=10), id="longest"),
        pytest.param(
            "ORCHESTRATORS", "swarm", "orchestrators", (OrchestratorChoice.SWARM,), id="one"
        ),
        pytest.param(
            "ORCHESTRATORS",
            "compose, swarm",
            "orchestrators",
            (OrchestratorChoice.COMPOSE, OrchestratorChoice.SWARM),
            id="both",
        ),
        pytest.param("PROJECTS", "shop, mail,", "projects", ("shop", "mail"), id="projects"),
        pytest.param("PROJECTS", "", "projects", ("auto",), id="empty-means-its-own-project"),
        pytest.param("PROJECTS", " * ", "projects", ("*",), id="all-projects"),
        pytest.param("DRY_RUN", "true", "dry_run", True, id="dry-run"),
        pytest.param("LOG_FORMAT", "JSON", "log_format", LogFormat.JSON, id="log-format"),
        pytest.param("LOG_LEVEL", "Debug", "log_level", LogLevel.DEBUG, id="log-level"),
        pytest.param("LABEL_PREFIX", "acme.io", "label_prefix", "acme.io", id="label-prefix"),
        pytest.param("LISTEN", "0.0.0.0:9000", "listen", ("0.0.0.0", 9000), id="listen"),
        pytest.param("LISTEN", "[::]:8080", "listen", ("::", 8080), id="listen-ipv6"),
        pytest.param("LISTEN", "localhost:0", "listen", ("localhost", 0), id="any-free-port"),
        pytest.param(
            "TIMEZONE", " Europe/Berlin ", "timezone", ZoneInfo("Europe/Berlin"), id="timezone"
        ),
        pytest.param("TIMEZONE", "", "timezone", ZoneInfo("UTC"), id="empty-means-utc"),
        pytest.param("GROUPS__GPU", "4", "groups", {"gpu": 4}, id="group"),
        pytest.param("GROUPS__My-DB", "0", "groups", {"my_db": 0}, id="group-of-none"),
        pytest.param("GROUPS__GPU", "", "groups", {}, id="empty-means-no-group"),
        pytest.param("GROUPS", '{"gpu": 4}', "groups", {"gpu": 4}, id="groups-as-json"),
        pytest.param("MAX_REPLICAS", "20", "max_replicas", 20, id="most-of-all"),
        pytest.param("MAX_REPLICAS", "", "max_replicas", None, id="empty-means-no-most"),
        pytest.param("HOST_RESERVE", "25%", "host_reserve", Reserve(share=0.25), id="share"),
        pytest.param("HOST_RESERVE", "2GiB", "host_reserve", Reserve(size=2**31), id="size"),
        pytest.param("HOST_RESERVE", "0", "host_reserve", Reserve(), id="no-reserve"),
        pytest.param("HOST_RESERVE", "", "host_reserve", Reserve(share=0.1), id="empty-reserve"),
        pytest.param("ACCESS_TOKEN", "", "access_token", None, id="empty-means-no-token"),
    ],
)
def test_a_variable_sets_its_field(  # noqa: PLR0913, PLR0917 - a row of the table, and where it is set
    env: Env, tmp_path: Path, variable: str, value: str, field: str, read_as: object
) -> None:
    env.setenv(f"AUTOSCALER_{variable}", value)
    assert getattr(load(tmp_path), field) == read_as


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        pytest.param("POLL_INTERVAL", "5", "30s, 5m or 1h30m", id="interval-without-unit"),
        pytest.param("POLL_INTERVAL", "0.9s", "from 1s to 10m", id="interval-too-short"),
        pytest.param("POLL_INTERVAL", "601s", "from 1s to 10m", id="interval-too-long"),
        pytest.param("ORCHESTRATORS", "nomad", "'auto', 'compose' or 'swarm'", id="orchestrator"),
        pytest.param("PROJECTS", "shop,*", "alone", id="all-projects-and-one"),
        pytest.param("PROJECTS", "auto,shop", "alone", id="its-own-project-and-one"),
        pytest.param("DRY_RUN", "maybe", "must be true or false", id="dry-run"),
        pytest.param("LOG_FORMAT", "xml", "'auto', 'console' or 'json'", id="log-format"),
        pytest.param("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'", id="log-level"),
        pytest.param("LABEL_PREFIX", "temporal.", "must be lower-case letters", id="dot"),
        pytest.param("RPC_BUDGET", "many", "must be a number from 1 to 10000", id="budget"),
        pytest.param("RPC_BUDGET", "0", "must be a number from 1 to 10000", id="budget-of-none"),
        pytest.param("TIMEZONE", "Berlin", "the nearest is Europe/Berlin", id="timezone"),
        pytest.param("TIMEZONE", "?", "must be an IANA time zone such as", id="no-timezone"),
        pytest.param("GROUPS__GPU", "-1", "a whole number from 0 to 1000000", id="group-below-0"),
        pytest.param("GROUPS__GPU", "four", "a whole number from 0", id="group-in-words"),
        pytest.param("MAX_REPLICAS", "0", "a whole number from 1 to 1000000", id="none-of-all"),
        pytest.param("MAX_REPLICAS", "many", "a whole number from 1", id="most-in-words"),
        pytest.param("HOST_RESERVE", "101%", "such as 10%", id="more-than-the-host-has"),
        pytest.param("HOST_RESERVE", "512", "such as 2GiB", id="size-without-a-unit"),
        pytest.param("LISTEN", "8080", "such as 127.0.0.1:8080", id="listen-without-host"),
        pytest.param("LISTEN", ":8080", "such as 127.0.0.1:8080", id="listen-on-nothing"),
        pytest.param("LISTEN", "localhost", "such as 127.0.0.1:8080", id="listen-without-port"),
        pytest.param("LISTEN", "a:65536", "such as 127.0.0.1:8080", id="port-too-large"),
        pytest.param("LISTEN", "http://a:80", "such as 127.0.0.1:8080", id="listen-on-a-url"),
    ],
)
def test_a_wrong_value_is_named_with_the_value_and_what_is_allowed(
    env: Env, tmp_path: Path, variable: str, value: str, hint: str
) -> None:
    env.setenv(f"AUTOSCALER_{variable}", value)
    (problem,) = problems(tmp_path)
    assert problem.startswith(f"AUTOSCALER_{variable}={value!r}: ")
    assert hint in problem
    assert "Input" not in problem
    assert "\n" not in problem


@pytest.mark.parametrize("value", ["x", "4", "[1]"])
@pytest.mark.parametrize("variable", ["AUTOSCALER_GROUPS", "AUTOSCALER_INTEGRATIONS"])
def test_a_variable_of_several_names_says_how_they_are_set(
    env: Env, tmp_path: Path, variable: str, value: str
) -> None:
    env.setenv(variable, value)
    (problem,) = problems(tmp_path)
    assert problem.startswith(variable)
    assert problem.endswith(f"set a variable for each name: {variable}__<NAME>")


def test_a_group_needs_a_name(env: Env, tmp_path: Path) -> None:
    env.setenv("AUTOSCALER_GROUPS__", "4")
    assert problems(tmp_path) == (
        "AUTOSCALER_GROUPS: a group needs a name: AUTOSCALER_GROUPS__<NAME>",
    )


def test_only_settings_of_several_names_have_parts(env: Env, tmp_path: Path) -> None:
    env.setenv("AUTOSCALER_MAX_REPLICAS__GPU", "4")
    (problem,) = problems(tmp_path)
    assert "only AUTOSCALER_INTEGRATIONS and AUTOSCALER_GROUPS have parts" in problem


@pytest.mark.parametrize(
    "token", ["too-short", "with a space in the middle", "größer-als-ascii-war"]
)
def test_a_token_that_cannot_be_used_is_named_and_never_shown(
    env: Env, tmp_path: Path, token: str
) -> None:
    env.setenv("AUTOSCALER_ACCESS_TOKEN", token)
    (problem,) = problems(tmp_path)
    assert problem.startswith("AUTOSCALER_ACCESS_TOKEN: at least 16 letters")
    assert token not in problem


def test_a_token_is_kept_secret(env: Env, tmp_path: Path) -> None:
    env.setenv("AUTOSCALER_ACCESS_TOKEN", "correct-horse-battery")
    settings = load(tmp_path)
    assert settings.access_token is not None
    assert settings.access_token.get_secret_value() == "correct-horse-battery"
    assert "correct-horse-battery" not in repr(settings)


def test_an_orchestrator_must_be_named(env: Env, tmp_path: Path) -> None:
    env.setenv("AUTOSCALER_ORCHESTRATORS", "")
    (problem,) = problems(tmp_path)
    assert problem.startswith("AUTOSCALER_ORCHESTRATORS='': ")
    assert all(repr(str(choice)) in problem for choice in OrchestratorChoice)


def test_all_that_is_wrong_is_named_at_once_wherever_it_is_set(
    env: Env, tmp_path: Path, dotenv: Path, secrets: Path
) -> None:
    env.setenv("AUTOSCALER_POL_INTERVAL", "5s")
    env.setenv("AUTOSCALER_DRY_RUN", "maybe")
    env.setenv("AUTOSCALER_INTEGRATIONS__PROD__ENDPOINT", "nowhere")
    dotenv.write_text("AUTOSCALER_LOG_LEVEL=loud\nAUTOSCALER_PROJECT=shop\n")
    (secrets / "AUTOSCALER_LABEL_PREFIX").write_text("Not A Prefix")
    named = {problem.partition("=")[0].partition(" ")[0] for problem in problems(tmp_path)}
    assert named == {
        "AUTOSCALER_POL_INTERVAL",
        "AUTOSCALER_DRY_RUN",
        "AUTOSCALER_INTEGRATIONS__PROD__ENDPOINT",
        "AUTOSCALER_LOG_LEVEL",
        "AUTOSCALER_PROJECT",
        "AUTOSCALER_LABEL_PREFIX",
    }


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("AUTOSCALER_POL_INTERVAL", "AUTOSCALER_POLL_INTERVAL"),
        ("AUTOSCALER_DRYRUN", "AUTOSCALER_DRY_RUN"),
        ("AUTOSCALER_LOGLEVEL", "AUTOSCALER_LOG_LEVEL"),
        ("autoscaler_project", "AUTOSCALER_PROJECTS"),
        ("AUTOSCALER_INTEGRATION__PROD__ENDPOINT", "AUTOSCALER_INTEGRATIONS"),
    ],
)
def test_an_unknown_variable_comes_with_the_nearest_known_name(
    env: Env, tmp_path: Path, typed: str, meant: str
) -> None:
    env.setenv(typed, "x")
    assert problems(tmp_path) == (f"{typed.upper()} is not a setting (the nearest is {meant})",)


def test_a_variable_like_none_comes_with_all_known_names(env: Env, tmp_path: Path) -> None:
    env.setenv("AUTOSCALER_ZZZZZZZZZZZZ", "x")
    (problem,) = problems(tmp_path)
    assert all(f"AUTOSCALER_{name.upper()}" in problem for name in Settings.model_fields)


def test_a_part_of_a_setting_that_has_no_parts_is_unknown(env: Env, tmp_path: Path) -> None:
    env.setenv("AUTOSCALER_DRY_RUN__X", "true")
    problems(tmp_path)


def test_variables_of_others_are_ignored(env: Env, tmp_path: Path, dotenv: Path) -> None:
    env.setenv("AUTOSCALERS_OWN", "x")
    dotenv.write_text("COMPOSE_PROJECT_NAME=shop\n")
    assert load(tmp_path) == load(tmp_path / "nowhere")


class TestPlaces:
    def test_a_dotenv_file_is_read(self, tmp_path: Path, dotenv: Path) -> None:
        dotenv.write_text("AUTOSCALER_POLL_INTERVAL=7s\n")
        assert load(tmp_path).poll_interval == timedelta(seconds=7)

    @pytest.mark.parametrize("name", ["AUTOSCALER_POLL_INTERVAL", "autoscaler_poll_interval"])
    def test_a_file_in_the_secrets_directory_is_read(
        self, tmp_path: Path, secrets: Path, name: str
    ) -> None:
        (secrets / name).write_text("7s\n")
        assert load(tmp_path).poll_interval == timedelta(seconds=7)

    def test_the_environment_comes_before_dotenv_before_secrets(
        self, env: Env, tmp_path: Path, dotenv: Path, secrets: Path
    ) -> None:
        for name in ("POLL_INTERVAL", "LABEL_PREFIX", "PROJECTS"):
            (secrets / f"AUTOSCALER_{name}").write_text("3s" if name == "POLL_INTERVAL" else "c")
        dotenv.write_text("AUTOSCALER_POLL_INTERVAL=2s\nAUTOSCALER_LABEL_PREFIX=b\n")
        env.setenv("AUTOSCALER_POLL_INTERVAL", "1s")
        settings = load(tmp_path)
        assert settings.poll_interval == timedelta(seconds=1)
        assert settings.label_prefix == "b"
        assert settings.projects == ("c",)

    def test_an_integration_may_be_put_together_from_all_places(
        self, env: Env, tmp_path: Path, dotenv: Path, secrets: Path
    ) -> None:
        env.setenv("AUTOSCALER_INTEGRATIONS__PROD__ENDPOINT", "temporal:7233")
        dotenv.write_text("AUTOSCALER_INTEGRATIONS__PROD__NAMESPACE=shop\n")
        (secrets / "autoscaler_integrations__prod__api_key").write_text("s3cret\n")
        prod = load(tmp_path).integrations["prod"]
        assert (prod.endpoint, prod.namespace) == ("temporal:7233", "shop")
        assert prod.api_key is not None
        assert prod.api_key.get_secret_value() == "s3cret"

    def test_secrets_of_other_programs_are_ignored(self, tmp_path: Path, secrets: Path) -> None:
        (secrets / "database_password").write_text("s3cret")
        assert load(tmp_path) == load(tmp_path / "nowhere")

    def test_secrets_of_other_programs_need_not_be_text(
        self, tmp_path: Path, secrets: Path
    ) -> None:
        (secrets / "keystore").write_bytes(b"\xff\xfe\x00")
        load(tmp_path)

    def test_a_dotenv_file_that_is_no_text_is_one_clear_line(
        self, tmp_path: Path, dotenv: Path
    ) -> None:
        dotenv.write_bytes(b"AUTOSCALER_PROJECTS=\xff\n")
        problems(tmp_path)

    def test_a_secret_of_ours_that_is_no_text_is_one_clear_line(
        self, tmp_path: Path, secrets: Path
    ) -> None:
        (secrets / "autoscaler_projects").write_bytes(b"\xff")
        assert len(problems(tmp_path)) == 1

    def test_a_secrets_directory_that_is_a_file_is_one_clear_line(self, tmp_path: Path) -> None:
        (tmp_path / "secrets").write_text("")
        assert len(problems(tmp_path)) == 1


class TestIntegrations:
    @pytest.mark.parametrize("name", ["PROD_EU", "Prod_Eu", "prod-eu"])
    def test_case_and_dashes_of_a_name_do_not_matter(
        self, env: Env, tmp_path: Path, name: str
    ) -> None:
        env.setenv(f"AUTOSCALER_INTEGRATIONS__{name}__NAMESPACE", "shop")
        assert load(tmp_path).integrations["prod_eu"].namespace == "shop"

    def test_every_documented_part_is_read(self, env: Env, tmp_path: Path) -> None:
        for part, value in {
            "ENDPOINT": "temporal:7233",
            "NAMESPACE": "shop",
            "API_KEY_FILE": "/run/secrets/key",
            "TLS": "on",
            "TLS_CA_FILE": "/ca.pem",
            "TLS_CERT_FILE": "/cert.pem",
            "TLS_KEY_FILE": "/key.pem",
            "TLS_SERVER_NAME": "temporal.internal",
        }.items():
            env.setenv(f"AUTOSCALER_INTEGRATIONS__PROD__{part}", value)
        prod = load(tmp_path).integrations["prod"]
        assert prod.endpoint == "temporal:7233"
        assert prod.namespace == "shop"
        assert prod.api_key_file == Path("/run/secrets/key")
        assert prod.tls is TlsMode.ON
        assert prod.tls_ca_file == Path("/ca.pem")
        assert prod.tls_cert_file == Path("/cert.pem")
        assert prod.tls_key_file == Path("/key.pem")
        assert prod.tls_server_name == "temporal.internal"

    def test_an_unknown_part_is_named_without_its_value(self, env: Env, tmp_path: Path) -> None:
        env.setenv("AUTOSCALER_INTEGRATIONS__PROD__APIKEY", "s3cret")
        (problem,) = problems(tmp_path)
        assert problem.startswith("AUTOSCALER_INTEGRATIONS__PROD__APIKEY is not a setting")
        assert "API_KEY" in problem.partition("known:")[2]
        assert "s3cret" not in problem

    def test_parts_that_contradict_each_other_are_named(self, env: Env, tmp_path: Path) -> None:
        env.setenv("AUTOSCALER_INTEGRATIONS__PROD__API_KEY", "s3cret")
        env.setenv("AUTOSCALER_INTEGRATIONS__PROD__API_KEY_FILE", "/key")
        (problem,) = problems(tmp_path)
        assert problem == (
            "AUTOSCALER_INTEGRATIONS__PROD: API_KEY and API_KEY_FILE are both set: keep one of them"
        )

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            pytest.param("__PROD__API_KEY__X", "s3cret", id="a-part-of-a-key"),
            pytest.param("__API_KEY", "s3cret", id="no-name"),
            pytest.param("__PROD__METADATA", "s3cret", id="headers-that-are-no-mapping"),
            pytest.param("", "{'prod': {'api_key': 's3cret'", id="broken-json"),
            pytest.param("", '["s3cret"]', id="json-of-another-shape"),
            pytest.param(
                "",
                '"s3cret"',
                id="json-of-a-string",
            ),
            pytest.param(
                "__PROD",
                "s3cret",
                id="a-key-as-the-integration",
            ),
            pytest.param(
                "__",
                "s3cret",
                id="no-name-and-no-part",
            ),
        ],
    )
    def test_a_secret_in_a_wrong_place_is_not_shown(
        self, env: Env, tmp_path: Path, variable: str, value: str
    ) -> None:
        env.setenv(f"AUTOSCALER_INTEGRATIONS{variable}", value)
        assert "s3cret" not in str(problems(tmp_path))

    def test_the_settings_do_not_show_secrets(self, env: Env, tmp_path: Path) -> None:
        for part in ("API_KEY", "TLS_CA", "TLS_CERT", "TLS_KEY", "METADATA__X"):
            env.setenv(f"AUTOSCALER_INTEGRATIONS__PROD__{part}", "s3cret")
        assert "s3cret" not in repr(load(tmp_path))

    def test_each_says_which_places_it_comes_from(
        self, env: Env, tmp_path: Path, dotenv: Path, secrets: Path
    ) -> None:
        env.setenv("AUTOSCALER_INTEGRATIONS__Prod-EU__ENDPOINT", "temporal:7233")
        dotenv.write_text("autoscaler_integrations__test__namespace=shop\n")
        (secrets / "AUTOSCALER_INTEGRATIONS__PROD_EU__API_KEY").write_text("s3cret")
        assert load(tmp_path).origins == {
            "prod_eu": "environment, secrets directory",
            "test": ".env",
        }

    def test_those_of_one_variable_in_json_come_from_it(self, env: Env, tmp_path: Path) -> None:
        env.setenv("AUTOSCALER_INTEGRATIONS", '{"prod": {"namespace": "shop"}}')
        assert load(tmp_path).origins == {"prod": "environment"}


class TestServices:
    @pytest.mark.parametrize(("value", "folder"), [("", None), ("./services", Path("services"))])
    def test_none_is_named_unless_the_variable_is_set(
        self, env: Env, tmp_path: Path, value: str, folder: Path | None
    ) -> None:
        assert load(tmp_path).services is None
        env.setenv("AUTOSCALER_SERVICES", value)
        assert load(tmp_path).services == folder


class TestStore:
    def test_by_default_it_is_in_var_lib_and_its_key_beside_it(self, tmp_path: Path) -> None:
        settings = load(tmp_path)
        assert settings.store == Path("/var/lib/autoscaler/integrations")
        assert (settings.encryption_key, settings.encryption_key_file) == (None, None)

    @pytest.mark.parametrize("place", ["environment", "secrets"])
    def test_its_key_is_read_and_never_shown(
        self, env: Env, tmp_path: Path, secrets: Path, place: str
    ) -> None:
        if place == "environment":
            env.setenv("AUTOSCALER_ENCRYPTION_KEY", "s3cret")
        else:
            (secrets / "AUTOSCALER_ENCRYPTION_KEY").write_text("s3cret\n")
        settings = load(tmp_path)
        assert settings.encryption_key is not None
        assert settings.encryption_key.get_secret_value() == "s3cret"
        assert "s3cret" not in repr(settings)

    def test_its_key_may_be_in_a_file(self, env: Env, tmp_path: Path) -> None:
        env.setenv("AUTOSCALER_ENCRYPTION_KEY_FILE", "/run/secrets/key")
        assert load(tmp_path).encryption_key_file == Path("/run/secrets/key")

    @pytest.mark.parametrize("end", ["", "_FILE"])
    def test_a_variable_that_compose_left_empty_is_none(
        self, env: Env, tmp_path: Path, end: str
    ) -> None:
        env.setenv(f"AUTOSCALER_ENCRYPTION_KEY{end}", "")
        assert load(tmp_path) == load(tmp_path / "nowhere")

    def test_two_keys_are_one_too_many(self, env: Env, tmp_path: Path) -> None:
        env.setenv("AUTOSCALER_ENCRYPTION_KEY", "s3cret")
        env.setenv("AUTOSCALER_ENCRYPTION_KEY_FILE", "/key")
        (problem,) = problems(tmp_path)
        assert problem == (
            "AUTOSCALER_ENCRYPTION_KEY and AUTOSCALER_ENCRYPTION_KEY_FILE are both set:"
            " keep one of them"
        )

    def test_a_part_of_the_key_is_named_without_being_shown(self, env: Env, tmp_path: Path) -> None:
        env.setenv("AUTOSCALER_ENCRYPTION_KEY__X", "s3cret")
        assert "s3cret" not in str(problems(tmp_path))


class TestTheSecretOfTheAgents:
    SECRET = "0123456789abcdef" * 2

    @pytest.mark.usefixtures("env")
    def test_a_docker_secret_of_that_name_is_read_and_never_shown(
        self, tmp_path: Path, secrets: Path
    ) -> None:
        (secrets / "AUTOSCALER_AGENT_SECRET").write_text(self.SECRET + "\n")
        settings = load(tmp_path)
        secret = settings.shared_with_agents()
        assert secret is not None
        assert secret.get_secret_value() == self.SECRET
        assert self.SECRET not in repr(settings)

    def test_it_may_be_in_a_file(self, env: Env, tmp_path: Path) -> None:
        (tmp_path / "agents").write_text(self.SECRET + "\n")
        env.setenv("AUTOSCALER_AGENT_SECRET_FILE", str(tmp_path / "agents"))
        secret = load(tmp_path).shared_with_agents()
        assert secret is not None
        assert secret.get_secret_value() == self.SECRET

    @pytest.mark.parametrize("end", ["", "_FILE"])
    def test_a_variable_that_compose_left_empty_is_none(
        self, env: Env, tmp_path: Path, end: str
    ) -> None:
        env.setenv(f"AUTOSCALER_AGENT_SECRET{end}", "")
        assert load(tmp_path).shared_with_agents() is None

    def test_a_short_one_is_one_clear_line_that_does_not_show_it(
        self, env: Env, tmp_path: Path
    ) -> None:
        env.setenv("AUTOSCALER_AGENT_SECRET", "sh0rt")
        (problem,) = problems(tmp_path)
        assert problem == (
            "AUTOSCALER_AGENT_SECRET: at least 32 characters are needed; `openssl rand -hex 32`"
            " makes such a secret"
        )

    @pytest.mark.parametrize(
        ("content", "words"),
        [(None, "cannot be read"), (b"", "is empty"), (b"short", "at least 32"), (b"\xff", "read")],
    )
    def test_a_file_that_cannot_be_used_is_named(
        self, env: Env, tmp_path: Path, content: bytes | None, words: str
    ) -> None:
        if content is not None:
            (tmp_path / "agents").write_bytes(content)
        env.setenv("AUTOSCALER_AGENT_SECRET_FILE", str(tmp_path / "agents"))
        with pytest.raises(ConfigurationError, match=words) as wrong:
            load(tmp_path).shared_with_agents()
        assert "AUTOSCALER_AGENT_SECRET_FILE" in str(wrong.value)

    def test_two_secrets_are_one_too_many(self, env: Env, tmp_path: Path) -> None:
        env.setenv("AUTOSCALER_AGENT_SECRET", self.SECRET)
        env.setenv("AUTOSCALER_AGENT_SECRET_FILE", "/secret")
        (problem,) = problems(tmp_path)
        assert "AUTOSCALER_AGENT_SECRET_FILE are both set" in problem
