"""A real engine behind TLS: only its own authority counts, as with the docker command."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from autoscaler.orchestrators.engine import Engine
from tests.real.certificates import Authority

pytestmark = pytest.mark.engine

SOCKET = "/var/run/docker.sock"


@pytest.fixture
async def engine_with_tls(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The engine of this machine behind TLS with client certificates; yields the environment."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    for name, pair in {"": authority.client(), "server-": authority.server()}.items():
        (tmp_path / f"{name}cert.pem").write_bytes(pair.certificate)
        (tmp_path / f"{name}key.pem").write_bytes(pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server-cert.pem", tmp_path / "server-key.pem")
    server = await asyncio.start_server(_relay, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    yield {
        "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(tmp_path),
    }
    server.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what arrives to the engine's socket, and its answers back."""
    engine_reader, engine_writer = await asyncio.open_unix_connection(SOCKET)

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while piece := await source.read(65536):
            target.write(piece)
            await target.drain()
        target.close()

    await asyncio.gather(
        pass_on(reader, engine_writer), pass_on(engine_reader, writer), return_exceptions=True
    )


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="as-it-is"),
        pytest.param({"REQUESTS_CA_BUNDLE": "ANOTHER"}, id="requests-ca-bundle"),
        pytest.param({"CURL_CA_BUNDLE": "ANOTHER"}, id="curl-ca-bundle"),
        pytest.param({"REQUESTS_CA_BUNDLE": "/nowhere.pem"}, id="a-bundle-that-is-not-there"),
        pytest.param({"HTTPS_PROXY": "http://127.0.0.1:9"}, id="a-proxy-for-other-hosts"),
    ],
)
async def test_an_engine_that_docker_reaches_is_reached(
    engine_with_tls: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    another = tmp_path / "another.pem"
    another.write_bytes(Authority("Another authority").certificate)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(another) if value == "ANOTHER" else value)
    docker = await asyncio.create_subprocess_exec(
        "docker", "ps", "--quiet", env={**os.environ, **engine_with_tls}, stdout=-3
    )
    assert await docker.wait() == 0

    engine = Engine(engine_with_tls)
    assert await engine.call("asking", lambda client: client.ping())
    engine.close()
