"""What stands before Temporal where it is reached from outside: TLS, certificates, API keys.

Temporal's development server can do none of this itself, so a gRPC server in front of it does,
and passes on what may pass. It has a process of its own: gRPC's threads and the processes that
tests start do not go together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.managers import BaseManager, NamespaceProxy
from pathlib import Path

import grpc

from tests.real.certificates import Pair
from tests.real.waiting import free_port


class Front(grpc.GenericRpcHandler):
    """Listens on a loopback port of its own; all it asks of clients can change while it runs."""

    def __init__(
        self,
        upstream: str,
        *,
        certificate: Pair | None = None,
        clients: bytes | None = None,
    ) -> None:
        """Lead to `upstream`: over TLS with a certificate, over mTLS with `clients` as well.

        `clients` is the PEM of the authorities whose certificates may pass.
        """
        self.keys: set[str] | None = None
        """API keys that may pass; None asks for none."""
        self.forbidden: set[str] = set()
        """Names of calls that nobody may make."""
        self.calls: list[str] = []
        """Name of every call that came, also of those that were refused, in order."""
        self.callers: list[bytes] = []
        """The client certificate of every call that came with one."""
        self.peers: set[str] = set()
        """Addresses of the connections that calls came over."""
        self.passed: set[str] = set()
        """API keys that calls passed with."""
        self.echo = False
        """Whether a refusal repeats the key, as a careless server would."""
        self.certificate = certificate
        self.clients = clients
        self._upstream = grpc.insecure_channel(upstream)
        self._lock = threading.Lock()
        self._port = free_port()
        self.start()

    def close(self) -> None:
        """End all of it."""
        self.stop()
        self._upstream.close()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        tables = [Path("/proc/net", name).read_text() for name in ("tcp", "tcp6")]
        rows = [line.split() for table in tables for line in table.splitlines()[1:]]
        here = f":{self._port:04X}"
        return sum(local.endswith(here) and state == "01" for _, local, _, state, *_ in rows)

    def start(self) -> None:
        """Listen, on the same port as before, with what is set now."""
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        if self.certificate is None:
            bound = self._server.add_insecure_port(self.endpoint)
        else:
            # Asked for at every handshake, so that certificates can change meanwhile.
            credentials = grpc.dynamic_ssl_server_credentials(
                self._configuration(),
                self._changed_configuration,
                require_client_authentication=self.clients is not None,
            )
            bound = self._server.add_secure_port(self.endpoint, credentials)
        assert bound == self._port
        self._server.start()

    def stop(self) -> None:
        """End every connection and listen no more."""
        self._server.stop(grace=None).wait()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Answer any call at all."""
        method = handler_call_details.method
        metadata = dict(handler_call_details.invocation_metadata)
        return grpc.unary_unary_rpc_method_handler(self._pass_on(method, metadata))

    def _changed_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Return None where nothing has changed.

        gRPC replaces what it is given each time. Several handshakes at once were seen to end its
        process with a failed check of a reference count (grpcio 1.85); replacing is suspected.
        """
        with self._lock:
            if self._shown == (self.certificate, self.clients):
                return None
            return self._configuration()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        assert self.certificate is not None
        self._shown = self.certificate, self.clients
        return grpc.ssl_server_certificate_configuration(
            [(self.certificate.key, self.certificate.certificate)],
            self.clients,
        )

    def _pass_on(
        self, method: str, metadata: dict[str, str]
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        name = method.rpartition("/")[2]

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            with self._lock:
                self.calls.append(name)
                self.callers += context.auth_context().get("x509_pem_cert", [])
                self.peers.add(context.peer())
            self._check(name, metadata, context)
            call = self._upstream.unary_unary(method, None, None)
            kept = [(key, value) for key, value in metadata.items() if key.startswith("client-")]
            try:
                reply: bytes = call(request, timeout=10, metadata=kept)
            except grpc.RpcError as error:
                context.set_trailing_metadata(error.trailing_metadata())
                context.abort(error.code(), error.details())
            return reply

        return answer

    def _check(self, name: str, metadata: dict[str, str], context: grpc.ServicerContext) -> None:
        given = metadata.get("authorization", "").removeprefix("Bearer ")
        if self.keys is not None and given not in self.keys:
            repeated = f": {given}" if self.echo else ""
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"Request unauthorized{repeated}.")
        self.passed.add(given)
        if name in self.forbidden:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Request unauthorized.")


class FrontProxy(NamespaceProxy):
    """A front in the other process; what is read of it is a copy."""

    _exposed_ = ("__getattribute__", "__setattr__", "start", "stop", "close")

    def start(self) -> None:
        self._callmethod("start")

    def stop(self) -> None:
        self._callmethod("stop")

    def close(self) -> None:
        self._callmethod("close")


class FrontProcess(BaseManager):
    """The process that all fronts of a session are in: `process.Front(...)` opens one."""

    def __init__(self) -> None:
        super().__init__(ctx=get_context("spawn"))


FrontProcess.register("Front", Front, FrontProxy)
