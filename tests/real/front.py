"""A gRPC server in front of Temporal that asks for TLS, client certificates and API keys.

Temporal's dev server can do none of these. The front passes on the calls that may pass. It runs in
a process of its own, because gRPC's threads and the processes that tests start do not go together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.managers import BaseManager, NamespaceProxy
from pathlib import Path

import grpc
import temporalio.api.workflowservice.v1 as workflowservice
from google.protobuf.message import Message

from tests.real.certificates import Pair
from tests.real.waiting import free_port


class Front(grpc.GenericRpcHandler):
    """Listens on a loopback port of its own. A test may change what it asks for at any time."""

    def __init__(
        self,
        upstream: str,
        *,
        certificate: Pair | None = None,
        clients: bytes | None = None,
    ) -> None:
        """Stand before `upstream`: with TLS where there is a certificate.

        With `clients` it asks for mTLS: they are the certificate authorities of clients that may
        pass, as PEM.
        """
        self.keys: set[str] | None = None
        """API keys that may pass. None: no key is asked for."""
        self.forbidden: set[str] = set()
        """Names of calls that nobody may make."""
        self.left_out: dict[str, str] = {}
        """By the name of a call, the field that its answers lack. A dot leads to inner messages."""
        self.failing: dict[str, str] = {}
        """By the name of a call, why it is UNAVAILABLE, as where the service behind is down."""
        self.unknown: set[str] = set()
        """Names of calls that are UNIMPLEMENTED."""
        self.calls: list[str] = []
        """The name of every call in order, including refused calls."""
        self.callers: list[bytes] = []
        """The client certificate of every call that had one."""
        self.peers: set[str] = set()
        """The addresses of all connections that calls came through."""
        self.passed: set[str] = set()
        """The API keys of calls that passed."""
        self.echo = False
        """Whether a refusal repeats the API key, as a careless server might."""
        self.certificate = certificate
        self.clients = clients
        self._upstream = grpc.insecure_channel(upstream)
        self._lock = threading.Lock()
        self._port = free_port()
        self.start()

    def close(self) -> None:
        """Stop listening, and close the connection to Temporal."""
        self.stop()
        self._upstream.close()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """The number of open connections."""
        tables = [Path("/proc/net", name).read_text() for name in ("tcp", "tcp6")]
        rows = [line.split() for table in tables for line in table.splitlines()[1:]]
        here = f":{self._port:04X}"
        return sum(local.endswith(here) and state == "01" for _, local, _, state, *_ in rows)

    def start(self) -> None:
        """Listen with the present settings, always on the same port."""
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        if self.certificate is None:
            bound = self._server.add_insecure_port(self.endpoint)
        else:
            # gRPC asks for the configuration at every handshake, so certificates can change.
            credentials = grpc.dynamic_ssl_server_credentials(
                self._configuration(),
                self._changed_configuration,
                require_client_authentication=self.clients is not None,
            )
            bound = self._server.add_secure_port(self.endpoint, credentials)
        assert bound == self._port
        self._server.start()

    def stop(self) -> None:
        """Close every connection and stop listening."""
        self._server.stop(grace=None).wait()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return what answers a call, whatever its method."""
        method = handler_call_details.method
        metadata = dict(handler_call_details.invocation_metadata)
        return grpc.unary_unary_rpc_method_handler(self._pass_on(method, metadata))

    def _changed_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration where it has changed, else None.

        Not returning it each time avoids a crash: with several handshakes at once, gRPC ended the
        process with a failed check of a reference count (grpcio 1.85). The suspected cause is that
        gRPC replaces its configuration with each one that it gets.
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
            return self._without(name, reply)

        return answer

    def _without(self, name: str, reply: bytes) -> bytes:
        """Return an answer as a server sends it that does not know a field."""
        if name not in self.left_out:
            return reply
        message = getattr(workflowservice, f"{name}Response").FromString(reply)
        *parents, field = self.left_out[name].split(".")
        holders = [message]
        for parent in parents:
            held = [getattr(each, parent) for each in holders]
            holders = [
                one for each in held for one in ([each] if isinstance(each, Message) else each)
            ]
        for each in holders:
            each.ClearField(field)
        changed: bytes = message.SerializeToString()
        return changed

    def _check(self, name: str, metadata: dict[str, str], context: grpc.ServicerContext) -> None:
        given = metadata.get("authorization", "").removeprefix("Bearer ")
        if self.keys is not None and given not in self.keys:
            repeated = f": {given}" if self.echo else ""
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"Request unauthorized{repeated}.")
        self.passed.add(given)
        if name in self.failing:
            context.abort(grpc.StatusCode.UNAVAILABLE, self.failing[name])
        if name in self.unknown:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"method {name} not supported")
        if name in self.forbidden:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Request unauthorized.")


class FrontProxy(NamespaceProxy):
    """A front in the other process. Every attribute that is read is a copy."""

    _exposed_ = ("__getattribute__", "__setattr__", "start", "stop", "close")

    def start(self) -> None:
        self._callmethod("start")

    def stop(self) -> None:
        self._callmethod("stop")

    def close(self) -> None:
        self._callmethod("close")


class FrontProcess(BaseManager):
    """The process that runs all fronts of a session: `process.Front(...)` starts one."""

    def __init__(self) -> None:
        super().__init__(ctx=get_context("spawn"))


FrontProcess.register("Front", Front, FrontProxy)
