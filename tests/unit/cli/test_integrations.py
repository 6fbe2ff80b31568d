"""autoscaler integrations: what is stored and printed, and that no key is ever shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from autoscaler.app import App, build
from autoscaler.cli import commands
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.findings import Finding, Outcome
from autoscaler.integrations.store import EncryptedStore
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.neighbours import Neighbour
from autoscaler.orchestrators.place import Place
from autoscaler.settings import Settings
from tests.fakes.orchestrator import FakeOrchestrator
from tests.real.certificates import Authority

Env = pytest.MonkeyPatch
CLOUD = ("add", "cloud", "--endpoint", "cloud:7233", "--namespace", "shop")


@pytest.fixture
def env(monkeypatch: Env, tmp_path: Path) -> Env:
    monkeypatch.setenv("AUTOSCALER_STORE", str(tmp_path / "store" / "integrations"))
    monkeypatch.setenv("COLUMNS", "200")
    # What an engine on this machine runs is no part of these tests.
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    return monkeypatch


@pytest.fixture
def store(env: Env, tmp_path: Path) -> EncryptedStore:  # noqa: ARG001 - the store is where it says
    return EncryptedStore(tmp_path / "store" / "integrations")


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(commands, ["integrations", *arguments], input=stdin)


def rows(result: Result) -> dict[str, list[str]]:
    """Return the cells of the table's rows, by their first one."""
    lines = [line.strip("│").split("│") for line in result.stdout.splitlines() if line[0] == "│"]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


class TestAdd:
    def test_the_key_is_read_from_standard_input(self, store: EncryptedStore) -> None:
        result = run(*CLOUD, "--api-key-stdin", stdin="planted-secret\n")
        assert result.exit_code == 0
        (stored,) = store.all().values()
        assert (stored.endpoint, stored.namespace) == ("cloud:7233", "shop")
        assert stored.api_key is not None
        assert stored.api_key.get_secret_value() == "planted-secret"
        assert "planted-secret" not in result.output

    def test_on_a_terminal_it_is_asked_for_without_being_shown(
        self, store: EncryptedStore, env: Env
    ) -> None:
        asked = []

        def prompt(text: str, **options: object) -> str:
            asked.append((text, options["hide_input"]))
            return "planted-secret"

        env.setattr("autoscaler.cli.integrations.on_a_terminal", lambda: True)
        env.setattr(typer, "prompt", prompt)
        assert run(*CLOUD).exit_code == 0
        assert asked == [("API key (empty for none)", True)]
        assert store.all()["cloud"].api_key is not None

    def test_no_option_takes_a_key(self) -> None:
        result = run("add", "--help")
        assert "--api-key-stdin" in result.output
        assert "--api-key " not in result.output

    @pytest.mark.parametrize("others", [(), ("--server-name", "temporal")])
    def test_what_is_piped_in_is_the_key_also_where_nobody_said_so(
        self, store: EncryptedStore, others: tuple[str, ...]
    ) -> None:
        result = run(*CLOUD, *others, stdin="planted-secret\n")
        assert result.exit_code == 0
        assert "(credential: API key)" in result.stdout
        assert "planted-secret" not in result.output
        assert store.all()["cloud"].has_api_key

    def test_where_nothing_is_piped_in_it_says_that_there_is_no_credential(
        self, store: EncryptedStore
    ) -> None:
        assert "(credential: none)" in run(*CLOUD, stdin="\n").stdout
        assert not store.all()["cloud"].has_api_key

    @pytest.mark.parametrize("options", [(), ("--api-key-stdin",)])
    def test_what_cannot_be_a_key_is_refused_and_not_shown(
        self, store: EncryptedStore, options: tuple[str, ...]
    ) -> None:
        result = run(*CLOUD, *options, stdin="planted\nsecret\n")
        assert result.exit_code == 2
        assert "several words or lines" in result.stderr
        assert "planted" not in result.output
        assert not store.path.exists()

    def test_a_standard_input_that_stays_silent_is_refused_with_what_to_do(
        self, store: EncryptedStore, env: Env
    ) -> None:
        env.setattr("autoscaler.cli.integrations._arrives", lambda: False)
        result = run(*CLOUD)
        assert result.exit_code == 2
        assert "--api-key-stdin" in result.stderr
        assert "< /dev/null" in result.stderr
        assert not store.path.exists()

    def test_an_empty_standard_input_is_no_key(self, store: EncryptedStore) -> None:
        result = run(*CLOUD, "--api-key-stdin", stdin="")
        assert result.exit_code == 2
        assert "standard input is empty" in result.stderr
        assert not store.path.exists()

    def test_files_are_stored_with_their_content(
        self, store: EncryptedStore, tmp_path: Path
    ) -> None:
        authority = Authority()
        files = authority.client().write(tmp_path)
        arguments = ["--cert", files["tls_cert_file"], "--key", files["tls_key_file"]]
        arguments += ["--ca", str(authority.write(tmp_path)), "--server-name", "temporal"]
        assert run(*CLOUD, *arguments).exit_code == 0
        stored = store.all()["cloud"]
        assert stored.tls_ca is not None
        assert stored.tls_ca.get_secret_value().encode() == authority.certificate.strip()
        assert stored.has_certificate
        assert (stored.tls_cert_file, stored.tls_server_name) == (None, "temporal")

    def test_the_first_one_says_that_it_made_a_key(self, store: EncryptedStore) -> None:
        first = run(*CLOUD).stdout
        assert f"created a key for the store: {store.key_file}" in first
        assert f"stored integration cloud in {store.path}" in first
        assert "autoscaler integrations test cloud" in first
        assert "created a key" not in run("add", "other", "--endpoint", "other:7233").stdout

    def test_one_that_is_there_is_only_replaced_when_that_is_said(
        self, store: EncryptedStore
    ) -> None:
        run(*CLOUD)
        again = ("add", "Cloud", "--endpoint", "elsewhere:7233")
        refused = run(*again)
        assert refused.exit_code == 1
        assert "replace it with --replace" in refused.stderr
        assert run(*again, "--replace").exit_code == 0
        assert store.all()["cloud"].endpoint == "elsewhere:7233"

    def test_that_another_place_comes_first_is_said(self, env: Env) -> None:
        env.setenv("AUTOSCALER_INTEGRATIONS__CLOUD__ENDPOINT", "mine:7233")
        assert "it is not used: the one from environment comes first" in run(*CLOUD).stdout

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (("--endpoint", "cloud"), "--endpoint: host and port are needed"),
            (("--cert", "FILE"), "--cert and --key belong together: one is missing"),
            (
                ("--tls", "off", "--server-name", "x"),
                "TLS is off, but --cert, --ca or --server-name is set",
            ),
        ],
    )
    def test_what_is_wrong_is_named_by_its_option(
        self, store: EncryptedStore, tmp_path: Path, arguments: tuple[str, ...], problem: str
    ) -> None:
        (tmp_path / "FILE").write_text("PEM")
        result = run("add", "cloud", "--endpoint", "cloud:7233", *arguments)
        assert result.exit_code == 2
        assert problem in result.stderr
        assert not store.path.exists()

    def test_credentials_that_cannot_work_are_not_stored(
        self, store: EncryptedStore, tmp_path: Path
    ) -> None:
        files = Authority().client().write(tmp_path)
        result = run(*CLOUD, "--cert", files["tls_key_file"], "--key", files["tls_key_file"])
        assert result.exit_code == 1
        assert "holds no certificate" in result.stderr
        assert not store.path.exists()

    def test_a_file_that_is_not_there_is_named(self, store: EncryptedStore) -> None:
        result = run(*CLOUD, "--ca", "/nowhere.pem")
        assert result.exit_code == 2
        assert result.stderr == (
            "autoscaler: /nowhere.pem cannot be read (No such file or directory); check the path\n"
        )
        assert not store.path.exists()

    def test_a_wrong_key_is_one_line_and_the_store_stays(
        self, store: EncryptedStore, env: Env
    ) -> None:
        run(*CLOUD)
        before = store.path.read_bytes()
        env.setenv("AUTOSCALER_ENCRYPTION_KEY", "x" * 43 + "=")
        result = run("add", "other", "--endpoint", "other:7233")
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert "cannot be decrypted with the key in AUTOSCALER_ENCRYPTION_KEY" in line
        assert store.path.read_bytes() == before


class TestWhereItCounts:
    @pytest.fixture
    def with_parts(self, env: Env) -> Callable[..., None]:
        """Return a function that runs the command in a place, beside daemons in containers."""

        def use(place: Place, *found: Neighbour) -> None:
            def make(settings: Settings) -> App:
                return build(settings, place=place)

            async def daemons(_engine: Engine) -> list[Neighbour]:
                return list(found)

            env.setattr("autoscaler.cli.integrations.build", make)
            env.setattr("autoscaler.app.daemons", daemons)

        return use

    def daemon(self, *folders: Path) -> Neighbour:
        labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "scaler"}
        found = Neighbour.of(
            {
                "Id": "x",
                "Name": "/shop-scaler-1",
                "Path": "entrypoint.sh",
                "Args": ["run"],
                "Config": {"Labels": labels, "Env": []},
                "Mounts": [{"Source": str(each)} for each in folders],
            }
        )
        assert found is not None
        return found

    def test_a_folder_that_goes_with_the_container_is_a_warning(
        self, store: EncryptedStore, with_parts: Callable[..., None]
    ) -> None:
        with_parts(Place(containers=("me",)))
        told = run(*CLOUD).stderr
        assert f"{store.path.parent} is no volume" in told
        assert "mount a volume" in told

    def test_a_volume_is_none(self, store: EncryptedStore, with_parts: Callable[..., None]) -> None:
        with_parts(Place(containers=("me",), lasting=(store.path.parent,)), self.daemon())
        assert run(*CLOUD).stderr == ""

    def test_a_daemon_in_a_container_is_named_with_how_to_add_it_there(
        self,
        store: EncryptedStore,  # noqa: ARG002 - the store is where it says
        with_parts: Callable[..., None],
    ) -> None:
        with_parts(Place(), self.daemon(Path("/elsewhere")))
        told = run(*CLOUD).stderr
        assert "container shop-scaler-1 does not read this store" in told
        assert "docker compose -p shop exec scaler autoscaler integrations add cloud" in told

    def test_a_daemon_that_has_the_folder_mounted_reads_it(
        self, store: EncryptedStore, with_parts: Callable[..., None]
    ) -> None:
        with_parts(Place(), self.daemon(store.path.parent))
        assert run(*CLOUD).stderr == ""


class TestList:
    def test_an_endpoint_is_shown_whole_on_a_narrow_terminal(self, env: Env) -> None:
        env.setenv("COLUMNS", "80")
        endpoint = "a-namespace-with-a-rather-long-name.a1b2c.tmprl.cloud:7233"
        run("add", "a-name-that-is-long-as-well", "--endpoint", endpoint, "--namespace", "n" * 40)
        shown = run("list").stdout
        assert endpoint in shown
        assert "a_name_that_is_long_as_well" in shown
        assert "n" * 40 in shown
        assert "…" not in shown

    def test_each_says_where_it_leads_and_where_it_comes_from(self, env: Env) -> None:
        run(*CLOUD, "--api-key-stdin", stdin="planted-secret")
        env.setenv("AUTOSCALER_INTEGRATIONS__PROD__ENDPOINT", "prod:7233")
        env.setenv("TEMPORAL_ADDRESS", "mine:7233")
        result = run("list")
        assert result.exit_code == 0
        assert rows(result) == {
            "cloud": ["cloud:7233", "shop", "API key", "on", "encrypted store"],
            "default": ["mine:7233", "default", "none", "off", TEMPORALS_OWN],
            "prod": ["prod:7233", "default", "none", "off", "environment"],
        }
        assert "planted-secret" not in result.output

    def test_a_store_that_cannot_be_read_hides_none_of_the_others(
        self, store: EncryptedStore, env: Env
    ) -> None:
        run(*CLOUD)
        store.key_file.unlink()
        env.setenv("AUTOSCALER_INTEGRATIONS__PROD__ENDPOINT", "prod:7233")
        result = run("list")
        assert result.exit_code == 1
        assert "prod" in rows(result)
        assert "the key of the store" in result.stderr


TEMPORALS_OWN = "Temporal's environment configuration"


class TestTest:
    @pytest.mark.parametrize(("outcome", "code"), list(zip(Outcome, (0, 1, 1), strict=True)))
    def test_what_was_found_is_printed_and_decides_the_exit_code(
        self, env: Env, outcome: Outcome, code: int
    ) -> None:
        async def examine(_self: App, names: list[str]) -> list[Finding]:
            return [Finding(f"integration {name}", outcome, "as it is") for name in names]

        env.setattr(App, "examine_integrations", examine)
        result = run("test", "Prod-EU")
        assert result.exit_code == code
        assert result.stdout == f"{outcome.value:<7}  integration prod_eu: as it is\n"

    def test_one_that_is_not_known_is_wrong(self, env: Env) -> None:  # noqa: ARG002
        result = run("test", "typo")
        assert result.exit_code == 1
        assert "is not known (known: default)" in result.stdout


class TestRemove:
    @pytest.fixture
    def services(self, env: Env) -> FakeOrchestrator:
        """The services that the command finds."""
        fake = FakeOrchestrator()

        def with_fakes(settings: Settings) -> App:
            app = build(settings)
            object.__setattr__(app, "orchestrators", [fake])
            return app

        env.setattr("autoscaler.cli.integrations.build", with_fakes)
        return fake

    def test_it_is_gone_and_nobody_misses_it(
        self, store: EncryptedStore, services: FakeOrchestrator
    ) -> None:
        services.add("shop/worker", {"temporal.queue": "orders"})
        run(*CLOUD)
        result = run("remove", "cloud")
        assert result.exit_code == 0
        assert result.stdout == f"removed integration cloud from {store.path}\n"
        assert store.all() == {}

    def test_the_services_that_still_use_it_are_named(
        self, services: FakeOrchestrator, env: Env
    ) -> None:
        env.setenv("AUTOSCALER_LABEL_PREFIX", "acme")
        services.add("b/two", {"acme.queue": "q", "acme.integration": "Cloud"})
        services.add("a/one", {"acme.integration": "cloud", "acme.wrong": "label"})
        services.add("c/three", {"acme.queue": "q", "acme.integration": "other"})
        run(*CLOUD)
        assert "still named by a/one, b/two: they hold" in run("remove", "cloud").stdout

    def test_an_engine_that_does_not_answer_leaves_it_open_who_does(
        self, store: EncryptedStore, services: FakeOrchestrator
    ) -> None:
        services.unreachable = OrchestratorError("no engine")
        run(*CLOUD)
        result = run("remove", "cloud")
        assert result.exit_code == 0
        assert "could be checked: no engine" in result.stdout
        assert store.all() == {}

    def test_one_that_is_not_in_the_store_is_one_line(self, services: FakeOrchestrator) -> None:
        result = run("remove", "cloud")
        assert result.exit_code == 1
        assert "integration cloud is not in the store" in result.stderr
        assert services.actions == []


class TestRekey:
    def test_the_store_is_encrypted_with_a_new_key(self, store: EncryptedStore) -> None:
        run(*CLOUD)
        before = store.path.read_bytes(), store.key_file.read_bytes()
        result = run("rekey")
        assert result.exit_code == 0
        assert f"the new key is in {store.key_file}, the old one is gone" in result.stdout
        assert store.path.read_bytes() != before[0]
        assert store.key_file.read_text() not in result.output
        assert set(store.all()) == {"cloud"}

    def test_without_a_store_it_is_one_line(self, env: Env) -> None:  # noqa: ARG002
        result = run("rekey")
        assert result.exit_code == 1
        assert "nothing to rekey" in result.stderr
