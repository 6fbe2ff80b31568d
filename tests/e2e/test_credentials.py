"""Credentials of a running daemon can be rotated and added, and are never printed."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from cryptography.fernet import Fernet

from tests.e2e.conftest import RunDaemon, labels
from tests.real.certificates import Authority
from tests.real.daemon import DaemonProcess, autoscaler
from tests.real.front import Front, FrontProcess
from tests.real.stages import ComposeStage
from tests.real.temporal import TemporalServer
from tests.real.waiting import free_port, until

pytestmark = pytest.mark.engine

OFTEN = {"AUTOSCALER_POLL_INTERVAL": "1s"}
AUTHORITY = Authority()
OTHER = Authority("Another authority")


@pytest.fixture
def front(temporal: TemporalServer, front_process: FrontProcess) -> Iterator[Front]:
    """A front of Temporal that asks for a client certificate and an API key."""
    opened = front_process.Front(
        temporal.endpoint, certificate=AUTHORITY.server(), clients=AUTHORITY.certificate
    )
    opened.keys = {"first-key"}
    yield opened
    opened.close()


def variables(name: str, **parts: object) -> dict[str, str]:
    """Return the settings of an integration as environment variables."""
    prefix = f"AUTOSCALER_INTEGRATIONS__{name.upper()}__"
    return {f"{prefix}{part.upper()}": str(value) for part, value in parts.items()}


def test_key_and_certificate_are_rotated_without_a_failed_tick(
    compose_stage: ComposeStage, run_daemon: RunDaemon, front: Front, queue: str, tmp_path: Path
) -> None:
    key = tmp_path / "api-key"
    key.write_text("first-key")
    files = AUTHORITY.client().write(tmp_path)
    integration = variables(
        "prod",
        endpoint=front.endpoint,
        api_key_file=key,
        tls_ca_file=AUTHORITY.write(tmp_path),
        **files,
    )
    compose_stage.up({"worker": 1}, {"worker": labels(queue, integration="prod")})
    daemon = run_daemon(compose_stage, **OFTEN, **integration)
    until(lambda: front.callers, "a first call")

    front.keys = {"first-key", "second-key"}
    front.clients = AUTHORITY.certificate + OTHER.certificate
    rotated = OTHER.client("rotated")
    key.write_text("second-key")
    rotated.write(tmp_path)
    until(lambda: rotated.certificate in front.callers, "a call with the new certificate")

    front.keys, front.clients = {"second-key"}, OTHER.certificate
    calls = len(front.calls)
    until(lambda: len(front.calls) > calls, "a call with the new key")
    seen = len(daemon.lines)
    daemon.wait_for("tick", after=seen)
    assert daemon.terminate() == 0
    ticks = [line["failed"] for line in daemon.lines if line["event"] == "tick"]
    assert set(ticks) == {False}, daemon.text


def test_an_integration_that_is_added_while_the_daemon_runs_is_used_at_once(
    compose_stage: ComposeStage,
    run_daemon: RunDaemon,
    temporal: TemporalServer,
    queue: str,
    tmp_path: Path,
) -> None:
    store = {"AUTOSCALER_STORE": str(tmp_path / "store" / "integrations")}
    compose_stage.up({"worker": 1}, {"worker": labels(queue, integration="late")})
    daemon = run_daemon(compose_stage, **OFTEN, **store)
    line = daemon.wait_for("cannot scale")
    assert "integration late is not known" in line["error"]
    assert "autoscaler integrations add late" in line["error"]

    added = autoscaler(
        tmp_path, "integrations", "add", "late", "--endpoint", temporal.endpoint, **store
    )
    assert added.returncode == 0, added.stderr
    daemon.wait_for("recovered")

    removed = autoscaler(
        tmp_path,
        "integrations",
        "remove",
        "late",
        **store,
        AUTOSCALER_PROJECTS=compose_stage.project,
    )
    assert f"still named by {compose_stage.name('worker')}: they hold" in removed.stdout
    daemon.wait_for("cannot scale", after=daemon.lines.index(line) + 1)


class Planted:
    """A distinct secret for every place that may hold one."""

    def __init__(self, folder: Path) -> None:
        claims = json.dumps({"exp": 4102444800, "planted": "token"}).encode()
        payload = base64.urlsafe_b64encode(claims).decode().rstrip("=")
        self.key = "planted-key-of-the-environment"
        self.file = "planted-key-of-a-file"
        self.stored = "planted-key-of-the-store"
        self.token = f"eyJhbGciOiJub25lIn0.{payload}.planted-signature"
        self.header = "planted-header"
        self.access = "planted-token-of-the-page"
        self.encryption = Fernet.generate_key().decode()
        pair = AUTHORITY.client()
        self.files = pair.write(folder)
        self.lines = pair.key.decode().splitlines()[1:-1]
        (folder / "api-key").write_text(self.file)

    def all(self) -> list[str]:
        return [
            self.key,
            self.file,
            self.stored,
            self.token,
            self.token.rpartition(".")[2],
            self.header,
            self.access,
            self.encryption,
            *self.lines,
        ]


PAGES = ("/", "/api/services", "/metrics")


def fetch(address: str, path: str, token: str) -> str:
    """Return a page of the running daemon."""
    headers = {"Authorization": f"Bearer {token}"}
    with urlopen(Request(f"http://{address}{path}", headers=headers), timeout=10) as page:
        text: str = page.read().decode()
    return text


def test_no_secret_is_in_anything_that_a_run_prints(
    compose_stage: ComposeStage, front: Front, queue: str, tmp_path: Path
) -> None:
    front.keys = set()
    front.echo = True
    planted = Planted(tmp_path)
    way = {"endpoint": front.endpoint, "tls_ca_file": AUTHORITY.write(tmp_path), **planted.files}
    settings = {
        "AUTOSCALER_STORE": str(tmp_path / "store" / "integrations"),
        "AUTOSCALER_ENCRYPTION_KEY": planted.encryption,
        "AUTOSCALER_ACCESS_TOKEN": planted.access,
        "AUTOSCALER_PROJECTS": compose_stage.project,
        "TEMPORAL_ADDRESS": front.endpoint,
        "TEMPORAL_API_KEY": planted.token,
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(way["tls_ca_file"]),
        "TEMPORAL_TLS_CLIENT_CERT_PATH": planted.files["tls_cert_file"],
        "TEMPORAL_TLS_CLIENT_KEY_PATH": planted.files["tls_key_file"],
        **variables("env", **way, api_key=planted.key, metadata__x_tenant=planted.header),
        **variables("file", **way, api_key_file=tmp_path / "api-key"),
    }
    printed = []

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        done = autoscaler(tmp_path, *arguments, stdin=stdin, **{**settings, **more})
        printed.append(done.stdout + done.stderr)
        return done

    certificate = ("--cert", planted.files["tls_cert_file"], "--key", planted.files["tls_key_file"])
    authority = ("--ca", str(way["tls_ca_file"]))
    add = ("integrations", "add", "store", "--endpoint", front.endpoint, "--api-key-stdin")
    run(*add, *authority, *certificate, stdin=planted.stored)
    names = ("default", "env", "file", "store")
    compose_stage.up(
        dict.fromkeys(names, 1), {name: labels(queue, integration=name) for name in names}
    )
    settings["AUTOSCALER_LISTEN"] = f"127.0.0.1:{free_port()}"
    with DaemonProcess(tmp_path, settings) as daemon:
        for name in names:
            daemon.wait_for("cannot scale", services=[compose_stage.name(name)])
        daemon.wait_for("tick")
        pages = [fetch(settings["AUTOSCALER_LISTEN"], path, planted.access) for path in PAGES]
        run("status")
        daemon.terminate()
    printed += [daemon.text, *pages]
    assert "UNAUTHENTICATED" in pages[PAGES.index("/api/services")], "the page shows no error"

    for arguments in (
        ("plan",),
        ("plan", "--json"),
        ("doctor",),
        ("doctor", "--json"),
        ("integrations", "list"),
        *(("integrations", "test", name) for name in names),
        ("integrations", "rekey"),
        add,
    ):
        run(*arguments, stdin=planted.stored)
    other = Fernet.generate_key().decode()
    run("integrations", "rekey", AUTOSCALER_ENCRYPTION_KEY=f"{other},{planted.encryption}")
    run("integrations", "list")
    run("run", AUTOSCALER_INTEGRATIONS__ENV__APIKEY=planted.key)
    run("plan", AUTOSCALER_ENCRYPTION_KEY__X=planted.encryption)
    run("integrations", "remove", "store", AUTOSCALER_ENCRYPTION_KEY=other)

    text = "\n".join(printed)
    assert text.count("[hidden]") >= len(names), "the server did not repeat a key"
    assert [secret for secret in [*planted.all(), other] if secret in text] == []
    assert "Traceback" not in text
